"""When main stops, by the signals that came and by what the processes still have to finish.

SIGINT stops at once. SIGTERM, which `docker stop`, systemd and Kubernetes send, does so too unless
DRAIN_S says how long calls may go on: then main stops when the last of them has ended, or at the
latest `LAST_S` after that time. A second signal stops at once. Pure: times come in.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Sequence

# the processes that admit work, and say when what they had has ended
ADMITTING = ("asr", "gateway")
REPLY_S = 5.0  # after the time of drain, in which a reply may end and its call is closed then
LAST_S = REPLY_S + 3.0  # and for the closing itself


class Shutdown:
    """`drain_s`: as the setting. `now` is seconds on main's clock, which never goes back."""

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._until: float | None = None  # when the calls that are left are closed
        self._finished: set[str] = set()

    @property
    def draining(self) -> bool:
        return self._until is not None

    def drains(self, signals: Sequence[int], serving: bool, now: float) -> bool:
        """Whether this is the moment to drain. `serving`: the server has been ready."""
        if self.draining or not serving or self._drain_s <= 0 or list(signals) != [signal.SIGTERM]:
            return False
        self._until = now + self._drain_s
        return True

    def left_s(self, now: float) -> float:
        """Until the calls that are left are closed."""
        return max(0.0, (self._until or now) - now)

    def finished(self, name: str) -> None:
        """A process has nothing left of what it had admitted."""
        self._finished.add(name)

    def is_due(self, signals: Sequence[int], running: Collection[str], now: float) -> bool:
        """Whether to stop now. `running`: the processes that are ready; one that is not has no
        call to finish.
        """
        if not signals:
            return False
        if self._until is None or len(signals) > 1 or now >= self._until + LAST_S:
            return True
        return self._finished.issuperset(name for name in ADMITTING if name in running)
