"""An engine that blocks, made into an iterator that can be closed at any moment.

A generator can only be closed between two pieces, so one that waits ten seconds for its first piece could
not be stopped for ten seconds. Here the blocking work has a thread of its own, and while it has nothing
to say the iterator gives "" every tenth of a second: a chance to close, and a sign of life.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Piece = TypeVar("Piece")

PULSE_S = 0.1
STUCK_S = 60.0  # from the closing of a work in a pool to its end: works ask ten times a second or more whether to go on
EXIT_S = 3.0  # how long the end of the process waits for each thread

_closing = threading.RLock()  # the garbage collector may close an iterator, and so enter, in a thread that holds it
_closed_at: dict[Executor, float] = {}  # pools whose work goes on although it was closed
_running: dict[threading.Thread, Callable[[], None]] = {}


def pieces(work: Callable[[Callable[[Piece], bool]], None], pulse: Piece, *, stop: Callable[[], None] = lambda: None,
           pool: Executor | None = None) -> Iterator[Piece]:
    """What `work(give)` gives, in order, with `pulse` while it is silent; an exception out of `work` is raised here.

    `give(piece)` returns True when nobody listens any more: then `work` shall return. Closing the iterator also
    calls `stop`, which must wake a `work` that waits. Nothing waits for the thread: it ends as soon as `work` does.
    `pool` is for libraries that must be used from the thread that built them: one worker, the works take turns. When a
    closed work in it does not end, whoever comes later gets a RuntimeError instead of waiting for ever.
    """
    if pool is not None and time.monotonic() - _closed_at.get(pool, time.monotonic()) > STUCK_S:
        raise RuntimeError(f"the engine hangs: a work that was closed did not end within {STUCK_S:g} s")
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
        yield from pulsing(found, pulse)
    finally:
        end()
    if failures:
        raise failures[0]


def pulsing(found: SimpleQueue[Any], pulse: Piece) -> Iterator[Piece]:
    """What comes out of `found` up to None, and `pulse` for every tenth of a second without anything."""
    while True:
        try:
            piece = found.get(timeout=PULSE_S)
        except Empty:
            piece = pulse
        if piece is None:
            return
        yield piece


@atexit.register
def end_all() -> None:
    """Without this, the interpreter's end kills threads inside C++ libraries, and those abort the process."""
    for thread, end in list(_running.items()):
        end()
        thread.join(EXIT_S)
