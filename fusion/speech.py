"""What the speaking process keeps: who listens on 8888, what each call is being told, and the jobs of its engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from fusion.core.playout import Playout
from fusion.messages import Joined, Sentence, Ticket
from fusion.sockets import Outgoing
from fusion.wire import tts_socket as wire
from fusion.wire.pcm import SPOKEN_RATE, encode


@dataclass
class Listener:
    """A connection on 8888."""

    id: str
    out: Outgoing
    name: wire.Name
    address: str
    texts: deque[SayJob] = field(default_factory=deque)  # asked for; the first is being said
    said: int = 0  # samples made of the first

    def audio(self, pcm: np.ndarray) -> None:
        self.out.send(encode(pcm, self.name.audio_format))

    def event(self, text: str) -> None:
        if self.name.events:
            self.out.send(text)


@dataclass
class Speech:
    """What one call is being told."""

    joined: Joined
    playout: Playout[np.ndarray]
    listener: Listener | None = None
    committed: Ticket | None = None
    waiting: list[Sentence] = field(default_factory=list)  # of a guess, beyond its first clause
    started: Ticket | None = None
    timer: asyncio.TimerHandle | None = None

    def stale(self, ticket: Ticket) -> bool:
        newest = self.playout.ticket
        return newest is not None and ticket < newest


@dataclass(frozen=True)
class SpeakJob:
    sentence: Sentence
    voice: str
    speed: float
    silent: bool  # nobody listens: the text alone is the answer


@dataclass(frozen=True)
class SayJob:
    """A text that a client of 8888 asked for: said sentence by sentence, so that callers need not wait for its end."""

    listener: Listener
    id: str | int | None
    parts: tuple[str, ...]
    voice: str
    speed: float


def pair(calls: Collection[Speech], listeners: Iterable[Listener]) -> None:
    """Give each call its listener: by name; the nameless by address, in the order they came."""
    taken = {id(speech.listener) for speech in calls if speech.listener is not None}
    for speech in calls:
        if speech.listener is not None:
            continue
        for listener in listeners:
            named = listener.name.uid == speech.joined.uid
            nameless = not listener.name.uid and speech.joined.whole_replies and listener.address == speech.joined.address
            if id(listener) not in taken and (named or nameless):
                speech.listener = listener
                taken.add(id(listener))
                break


def resampled(pcm: np.ndarray, rate: int) -> np.ndarray:
    """float32 [samples] at `rate`, a whole piece of speech, as [samples] at 24 kHz."""
    if rate == SPOKEN_RATE or not len(pcm):
        return pcm
    from av import AudioFrame, AudioResampler

    frame = AudioFrame.from_ndarray(np.ascontiguousarray(pcm[np.newaxis], np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = AudioResampler(format="fltp", layout="mono", rate=SPOKEN_RATE)
    return np.concatenate([part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))])
