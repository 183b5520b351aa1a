"""The engine loop: order, staleness, and signs of life."""

from __future__ import annotations

import threading
from collections import defaultdict

from whisperfusion.messages import Ticket
from whisperfusion.runtime.worker import Worker


def ticket(turn: int, call: str = "a") -> Ticket:
    return Ticket(call, turn)


class Bench:
    """A worker whose jobs wait until they are told to go on."""

    def __init__(self, threads: int = 1) -> None:
        self.done: list[str] = []
        self.started = threading.Semaphore(0)
        self.gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self.finished = threading.Semaphore(0)
        self.worker: Worker[str] = Worker("test", self._work, threads)
        self.worker.start()

    def _work(self, ticket: Ticket, job: str) -> None:
        self.started.release()
        assert self.gates[job].wait(10)
        self.done.append(job + (" (stale)" if self.worker.stale(ticket) else ""))
        self.finished.release()

    def go(self, *jobs: str) -> None:
        for job in jobs:
            self.gates[job].set()

    def wait(self, what: threading.Semaphore, count: int = 1) -> None:
        for _ in range(count):
            assert what.acquire(timeout=40)


def test_jobs_of_one_call_run_in_order_and_stale_ones_never():
    bench = Bench()
    bench.worker.put(ticket(1), "first")
    bench.wait(bench.started)
    bench.worker.put(ticket(1), "second")
    bench.worker.put(ticket(2), "third")
    assert not bench.worker.put(ticket(1), "late")
    bench.go("first", "second", "third")
    bench.wait(bench.finished, 2)
    assert bench.done == ["first (stale)", "third"]
    bench.worker.stop()


def test_a_call_that_is_busy_delays_no_other():
    bench = Bench(2)
    bench.worker.put(ticket(1), "a1")
    bench.worker.put(ticket(1), "a2")
    bench.worker.put(ticket(1, "b"), "b1")
    bench.wait(bench.started, 2)
    bench.go("a1", "b1")
    bench.wait(bench.finished, 2)
    assert set(bench.done) == {"a1", "b1"}
    bench.go("a2")
    bench.wait(bench.finished)
    assert bench.done[2] == "a2"
    bench.worker.stop()


def test_a_forgotten_call_is_over():
    bench = Bench()
    bench.worker.put(ticket(1), "one")
    bench.wait(bench.started)
    bench.worker.put(ticket(1), "two")
    bench.worker.forget_all()
    bench.go("one", "two", "other")
    bench.wait(bench.finished)
    bench.worker.put(ticket(1, "b"), "other")
    bench.wait(bench.finished)
    assert bench.done == ["one (stale)", "other"]
    bench.worker.stop()


def test_busy_since_tells_of_work_and_asking_stale_is_a_sign_of_life():
    bench = Bench()
    assert bench.worker.busy_since() is None
    bench.worker.put(ticket(1), "one")
    bench.wait(bench.started)
    first = bench.worker.busy_since()
    assert first is not None
    bench.go("one")
    bench.wait(bench.finished)
    bench.worker.put(ticket(1), "two")
    bench.wait(bench.started)
    assert bench.worker.busy_since() > first
    bench.go("two")
    bench.wait(bench.finished)
    bench.worker.stop()


def test_work_can_take_more_of_what_waits_and_ends_it_with_its_own():
    gate, seen, finished = threading.Event(), [], threading.Semaphore(0)

    def work(ticket: Ticket, job: str) -> None:
        assert gate.wait(10)
        seen.append([job, *(job for _, job in worker.more(2))])
        finished.release()

    worker: Worker[str] = Worker("test", work)
    for call, job in ("a1", "a2", "b1", "c1", "d1"):
        worker.put(ticket(1, call), call + job)
    worker.start()
    gate.set()
    for _ in range(2):
        assert finished.acquire(timeout=40)
    assert seen == [["a1", "b1", "c1"], ["d1", "a2"]]  # of each call one at a time
    worker.put(ticket(1, "c"), "c2")
    assert finished.acquire(timeout=40)
    assert seen[2] == ["c2"]
    worker.stop()
