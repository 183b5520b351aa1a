"""A bad line between a caller and the server, on this machine.

TCP hides lost packets, and what is left of them for a program is time: the data behind a lost
packet waits until it was sent again, 0.2 s at least and twice as long each time. So a line that is
`bad` holds each piece of data for 40 to 120 ms, and one in 25 for 0.2 to 1.6 s, with all that is
behind it. That is done here and not by `tc netem`, which the kernel must have.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

DELAY_S = (0.04, 0.12)
LOST, AGAIN_S = 0.04, (0.2, 0.4, 0.8, 1.6)
PIECE = 16_384
AHEAD = 64  # pieces that are on the way


class SlowLine:
    """From a free port of this machine to `port`; `start` it, `stop` it."""

    def __init__(self, port: int, seed: int) -> None:
        self._to, self._chance = port, random.Random(seed)
        self.bad = False
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Resets all connections. May be called from another thread."""
        for writer in list(self._writers):
            writer.get_extra_info("loop", asyncio.get_running_loop)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            self._writers -= both
            self._tasks.discard(task)
            for one in both:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In order; a late piece makes all behind it late, and pieces do not wait for each other
        otherwise.
        """
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)
        sending = asyncio.create_task(self._send(on_the_way, writer))
        loop = asyncio.get_running_loop()
        due = 0.0
        try:
            with suppress(OSError):
                while data := await reader.read(PIECE):
                    due = max(due, loop.time() + self._late_s())
                    await on_the_way.put((due, data))
            await on_the_way.put((due, b""))
            await sending
        finally:
            sending.cancel()

    def _late_s(self) -> float:
        if not self.bad:
            return 0.0
        late = self._chance.uniform(*DELAY_S)
        if self._chance.random() < LOST:
            late += self._chance.choice(AGAIN_S)
        return late

    @staticmethod
    async def _send(
        on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            try:
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
            except OSError:
                return
