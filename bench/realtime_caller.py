"""A stock client of Realtime: it plays what it is sent as it comes, and is told of an interruption
by `input_audio_buffer.speech_started` alone.

Times are seconds on `time.monotonic`; audio is s16 at 24 kHz both ways, the microphone sends frames
of 40 ms in real time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from bench.common import Server
from bench.loudspeaker import Loudspeaker
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.client import CallError
from whisperfusion.client.events import ReplyAudio
from whisperfusion.client.microphone import Microphone
from whisperfusion.client.timed_call import Observed

GAP_S = 0.02  # of silence where the answer should go on: shorter ones go unnoticed


class RealtimeCaller:
    """Use as an asynchronous context manager."""

    def __init__(self, server: Server) -> None:
        self._url = server.http_url.replace("http", "ws", 1) + "/v1/realtime"
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.speaker = Loudspeaker(obeys=False)
        self.gaps: list[tuple[float, float]] = []  # when audio was late, and by how much
        self._changed = asyncio.Event()
        self._microphone = Microphone(self._append)

    async def __aenter__(self) -> RealtimeCaller:
        from websockets.asyncio.client import connect

        self._socket = await connect(self._url, max_size=None)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._microphone.stop()
        await self._socket.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def send(self, type: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": type, **fields}))

    async def _append(self, frame: bytes) -> None:
        pcm = np.frombuffer(frame, "<f4")
        count = len(pcm) * SPEECH_RATE // MICROPHONE_RATE
        at = np.arange(count) * MICROPHONE_RATE / SPEECH_RATE
        louder = np.interp(at, np.arange(len(pcm)), pcm) * 32767
        audio = base64.b64encode(louder.astype("<i2").tobytes()).decode()
        with suppress(Exception):  # the call is over
            await self.send("input_audio_buffer.append", audio=audio)

    async def _read(self) -> None:
        async for frame in self._socket:
            now, event = time.monotonic(), json.loads(frame)
            if event["type"] == "response.output_audio.delta":
                self._play(now, np.frombuffer(base64.b64decode(event["delta"]), "<i2"))
            self.events.append((now, {**event, "delta": ""} if "delta" in event else event))
            self._changed.set()

    def _play(self, now: float, pcm: Any) -> None:
        if self.speaker.parts:
            began, last = self.speaker.parts[-1]
            late = now - began - len(last) / SPEECH_RATE
            if late > GAP_S:
                self.gaps.append((now, late))
        sound = pcm.astype(np.float32) / np.float32(32768)
        self.speaker.observe(Observed(now, ReplyAudio(0, b""), sound))

    # --- what a bench does with it ---------------------------------------------------------------

    def speak(self, pcm: Samples) -> float:
        """float32 at 16 kHz; returns when its first sample is spoken."""
        return self._microphone.speak(pcm)

    def at(self, kind: str, since: float = 0.0) -> float | None:
        """When the first event of this type came, at or after `since`."""
        return next((at for at, one in self.events if one["type"] == kind and at >= since), None)

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                raise CallError(f"{what} did not come in {seconds:.0f} s") from None

    async def ask(self, text: str, instructions: str) -> None:
        """A typed question, and wait until its answer sounds. Raises `CallError`."""
        content = [{"type": "input_text", "text": text}]
        await self.send(
            "session.update", session={"type": "realtime", "instructions": instructions}
        )
        await self.send(
            "conversation.item.create", item={"type": "message", "role": "user", "content": content}
        )
        await self.send("response.create")
        await self.until(lambda: self.speaker.first_audible() is not None, 60, "an answer")
