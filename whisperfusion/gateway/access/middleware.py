"""Access control for every route: the Host header, keys, rate limits, the origin of WebSockets and
the size of bodies, which are counted while they are received.

Denied is the default: a route needs a key unless `is_public` names it, so a new route is protected
without further code. The page and its files are public, because they have to load before a user can
enter a key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from whisperfusion.gateway.access.client_key import set_client_key
from whisperfusion.runtime.devices import Keys
from whisperfusion.runtime.failed_keys import FailedKeyThrottle
from whisperfusion.runtime.peers import client_address, from_this_machine
from whisperfusion.runtime.rate_limits import KEY, SCOPE, Limits, Quota, TooMany, names_of
from whisperfusion.settings import Settings, may_call
from whisperfusion.wire.auth import offered, origin_allowed
from whisperfusion.wire.openai_rest import ApiError

NO_SECRET = (
    "this server asks for a key: send it as 'Authorization: Bearer KEY', as X-API-Key or "  # noqa: S105
    "as ?token=KEY"
)
NOT_PAIRED = (
    "this device is not paired: open this server's page on the machine that runs it, choose 'Use "
    "on your phone' and scan what it "
    "shows, or send a key as 'Authorization: Bearer KEY', as X-API-Key or as ?token=KEY"
)
WRONG_ORIGIN = (
    "pages of {origin} may not use this server; its owner can allow them with CORS_ORIGINS"
)
WRONG_HOST = (
    "this server does not answer to the name {host}; its owner can allow that with "
    "ALLOWED_HOSTS={host}, or with a SHARED_SECRET"
)
CHUNK_S, BODY_S = 30.0, 1800.0  # the longest wait for more of a body, and for all of it
# a refused body is read up to these limits, so that the client reads the answer
DRAINED_BYTES, DRAIN_S = 64 * 2**20, 5.0
REDEEMED_SESSION = (
    "whisperfusion.redeemed_session"  # in the scope: the session of the redeemed client secret
)


class ClientSecrets(Protocol):
    """Short-lived keys, each for one WebSocket session at `path`."""

    path: str

    def known(self, key: str) -> bool: ...

    def redeem(self, key: str) -> Any:
        """The session of the key, once. Raises ApiError."""

    def issued_with(self, key: str) -> str:
        """The key of the client that fetched this one."""


class AccessMiddleware:
    """ASGI middleware. `is_public`: whether a path needs no key; `largest`: the largest body of a
    path, in bytes, and what to do about a larger one.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        is_public: Callable[[str], bool],
        client_secrets: ClientSecrets,
        largest: Callable[[str], tuple[int, str]],
        limits: Limits,
    ) -> None:
        self._app, self._settings, self._is_public = app, settings, is_public
        self._client_secrets, self._largest, self._limits = client_secrets, largest, limits
        self._keys, self._failed_keys = Keys(settings), FailedKeyThrottle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        self._resolve_client(request)
        try:
            self._check_host(request)
            if self._is_public(request.url.path) and not self._is_private(request):
                await self._app(scope, receive, send)
                return
            names = await self._admitted(request)
            scope[SCOPE] = Quota(self._limits, names)
            with self._limits.admitted(names):
                self._redeem_client_secret(request)
                body = Body(
                    receive,
                    *self._largest(request.url.path),
                    request.headers.get("content-length", ""),
                )
                await self._app(scope, body.receive if scope["type"] == "http" else receive, send)
        except TooMany as problem:
            await refuse(rate_limited(problem), scope, receive, send)
        except ApiError as problem:
            await refuse(problem, scope, receive, send)

    def _resolve_client(self, request: HTTPConnection) -> None:
        """Replace the client's address by the one that a trusted proxy forwards for."""
        client = request.scope.get("client")
        if client:
            address = client_address(
                client[0], request.headers.getlist("x-forwarded-for"), self._settings.proxies
            )
            request.scope["client"] = (address, client[1])

    def _check_host(self, request: HTTPConnection) -> None:
        """Raises ApiError: protection against DNS rebinding, where a foreign page points its own
        name at this server.
        """
        hosts = request.headers.getlist("host")
        if not may_call(self._settings, hosts):
            raise ApiError(403, WRONG_HOST.format(host=hosts[-1][:100]), code="host_not_allowed")

    def _is_private(self, request: HTTPConnection) -> bool:
        """With HTTPS on, /health and /ready need a key, except on this machine: the health probe
        of a container has none.
        """
        private = self._settings.secure and request.url.path.startswith(("/health", "/ready"))
        return private and not is_here(request)

    async def _admitted(self, request: HTTPConnection) -> tuple[str, ...]:
        """The names that rate limits count: the key and the address. Raises ApiError."""
        address = request.client.host if request.client else ""
        keys = offered(request.headers.items(), request.url.query)
        key = request.scope[KEY] = self._keys.number(keys)
        if (
            self._keys.needed(is_here(request))
            and key is None
            and not self._offered_client_secrets(request)
        ):
            if keys:
                await asyncio.sleep(self._failed_keys.delay_s(address, time.monotonic()))
            what, code = (
                (NOT_PAIRED, "not_paired")
                if self._settings.secure
                else (NO_SECRET, "invalid_api_key")
            )
            raise ApiError(401, what, code=code)
        origin = request.headers.get("origin")
        # Browsers check the origin of HTTP responses themselves (CORS), but not of WebSockets.
        if request.scope["type"] == "websocket" and not origin_allowed(
            origin, request.headers.get("host", ""), self._settings.origins
        ):
            raise ApiError(403, WRONG_ORIGIN.format(origin=origin), code="origin_not_allowed")
        set_client_key("" if key is None else self._valid(keys, key))
        return names_of(key, address)

    def _valid(self, keys: list[str], number: int) -> str:
        """The one of `keys` that has this number."""
        return next(key for key in keys if self._keys.number([key]) == number)

    def _offered_client_secrets(self, request: HTTPConnection) -> list[str]:
        if request.scope["type"] != "websocket" or request.url.path != self._client_secrets.path:
            return []
        return [
            key
            for key in offered(request.headers.items(), request.url.query)
            if self._client_secrets.known(key)
        ]

    def _redeem_client_secret(self, request: HTTPConnection) -> None:
        """A client secret is redeemed only after all other checks, so that a refused client can
        try again. Raises ApiError.
        """
        for key in self._offered_client_secrets(request)[:1]:
            request.scope[REDEEMED_SESSION] = self._client_secrets.redeem(key)
            set_client_key(self._client_secrets.issued_with(key))


