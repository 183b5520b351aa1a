"""What a listener hears: frames from port 8888 as a loudspeaker plays them, and how that comes back
into a microphone.

A loudspeaker plays each frame when it has come and the ones before it are over. One that `obeys`
the events stops at `Paused`, goes on at `Resumed` and throws the rest away at `Flushed`, as the
page does; one that does not plays all that it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.client.events import Event, Flushed, Paused, ReplyAudio, Resumed
from whisperfusion.client.timed_call import Observed

AUDIBLE = 0.01  # of full scale: below it a loudspeaker is silent to the ear
# from the loudspeaker's samples to the microphone's: two sound cards and a metre of air
ECHO_DELAY_S = 0.12
# a small furnished room: 60 dB in 0.25 s; its reverberation against the direct sound
DECAY_S, REVERB_DB = 0.25, -6.0


class Loudspeaker:
    def __init__(self, *, obeys: bool = True) -> None:
        self._obeys = obeys
        # when each begins, float32 [samples]; the last may lie in the future
        self.parts: list[tuple[float, Samples]] = []
        self._left: list[Samples] = []  # what waits for a resume
        self._paused = False

    def observe(self, observed: Observed[Event]) -> None:
        match observed.event:
            case ReplyAudio() if self._paused:
                self._left.append(observed.pcm)
            case ReplyAudio():
                self._play(observed.at, observed.pcm)
            case Paused() if self._obeys:
                self._left, self._paused = self._cut(observed.at) + self._left, True
            case Flushed() if self._obeys:
                self._cut(observed.at)
                self._left, self._paused = [], False
            case Resumed() if self._obeys:
                left, self._left, self._paused = self._left, [], False
                for pcm in left:
                    self._play(observed.at, pcm)

    def _play(self, at: float, pcm: Samples) -> None:
        if self.parts:
            at = max(at, self.parts[-1][0] + len(self.parts[-1][1]) / SPEECH_RATE)
        self.parts.append((at, pcm))

    def _cut(self, at: float) -> list[Samples]:
        """Stop at `at`; what was not played yet."""
        left: list[Samples] = []
        while self.parts and self.parts[-1][0] + len(self.parts[-1][1]) / SPEECH_RATE > at:
            began, pcm = self.parts.pop()
            played = max(0, round((at - began) * SPEECH_RATE))
            left.insert(0, pcm[played:])
            if played:
                self.parts.append((began, pcm[:played]))
                break
        return left

    def first_audible(self, since: float = 0.0) -> float | None:
        """When the first audible sample at or after `since` is played."""
        for at, pcm in self.parts:
            times = at + np.flatnonzero(np.abs(pcm) > AUDIBLE) / SPEECH_RATE
            if times.size and times[-1] >= since:
                return float(times[np.searchsorted(times, since)])
        return None

    def last_audible(self) -> float | None:
        """When the last audible sample is played."""
        for at, pcm in reversed(self.parts):
            loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
            if loud.size:
                return float(at + (loud[-1] + 1) / SPEECH_RATE)
        return None

    def samples(self, begin: float, count: int) -> Samples:
        """What is played from `begin` on, as float32 [count] at the microphone's rate."""
        out, times = np.zeros(count, np.float32), begin + np.arange(count) / MICROPHONE_RATE
        for at, pcm in reversed(self.parts):
            end = at + len(pcm) / SPEECH_RATE
            if end <= begin:
                break
            inside = (times >= at) & (times < end)
            out[inside] = np.interp((times[inside] - at) * SPEECH_RATE, np.arange(len(pcm)), pcm)
        return out


def played(log: Iterable[Observed[Event]], *, obeys: bool = True) -> Loudspeaker:
    """A loudspeaker that has been told all of `log`."""
    speaker = Loudspeaker(obeys=obeys)
    for event in log:
        speaker.observe(event)
    return speaker


class Room:
    """How loud, and with what reverberation, the loudspeaker's sound reaches the microphone.

    Always the same one.
    """

    def __init__(self, speaker: Loudspeaker, gain_db: float) -> None:
        self._speaker, self._response = speaker, impulse_response() * 10 ** (gain_db / 20)

    def echo(self, begin: float, count: int) -> Samples:
        """What the microphone picks up from `begin` on: float32 [count] at 16 kHz."""
        tail = len(self._response) - 1
        sound = self._speaker.samples(begin - ECHO_DELAY_S - tail / MICROPHONE_RATE, count + tail)
        if not sound.any():
            return np.zeros(count, np.float32)
        size = 1 << (len(sound) + tail - 1).bit_length()
        wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(self._response, size), size)
        return wet[tail : tail + count].astype(np.float32)


def impulse_response(seed: int = 4) -> Samples:
    """The direct sound and a decaying reverberation, of energy 1 together: float32 [samples] at
    16 kHz.
    """
    times = np.arange(round(DECAY_S * MICROPHONE_RATE)) / MICROPHONE_RATE
    reverb = np.random.default_rng(seed).standard_normal(len(times)) * 10 ** (
        -3.0 * times / DECAY_S
    )
    reverb[: round(0.003 * MICROPHONE_RATE)] = 0.0  # no wall is nearer than half a metre
    reverb *= np.sqrt(10 ** (REVERB_DB / 10) / np.sum(np.square(reverb)))
    reverb[0] = 1.0
    normal: Samples = reverb / np.sqrt(np.sum(np.square(reverb)))
    return normal.astype(np.float32)
