"""All voices at the same loudness: one fixed gain for each, and a limit for the peaks.

The gain of a voice that was measured is data of the registry of engines (`gains_db`). Any other
voice is measured while it speaks its first seconds. A sentence has one gain from its beginning to
its end, by what was said before it; after `ENOUGH` of speech the gain stays for good. The first
sentence goes by its own first piece where that is long enough, as it is with engines that make a
sentence as a whole, and leaves as it is where sound comes in shorter pieces.

What is then too high is turned down around the peak. Nothing is held back for that: the first sound
waits for nothing, and pieces keep their lengths.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.synthesis.loudness import (
    SILENCE,
    Floats,
    above,
    block_powers,
    integrated,
    true_peaks,
)

TARGET = -18.0  # LUFS of one channel
CEILING = 10 ** (-1.0 / 20)  # true peak: -1 dB of full scale
LEAST_DB, MOST_DB = -15.0, 15.0  # of a gain that is measured here: more would be a mistake
# blocks, one for each 0.1 s: a gain by fewer would be a guess, and by so many it is known
FEWEST, ENOUGH = 5, 200
ATTACK_DB, RELEASE_DB = 3000.0, 60.0  # a second: how fast sound is turned down, and up again
INAUDIBLE_DB = 0.001
MOST_OVER = 100.0  # times the ceiling; more is no sound


class Leveler:
    """The voices of one engine, by name; `gains_db` has those that are known. Thread-safe."""

    def __init__(self, gains_db: Mapping[str, float]) -> None:
        self._gains_db = dict(gains_db)
        self._powers: dict[str, Floats] = {}  # of the other voices, as far as they have spoken
        self._lock = threading.Lock()

    def leveled(self, voice: str, pieces: Iterator[Samples]) -> Iterator[Samples]:
        """The pieces of one sentence, float32 [samples] at 24 kHz."""
        gain_db, known = self._gain_db(voice), voice in self._gains_db
        limiter, heard = Limiter(), list[Samples]()
        try:
            for pcm in pieces:
                if not known:
                    heard.append(pcm)
                if gain_db is None and len(pcm):
                    gain_db = gain_by(powers_of(pcm)) or 0.0
                yield limiter.limited(amplified(pcm, gain_db or 0.0))
        finally:
            if heard:
                self._measure(voice, powers_of(np.concatenate(heard)))

    def _gain_db(self, voice: str) -> float | None:
        """None: it has not said enough yet."""
        known = self._gains_db.get(voice)
        return gain_by(self._powers.get(voice, np.zeros(0))) if known is None else known

    def _measure(self, voice: str, powers: Floats) -> None:
        with self._lock:
            before = self._powers.pop(voice, np.zeros(0))
            powers = np.concatenate((before, above(powers, SILENCE)))
            if voice in self._gains_db:
                return  # by a sentence that ended meanwhile
            gain_db = gain_by(powers)
            if gain_db is not None and len(powers) >= ENOUGH:
                self._gains_db[voice] = gain_db
            else:
                self._powers[voice] = powers


class Limiter:
    """Of one sentence, piece by piece."""

    def __init__(self) -> None:
        self._cut_db = 0.0  # by which the last sample was turned down

    def limited(self, pcm: Samples) -> Samples:
        """float32 [samples], the same array where nothing is turned down.

        Sound is turned down before a peak as fast as `ATTACK_DB`, and faster where a piece begins
        with a peak.
        """
        if not len(pcm) or (not self._cut_db and np.abs(pcm).max() < CEILING / 2):
            return pcm
        over = np.nan_to_num(true_peaks(pcm), nan=0.0, posinf=MOST_OVER) / CEILING
        needed_db = 20 * np.log10(np.clip(over, 1.0, MOST_OVER))
        cut_db = np.maximum(
            _falling(np.append(self._cut_db, needed_db), RELEASE_DB)[1:],
            _falling(needed_db[::-1], ATTACK_DB)[::-1],
        )
        if cut_db[0] > self._cut_db:
            first = int(np.argmax(needed_db > self._cut_db))
            ramp = np.linspace(self._cut_db, cut_db[first], first + 2)[1:]
            cut_db[: first + 1] = np.minimum(cut_db[: first + 1], ramp)
        cut_db[cut_db < INAUDIBLE_DB] = 0.0
        self._cut_db = float(cut_db[-1])
        return amplified(pcm, -cut_db) if cut_db.any() else pcm


def powers_of(pcm: Samples) -> Floats:
    """Of the blocks of what a server may have sent: a wrong sample is not the voice."""
    return block_powers(np.clip(np.nan_to_num(pcm, nan=0.0), -1.0, 1.0))


def gain_by(powers: Floats) -> float | None:
    """The gain in dB for a voice that is as loud as these blocks; None: they are too few."""
    if len(above(powers, SILENCE)) < FEWEST:
        return None
    return min(max(TARGET - integrated(powers), LEAST_DB), MOST_DB)


def amplified(pcm: Samples, gain_db: Floats | float) -> Samples:
    if isinstance(gain_db, float) and not gain_db:
        return pcm
    louder: Samples = (pcm * 10 ** (np.asarray(gain_db) / 20)).astype(np.float32)
    return louder


def _falling(levels: Floats, per_second: float) -> Floats:
    """`levels`, each falling from there no faster than so much."""
    fallen = np.arange(len(levels)) * (per_second / SPEECH_RATE)
    falling: Floats = np.maximum.accumulate(levels + fallen) - fallen
    return falling
