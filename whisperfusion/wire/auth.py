"""Who may connect: keys, carried in any of the ways that clients know, and the web origin of a
browser's page.

Browsers can set no header on a WebSocket, hence `?token=` and subprotocols: the pair `bearer`, KEY,
of which a server answers only `bearer`, and OpenAI's `openai-insecure-api-key.KEY` beside
`realtime`. The key must not come back in a header that tools log.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

SUBPROTOCOL, REALTIME = "bearer", "realtime"
INSECURE = "openai-insecure-api-key."
HEADERS = ("x-api-key", "api-key")
QUERY = ("token", "api_key", "key")
# no web page can claim these
EXTENSION_SCHEMES = ("chrome-extension", "moz-extension", "safari-web-extension")


def authorized(secrets: Iterable[str], headers: Iterable[tuple[str, str]], query: str) -> bool:
    """Whether a request carries one of `secrets` (none = no key is asked for).

    `headers` are (name, value) pairs as received (`request.headers.raw_items()` in websockets,
    `request.headers.items()` in Starlette); `query` is what follows the `?` of the address.
    """
    secrets = tuple(secrets)
    return not secrets or key_of(secrets, offered(headers, query)) is not None


def key_of(secrets: Iterable[str], keys: Iterable[str]) -> str | None:
    """The first of `secrets` that is among `keys`. All are compared, each in constant time."""
    found = None
    wanted = [key.encode("utf-8", "surrogatepass") for key in keys]
    for secret in secrets:
        same = [hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), key) for key in wanted]
        found = secret if any(same) and found is None else found
    return found


def offered(headers: Iterable[tuple[str, str]], query: str) -> list[str]:
    """Every key that the request carries."""
    given = parse_qs(query)
    keys = [key for name in QUERY for key in given.get(name, [])]
    protocols: list[str] = []
    for name, value in headers:
        if name.lower() == "authorization":
            scheme, _, key = value.strip().partition(" ")
            if scheme.lower() == "bearer":
                keys.append(key.strip())
        elif name.lower() in HEADERS:
            keys.append(value.strip())
        elif name.lower() == "sec-websocket-protocol":
            protocols += [part.strip() for part in value.split(",")]
    keys += [part.removeprefix(INSECURE) for part in protocols if part.startswith(INSECURE)]
    if SUBPROTOCOL in protocols:
        keys += [part for part in protocols if part != SUBPROTOCOL]
    return keys


def origin_allowed(origin: str | None, host: str, origins: Iterable[str]) -> bool:
    """Whether a page of `origin` may use the server that it reached as `host` (the Host header).

    Programs send no origin; pages of the same host name may (whatever their port: the page is on
    8000, the sockets are not); browser extensions may; others only if they are listed, or `*` is.
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
