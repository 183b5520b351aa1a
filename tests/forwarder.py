"""One address in front of servers that take each other's place, as a proxy is."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Forwarder:
    """Passes each new connection on to the `port` of that moment, on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Forwarder:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        self._tasks: set[asyncio.Task] = set()
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader, writer) -> None:
        self._tasks.add(asyncio.current_task())
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        both = (_copied(reader, far_writer), _copied(far_reader, writer))
        try:
            await asyncio.gather(*both)
        finally:
            for one in (writer, far_writer):
                one.transport.abort()


async def _copied(reader, writer) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()
