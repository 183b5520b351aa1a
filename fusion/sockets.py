"""What the two WebSocket servers share: who may come in, and how frames leave.

A client that never reads must cost nobody anything: frames are queued without waiting, and when more
than `LIMIT` bytes wait, the connection is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fusion.limits import Limits, TooMany
from fusion.settings import Settings, is_loopback
from fusion.wire.auth import SUBPROTOCOL, authorized, origin_allowed

LIMIT = 8 * 1024 * 1024  # bytes; 85 s of float32 speech at 24 kHz
FRAMES = 64  # taken ahead of the work on them: a client that sends a file and hangs up is seen to hang up
FRAME_BYTES = 16 * 1024 * 1024  # largest frame taken: over four minutes of float32 audio at 16 kHz

log = logging.getLogger("sockets")


class Outgoing:
    """The queue of one connection, and the task that sends it."""

    def __init__(self, connection: Any, limit: int = LIMIT) -> None:
        self._connection, self._limit = connection, limit
        self._frames: deque[str | bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._task = asyncio.create_task(self._write())

    def send(self, frame: str | bytes) -> None:
        if self._closing is not None:
            return
        self._frames.append(frame)
        self._size += len(frame)
        if self._size > self._limit:
            self._closing = (1008, "not read")
            self._frames.clear()
            log.warning("%s does not read what it asked for: cut off", self._connection.remote_address)
            self._connection.transport.abort()  # a closing handshake would wait behind what nobody reads
        self._changed.set()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after what is queued has been sent."""
        if self._closing is None:
            self._closing = (code, reason)
            self._changed.set()

    @property
    def closed(self) -> bool:
        return self._closing is not None

    async def finished(self) -> None:
        await self._task

    async def _write(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                while self._frames:
                    frame = self._frames.popleft()
                    await self._connection.send(frame)
                    self._size -= len(frame)
                if self._closing is not None:
                    await self._connection.close(*self._closing)
                    return
                self._changed.clear()
                await self._changed.wait()
        except ConnectionClosed:
            self._closing = self._closing or (1006, "gone")


def listen(settings: Settings, port: int, handler: Callable[[Any], Awaitable[None]]) -> Any:
    """A WebSocket server on `port` that asks for the secret and the origin before the upgrade."""
    from websockets.asyncio.server import serve

    def check(connection: Any, request: Any) -> Any:
        if not authorized(settings.keys, request.headers.raw_items(), urlsplit(request.path).query):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "This server wants a key: Authorization: Bearer KEY, or ?token=KEY\n")
        if not origin_allowed(request.headers.get("Origin"), request.headers.get("Host", ""), settings.origins):
            return connection.respond(HTTPStatus.FORBIDDEN, "Pages of this origin may not connect; add it to CORS_ORIGINS\n")
        return None

    limits = Limits(settings.rate_limit, settings.calls_limit)

    async def limited(connection: Any) -> None:
        """Others' addresses only: this machine is the gateway, which counts for itself, or its owner."""
        address = address_of(connection)
        try:
            with limits.admitted([] if is_loopback(address) else [address]):
                await handler(connection)
        except TooMany as problem:
            await connection.close(1013, f"{problem.message}; again in {problem.retry_after_s:.0f} s")

    return serve(limited, settings.host, port, process_request=check, max_size=FRAME_BYTES, max_queue=FRAMES, compression=None,
                 close_timeout=1, subprotocols=[SUBPROTOCOL], select_subprotocol=_bearer)


def _bearer(connection: Any, offered: Sequence[str]) -> Any:
    """Only the word goes back in a header, never the key that comes with it."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def address_of(connection: Any) -> str:
    """Where a client sits: as a proxy on this machine tells, else the peer."""
    peer = connection.remote_address[0] if connection.remote_address else ""
    forwarded = connection.request.headers.get("X-Forwarded-For", "")
    return forwarded.split(",")[0].strip() if forwarded and peer in ("127.0.0.1", "::1") else peer
