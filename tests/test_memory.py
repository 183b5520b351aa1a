"""Free memory goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

from whisperfusion.runtime.memory import GROWN, TIMES, HeapTrimmer, resident


def test_what_is_freed_after_growth_is_given_back():
    heap = HeapTrimmer(ctypes.CDLL(None).malloc_trim)
    heap.trim_if_grown()
    before = resident()
    pieces = [bytes(100_000) for _ in range(600)]  # small enough for the heap
    above = bytes(100_000)  # the heap cannot shrink by itself
    heap.trim_if_grown()  # while all of it is in use
    grown = resident()
    assert grown > before + 4 * GROWN
    del pieces
    heap.trim_if_grown()
    assert resident() < grown - 4 * GROWN and above


def test_a_process_that_does_not_grow_is_left_alone():
    calls: list[int] = []
    heap = HeapTrimmer(lambda pad: calls.append(pad) or 0)
    for _ in range(TIMES + 5):
        heap.trim_if_grown()
    assert len(calls) == TIMES  # the first look takes all of it for growth


FREEZES = """
import gc, weakref
from whisperfusion.runtime.memory import freeze_heap

class Cycle:
    def __init__(self):
        self.itself = self

freeze_heap()
assert gc.get_freeze_count() > 1000 > len(gc.get_objects())
cycle = weakref.ref(late := Cycle())
freeze_heap()
del late
gc.collect()
assert cycle() is None
"""


def test_what_a_process_starts_with_is_left_out_of_collections_and_nothing_else():
    subprocess.run([sys.executable, "-c", FREEZES], check=True)
