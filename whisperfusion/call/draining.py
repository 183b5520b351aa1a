"""The end of a process that has calls: none is admitted, those that run may end by themselves, and
the rest is closed between turns, with all that is known of them stored, so that their clients go on
with it at another server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from whisperfusion.call.memory import CallMemory, Memory
from whisperfusion.runtime.shutdown import REPLY_S
from whisperfusion.turns.states import State

LOOK_S = 0.1  # between two looks at the calls that are left


class Movable(Protocol):
    """A call."""

    memory: CallMemory | None
    on_moved: Callable[[], object]  # closes its connection

    @property
    def state(self) -> State: ...


class Draining:
    """`calls` and `recordings`, which are being read, are the process's own, living collections;
    `done` is called when nothing is left in them.
    """

    def __init__(
        self,
        calls: Mapping[str, Movable],
        recordings: Collection[object],
        memory: Memory | None,
        done: Callable[[], object],
    ) -> None:
        self._calls, self._recordings = calls, recordings
        self._memory, self._done = memory, done
        self._task: asyncio.Task[None] | None = None

    def start(self, within_s: float) -> None:
        """Calls that are left after so many seconds are closed."""
        self._task = asyncio.create_task(self._finish(within_s))

    async def _finish(self, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._calls or self._recordings:
            if loop.time() >= until:
                late = loop.time() >= until + REPLY_S
                due = [one for one in self._calls.values() if late or one.state is State.IDLE]
                await asyncio.gather(*(self._move(one, late) for one in due))
            await asyncio.sleep(LOOK_S)
        self._done()

    async def _move(self, call: Movable, late: bool) -> None:
        if self._memory is not None and call.memory is not None:
            await self._memory.stored(call.memory)
        if late or call.state is State.IDLE:  # it may have gone on while that was written
            call.on_moved()
