"""Cancels an async entry point at every `await` that it passes, to find what it leaves behind.

    async def enter():                      # a fresh world each time: fakes, counters, the entry
                                            # point awaited
        world.append(World())
        await Connections(world[-1]).serve(FakeConnection(...))

    passed = await cancel_at_every_await(enter, lambda at: check_nothing_is_held(world[-1]))

`enter` is run again and again; the nth time it is cancelled while it waits for the nth time, by
itself or in a task that it made, until it ends before that. It must come to its end each time,
leave no task behind and nothing for the loop to complain of; what else must be released is
`check`'s to say. Waiting that depends on real time or sockets only makes n less exact, not wrong.
`again`: a second cancellation comes so many awaits later, in the middle of the clearing up.
`leave`: what happens at the nth await instead of a cancellation, such as the client's hanging up.
"""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

# bound of a test that fails: a cancelled entry point that goes on waiting, a task that stays
ENDS_S = 20.0
MOST_AWAITS = 2000
# turns of the loop in which what was cancelled may still end, before `check`; after it sockets are
# waited for
SETTLING = 20
TURN_S = 0.001


class Counter:
    """Counts the suspensions of `task` and of all tasks that come of it, and cancels it at the
    numbers `at`.
    """

    def __init__(self, at: set[int], leave: Callable[[], None] | None = None) -> None:
        self.at, self.passed, self._leave = at, 0, leave
        self.task: asyncio.Task[Any] | None = None
        self.tasks: list[asyncio.Task[Any]] = []

    def waits(self) -> None:
        self.passed += 1
        if self.passed in self.at and self.task is not None:
            (self._leave or self.task.cancel)()

    def left(self) -> list[str]:
        return sorted(task.get_name() for task in self.tasks if not task.done())


COUNTER: ContextVar[Counter | None] = ContextVar(
    "counter", default=None
)  # a task hands it on to those that it makes


def _factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    counter = COUNTER.get()
    if counter is None:
        return asyncio.Task(coroutine, loop=loop, **options)
    options.setdefault("name", getattr(coroutine, "__qualname__", str(coroutine)))
    task = asyncio.Task(_counted(coroutine, counter), loop=loop, **options)
    counter.tasks.append(task)
    return task


async def _counted(coroutine: Coroutine[Any, Any, Any], counter: Counter) -> Any:
    return await _stepwise(coroutine, counter.waits)


@types.coroutine
def _stepwise(
    coroutine: Coroutine[Any, Any, Any], waits: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Runs `coroutine` as `await` does, and calls `waits` each time that it is about to wait."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            awaited = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as end:
            return end.value
        waits()
        value, error = None, None
        try:
            value = yield awaited
        except BaseException as thrown:  # cancellation above all: it belongs to the coroutine
            error = thrown


async def cancel_at_every_await(
    enter: Callable[[], Coroutine[Any, Any, Any]],
    check: Callable[[int], Awaitable[None] | None] = lambda at: None,
    again: int | None = None,
    leave: Callable[[], None] | None = None,
) -> int:
    """The number of awaits that `enter` passes when it is not cancelled.

    Raises AssertionError for tasks left behind.
    """
    loop = asyncio.get_running_loop()
    complaints: list[str] = []
    loop.set_exception_handler(
        lambda _, context: complaints.append(f"{context['message']}: {context.get('exception')!r}")
    )
    usual = loop.get_task_factory()
    loop.set_task_factory(_factory)
    try:
        for at in range(1, MOST_AWAITS):
            counter = await _cancelled_once(
                enter, {at} if again is None else {at, at + again}, leave
            )
            for _ in range(SETTLING):
                await asyncio.sleep(0)
            outcome = check(at)
            if outcome is not None:
                await outcome
            await nothing(counter.left, f"cancelled at await {at}, it left")
            gc.collect(0)
            assert not complaints, (
                f"cancelled at await {at}, it made the loop complain: {complaints}"
            )
            if counter.passed < at:
                return counter.passed
    finally:
        loop.set_task_factory(usual)
        loop.set_exception_handler(None)
    raise AssertionError(
        f"the entry point still waits after {MOST_AWAITS} awaits; let its world end sooner"
    )


async def _cancelled_once(
    enter: Callable[[], Coroutine[Any, Any, Any]],
    at: set[int],
    leave: Callable[[], None] | None = None,
) -> Counter:
    loop, counter = asyncio.get_running_loop(), Counter(at, leave)
    before = COUNTER.set(counter)
    try:
        counter.task = loop.create_task(enter())
    finally:
        COUNTER.reset(before)
    done, _ = await asyncio.wait((counter.task,), timeout=ENDS_S)
    assert done, (
        f"cancelled at await {min(at)}, it was not over after {ENDS_S:g} s: "
        f"{counter.task.get_stack()}"
    )
    if not counter.task.cancelled() and (error := counter.task.exception()) is not None:
        raise AssertionError(f"cancelled at await {min(at)}, it failed") from error
    return counter


async def nothing(found: Callable[[], list[str]], what: str) -> None:
    """Until `found` is empty, which may need an answer of a socket.

    Raises AssertionError with `what`.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + ENDS_S
    while left := found():
        assert loop.time() < until, f"{what} {left}"
        await asyncio.sleep(TURN_S)
