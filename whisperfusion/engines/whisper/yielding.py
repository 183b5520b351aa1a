"""Recordings yield the processor to our own callers, and to no other program.

Threads that yield to everything (nice) make a file of two seconds wait for a minute beside any
other busy program. So the threads that read recordings run like all others while no caller speaks.
With a caller's first word they become nice, at once, in the middle of a batch. An ordinary process
may not take that back, so the model is loaded again, with new threads, for the first batch after
the callers have been silent for a while: 0.3 s for Whisper base.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakSet

CALM_S = 10.0  # without a caller's word, after which recordings have the processor
# what the threads of recordings are nicer than the process: how they are known, and while callers
# speak
MARK, NICE = 1, 10


class Callers:
    """When a caller of this process spoke last, and who wants to know it at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spoke_at = float("-inf")
        self._yielding: WeakSet[Yielding] = WeakSet()  # an engine that goes takes its model along

    def add(self, yielding: Yielding) -> None:
        self._yielding.add(yielding)

    def spoke(self) -> None:
        """From any thread, with each word: it must cost nothing."""
        self._spoke_at = self._clock()
        for yielding in self._yielding:
            yielding.give_way()

    @property
    def speaking(self) -> bool:
        return self._clock() - self._spoke_at < CALM_S


CALLERS = Callers()  # of the process, as priorities are: a smaller recognizer's callers count too


class Yielding:
    """A model whose threads yield to `callers`.

    `load` builds it, and starts all of its threads; `before` is called before the old model goes,
    of which there should be no other user: two at once would need twice the memory.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        before: Callable[[], None] = lambda: None,
        callers: Callers = CALLERS,
    ) -> None:
        self._load, self._before, self._callers = load, before, callers
        self._lock = threading.Lock()
        self._model: Any = None
        self._nice = False
        callers.add(self)

    def model(self) -> Any:
        """For the next batch of work; may load it."""
        if self._model is None or (self._nice and not self._callers.speaking):
            self._before()
            self._model = None
            with ThreadPoolExecutor(1, initializer=_mark) as pool:
                self._model = pool.submit(self._load).result()
            self._nice = False
        if self._callers.speaking:
            self.give_way()
        return self._model

    def give_way(self) -> None:
        if self._nice or self._model is None:
            return
        with self._lock:
            for thread in marked():
                _set(thread, NICE)
            self._nice = True


def marked() -> list[int]:
    """The threads of recordings that run like all others."""
    if sys.platform != "linux":
        return []
    wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + MARK)
    return [
        thread for thread in map(int, os.listdir("/proc/self/task")) if _niceness(thread) == wanted
    ]


def _mark() -> None:
    """The calling thread, and those that it starts.

    Elsewhere than on Linux it would be the process.
    """
    if sys.platform == "linux":
        _set(threading.get_native_id(), MARK)


def _set(thread: int, nicer: int) -> None:
    with suppress(OSError):  # the thread has ended, or the process may not
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, 0) + nicer))


def _niceness(thread: int) -> int | None:
    try:
        return os.getpriority(os.PRIO_PROCESS, thread)
    except OSError:  # it has ended
        return None
