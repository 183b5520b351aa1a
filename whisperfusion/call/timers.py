"""The timers of one call: each tells its text when it is due, whatever the call does then.

`due_at` is Unix time, for a timer outlives the process that set it; one that became due meanwhile
is told at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from whisperfusion.messages import Timer

MOST = 100  # of one call; a model that sets more than that runs in circles
LONGEST_S = 366 * 86400.0
# a clock may be set, or a machine sleep, which the event loop's clock does not know
LOOK_S = 60.0

log = logging.getLogger("asr")


class Timers:
    """On the event loop. `due` is called with each timer whose time has come."""

    def __init__(
        self, due: Callable[[Timer], object], clock: Callable[[], float] = time.time
    ) -> None:
        self._due, self._clock = due, clock
        self._running: dict[str, Timer] = {}
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> tuple[Timer, ...]:
        """Those that are still to come, the next one first."""
        return tuple(sorted(self._running.values(), key=lambda one: one.due_at))

    def set(self, id: str, text: str, after_s: float) -> None:
        """In the place of one with the same id."""
        seconds = min(max(0.0, after_s), LONGEST_S)  # 0 also for NaN
        self.restore((Timer(id, text, self._clock() + seconds),))

    def restore(self, timers: Iterable[Timer]) -> None:
        for timer in timers:
            if len(self._running) >= MOST and timer.id not in self._running:
                log.warning("a call has %d timers already; another one is not set", MOST)
                return
            self._running[timer.id] = timer
        self._arm()

    def cancel(self, id: str) -> None:
        self._running.pop(id, None)
        self._arm()

    def stop(self) -> None:
        """The call is over here; they are kept for whoever takes it up."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self.stop()
        if self._running:
            left_s = self.running[0].due_at - self._clock()
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(min(max(left_s, 0.0), LOOK_S), self._check_due)

    def _check_due(self) -> None:
        now = self._clock()
        for timer in self.running:
            if timer.due_at <= now:
                del self._running[timer.id]
                self._due(timer)
        self._arm()
