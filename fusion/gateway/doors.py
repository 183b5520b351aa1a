"""Who may come in, how often, and with how much: every route asks for a key unless it is named open, a browser's WebSocket must
come from an allowed page, and a body is counted while it comes.

Closed is the default, so a route added tomorrow is guarded without anybody remembering to. The page and
its files are open: the page has to load before it can ask a person for the key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from fusion.limits import Limits, TooMany
from fusion.settings import Settings
from fusion.wire.auth import key_of, offered, origin_allowed
from fusion.wire.openai_rest import ApiError

NO_SECRET = "this server asks for a key: send it as 'Authorization: Bearer KEY', as X-API-Key or as ?token=KEY"
WRONG_ORIGIN = "pages of {origin} may not use this server; its owner can allow them with CORS_ORIGINS"
CHUNK_S, BODY_S = 30.0, 1800.0  # the longest wait for more of a body, and for all of it
DRAINED_BYTES, DRAIN_S = 64 * 2**20, 5.0  # of a refused body are read, so that its sender gets to read why


class Doors:
    """ASGI middleware. `is_open` names the paths without a key; `guest` knows keys that are good for one path only."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        is_open: Callable[[str], bool],
        guest: Callable[[str, str], bool],
        largest: Callable[[str], int],
    ) -> None:
        self._app, self._settings, self._is_open, self._guest, self._largest = app, settings, is_open, guest, largest
        self._limits = Limits(settings.rate_limit, settings.calls_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        if self._is_open(request.url.path):
            await self._app(scope, receive, send)
            return
        try:
            names = self._admitted(request)
            with self._limits.admitted(names):
                body = Body(receive, self._largest(request.url.path), request.headers.get("content-length", ""))
                await self._app(scope, body.receive if scope["type"] == "http" else receive, send)
        except TooMany as problem:
            await _refuse(
                ApiError(
                    429,
                    f"{problem.message}; try again in {problem.retry_after_s:.0f} s",
                    code="rate_limit_exceeded",
                    retry_after_s=problem.retry_after_s,
                ),
                scope,
                receive,
                send,
            )
        except ApiError as problem:
            await _refuse(problem, scope, receive, send)

    def _admitted(self, request: HTTPConnection) -> list[str]:
        """Whom the limits count: the key and the address. Raises ApiError."""
        address = request.client.host if request.client else ""
        keys = offered(request.headers.items(), request.url.query)
        key = key_of(self._settings.keys, keys)
        if self._settings.keys and key is None and not any(self._guest(request.url.path, one) for one in keys):
            raise ApiError(401, NO_SECRET, code="invalid_api_key")
        origin = request.headers.get("origin")
        # Reading an answer across sites is the browser's own check (CORS); only a WebSocket has none.
        if request.scope["type"] == "websocket" and not origin_allowed(origin, request.headers.get("host", ""), self._settings.origins):
            raise ApiError(403, WRONG_ORIGIN.format(origin=origin), code="origin_not_allowed")
        return [f"key {key}" if key else "", f"address {address}"]


class Body:
    """A request's body, counted and timed while it is read."""

    def __init__(self, receive: Receive, largest: int, declared: str) -> None:
        self._receive, self._largest = receive, largest
        self._declared = int(declared) if declared.isdecimal() else 0
        self._came, self._until = 0, time.monotonic() + BODY_S
        self._over = False

    async def receive(self) -> Message:
        """Raises ApiError: 413 and 408."""
        if self._over:  # what is left to wait for is the client's going away
            return await self._receive()
        if self._declared > self._largest:
            await self._refuse()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(CHUNK_S, self._until - time.monotonic())))
        except (TimeoutError, asyncio.TimeoutError):
            raise ApiError(408, f"no more of the body came for {CHUNK_S:.0f} s", code="request_timeout") from None
        self._came += len(message.get("body", b""))
        self._over = message["type"] != "http.request" or not message.get("more_body", False)
        if self._came > self._largest:
            await self._refuse()
        return message

    async def _refuse(self) -> None:
        until, left = time.monotonic() + DRAIN_S, DRAINED_BYTES
        while not self._over and left > 0 and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, until - time.monotonic()))
            except (TimeoutError, asyncio.TimeoutError):
                break
            left -= len(message.get("body", b""))
            self._over = message["type"] != "http.request" or not message.get("more_body", False)
        self._over = True
        raise ApiError(
            413, f"the body is larger than {self._largest / 1e6:g} MB; send less at once, or raise UPLOAD_MB", code="request_too_large"
        )


def refusal(problem: ApiError) -> JSONResponse:
    """An error in the shape that OpenAI clients read, which suits everybody else too."""
    challenge = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return JSONResponse(problem.body(), problem.status, {**problem.headers(), **challenge})


async def _refuse(problem: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(refusal(problem))
    else:
        await refusal(problem)(scope, receive, send)
