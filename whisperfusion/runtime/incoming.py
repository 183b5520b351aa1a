"""Received frames: read ahead up to a limit, and yielded in portions that do not block the
event loop.

A client that sends a recording and disconnects must be seen to disconnect, so frames are read while
earlier ones are processed; but the buffered bytes are limited, per connection and in total, and a
client that sends more is not read until there is room (backpressure). Audio is joined or divided
into portions: a thousand frames of one byte cost as much as one frame of a thousand, and 16 MiB are
processed piece by piece. Every portion yields to the loop first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeGuard

from whisperfusion.wire import FrameError
from whisperfusion.wire.asr_socket import is_end_of_audio

AHEAD_BYTES = 1024 * 1024  # buffered for one connection, or one larger frame
TOTAL_BYTES = 64 * 1024 * 1024  # the same for all connections of a process
PORTION_BYTES = 32 * 1024  # of audio processed at once: half a second of float32
TEXT_BYTES = 256 * 1024  # of a text frame: parsing more JSON would block the loop
# limits of frames below 10 ms of int16 audio: per second, and in a burst
SMALL_BYTES, SMALL_PER_S, SMALL_BURST = 300, 500.0, 1000.0
# read from a socket at once: up to 1,200 frames, which the library parses in one go
READ_BYTES = 8 * 1024


class ByteBudget:
    """Bytes of the frames that all connections buffer together."""

    def __init__(self, most: int = TOTAL_BYTES) -> None:
        self.most, self.bytes = most, 0
        self._waiting: set[asyncio.Event] = set()

    def add(self, size: int) -> None:
        self.bytes += size

    def free(self, size: int) -> None:
        self.bytes -= size
        for event in self._waiting:
            event.set()

    async def change(self) -> None:
        """Wait until bytes were freed."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)


ALL_CONNECTIONS = ByteBudget()


class Incoming:
    """The frames of one connection after its handshake, as an async context and iterator of text
    and audio.

    The iterator ends when the connection is closed normally, and raises `ConnectionClosed`
    otherwise. A text frame that is too long is yielded as a `FrameError`; the connection goes on.
    """

    def __init__(self, connection: Any, all_held: ByteBudget = ALL_CONNECTIONS) -> None:
        self._connection, self._all = connection, all_held
        self._frames: deque[str | bytes | bytearray | FrameError] = deque()
        self._size, self._at = 0, 0  # bytes buffered; of the first frame, how many were yielded
        self._changed, self._end = asyncio.Event(), False
        self._closed: Exception | None = None
        self._credit, self._credit_at = SMALL_BURST, 0.0
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._received_at = self._loop.time()

    async def __aenter__(self) -> Incoming:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        self._all.free(self._size)
        self._frames.clear()
        self._size = 0
        await asyncio.gather(self._task, return_exceptions=True)

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> str | bytes | FrameError:
        if self._frames:
            await asyncio.sleep(0)
        while not self._frames:  # to wait yields, too
            if self._end:
                if self._closed is not None:
                    raise self._closed
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._next_frame()

    async def idle(self, most_s: float, busy: Callable[[], bool]) -> None:
        """Returns when nothing was received for `most_s` seconds while not `busy`."""
        while (rest := self._received_at + most_s - self._loop.time()) > 0 or busy():  # noqa: ASYNC110
            await asyncio.sleep(max(rest, 1.0))

    def _next_frame(self) -> str | bytes | FrameError:
        first = self._frames[0]
        if isinstance(first, (bytes, bytearray)) and len(first) > PORTION_BYTES:
            with memoryview(first) as view:
                portion = bytes(view[self._at : self._at + PORTION_BYTES])
            self._at += len(portion)
            if self._at >= len(first):
                self._drop_first()
            return portion
        self._drop_first()
        return bytes(first) if isinstance(first, bytearray) else first

    def _drop_first(self) -> None:
        size = _size(self._frames.popleft())
        self._at = 0
        self._size -= size
        self._all.free(size)

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

        try:
            while True:
                frame = await self._connection.recv()
                self._received_at = self._loop.time()
                await self._room(_size(frame))
                self._put(frame)
                await self._throttle(_size(frame))
        except ConnectionClosedOK:
            pass
        except ConnectionClosed as closed:
            self._closed = closed
        finally:
            self._end = True
            self._changed.set()

    async def _room(self, size: int) -> None:
        while self._size and (
            self._size + size > AHEAD_BYTES or self._all.bytes + size > self._all.most
        ):
            await self._all.change()

    def _put(self, frame: str | bytes) -> None:
        size = _size(frame)
        kept: str | bytes | bytearray | FrameError = frame
        if isinstance(frame, str) and size > TEXT_BYTES:
            kept = FrameError(
                "bad_frame", f"a text frame has {size} bytes; send at most {TEXT_BYTES}"
            )
            size = 0
        elif self._frames and not self._at and _is_small(frame) and _is_small(self._frames[-1]):
            last = self._frames[-1]
            if not isinstance(last, bytearray):
                last = self._frames[-1] = bytearray(last)
            last += frame
            kept = b""
        if kept != b"":
            self._frames.append(kept)
        self._size += size
        self._all.add(size)
        self._changed.set()

    async def _throttle(self, size: int) -> None:
        """Small frames cost as much as large ones, so a client that sends too many is read more
        slowly.
        """
        if size >= SMALL_BYTES:
            return
        now = self._loop.time()
        self._credit = min(SMALL_BURST, self._credit + (now - self._credit_at) * SMALL_PER_S) - 1
        self._credit_at = now
        if self._credit < 0:
            await asyncio.sleep(0.1)
        elif int(self._credit) % 32 == 0:
            await asyncio.sleep(0)


def _is_small(frame: object) -> TypeGuard[bytes | bytearray]:
    """Audio that is joined with its neighbours."""
    return (
        isinstance(frame, (bytes, bytearray))
        and len(frame) < PORTION_BYTES
        and not is_end_of_audio(bytes(frame[:16]))
    )


def _size(frame: object) -> int:
    """Bytes on the wire."""
    if isinstance(frame, str):
        return len(frame) if frame.isascii() else len(frame.encode("utf-8", "replace"))
    return len(frame) if isinstance(frame, (bytes, bytearray)) else 0
