"""The end of a gateway that has clients: new work is refused with 503, what was admitted may end,
and sessions that are left are closed with 1012 between turns, for their clients to go on elsewhere.

What only looks at the server (the page's files, health, metrics, events) is served to the end. The
two sockets that are passed through are not refused: the processes behind them admit calls and end
them, and the second socket of a call that was admitted must still get through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio import move_on_after
from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from whisperfusion.gateway.access.middleware import refuse
from whisperfusion.runtime.shutdown import LAST_S, REPLY_S
from whisperfusion.wire.openai_rest import ApiError

LOOK_S = 0.1  # between two looks at what is left
AHEAD_S = 1.0  # by which sessions end before the calls behind them
CLOSE_S = 1.0  # for a client to read the end
RETRY_S = 5.0  # after which a refused client tries again
REFUSED = "this server is being restarted and takes nothing new; try again in a few seconds"
MOVED = "this server is being restarted; connect again to go on"
CALLS, LISTENERS = "/transcription", "/audio"  # passed through
LOOKS = ("/metrics", "/events", "/config.json", "/openapi.json", LISTENERS)


class Draining:
    """What the gateway has admitted. Not thread safe: used on the event loop only."""

    def __init__(self) -> None:
        self.started = False
        self._work = 0
        self._sessions: dict[WebSocket, Callable[[], bool]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def work(self) -> Iterator[None]:
        """A request or a connection, which ends before the gateway does."""
        self._work += 1
        try:
            yield
        finally:
            self._work -= 1

    @contextmanager
    def session(self, client: WebSocket, at_rest: Callable[[], bool]) -> Iterator[None]:
        """A session of turns; `at_rest`: whether it is between two of them."""
        self._sessions[client] = at_rest
        try:
            yield
        finally:
            del self._sessions[client]

    def start(self, within_s: float, done: Callable[[], object]) -> None:
        """`done` is called when nothing is left, or cannot be waited for any longer; after
        `within_s` seconds sessions are closed.
        """
        self.started = True
        self._task = asyncio.create_task(self._finish(max(0.0, within_s - AHEAD_S), done))

    async def _finish(self, within_s: float, done: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._work and loop.time() < until + LAST_S:
            if loop.time() >= until:
                late = loop.time() >= until + REPLY_S
                due = [one for one, at_rest in self._sessions.items() if late or at_rest()]
                await asyncio.gather(*map(_move, due))
            await asyncio.sleep(LOOK_S)
        done()


async def _move(client: WebSocket) -> None:
    with move_on_after(CLOSE_S):
        try:
            await client.close(1012, MOVED)
        except (RuntimeError, WebSocketDisconnect):  # it is closed already
            return


class DrainingMiddleware:
    """ASGI middleware; `is_public`: paths that need no key, which are not work either."""

    def __init__(self, app: ASGIApp, draining: Draining, is_public: Callable[[str], bool]) -> None:
        self._app, self._draining, self._is_public = app, draining, is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        looks = self._is_public(path) or path in LOOKS
        if scope["type"] not in ("http", "websocket") or looks:
            await self._app(scope, receive, send)
        elif self._draining.started and path != CALLS:
            problem = ApiError(503, REFUSED, code="server_draining", retry_after_s=RETRY_S)
            await refuse(problem, scope, receive, send)
        else:
            with self._draining.work():
                await self._app(scope, receive, send)
