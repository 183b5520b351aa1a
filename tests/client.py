"""A caller of 6006 and 8888 for tests: speaks tones or text, and keeps all events of its call."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import numpy as np

from whisperfusion.client import Closed, Event, ReplyAudio, ReplyDone, ReplyText, connect
from whisperfusion.engines.scripted import tone_speech

PATIENCE_S = 120.0  # bound of a test that fails
E = TypeVar("E")


def spoken(text: str, pause_s: float = 2.0) -> np.ndarray:
    """Tones for the scripted engines, with a breath before and a pause behind."""
    return np.concatenate(
        (np.zeros(4800, np.float32), tone_speech(text), np.zeros(int(pause_s * 16000), np.float32))
    )


class Caller:
    """A call of the typed client, in a test.

    `options` go into the handshake; audio is float32 in both directions.
    """

    def __init__(
        self, server, *, audio: bool = True, resume_s: float = 0.0, **options: Any
    ) -> None:
        self.server = server
        self.call = connect(
            server.asr_url,
            server.tts_url,
            options=options,
            audio=audio,
            audio_format="float32",
            resume_s=resume_s,
        )
        self.uid = self.call.uid
        self.events: list[Event] = []
        self._news = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Caller:
        await self.call.open()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await self.call.close()

    async def _read(self) -> None:
        async for event in self.call:
            async with self._news:
                self.events.append(event)
                self._news.notify_all()

    async def until(self, condition) -> None:
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(condition), PATIENCE_S)
            except (TimeoutError, asyncio.TimeoutError):
                last = [one for one in self.events if not isinstance(one, ReplyAudio)][-16:]
                raise AssertionError(f"waited in vain; events: {last}") from None

    async def closed(self) -> None:
        """The server has ended the call."""
        await self.until(lambda: self.of(Closed))

    async def speak(self, pcm: np.ndarray, *, live: bool = False) -> None:
        """As fast as the server takes it, or in real time as a microphone does."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at in range(0, len(pcm), 1600):
            if live:
                await asyncio.sleep(max(0.0, began + at / 16000 - loop.time()))
            await self.call.send_audio(pcm[at : at + 1600].tobytes())

    async def send(self, type: str, **fields: Any) -> None:
        await self.call.send(type, **fields)

    @property
    def asr_socket(self) -> Any:
        """For frames that the client never sends."""
        return self.call._asr

    @property
    def tts_socket(self) -> Any:
        return self.call._tts

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def reply(self, turn: int) -> str:
        return " ".join(one.text for one in self.of(ReplyText) if one.turn == turn).strip()

    def audio(self, turn: int) -> np.ndarray:
        parts = [one.pcm for one in self.of(ReplyAudio) if one.turn == turn]
        return np.frombuffer(b"".join(parts), np.float32)

    async def answered(self, count: int = 1) -> None:
        """Wait until `count` replies have been played to their end."""
        await self.until(lambda: len(self.of(ReplyDone)) >= count)
