"""Ports 6006 and 8888 that answer by themselves, in the test's own loop, and count who is
connected: upstreams for cancellations."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from whisperfusion.settings import Settings

QUIET = logging.getLogger("quiet")  # every second connection is cut in its handshake here
QUIET.disabled = True
SOUND = bytes(4800)  # 0.1 s
READY = {
    "message": "SERVER_READY",
    "backend": "faster_whisper",
    "sample_rate": 24_000,
    "stages": {},
}
SEGMENT = {
    "type": "segment",
    "start": 0.0,
    "end": 1.0,
    "text": "alpha",
    "words": [],
    "avg_logprob": 0.0,
    "no_speech_prob": 0.0,
}
DONE = {"type": "done", "duration": 1.0, "language": "en", "language_probability": 1.0}


class Answering:
    """Every `commit` and every `respond` is a turn with an answer of one sentence, which has no
    more sound than 0.1 s."""

    def __init__(self) -> None:
        self.open: dict[ServerConnection, str] = {}
        self.told: list[dict[str, Any]] = []  # control frames of all calls
        self.handshakes: list[dict[str, Any]] = []
        self._listeners: dict[str, ServerConnection] = {}
        self._servers: list[Server] = []

    async def start(self) -> None:
        handlers = self._kept(self._words), self._kept(self._sound)
        self._servers = [
            await serve(one, "127.0.0.1", 0, close_timeout=0.2, logger=QUIET) for one in handlers
        ]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    def settings(self, **fields: Any) -> Settings:
        words, sound = (server.sockets[0].getsockname()[1] for server in self._servers)
        return Settings(asr_port=words, tts_port=sound, http_port=0, **fields)

    def _kept(self, handler: Any) -> Any:
        async def serve_one(socket: ServerConnection) -> None:
            self.open[socket] = handler.__name__
            try:
                await handler(socket)
            except ConnectionClosed:
                pass
            finally:
                del self.open[socket]

        return serve_one

    async def _words(self, socket: ServerConnection) -> None:
        handshake = json.loads(await socket.recv())
        self.handshakes.append(handshake)
        uid, turn = handshake["uid"], 0
        await socket.send(json.dumps({"uid": uid, **READY}))
        async for frame in socket:
            if handshake.get("file"):
                if frame == "END_OF_AUDIO":
                    for event in (SEGMENT, DONE):
                        await socket.send(json.dumps({"uid": uid, **event}))
                    return
                continue
            told = json.loads(frame) if isinstance(frame, str) else {}
            self.told += [told] if told else []
            if told.get("type") in ("commit", "respond"):
                turn += 1
                await self._answer(socket, uid, turn, told, bool(handshake.get("reply", True)))

    async def _answer(
        self, socket: ServerConnection, uid: str, turn: int, told: dict[str, Any], replies: bool
    ) -> None:
        events: list[dict[str, Any]] = []
        if told["type"] == "commit":
            caption = {
                "type": "caption",
                "text": "alpha",
                "stable": 5,
                "final": True,
                "start": 0.0,
                "end": 1.0,
                "language": "en",
            }
            events += [caption, {"type": "turn", "turn": turn, "text": "alpha"}]
        else:
            events += [{"type": "answering", "turn": turn, "id": told.get("id", "")}]
        if replies:
            events += [
                {"type": "reply", "turn": turn, "index": 0, "text": "You said alpha.", "last": True}
            ]
        listener = self._listeners.get(uid)
        if replies and listener is None:
            events += [{"type": "spoken", "turn": turn, "seconds": 0.0, "last": True}]
        for event in events:
            await socket.send(json.dumps({"uid": uid, **event}))
        if replies and listener is not None:
            await listener.send(json.dumps({"type": "start", "turn": turn}))
            await listener.send(SOUND)
            for kind in ("sent", "end"):
                await listener.send(json.dumps({"type": kind, "turn": turn}))

    async def _sound(self, socket: ServerConnection) -> None:
        uid = parse_qs(urlsplit(socket.request.path).query)["uid"][0]  # type: ignore[union-attr]
        self._listeners[uid] = socket
        try:
            async for frame in socket:
                if json.loads(frame).get("type") == "say":
                    await socket.send(SOUND)
                    await socket.send(SOUND)
                    await socket.send(json.dumps({"type": "said", "id": None, "seconds": 0.2}))
        finally:
            del self._listeners[uid]


@asynccontextmanager
async def answering() -> AsyncIterator[Answering]:
    server = Answering()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
