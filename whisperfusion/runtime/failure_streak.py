"""When does a streak of failures mean that an engine is broken, and not that requests were bad?

A failure belongs to its request as long as other requests succeed. After `IN_A_ROW` different calls
have failed with no success in between, the engine is suspected: its worker then probes it with a
job that is known to be good. So a single caller cannot stop an engine, and neither can several that
send the same bad input. Knows neither threads nor clocks.
"""

from __future__ import annotations

IN_A_ROW = 3


class FailureStreak:
    """The failures of one engine since its last success."""

    def __init__(self) -> None:
        self._calls: set[str] = set()

    def succeeded(self) -> None:
        self._calls.clear()

    def failed(self, call: str) -> bool:
        """A job of `call` failed. True: the engine is suspected, and the streak starts again."""
        self._calls.add(call)
        if len(self._calls) < IN_A_ROW:
            return False
        self._calls.clear()
        return True
