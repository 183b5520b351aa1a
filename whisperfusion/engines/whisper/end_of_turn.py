"""The end of a turn from the states of Whisper's encoder: a linear head for each size of it.

Every final transcript begins with one pass of the encoder, so these states cost nothing. The head
compares the end of the sound with what came before it: logistic regression over the mean of the
last 0.1 s beside the mean of the 0.3 s before, standardized, strongly regularized, fitted to turns
with known ends and pauses (bench/fit_end_of_turn.py). A size without a fitted head has none.

The heads (end_of_turn_heads.npz) are fitted to WUW Corpus II (V. Këpuska, 2011; CC-BY-SA-4.0) among
other recordings, and are under CC-BY-SA-4.0 themselves.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples

STATE = MICROPHONE_RATE // 50  # samples of one state of the encoder
RECENT, BEFORE = 5, 15  # states: the last 0.1 s, and the 0.3 s before
HEADS = "end_of_turn_heads.npz"


class Head:
    """`weights` are float32 [2 * states' size + 1]: recent, before, constant.

    `recent` and `before` are the numbers of states that are averaged.
    """

    def __init__(self, weights: Samples, recent: int = RECENT, before: int = BEFORE) -> None:
        self._weights, self._recent, self._before = weights, recent, before

    def probability(self, states: Any, samples: int) -> float | None:
        """That a turn ends with the first `samples` of the sound whose `states` these are,
        float [time, size]; None where there is too little sound.
        """
        end = samples // STATE
        count = self._recent + self._before
        if end < count:
            return None
        features = pooled(np.asarray(states[end - count : end], np.float32), self._recent)
        log_odds = float(features @ self._weights[:-1] + self._weights[-1])
        return float(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


def pooled(states: Samples, recent: int = RECENT) -> Samples:
    """Float32 [2 * size]: the means of the last `recent` of these states, and of those before."""
    found: Samples = np.concatenate((states[-recent:].mean(0), states[:-recent].mean(0)))
    return found


def head_of(model: Path) -> Head | None:
    """The head that was fitted to the Whisper model in the folder `model`, known by the size of
    its weights in bytes: a name can be any.
    """
    found = weights_for(model / "model.bin")
    return None if found is None else Head(found)


def weights_for(file: Path) -> Samples | None:
    """What was fitted to the model in `file`."""
    return _heads().get(file.stat().st_size)


@cache
def _heads() -> dict[int, Samples]:
    with (files(__package__) / HEADS).open("rb") as file, np.load(file) as heads:
        return {int(name): heads[name] for name in heads.files}
