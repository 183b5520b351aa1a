"""Calls that are over when they are answered, each in a thread of its own.

An engine blocks, a server must not: the pieces go from the thread to the event loop, which waits
for its listener, and the engine waits for both (`Job.room`). The end of the listener is the end of
the call, which a balancer between notices at the next pulse; the engine does at its next piece.
Both come ten times a second. Only then is its place free for the next call, since until then it
computes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any

from whisperfusion.engines import batching
from whisperfusion.engines.elsewhere.calls import STREAMS, Job, failed, history, stream
from whisperfusion.errors import lost_for_good
from whisperfusion.wire import engine_pipe as wire
from whisperfusion.wire.engine_server import LOST

PULSE_S = 0.1
END_S = 0.5  # a call that is cancelled ends within a pulse and a step of its engine
Ended = Callable[[Any, BaseException | None], object]


class Jobs:
    """`at_once` calls run at the same time, others wait. `ended` gets the engine and the
    error of each call that ended, None = it succeeded.
    """

    def __init__(self, at_once: int, ended: Ended) -> None:
        self._places, self._ended = asyncio.Semaphore(at_once), ended
        self.present = 0  # with those that wait
        self._named: dict[str, tuple[Job, asyncio.Event]] = {}  # and set when it is over

    async def frames(
        self, engine: Any, call: wire.Call, name: str = "", given_up: Iterable[str] = ()
    ) -> AsyncIterator[bytes]:
        """Each piece of the answer as a frame, and `Done` or `Failed`. Close it to cancel.

        `name` is the cell's own for this call; the calls named in `given_up` are cancelled before
        it begins.
        """
        self.present += 1
        try:
            await self._end(given_up)
            await self._places.acquire()
        except BaseException:
            self.present -= 1
            raise
        loop, job, over = asyncio.get_running_loop(), Job(), asyncio.Event()
        if name:
            self._named[name] = job, over
        found: asyncio.Queue[wire.Message] = asyncio.Queue()
        pulse = b"".join(wire.encode(wire.Pulse(call.id)))

        def put(message: wire.Message) -> None:
            loop.call_soon_threadsafe(found.put_nowait, message)

        def run() -> None:
            try:
                end: wire.Message = wire.Done(call.id, self._carried_out(engine, call, job, put))
                error: BaseException | None = None
            except BaseException as caught:  # a panic of a Rust library is not an Exception
                end, error = failure(call, caught), caught
            with suppress(RuntimeError):  # the event loop has ended, and with it the server
                loop.call_soon_threadsafe(self._over, engine, error, name, over)
                put(end)

        threading.Thread(target=run, name=f"{call.method}", daemon=True).start()
        try:
            while True:
                try:
                    message = await asyncio.wait_for(found.get(), PULSE_S)
                except (TimeoutError, asyncio.TimeoutError):
                    yield pulse
                    continue
                yield b"".join(wire.encode(message))
                if not isinstance(message, wire.Piece):
                    return
                job.room.release()
        finally:
            job.cancel()

    async def _end(self, names: Iterable[str]) -> None:
        """Cancel these calls and wait a moment for their end: what they have read is of use."""
        waits = []
        for job, over in filter(None, map(self._named.get, names)):
            job.cancel()
            waits.append(asyncio.ensure_future(over.wait()))
        if waits:
            _, late = await asyncio.wait(waits, timeout=END_S)
            for one in late:
                one.cancel()

    def _carried_out(
        self, engine: Any, call: wire.Call, job: Job, put: Callable[[wire.Message], None]
    ) -> Any:
        """The result of a call without pieces."""
        if call.method in STREAMS:
            return stream(engine, call, job, put)
        if call.method == "detect_language":
            assert call.pcm is not None, call
            return batching.detect_language(engine, call.pcm)
        return engine.warm_up(history(call))

    def _over(
        self, engine: Any, error: BaseException | None, name: str, over: asyncio.Event
    ) -> None:
        over.set()
        if name in self._named and self._named[name][1] is over:
            del self._named[name]
        self.present -= 1
        self._places.release()
        self._ended(engine, error)


def failure(call: wire.Call, error: BaseException) -> wire.Failed:
    """`error` as the end of `call`."""
    if why := lost_for_good(error):
        return wire.Failed(call.id, f"{why} ({type(error).__name__})", LOST)
    return failed(call, error)
