"""Short audio that bridges the wait for a late reply, made ahead: the engine is busy when one is
needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from whisperfusion.audio import Samples
from whisperfusion.synthesis.voice_link import VoiceLink

FILLERS = 32  # of different text, voice or speed that are kept


@dataclass(frozen=True)
class FillerJob:
    text: str
    voice: str  # as it was asked for
    speed: float
    link: VoiceLink | None = None  # that it is of; None = the default voice


class Fillers:
    """`make` has the engine make one; `keep` takes it then."""

    def __init__(self, make: Callable[[FillerJob], object]) -> None:
        self._make = make
        self._audio: OrderedDict[FillerJob, Samples | None] = OrderedDict()  # None: being made
        self._waiting: dict[FillerJob, list[str]] = {}  # the calls that asked for it meanwhile

    def get(self, job: FillerJob, call: str | None = None) -> Samples | None:
        """float32 [samples] at 24 kHz, empty if it cannot be made.

        None = it is being made, and `keep` returns that `call` waits for it.
        """
        if job not in self._audio:
            self._put(job, None)
            self._make(job)
        audio = self._audio[job]
        if audio is None and call is not None:
            self._waiting.setdefault(job, []).append(call)
        return audio

    def keep(self, job: FillerJob, audio: Samples) -> list[str]:
        """It was made; returns the calls that wait for it."""
        self._put(job, audio)
        return self._waiting.pop(job, [])

    def forget(self) -> None:
        """Another voice speaks from now on: what was made is made again when it is needed."""
        for job in [job for job, audio in self._audio.items() if audio is not None]:
            del self._audio[job]

    def _put(self, job: FillerJob, audio: Samples | None) -> None:
        self._audio[job] = audio
        if len(self._audio) > FILLERS:
            self._audio.popitem(last=False)
