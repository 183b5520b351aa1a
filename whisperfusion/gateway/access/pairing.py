"""Device pairing: a phone scans a QR code with a short-lived pairing key and exchanges it for a
lasting device key.

The pairing key is in the fragment of an address, which browsers do not send; the page posts it
once, over TLS, and gets the device key. A pairing key has 72 bits, lives ten minutes and can be
used by a few devices, so that a family can scan one code; tries are limited per address.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from whisperfusion.gateway.access.certificates.authority import Authority
from whisperfusion.gateway.access.certificates.names import reachable_name
from whisperfusion.gateway.access.certificates.x509 import fingerprint
from whisperfusion.gateway.access.qr_codes import half_blocks, matrix
from whisperfusion.gateway.openapi import NO_STORE
from whisperfusion.runtime.devices import Devices, digest
from whisperfusion.runtime.rate_limits import Limits, TooMany, names_of
from whisperfusion.settings import Settings
from whisperfusion.wire.auth import origin_allowed
from whisperfusion.wire.openai_rest import ApiError

LIFE_S, USES = 600.0, 5
MOST_KEYS = 8  # at a time; a new one replaces the oldest
KEY_BYTES = 9
TRIES_A_MINUTE = 10  # of each address
LONGEST_BODY = 1000  # bytes
PAIRING_REFUSED = (
    "this pairing key is wrong, used up or older than ten minutes; let the server make a new one"
)

log = logging.getLogger("https")


@dataclass
class PairingKey:
    digest: str
    until: float
    uses: int = USES


@dataclass(frozen=True)
class Invitation:
    """Addresses to show as QR codes: `url` pairs, `install` installs the authority ("" = none is
    needed).
    """

    url: str
    install: str
    fingerprint: str


class Pairing:
    """`clock` returns seconds; `port` is the bound port."""

    def __init__(
        self,
        settings: Settings,
        authority: Authority | None,
        port: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._authority, self._port, self._clock = settings, authority, port, clock
        self._pairing_keys: list[PairingKey] = []
        self.devices = Devices(settings.https_dir)

    def invite(self) -> Invitation:
        """A new pairing key, as addresses to open."""
        key = secrets.token_urlsafe(KEY_BYTES)
        now = self._clock()
        self._pairing_keys = [
            *[one for one in self._pairing_keys if one.until > now][1 - MOST_KEYS :],
            PairingKey(digest(key), now + LIFE_S),
        ]
        name = reachable_name(self._settings)
        place = f"{f'[{name}]' if ':' in name else name}:{self._port}{self._settings.root_path}"
        ours = self._authority
        install = f"http://{place}/install#pair={key}" if ours else ""
        return Invitation(
            f"https://{place}/#pair={key}", install, fingerprint(ours.der) if ours else ""
        )

    def accept(self, key: str, name: str) -> str | None:
        """A device key for the device `name` in exchange for a pairing key; None: that one is
        wrong, used up or expired.
        """
        given, now, found = digest(key), self._clock(), None
        for one in self._pairing_keys:
            if hmac.compare_digest(one.digest, given) and one.until > now and one.uses > 0:
                found = one
        if found is None:
            return None
        found.uses -= 1
        log.info("paired a device: %s", name)
        return self.devices.add(name)


def router(settings: Settings, pairing: Pairing | None) -> APIRouter:
    """POST /pairing makes a pairing key and needs a key itself; POST /pair is public and exchanges
    a pairing key for a device key.
    """
    routes = APIRouter(include_in_schema=False)
    limits = Limits(TRIES_A_MINUTE, 0)
    if pairing is None:
        return routes

    @routes.post("/pairing")
    async def invite(request: Request) -> JSONResponse:
        _check_origin(request, settings)
        return JSONResponse(_described(pairing.invite()), headers=NO_STORE)

    @routes.post("/pair")
    async def pair(request: Request) -> JSONResponse:
        _check_origin(request, settings)
        try:
            with limits.admitted(names_of(None, request.client.host if request.client else "?")):
                key = _pairing_key(await _body(request))
                # On the event loop: one request after the other, and one small file.
                device = pairing.accept(key, _printable(request.headers.get("user-agent", "")))
        except TooMany as problem:
            raise ApiError(
                429,
                "too many pairing keys were tried; wait a minute",
                code="rate_limit_exceeded",
                retry_after_s=problem.retry_after_s,
            ) from None
        if device is None:
            raise ApiError(403, PAIRING_REFUSED, code="pairing_refused")
        return JSONResponse({"key": device}, headers=NO_STORE)

    return routes


def _described(invitation: Invitation) -> dict[str, Any]:
    return {
        "url": invitation.url,
        "install": invitation.install,
        "fingerprint": invitation.fingerprint,
        "seconds": LIFE_S,
        "devices": USES,
        "qr": matrix(invitation.url),
        "install_qr": matrix(invitation.install),
    }


def _check_origin(request: Request, settings: Settings) -> None:
    origin = request.headers.get("origin")
    if not origin_allowed(origin, request.headers.get("host", ""), settings.origins):
        raise ApiError(403, f"pages of {origin} may not pair devices", code="origin_not_allowed")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise ApiError(
                413,
                f'the body is larger than {LONGEST_BODY} bytes; send {{"key": "…"}}',
                code="request_too_large",
            )
    return body


def _pairing_key(body: bytes) -> str:
    try:
        key = json.loads(body)["key"]
    except (ValueError, LookupError, TypeError, RecursionError):
        key = None
    if not isinstance(key, str):
        raise ApiError(400, 'the body is not {"key": "…"}, as JSON', code="invalid_value")
    return key


def _printable(agent: str) -> str:
    printable = "".join(letter for letter in agent if letter.isprintable())
    return printable[:100] or "unnamed device"


def printed(invitation: Invitation, port: int) -> str:
    """The invitation for a terminal: both codes side by side, in at most 80 columns."""
    first, then = half_blocks(matrix(invitation.install)), half_blocks(matrix(invitation.url))
    wide = len(first[0]) + 4 if first else 0
    height = max(len(first), len(then))
    left, right = (
        [*code, *[" " * len(code[0])] * (height - len(code))] if code else [""] * height
        for code in (first, then)
    )
    titles = f"{'1. once: its certificate':{wide}}2. speak" if first else "speak"
    codes = "\n".join(f"  {one:{wide}}{other}" for one, other in zip(left, right, strict=True))
    limits = f"within {LIFE_S / 60:.0f} minutes, with up to {USES} devices"
    title = f"A phone or another machine can speak too. Scan {limits}:"
    lines = [title, "", f"  {titles}", codes]
    if first:
        lines.append(f"  once for each phone: {invitation.install.partition('#')[0]}")
        lines.append(f"    (certificate authority, SHA-256 {invitation.fingerprint})")
    lines.append(f"  then: {invitation.url}")
    lines.append(
        f"  Another code later: 'Use on your phone' at http://localhost:{port}, "
        f"or curl -X POST http://localhost:{port}/pairing"
    )
    return "\n".join(lines)


def show(pairing: Pairing, port: int) -> None:
    """Print an invitation, as well as the terminal can draw it."""
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    print(
        printed(pairing.invite(), port).encode(encoding, "replace").decode(encoding),
        file=sys.stderr,
        flush=True,
    )
