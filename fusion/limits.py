"""How often, and how many at once: limits for each key and each address, counted in the process that has the door.

The window is a sliding minute (package `limits`). 0 = no limit.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

WAIT_S = 5.0  # what is told to somebody who has too much open: nobody knows when that ends


class TooMany(Exception):
    """A limit was reached; try again in `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.message, self.retry_after_s = message, retry_after_s


class Limits:
    def __init__(self, per_minute: int, at_once: int) -> None:
        self._per_minute, self._at_once = per_minute, at_once
        self._rate = MovingWindowRateLimiter(MemoryStorage()) if per_minute else None
        self._item = RateLimitItemPerMinute(max(1, per_minute))
        self._open: Counter[str] = Counter()

    @contextmanager
    def admitted(self, names: Iterable[str]) -> Iterator[None]:
        """As long as a request or a connection of `names` (a key, an address) lasts. Raises TooMany."""
        held = [name for name in names if name]
        for name in held:
            if self._at_once and self._open[name] >= self._at_once:
                raise TooMany(f"{self._at_once} connections or requests at once are allowed; end one first", WAIT_S)
        for name in held:
            if self._rate is not None and not self._rate.hit(self._item, name):
                reset = self._rate.get_window_stats(self._item, name).reset_time
                raise TooMany(f"{self._per_minute} requests a minute are allowed", max(1, math.ceil(reset - time.time())))
        self._open.update(held)
        try:
            yield
        finally:
            self._open.subtract(held)
            for name in held:
                if self._open[name] <= 0:
                    del self._open[name]
