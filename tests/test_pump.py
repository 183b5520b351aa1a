"""Blocking work as an iterator that can be closed at any moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from whisperfusion.engines import pump


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def test_pieces_come_in_order_and_a_failure_is_raised_by_the_reader():
    def work(give):
        give("one")
        give("two")
        raise ValueError("three")

    found = []
    with pytest.raises(ValueError, match="three"):
        found.extend(piece for piece in pump.pieces(work, "") if piece)
    assert found == ["one", "two"]


def test_a_silent_work_pulses_and_closing_wakes_it():
    go = threading.Event()
    reader = pump.pieces(lambda give: go.wait(30), "-", stop=go.set)
    assert next(reader) == "-"
    reader.close()
    assert go.is_set()


def test_works_in_a_pool_keep_to_its_thread_and_one_closed_before_its_turn_never_starts(pool):
    go, threads = threading.Event(), []

    def first(give):
        threads.append(threading.get_ident())
        go.wait(30)

    reader = pump.pieces(first, "", pool=pool)
    next(reader)
    waiting = pump.pieces(lambda give: threads.append(-1), "", pool=pool)
    next(waiting)
    waiting.close()
    go.set()
    for _ in pump.pieces(lambda give: threads.append(threading.get_ident()), "", pool=pool):
        pass
    reader.close()
    assert len(threads) == 2 and len(set(threads)) == 1


def test_an_iterator_that_the_garbage_collector_closes_does_not_wait_for_itself(pool):
    reader = pump.pieces(lambda give: give("one"), "", pool=pool)
    assert next(piece for piece in reader if piece) == "one"
    with pump._closing:
        reader.close()  # in whatever thread it happens to run, also one that is inside


def test_a_closed_work_that_does_not_end_is_told_to_whoever_comes_later(pool, monkeypatch):
    go = threading.Event()
    reader = pump.pieces(lambda give: go.wait(30), "", pool=pool)
    next(reader)
    reader.close()
    later = pump.pieces(lambda give: None, "", pool=pool)
    assert next(later) == ""  # a minute is allowed
    later.close()
    monkeypatch.setattr(pump, "STUCK_S", 0.0)
    with pytest.raises(RuntimeError, match="hangs"):
        next(pump.pieces(lambda give: None, "", pool=pool))
    go.set()
    pool.submit(lambda: None).result()
    # it did end
    assert [piece for piece in pump.pieces(lambda give: give("yes"), "", pool=pool) if piece] == [
        "yes"
    ]


def test_after_a_pause_of_the_machine_a_closed_work_gets_a_moment_to_end(pool, monkeypatch):
    monkeypatch.setattr(pump, "STUCK_S", 0.0)
    monkeypatch.setattr(pump, "MOMENT_S", 30.0)  # bound of a test that fails
    go = threading.Event()
    reader = pump.pieces(lambda give: go.wait(30), "", pool=pool)
    next(reader)
    reader.close()
    threading.Timer(0.1, go.set).start()
    assert [piece for piece in pump.pieces(lambda give: give("yes"), "", pool=pool) if piece] == [
        "yes"
    ]


def test_a_work_that_was_closed_before_it_began_is_told(pool):
    go, told = threading.Event(), threading.Event()
    pool.submit(go.wait, 30)
    reader = pump.pieces(lambda give: give("never"), "", skipped=told.set, pool=pool)
    assert next(reader) == ""
    reader.close()
    go.set()
    assert told.wait(30)
