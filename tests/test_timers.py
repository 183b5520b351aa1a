"""The timers of a call: told when they are due, by a clock that outlives processes."""

from __future__ import annotations

import asyncio

from whisperfusion.call.timers import LONGEST_S, MOST, Timers
from whisperfusion.messages import Timer

PATIENCE_S = 20.0  # bound of a test that fails


class Clock:
    """Unix time by hand, and the timers that were due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[str] = []
        self.timers = Timers(self._due, lambda: self.now)

    def _due(self, timer: Timer) -> None:
        self.told.append(timer.text)

    async def until(self, count: int) -> list[str]:
        async def wait() -> None:
            while len(self.told) < count:
                await asyncio.sleep(0.001)

        await asyncio.wait_for(wait(), PATIENCE_S)
        return self.told


async def test_what_is_due_is_told_in_its_order_and_the_rest_is_kept():
    clock = Clock()
    clock.timers.set("c", "later", 500.0)
    clock.timers.set("b", "second", 20.0)
    clock.timers.set("a", "first", 10.0)
    assert [one.id for one in clock.timers.running] == ["a", "b", "c"]
    clock.now = 1030.0  # the machine slept
    clock.timers.set("d", "much later", 600.0)
    assert await clock.until(2) == ["first", "second"]
    assert clock.timers.running == (
        Timer("c", "later", 1500.0),
        Timer("d", "much later", 1630.0),
    )
    clock.timers.stop()


async def test_a_timer_is_replaced_by_its_id_and_cancelled_by_it():
    clock = Clock()
    clock.timers.set("a", "old", 10.0)
    clock.timers.set("a", "new", 20.0)
    clock.timers.set("b", "never", 5.0)
    clock.timers.cancel("b")
    clock.timers.cancel("b")
    clock.now = 1020.0
    clock.timers.cancel("unknown")
    assert await clock.until(1) == ["new"] and clock.timers.running == ()


async def test_one_that_became_due_while_no_process_ran_is_told_at_once():
    clock = Clock()
    clock.timers.restore((Timer("a", "late", 900.0), Timer("b", "to come", 2000.0)))
    assert await clock.until(1) == ["late"]
    assert [one.id for one in clock.timers.running] == ["b"]
    clock.timers.stop()


async def test_after_the_end_nothing_is_told():
    clock = Clock()
    clock.timers.set("a", "never", 0.0)
    clock.timers.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert clock.told == [] and len(clock.timers.running) == 1


async def test_times_and_numbers_have_limits():
    clock = Clock()
    clock.timers.set("a", "x", 1e300)
    clock.timers.set("b", "x", float("inf"))
    clock.timers.set("d", "x", float("nan"))
    assert all(one.due_at <= 1000.0 + LONGEST_S for one in clock.timers.running)
    for number in range(2 * MOST):
        clock.timers.set(f"n{number}", "x", 60.0)
    assert len(clock.timers.running) == MOST
    clock.timers.set("n1", "in its place", 30.0)
    assert clock.timers.running[-1].due_at <= 1000.0 + LONGEST_S
    clock.timers.stop()
