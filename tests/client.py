"""A small client of 6006 and 8888 for tests: speaks tones or text, keeps all that it is told."""

from __future__ import annotations

import asyncio
import json
import uuid

import numpy as np
from websockets.asyncio.client import connect

from fusion.engines.scripted import tone_speech

PATIENCE_S = 40.0  # bound of a test that fails


def spoken(text: str, pause_s: float = 2.0) -> np.ndarray:
    """Tones for the scripted engines, with a breath before and a pause behind."""
    return np.concatenate((np.zeros(4800, np.float32), tone_speech(text), np.zeros(int(pause_s * 16000), np.float32)))


class Caller:
    """Both sockets of one caller, with events."""

    def __init__(self, server, **handshake) -> None:
        self.server = server
        self.uid = handshake.pop("uid", uuid.uuid4().hex)
        self.handshake = {"uid": self.uid, "events": True, **handshake}
        self.events: list[dict] = []
        self.sound: list[tuple[int, bytes]] = []  # (turn, float32 bytes)
        self.sound_events: list[dict] = []
        self.news = asyncio.Condition()
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self) -> Caller:
        self.ears = await connect(f"{self.server.tts_url}/?uid={self.uid}&events=1", max_size=None)
        self.mouth = await connect(self.server.asr_url, max_size=None)
        await self.mouth.send(json.dumps(self.handshake))
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._hear())]
        await self.until(lambda: any("message" in event for event in self.events))
        return self

    async def __aexit__(self, *_) -> None:
        for task in self._tasks:
            task.cancel()
        await self.mouth.close()
        await self.ears.close()

    async def _listen(self) -> None:
        try:
            async for frame in self.mouth:
                await self._note(self.events, json.loads(frame))
        finally:
            await asyncio.shield(self._note(self.events, {"type": "closed", "code": self.mouth.close_code}))

    async def _hear(self) -> None:
        turn = 0
        async for frame in self.ears:
            if isinstance(frame, bytes):
                await self._note(self.sound, (turn, frame))
                continue
            event = json.loads(frame)
            turn = event.get("turn", turn)
            await self._note(self.sound_events, event)

    async def _note(self, where: list, what) -> None:
        async with self.news:
            where.append(what)
            self.news.notify_all()

    async def until(self, condition) -> None:
        async with self.news:
            try:
                await asyncio.wait_for(self.news.wait_for(condition), PATIENCE_S)
            except (TimeoutError, asyncio.TimeoutError):
                raise AssertionError(f"waited in vain; events: {self.events[-12:]}, sound: {self.sound_events[-6:]}") from None

    async def send(self, **frame) -> None:
        await self.mouth.send(json.dumps(frame))

    async def speak(self, pcm: np.ndarray, *, live: bool = False) -> None:
        """As fast as the server takes it, or in real time as a microphone does."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at in range(0, len(pcm), 1600):
            if live:
                await asyncio.sleep(max(0.0, began + at / 16000 - loop.time()))
            await self.mouth.send(pcm[at : at + 1600].tobytes())

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event.get("type") == kind]

    def reply(self, turn: int) -> str:
        return " ".join(event["text"] for event in self.of("reply") if event["turn"] == turn).strip()

    def audio(self, turn: int) -> np.ndarray:
        return np.frombuffer(b"".join(data for t, data in self.sound if t == turn), np.float32)

    async def answered(self, count: int = 1) -> None:
        """Wait until `count` replies have been spoken to their end."""
        await self.until(lambda: sum(event["last"] for event in self.of("spoken")) >= count)
