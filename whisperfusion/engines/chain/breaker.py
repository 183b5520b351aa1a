"""The circuit breaker of one link of a chain: how long a link that failed is left alone.

The first failure opens the circuit: the link is skipped for a rest that grows with each further
failure, with jitter, so that many servers do not come back to a provider at the same moment. When
the rest is over, one job at a time may try the link (half-open); its success closes the circuit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

FIRST_REST_S, LONGEST_REST_S = 8.0, 300.0
TRIAL_S = 20.0  # a trial that reported nothing for so long does not keep other jobs away
# HTTP statuses that more requests do not mend: keys, unpaid bills, unknown models
LASTING = (401, 402, 403, 404)


class Breaker:
    """Thread-safe. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        from tenacity import wait_random_exponential

        self._clock, self._lock = clock, threading.Lock()
        # at least half of what is drawn: a rest of nothing would be none
        self._wait: Any = wait_random_exponential(multiplier=FIRST_REST_S, max=LONGEST_REST_S)
        self._failures = 0
        self._rests_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether the link has not failed since it last answered."""
        return not self._failures

    @property
    def rest_s(self) -> float:
        """How long the link is still left alone."""
        return max(0.0, self._rests_until - self._clock())

    @property
    def resting(self) -> bool:
        """Whether no job may ask the link now; asking this does not count as a trial."""
        return self._failures > 0 and self._clock() < self._rests_until

    def admits(self) -> bool:
        """Whether a job may ask the link now; the first one after a rest is its trial."""
        with self._lock:
            now = self._clock()
            if self._failures and now < self._rests_until:
                return False
            if self._failures:
                self._rests_until = now + TRIAL_S
            return True

    def failed(self, error: BaseException | None = None) -> float:
        """Opens the circuit; returns the rest in seconds. A `Refused` of a server may have a
        `status`, and `retry_after_s`, which is kept.
        """
        with self._lock:
            self._failures += 1
            drawn = self._wait(SimpleNamespace(attempt_number=self._failures))
            longest = min(FIRST_REST_S * 2.0 ** min(self._failures - 1, 30), LONGEST_REST_S)
            rest_s = (longest + drawn) / 2
            if getattr(error, "status", 0) in LASTING:
                rest_s = LONGEST_REST_S
            rest_s = max(rest_s, getattr(error, "retry_after_s", 0.0))
            self._rests_until = self._clock() + rest_s
            return float(rest_s)

    def succeeded(self) -> bool:
        """Closes the circuit; whether it was open."""
        with self._lock:
            reopened, self._failures = self._failures > 0, 0
            return reopened
