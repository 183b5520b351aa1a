"""One engine thread with its queue, as whisperfusion/runtime/worker.py has it: the same mailbox,
the same order (urgent jobs first, callers in turn, the newest job of a caller replaces an older
one), the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy

from bench.queueing.processor import Processor
from whisperfusion.messages import Ticket
from whisperfusion.runtime.mailbox import Mailbox


@dataclass(frozen=True)
class Job:
    """`seconds` of the engine, alone. `done(waited_s, took_s)`: it came so long after its request,
    of which the engine took `took_s`. `wanted`: whether it is still of use when its turn comes.
    """

    caller: str
    seconds: float
    done: Callable[[float, float], object]
    wanted: Callable[[], bool]
    since: float


class Station:
    """Up to `together` jobs of different callers are one batch, in which each but the first takes
    `more` of its time alone. `threads` divide the work, `efficient` for each but the first.
    """

    def __init__(
        self,
        env: simpy.Environment,
        processor: Processor,
        *,
        nice: int = 0,
        threads: int = 1,
        efficient: float = 1.0,
        together: int = 1,
        more: float = 1.0,
    ) -> None:
        self._env, self._processor = env, processor
        self._nice, self._threads, self._speed = nice, threads, 1 + (threads - 1) * efficient
        self._together, self._more = together, more
        self._mailbox: Mailbox[Job] = Mailbox()
        self._put = env.event()
        self.served = 0
        env.process(self._run())

    def put(
        self,
        caller: str,
        seconds: float,
        done: Callable[[float, float], object],
        *,
        wanted: Callable[[], bool] = lambda: True,
        replace: str | int | None = None,
        urgent: bool = False,
    ) -> None:
        job = Job(caller, seconds, done, wanted, self._env.now)
        self._mailbox.put(Ticket(caller, 0), job, replace, urgent, self._env.now)
        put, self._put = self._put, self._env.event()
        put.succeed()

    @property
    def waiting(self) -> int:
        return len(self._mailbox)

    def _run(self) -> Generator[simpy.Event, Any, None]:
        while True:
            while not len(self._mailbox):
                yield self._put
            popped = (self._mailbox.pop() for _ in range(self._together))
            jobs = [one[1] for one in popped if one is not None]
            wanted = [job for job in jobs if job.wanted()]
            began = self._env.now
            if wanted:
                first, *others = (job.seconds for job in wanted)
                seconds = (first + self._more * sum(others)) / self._speed
                yield self._processor.start(seconds, self._threads, self._nice).done
            for job in jobs:
                self._mailbox.done(job.caller)
            for job in wanted:
                self.served += 1
                job.done(self._env.now - job.since, (self._env.now - began) / len(wanted))
