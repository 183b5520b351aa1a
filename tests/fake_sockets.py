"""The two sockets of a server, played from a script: what the page and the gateway meet in their
tests.

`FakeServer` answers the handshake and keeps what it hears; a test says every other word itself and
waits for facts with `until`, never for time. `serving` runs the real gateway in the test's own
loop.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import gateway
from whisperfusion.gateway.operations.dashboard import EventLog
from whisperfusion.messages import Metrics, Stage
from whisperfusion.settings import Settings

PATIENCE_S = (
    40.0  # bound of a test that fails; a page once took more than 15 s to load on a full machine
)
TTS_RATE = 24_000
READY = {
    name: Stage(name, "ready", engine="scripted", model="none", device="cpu")
    for name in ("asr", "llm", "tts", "gateway")
}


@dataclass
class FakeCall:
    """One caller, both sockets of it."""

    uid: str
    asr: ServerConnection | None = None
    tts: ServerConnection | None = None
    address: str = ""
    handshake: dict[str, Any] = field(default_factory=dict)
    audio: list[bytes] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)

    async def event(self, kind: str, **fields: Any) -> None:
        await self.asr.send(json.dumps({"uid": self.uid, "type": kind, **fields}))

    async def order(self, kind: str, **fields: Any) -> None:
        await self.tts.send(json.dumps({"type": kind, **fields}))

    async def sound(self, hertz: float, seconds: float) -> None:
        """A tone as int16 at 24 kHz, in frames of 0.1 s."""
        count = round(seconds * TTS_RATE)
        samples = [
            round(12_000 * math.sin(2 * math.pi * hertz * i / TTS_RATE)) for i in range(count)
        ]
        for start in range(0, count, TTS_RATE // 10):
            part = samples[start : start + TTS_RATE // 10]
            await self.tts.send(struct.pack(f"<{len(part)}h", *part))

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.said if message.get("type") == kind]

    async def die(self) -> None:
        """As a killed process would: no goodbye."""
        for socket in filter(None, (self.asr, self.tts)):
            socket.transport.abort()


class FakeServer:
    """Ports 6006 and 8888.

    `greeting` is what a caller gets for its handshake; None = SERVER_READY.
    """

    def __init__(self) -> None:
        self.calls: list[FakeCall] = []
        self.greeting: dict[str, Any] | None = None
        self.ready_fields: dict[str, Any] = {}  # beside the usual ones of SERVER_READY
        self._changed = asyncio.Condition()
        self._servers: list[Server] = []
        self.ports: tuple[int, int] = (0, 0)

    async def start(self) -> None:
        asr = await serve(self._hear, "127.0.0.1", self.ports[0], close_timeout=0.2)
        tts = await serve(self._speak, "127.0.0.1", self.ports[1], close_timeout=0.2)
        self._servers = [asr, tts]
        self.ports = (asr.sockets[0].getsockname()[1], tts.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    def settings(self, **fields: Any) -> Settings:
        return Settings(asr_port=self.ports[0], tts_port=self.ports[1], http_port=0, **fields)

    async def until(self, fact: Callable[[], Any]) -> Any:
        """The first true value of `fact()`, asked whenever something arrived."""
        async with self._changed:
            return await asyncio.wait_for(self._changed.wait_for(fact), PATIENCE_S)

    async def call(self, number: int = 0) -> FakeCall:
        """The caller that came as number `number`, when both of its sockets are there."""
        await self.until(
            lambda: (
                len(self.calls) > number and self.calls[number].tts and self.calls[number].handshake
            )
        )
        return self.calls[number]

    async def _hear(self, socket: ServerConnection) -> None:
        handshake = json.loads(await socket.recv())
        call = self._known(handshake["uid"])
        call.asr, call.handshake = socket, handshake
        call.address = socket.request.headers.get("X-Forwarded-For", "")
        stages = {
            name: {"state": "ready", "engine": stage.engine, "model": stage.model}
            for name, stage in READY.items()
        }
        ready = {
            "message": "SERVER_READY",
            "backend": "faster_whisper",
            "sample_rate": TTS_RATE,
            "stages": stages,
            **self.ready_fields,
        }
        await socket.send(json.dumps({"uid": call.uid} | (self.greeting or ready)))
        if self.greeting:
            return
        await self._tell()
        await self._keep(socket, call)

    async def _speak(self, socket: ServerConnection) -> None:
        call = self._known(parse_qs(urlsplit(socket.request.path).query)["uid"][0])
        call.tts = socket
        await self._tell()
        await self._keep(socket, call)

    def _known(self, uid: str) -> FakeCall:
        call = next((call for call in self.calls if call.uid == uid), None)
        if call is None:
            call = FakeCall(uid)
            self.calls.append(call)
        return call

    async def _keep(self, socket: ServerConnection, call: FakeCall) -> None:
        try:
            async for frame in socket:
                if isinstance(frame, bytes):
                    call.audio.append(frame)
                else:
                    call.said.append(json.loads(frame))
                await self._tell()
        except ConnectionClosed:
            pass  # what a test that kills the page's connection asked for

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    server = FakeServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def serving(
    settings: Settings,
    stages: dict[str, Stage] | None,
    counted: dict[str, Metrics] | None = None,
    events: EventLog | None = None,
) -> AsyncIterator[str]:
    """The real gateway on a free port; gives its address, such as http://127.0.0.1:40001."""
    stopping, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        gateway.Server(settings, stages, counted, events).run(stopping, address.set_result)
    )
    await asyncio.wait((task, address), return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            task.result()
        yield address.result()
    finally:
        stopping.set()
        await task
