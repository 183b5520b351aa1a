"""The people of the bench: callers who take turns, and one who sits beside a loudspeaker without echo cancellation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.common import RATE, Recording, Server
from bench.loudspeaker import Loudspeaker, Room
from fusion.client import FRAME, Call, CallError, Observed

BREATH_S = 0.3  # of silence before anybody says anything: the microphone is open first
STORIES = (  # typed, so that it takes no time to ask; any answer that lasts will do
    "Tell me a long story about a lighthouse keeper and a storm.",
    "Explain to me how a loaf of bread is made, from the field to the table.",
    "Tell me everything about the life of a river, from its source to the sea.",
    "Describe a day in the life of a train driver in winter.",
    "Tell me a long story about a dog that walks home across the country.",
    "Explain how the seasons come about and what they mean to a farmer.",
)
LONG = {"instructions": "You tell long stories. Always answer in ten long, plain spoken sentences, never with lists."}


class CallInARoom(Call):
    """A call whose microphone hears the loudspeaker too, `gain_db` louder (mostly less)."""

    def __init__(self, asr_url: str, tts_url: str, gain_db: float, **call: Any) -> None:
        self.loudspeaker = Loudspeaker()
        super().__init__(asr_url, tts_url, watch=self.loudspeaker.observe, **call)
        self._microphone = RoomMicrophone(self.send, Room(self.loudspeaker, gain_db).echo)  # type: ignore[assignment]


class RoomMicrophone:
    """`fusion.client.Microphone` with a room around it. `echo(begin, count)` gives what the room adds."""

    def __init__(self, send: Callable[[bytes], Any], echo: Callable[[float, int], np.ndarray]) -> None:
        self._send, self._echo = send, echo
        self._waiting, self._sent, self.began = np.zeros(0, np.float32), 0, 0.0
        self._task: asyncio.Task[None] | None = None

    def speak(self, pcm: np.ndarray) -> float:
        if self._task is None:
            self.began = time.monotonic()
            self._task = asyncio.create_task(self._run())
        begins = self.began + (self._sent + len(self._waiting)) / RATE
        self._waiting = np.concatenate((self._waiting, pcm.astype(np.float32)))
        return begins

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            begin = self.began + self._sent / RATE
            await asyncio.sleep(max(0.0, begin + FRAME / RATE - time.monotonic()))
            own, self._waiting = self._waiting[:FRAME], self._waiting[FRAME:]
            self._sent += FRAME
            frame = np.pad(own, (0, FRAME - len(own))) + self._echo(begin, FRAME)
            await self._send(np.clip(frame, -1.0, 1.0).astype("<f4").tobytes())


def call(server: Server, options: Mapping[str, Any] | None = None, echo_db: float | None = None) -> Call:
    if echo_db is None:
        return Call(server.asr_url, server.tts_url, options=options)
    return CallInARoom(server.asr_url, server.tts_url, echo_db, options=options)


async def answering(open_call: Call, question: str) -> None:
    """Type `question` and wait for the first sound of the answer that can be heard. Raises `CallError`."""
    from fusion.client import first_audible

    since = len(open_call.log)
    open_call.speak(np.zeros(int(BREATH_S * RATE), np.float32))
    await open_call.say(question)
    await open_call.until(lambda: first_audible(open_call.seen("sound", since)) is not None, 60, "an answer to speak over")


async def until_or(open_call: Call, condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for `condition`, but no longer than `seconds`; did it come true? Raises `CallError` when the call ends."""
    try:
        await open_call.until(condition, max(0.01, seconds), "it")
    except CallError:
        if open_call.closed:
            raise
        return False
    return True


def end_of(recording: Recording, began: float) -> float:
    """When the last word of a recording, played from `began` on, ended."""
    return began + recording.last / RATE


def since(log: list[Observed], began: float) -> list[Observed]:
    return [event for event in log if event.at >= began]
