"""The event loop of each process: its clock stands still while the process is suspended, and code
that blocks it is named.

A loop works in rounds: it waits for events (`select`), then runs their callbacks. `StallMonitor`
times them: the longest of the last seconds is a metric, and one longer than `STALL_S` is a stall,
whose location in our code is logged. A timer's signal finds the location: Python handles it in the
main thread between two instructions, so it needs no second thread, which a regular expression that
holds the interpreter's lock would keep from running.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any

from whisperfusion import json_log
from whisperfusion.paths import HOME, is_ours
from whisperfusion.runtime.heartbeats import PausableClock

STEP_S = 2.0  # every loop reads its clock at least once a second, for its heartbeat
STALL_S = 0.25  # a longer iteration is a stall
# a signal that is late by this, while nothing was computed, was not delayed by our code
PAUSED_S = 1.0
# processor time is looked at no more often: with a thousand rounds a second, that alone took 5 %
LOOK_S = 0.005
STILL_BLOCKED_S = 2.0  # then it is logged before it ends, because it may never end
# the gauge is the longest iteration of these seconds: a scrape every 15 s misses none
WINDOW_S = 15.0
LOG_EVERY_S = 10.0  # at most one line about a stall in these seconds
# what waits and calls, and never computes
SELF = ("whisperfusion/runtime/event_loop.py", "whisperfusion/runtime/process.py", "main.py")

log = logging.getLogger("loop")


class StallMonitor:
    """Times the rounds of one loop: `round_started` and `round_ended` alternate, on its thread."""

    def __init__(self) -> None:
        self.stalls = 0
        self.started = False
        self._timed = False  # the timer's signal is available
        self._due = 0.0  # of the timer's signal; 0 = it is not set
        self._began, self._ended = 0.0, time.monotonic()
        # of the whole process, about when the current round or wait began
        self._cpu_s, self._cpu_at = 0.0, 0.0
        self._in_round = False
        self._place = ""
        # (when it ended, seconds): each shorter than the one before
        self._rounds: deque[tuple[float, float]] = deque()
        self._logged_at, self._not_logged = float("-inf"), 0

    def start(self) -> None:
        """Call it when everything is loaded. Outside the main thread there are no signals, and only
        the durations are measured.
        """
        self._ended, self.started = time.monotonic(), True
        self._check(self._ended)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, self._late)
            signal.siginterrupt(signal.SIGALRM, False)
            self._timed = True

    def round_started(self, due_s: float | None = None) -> None:
        """The loop runs callbacks now; its wait was limited to `due_s` seconds."""
        if not self.started:
            return
        now = time.monotonic()
        over_s = 0.0 if due_s is None else now - self._ended - max(0.0, due_s)
        if over_s > STALL_S and not _was_paused(over_s, time.process_time() - self._cpu_s):
            self._place = "other threads of this process, or a busy machine"
            self._note(now, over_s)
        self._began, self._place, self._in_round = now, "", True
        self._check(now)
        if not self._due:
            self._set(STALL_S)

    def round_ended(self) -> None:
        """The timer is not stopped: its signal finds out what it was set for (`_late`)."""
        if not self._in_round:
            return
        self._in_round = False
        self._ended = time.monotonic()
        self._check(self._ended)
        self._note(self._ended, self._ended - self._began)
        if self._place and self._timed:  # the timer is set for the end of this stall
            self._due = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def stop(self) -> None:
        """At the end of the process, before Python removes its signal handlers."""
        self.round_ended()
        if self._timed:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _check(self, now: float) -> None:
        if now - self._cpu_at > LOOK_S:
            self._cpu_s, self._cpu_at = time.process_time(), now

    def longest_s(self) -> float:
        """The longest round of the last `WINDOW_S` seconds."""
        while self._rounds and self._rounds[0][0] < time.monotonic() - WINDOW_S:
            self._rounds.popleft()
        return self._rounds[0][1] if self._rounds else 0.0

    def _set(self, seconds: float) -> None:
        if self._timed:
            self._due = time.monotonic() + seconds
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _late(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. It may interrupt the log, so it writes to the descriptor."""
        due, self._due = self._due, 0.0
        if not self._in_round:
            return
        now, cpu_s = time.monotonic(), time.process_time()
        if _was_paused(now - due, cpu_s - self._cpu_s):
            self._began, self._cpu_s, self._cpu_at = now, cpu_s, now
            self._set(STALL_S)
            return
        if not self._place and (rest_s := self._began + STALL_S - now) > 0:
            self._set(rest_s)  # it was set in an earlier round
            return
        if not self._place:
            self._place = code_location(frame)
            self._set(STILL_BLOCKED_S)
            return
        message = f"blocked for {now - self._began:.1f} s so far, by {code_location(frame)}"
        if json_log.process():
            line = json_log.line("warning", "loop", message)
        else:
            line = f"{time.strftime('%H:%M:%S')} WARNING loop    {message}"
        with suppress(OSError):  # the log is closed
            os.write(2, f"{line}\n".encode())

    def _note(self, now: float, blocked_s: float) -> None:
        while self._rounds and self._rounds[-1][1] <= blocked_s:
            self._rounds.pop()
        self._rounds.append((now, blocked_s))
        if blocked_s <= STALL_S:
            return
        self.stalls += 1
        if now < self._logged_at + LOG_EVERY_S:
            self._not_logged += 1
            return
        where = self._place or "one of its callbacks"
        more = f" ({self._not_logged} more were not logged)" if self._not_logged else ""
        log.warning("blocked for %.2f s by %s%s", blocked_s, where, more)
        self._logged_at, self._not_logged = now, 0


def _was_paused(late_s: float, cpu_s: float) -> bool:
    """Whether a delay of `late_s`, with `cpu_s` of processor time, means that the process was
    suspended.
    """
    return late_s > PAUSED_S and cpu_s < late_s / 4


def code_location(frame: FrameType | None) -> str:
    """The innermost frame in our code: file, line and function."""
    at = frame
    while at is not None:
        file = at.f_code.co_filename
        if is_ours(file) and not file.endswith(SELF):
            return f"{os.path.relpath(file, HOME)}:{at.f_lineno} in {at.f_code.co_name}"
        at = at.f_back
    return (
        f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        if frame is not None
        else ""
    )


STALL_MONITOR = StallMonitor()  # of this process


class MonitoredSelector(selectors.DefaultSelector):
    """Between two calls of `select`, the loop runs callbacks."""

    def select(self, timeout: float | None = None) -> Any:
        STALL_MONITOR.round_ended()
        found = super().select(timeout)
        STALL_MONITOR.round_started(timeout)
        return found


class Loop(asyncio.SelectorEventLoop):
    """Its time stands still while the process is suspended: timers, time-outs and keep-alives
    continue with the time that they had left.
    """

    def __init__(self) -> None:
        super().__init__(MonitoredSelector())
        self._clock = PausableClock(STEP_S, time.monotonic())

    def time(self) -> float:
        return self._clock.at(time.monotonic())


def run(main: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, on a `Loop`."""
    loop = Loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
    finally:
        try:
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            # its signal would end the process once Python has removed its handlers
            STALL_MONITOR.stop()
