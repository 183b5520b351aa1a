"""The silence around sound that comes in pieces: no more of it than a clip made as a whole has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.hibari import LEAD_S, QUIET

STEP = SPEECH_RATE // 100  # samples: 10 ms


def spaced(sound: Iterable[Samples], tail_s: float) -> Iterator[Samples]:
    """`sound` with at most `LEAD_S` of silence before it and exactly `tail_s` after it.

    Silence at the end of a piece waits for the next one: only then it is known to lie within.
    """
    held: Samples = np.zeros(0, np.float32)
    begun = False
    for pcm in sound:
        begin, end = bounds(pcm)
        if begin == end:
            held = np.concatenate([held, pcm])
            continue
        if not begun:
            lead = int(LEAD_S * SPEECH_RATE)
            quiet = np.concatenate([held, pcm[:begin]])
            held, pcm, end = quiet[max(0, len(quiet) - lead) :], pcm[begin:], end - begin
        begun = True
        yield np.concatenate([held, pcm[:end]])
        held = pcm[end:]
    if begun:
        yield np.zeros(int(tail_s * SPEECH_RATE), np.float32)


def bounds(pcm: Samples) -> tuple[int, int]:
    """First and last sample, plus one, of what is not silence, in steps of 10 ms; equal where all
    of it is.
    """
    padded = np.pad(pcm, (0, -len(pcm) % STEP))
    levels = np.sqrt(np.mean(np.square(padded.reshape(-1, STEP)), axis=1))
    loud = np.flatnonzero(levels > QUIET)
    if not len(loud):
        return 0, 0
    return int(loud[0]) * STEP, min(len(pcm), (int(loud[-1]) + 1) * STEP)
