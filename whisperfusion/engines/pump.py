"""An engine that blocks, made into an iterator that can be closed at any moment.

A generator can only be closed between two pieces, so one that waits ten seconds for its first piece
could not be stopped for ten seconds. Here the blocking work has a thread of its own, and while it
has nothing to say the iterator gives "" every tenth of a second: a chance to close, and a sign of
life.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from whisperfusion.errors import EngineLost

Piece = TypeVar("Piece")

PULSE_S = 0.1
# from the closing of a work in a pool to its end: works ask ten times a second or more whether to
# go on
STUCK_S = 60.0
# that a work gets to end which is found to be stuck: after a pause of the machine nothing had time
# to end
MOMENT_S = 0.5
EXIT_S = 3.0  # how long the end of the process waits for each thread

# the garbage collector may close an iterator, and so enter, in a thread that holds it
_closing = threading.RLock()
_closed_at: dict[Executor, float] = {}  # pools whose work goes on although it was closed
_running: dict[threading.Thread, Callable[[], None]] = {}


def pieces(
    work: Callable[[Callable[[Piece], bool]], None],
    pulse: Piece,
    *,
    stop: Callable[[], None] = lambda: None,
    skipped: Callable[[], None] = lambda: None,
    pool: Executor | None = None,
    wait_s: Callable[[], float] = lambda: PULSE_S,
) -> Generator[Piece, None, None]:
    """What `work(give)` gives, in order, with `pulse` while it is silent; an exception out of
    `work` is raised here.

    `give(piece)` returns True once the iterator was closed: then `work` should return. Closing the
    iterator also calls `stop`, which must wake a `work` that waits. Nothing waits for the thread:
    it ends as soon as `work` does. When it was closed before `work` could begin, `skipped` is
    called instead. `pool` is for libraries that must be used from the thread that built them: one
    worker, the works take turns. When a closed work in it does not end, later calls get an
    EngineLost instead of waiting for ever. `wait_s` tells how long the next silence lasts before
    its `pulse`.
    """
    if pool is not None and not soon(lambda: not _stuck(pool)):
        raise EngineLost(
            f"the engine hangs: a work that was closed did not end within {STUCK_S:g} s"
        )
    found: SimpleQueue[Any] = SimpleQueue()
    failures: list[BaseException] = []
    closed = threading.Event()

    def give(piece: Piece) -> bool:
        found.put(piece)
        return closed.is_set()

    def run() -> None:
        thread = threading.current_thread()
        with _closing:
            _running[thread] = end
        try:
            if not closed.is_set():
                work(give)
            else:
                skipped()
        except BaseException as error:  # every kind is raised again by the reader, where it belongs
            failures.append(error)
        finally:
            with _closing:
                _running.pop(thread, None)
                if pool is not None:
                    _closed_at.pop(pool, None)
            found.put(None)

    def end() -> None:
        closed.set()
        with _closing:
            if pool is not None and end in _running.values():
                _closed_at.setdefault(pool, time.monotonic())
        stop()

    if pool is not None:
        pool.submit(run)
    else:
        threading.Thread(target=run, name="engine-stream", daemon=True).start()
    try:
        yield from pulsing(found, pulse, wait_s)
    finally:
        end()
    if failures:
        raise failures[0]


def soon(condition: Callable[[], bool]) -> bool:
    """Whether `condition` holds, now or within `MOMENT_S`."""
    end = time.monotonic() + MOMENT_S
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(PULSE_S / 5)
    return holds


def _stuck(pool: Executor) -> bool:
    now = time.monotonic()
    return now - _closed_at.get(pool, now) > STUCK_S


def pulsing(
    found: SimpleQueue[Any], pulse: Piece, wait_s: Callable[[], float] = lambda: PULSE_S
) -> Iterator[Piece]:
    """What comes out of `found` up to None, and `pulse` for every silence of `wait_s`, a tenth of
    a second.
    """
    while True:
        try:
            piece = found.get(timeout=wait_s())
        except Empty:
            piece = pulse
        if piece is None:
            return
        yield piece


@atexit.register
def end_all() -> None:
    """Without this, the interpreter's end kills threads inside C++ libraries, and those abort
    the process.
    """
    for thread, end in list(_running.items()):
        end()
        thread.join(EXIT_S)
