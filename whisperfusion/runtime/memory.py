"""Keeps a process small that runs for months.

What a call leaves in reference cycles waits for a full collection of Python's garbage collector,
and that for a quarter as many new objects as there are old ones: with the fifty thousand that the
models' libraries make, for about a hundred calls. `freeze_heap` takes these out of the count.

The other half returns free memory to the system after a peak, such as a flood of large frames. The
C library keeps the memory that Python freed in its heaps; glibc's `malloc_trim` returns its
whole pages. It is called only for a minute after the process has grown, in a thread of its own,
outside the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERY_S = 10.0
GROWN = 8 * 1024 * 1024  # bytes since the last trim: less is not worth the page faults that follow
TIMES = 6  # trims after growth: the peak is freed some time later


def freeze_heap() -> None:
    """Called once, before a process takes work: what it has made so far stays, and full collections
    neither read it nor wait for it (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def resident() -> int:
    """Resident bytes of this process. Raises OSError where the system does not report them."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def start_heap_trimmer() -> None:
    """Start the thread, where there is a glibc."""
    with suppress(OSError, AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        resident()
        threading.Thread(
            target=_trim_forever, args=(HeapTrimmer(trim),), name="memory", daemon=True
        ).start()


def _trim_forever(heap: HeapTrimmer) -> None:
    while True:
        time.sleep(EVERY_S)
        with suppress(OSError):
            heap.trim_if_grown()


class HeapTrimmer:
    def __init__(self, trim: Callable[[int], int]) -> None:
        self._trim = trim
        self._lowest = 0  # resident bytes after the last trim, or the least since
        self._times = 0

    def trim_if_grown(self) -> None:
        """Trim if the process has grown in the last minute."""
        now = resident()
        if now >= self._lowest + GROWN:
            self._times = TIMES
        if self._times:
            self._times -= 1
            self._trim(0)
            self._lowest = resident()
        else:
            self._lowest = min(now, self._lowest)
