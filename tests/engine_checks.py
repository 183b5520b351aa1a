"""What the contracts of all engines share: how texts are compared, what bad audio is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import numpy as np

from fusion.engines import ASROptions

ENGLISH = ASROptions(language="en")
SECOND = 16_000
BAD_AUDIO = {
    "nan": np.full(SECOND, np.nan, np.float32), "infinite": np.full(SECOND, np.inf, np.float32),
    "integers": np.zeros(SECOND, np.int16), "stereo": np.zeros((SECOND, 2), np.float32),
}


def eventually(condition: Callable[[], bool]) -> None:
    """The time only bounds a test that fails."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def words(text: str) -> list[str]:
    plain = re.sub(r"[^\w\s]", "", text.lower().replace("-", " ").replace("'", "").replace("mr.", "mister"))
    numbers = {"1": "one", "2": "two", "3": "three", "10": "ten"}
    return [numbers.get(word, word) for word in plain.split()]


def errors(said: str, heard: str) -> int:
    """Words to change, add and take away."""
    a, b = words(said), words(heard)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
