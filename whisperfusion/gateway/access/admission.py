"""Connection admission on port 8000: the time to receive a request's head is limited, and over
capacity only health checks are served.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from whisperfusion.gateway.access.middleware import refuse
from whisperfusion.runtime.listener import HEAD_S, Listener
from whisperfusion.wire.openai_rest import ApiError

OVER_CAPACITY = (
    "too many connections are open; close those that are not used, or try again in a few seconds"
)
RETRY_AFTER_S = 5.0  # sent to a refused client


def http_protocol_for(listener: Listener) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, with a time limit for each head.

    The first one of a connection is timed by `listener`.
    """

    class Timed(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            upgraded = self.transport.get_protocol() is not self
            if upgraded or self.cycle is not before:
                listener.head_received(self.client)
                self._stop_timer()
            elif self._timer is None and before is not None and before.response_complete:
                self._timer = self.loop.call_later(HEAD_S, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Timed


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which can also be shut down during its closing handshake
    (under TLS that takes a while).
    """

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except InvalidState:  # the closing handshake is already done
            self.transport.close()


class CapacityMiddleware:
    """ASGI middleware, the outermost: `scope["client"]` is still the connection's own peer."""

    def __init__(self, app: ASGIApp, listener: Listener) -> None:
        self._app, self._listener = app, listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client: Any = scope.get("client")
        if (
            scope["type"] in ("http", "websocket")
            and "/health" not in scope["path"]
            and not scope["path"].endswith("/ready")
            and self._listener.over_capacity(client)
        ):
            await refuse(
                ApiError(503, OVER_CAPACITY, code="server_busy", retry_after_s=RETRY_AFTER_S),
                scope,
                receive,
                send,
            )
        else:
            await self._app(scope, receive, send)