def is_here(request: HTTPConnection) -> bool:
    """Whether the client is on this machine."""
    address = request.client.host if request.client else ""
    return from_this_machine(
        address, request.headers.getlist("host"), "x-forwarded-for" in request.headers
    )


class Body:
    """A request's body, counted and timed while it is read."""

    def __init__(self, receive: Receive, largest: int, advice: str, declared: str) -> None:
        self._receive, self._largest, self._advice = receive, largest, advice
        self._declared = int(declared) if declared.isdecimal() else 0
        self._came, self._until = 0, time.monotonic() + BODY_S
        self._over = False

    async def receive(self) -> Message:
        """Raises ApiError: 413 and 408."""
        if self._over:  # only the disconnect can follow
            return await self._receive()
        if self._declared > self._largest:
            await self._refuse()
        try:
            message = await asyncio.wait_for(
                self._receive(), max(0.0, min(CHUNK_S, self._until - time.monotonic()))
            )
        except (TimeoutError, asyncio.TimeoutError):
            raise ApiError(
                408, f"no more of the body arrived for {CHUNK_S:.0f} s", code="request_timeout"
            ) from None
        self._came += len(message.get("body", b""))
        self._over = message["type"] != "http.request" or not message.get("more_body", False)
        if self._came > self._largest:
            await self._refuse()
        return message

    async def _refuse(self) -> None:
        until, left = time.monotonic() + DRAIN_S, DRAINED_BYTES
        while not self._over and left > 0 and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(
                    self._receive(), max(0.0, until - time.monotonic())
                )
            except (TimeoutError, asyncio.TimeoutError):
                break
            left -= len(message.get("body", b""))
            self._over = message["type"] != "http.request" or not message.get("more_body", False)
        self._over = True
        too_large = f"the body is larger than {self._largest / 1e6:g} MB"
        raise ApiError(413, f"{too_large}; {self._advice}", code="request_too_large")


def rate_limited(problem: TooMany) -> ApiError:
    why = f"{problem.message}; try again in {problem.retry_after_s:.0f} s"
    return ApiError(429, why, code="rate_limit_exceeded", retry_after_s=problem.retry_after_s)


def refusal(problem: ApiError) -> JSONResponse:
    """An error in OpenAI's shape."""
    challenge = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return JSONResponse(problem.body(), problem.status, {**problem.headers(), **challenge})


async def refuse(problem: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(refusal(problem))
    else:
        await refusal(problem)(scope, receive, send)
