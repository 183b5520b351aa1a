"""Who may connect: a shared secret, carried in any of three ways, and the web origin of a browser's page.

Browsers can set no header on a WebSocket, hence `?token=` and the subprotocol pair `bearer`, KEY, of
which a server answers only `bearer`: the key must not come back in a header that tools log.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

SUBPROTOCOL = "bearer"
EXTENSION_SCHEMES = ("chrome-extension", "moz-extension", "safari-web-extension")  # no web page can claim these


def authorized(secret: str, headers: Iterable[tuple[str, str]], query: str) -> bool:
    """Whether a request carries `secret` (empty = no secret is asked for).

    `headers` are (name, value) pairs as received (`request.headers.raw_items()` in websockets,
    `request.headers.items()` in Starlette); `query` is what follows the `?` of the address.
    """
    if not secret:
        return True
    wanted = secret.encode("utf-8", "surrogatepass")
    return any([hmac.compare_digest(wanted, key.encode("utf-8", "surrogatepass")) for key in _keys(headers, query)])


def _keys(headers: Iterable[tuple[str, str]], query: str) -> list[str]:
    """Every key that the request offers."""
    keys, offered = list(parse_qs(query).get("token", [])), []
    for name, value in headers:
        if name.lower() == "authorization":
            scheme, _, key = value.strip().partition(" ")
            if scheme.lower() == "bearer":
                keys.append(key.strip())
        elif name.lower() == "sec-websocket-protocol":
            offered += [part.strip() for part in value.split(",")]
    if SUBPROTOCOL in offered:
        keys += [part for part in offered if part != SUBPROTOCOL]
    return keys


def origin_allowed(origin: str | None, host: str, origins: Iterable[str]) -> bool:
    """Whether a page of `origin` may use the server that it reached as `host` (the Host header).

    Programs send no origin; pages of the same host name may (whatever their port: the page is on 8000,
    the sockets are not); browser extensions may; others only if they are listed, or `*` is.
    """
    if origin is None or not origin.strip():
        return True
    listed = {entry.strip().rstrip("/").lower() for entry in origins}
    if "*" in listed or origin.strip().rstrip("/").lower() in listed:
        return True
    try:
        page, server = urlsplit(origin.strip()), urlsplit(f"//{host.strip()}")
        if page.scheme in EXTENSION_SCHEMES:
            return True
        return page.hostname is not None and page.hostname == server.hostname
    except ValueError:  # a malformed address in brackets
        return False
