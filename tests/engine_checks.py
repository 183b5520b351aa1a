"""What the contracts of all engines share: how texts are compared, what bad audio is, and whether a
class keeps a protocol.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from whisperfusion.engines import ASROptions

ENGLISH = ASROptions(language="en")
SECOND = 16_000
BAD_AUDIO = {
    "nan": np.full(SECOND, np.nan, np.float32),
    "infinite": np.full(SECOND, np.inf, np.float32),
    "integers": np.zeros(SECOND, np.int16),
    "stereo": np.zeros((SECOND, 2), np.float32),
}


def eventually(condition: Callable[[], bool]) -> None:
    """The time only bounds a test that fails."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def words(text: str) -> list[str]:
    plain = re.sub(
        r"[^\w\s]", "", text.lower().replace("-", " ").replace("'", "").replace("mr.", "mister")
    )
    numbers = {"1": "one", "2": "two", "3": "three", "10": "ten"}
    return [numbers.get(word, word) for word in plain.split()]


def errors(expected: str, found: str) -> int:
    """Words to change, add and take away."""
    a, b = words(expected), words(found)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def own_methods(protocol: Any) -> dict[str, Any]:
    return {
        name: one
        for name, one in vars(protocol).items()
        if inspect.isfunction(one) and not name.startswith("_")
    }


def accepts(method: Any, promised: Any) -> bool:
    """Whether `method` can be called as `promised` is."""
    ours, theirs = inspect.signature(method).parameters, inspect.signature(promised).parameters
    return all(
        name in ours and (one.default is one.empty or ours[name].default == one.default)
        for name, one in theirs.items()
    ) and all(one.default is not one.empty for name, one in ours.items() if name not in theirs)
