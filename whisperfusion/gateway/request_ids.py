"""Names each request: the client's `X-Request-ID` (or the trace id of its `traceparent`), else a
new one. The response carries it, lines of the log do, and the sockets behind the gateway get it.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisperfusion import json_log
from whisperfusion.messages import NO_TRACE, Trace
from whisperfusion.wire import trace as wire

CURRENT: ContextVar[Trace] = ContextVar("request", default=NO_TRACE)  # of the request at hand
log = logging.getLogger("gateway")
ANSWERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class RequestIdMiddleware:
    """ASGI middleware, outside of all that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = wire.trace_of_headers(Headers(scope=scope))
        trace = Trace(sent.id or wire.new_request_id(), sent.parent)

        async def answer(message: Message) -> None:
            if message["type"] in ANSWERS:
                # not the query string: it may hold a key
                log.debug("%s: %s", scope["path"], message.get("status", "accepted"))
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[wire.REQUEST_ID] = trace.id
            await send(message)

        token = CURRENT.set(trace)
        try:
            with json_log.scope(ids=wire.log_ids(trace)):
                await self._app(scope, receive, answer)
        finally:
            CURRENT.reset(token)
