"""A microphone that plays recordings in real time, and where speech is in a recording."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples

FRAME = 640  # samples; 40 ms, what browsers and sound cards use


class Microphone:
    """Sends the given audio, else silence, in real time: float32 frames of `FRAME` samples.

    `ambient(begin, count)`: what the room adds to `count` samples from `begin` on (seconds,
    `time.monotonic`).
    """

    def __init__(
        self,
        send: Callable[[bytes], Any],
        ambient: Callable[[float, int], Samples] | None = None,
    ) -> None:
        self._send, self._ambient = send, ambient
        self._waiting: Samples = np.zeros(0, np.float32)
        self._task: asyncio.Task[None] | None = None
        self._sent = 0  # samples
        self.began = 0.0

    def speak(self, pcm: Samples) -> float:
        """When the first sample of `pcm` will be spoken: after what waits already."""
        if self._task is None:
            self.began = time.monotonic()
            self._task = asyncio.create_task(self._run())
        begins = self.began + (self._sent + len(self._waiting)) / MICROPHONE_RATE
        self._waiting = np.concatenate((self._waiting, pcm.astype(np.float32)))
        return begins

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            begin = self.began + self._sent / MICROPHONE_RATE
            await asyncio.sleep(max(0.0, begin + FRAME / MICROPHONE_RATE - time.monotonic()))
            own, self._waiting = self._waiting[:FRAME], self._waiting[FRAME:]
            self._sent += FRAME
            frame = np.pad(own, (0, FRAME - len(own)))
            if self._ambient is not None:
                frame = np.clip(frame + self._ambient(begin, FRAME), -1.0, 1.0)
            await self._send(frame.astype("<f4").tobytes())


def speech_span(pcm: Samples, rate: int = MICROPHONE_RATE) -> tuple[int, int]:
    """First and one-past-last sample of sound: 20 ms frames less than 35 dB below the loudest.

    (0, 0) for silence.
    """
    frame = rate // 50
    energy = np.array(
        [
            np.mean(np.square(pcm[start : start + frame], dtype=np.float64))
            for start in range(0, len(pcm), frame)
        ]
    )
    loud = np.flatnonzero(energy > max(1e-8, energy.max(initial=0.0) * 10**-3.5))
    return (
        (int(loud[0]) * frame, min(len(pcm), (int(loud[-1]) + 1) * frame)) if loud.size else (0, 0)
    )
