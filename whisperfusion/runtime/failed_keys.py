"""Throttles guessing of keys: each failed key of an address delays the response to its next one.

A valid key is never delayed, whatever its address sent before. How many keys can be tried at
once is bounded by the connections that one address may have (`whisperfusion/runtime/listener.py`),
each of which waits.
"""

from __future__ import annotations

from collections import OrderedDict

from whisperfusion.runtime.peers import network

FREE = 3  # failures without a delay: people mistype
FIRST_S, LONGEST_S = 0.25, 5.0  # the delay doubles up to the latter
FORGOTTEN_S = 10.0  # for one failure to expire
MOST = 10_000  # addresses that are remembered


class FailedKeyThrottle:
    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # how many, as of when; the oldest first

    def delay_s(self, address: str, now: float) -> float:
        """Count a failed key of `address`; the delay of its response. `now` is monotonic."""
        group = network(address)
        tries, at = self._tries.pop(group, (0.0, now))
        tries = max(0.0, tries - (now - at) / FORGOTTEN_S) + 1
        self._tries[group] = (tries, now)
        if len(self._tries) > MOST:
            self._tries.popitem(last=False)
        beyond = min(int(tries) - FREE, 10)
        return min(LONGEST_S, FIRST_S * 2 ** (beyond - 1)) if beyond > 0 else 0.0
