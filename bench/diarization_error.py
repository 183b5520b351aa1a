"""The diarization error rate, as NIST defines it (Rich Transcription 2009 evaluation plan, as
`md-eval-22.pl` computes it): seconds of speech that were missed, falsely found, or given to another
speaker, over all seconds of speech in the reference. Speakers are paired so that most seconds
agree. Within 0.25 s of a border of the reference nothing counts (the forgiveness collar). Time is
divided into steps of 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from whisperfusion.speakers.diarization import Turn

STEP_S, COLLAR_S = 0.01, 0.25


@dataclass(frozen=True)
class Errors:
    """Seconds; where two speak at once each counts."""

    missed: float
    false_alarm: float
    confused: float
    spoken: float

    @property
    def rate(self) -> float:
        return (self.missed + self.false_alarm + self.confused) / self.spoken


def diarization_error(
    reference: Sequence[Turn], found: Sequence[Turn], collar_s: float = COLLAR_S
) -> Errors:
    steps = round(max(turn.end_s for turn in (*reference, *found)) / STEP_S) + 1
    true, guessed = _grid(reference, steps), _grid(found, steps)
    counts = np.ones(steps, bool)
    for turn in reference:
        for border in (turn.start_s, turn.end_s):
            counts[_at(border - collar_s) : _at(border + collar_s)] = False
    true, guessed = true[:, counts], guessed[:, counts]
    agree = true.astype(np.int64) @ guessed.T.astype(np.int64)
    right = best_pairing(agree)
    many, heard = true.sum(axis=0), guessed.sum(axis=0)
    both = np.minimum(many, heard).sum()
    return Errors(
        missed=float(np.maximum(many - heard, 0).sum() * STEP_S),
        false_alarm=float(np.maximum(heard - many, 0).sum() * STEP_S),
        confused=float((both - right) * STEP_S),
        spoken=float(many.sum() * STEP_S),
    )


def best_pairing(agree: NDArray[np.int64]) -> int:
    """The most that one-to-one pairs of rows and columns of `agree` add up to."""
    rows, columns = agree.shape
    if rows > columns:
        return best_pairing(agree.T)

    @cache
    def best(row: int, taken: int) -> int:
        if row == rows:
            return 0
        skipped = best(row + 1, taken)
        paired = [
            int(agree[row, at]) + best(row + 1, taken | 1 << at)
            for at in range(columns)
            if not taken >> at & 1
        ]
        return max(skipped, *paired) if paired else skipped

    return best(0, 0)


def _grid(turns: Sequence[Turn], steps: int) -> NDArray[np.bool_]:
    names = sorted({turn.speaker for turn in turns})
    grid = np.zeros((len(names), steps), bool)
    for turn in turns:
        grid[names.index(turn.speaker), _at(turn.start_s) : _at(turn.end_s)] = True
    return grid


def _at(seconds: float) -> int:
    return max(0, round(seconds / STEP_S))
