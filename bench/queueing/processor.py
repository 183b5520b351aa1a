"""Processor sharing: several threads on few cores, in simulated time.

Each piece of work has one or more threads with a weight, as the kernel's scheduler gives a thread
by its niceness. The cores are divided among all threads in proportion to their weights, none of
which gets more than one core (what is left over goes to the others). Threads of one work wait for
each other, so a work that has more than one thread loses `barrier` wherever it has to share: its
threads are interrupted at different moments, and each time the others stand still. Cores that are
busy together run at `together` of the speed of one alone (caches, memory, hyper-threads). With one
core, equal weights and single threads this is the textbook's M/M/1 with processor sharing, by which
tests/test_queueing.py checks it.
"""

from __future__ import annotations

import simpy

DONE_S = 1e-9  # of work: less is done

# Of Linux, kernel/sched/core.c, sched_prio_to_weight: each step of niceness is a factor of 1.25
NICE_STEP = 1.25


def weight(nice: int) -> float:
    return float(NICE_STEP**-nice)


class Work:
    """`seconds` of each thread, alone on its core. `done` is an event; it never comes for work that
    was cancelled.
    """

    def __init__(self, env: simpy.Environment, seconds: float, threads: int, weight: float) -> None:
        self.left_s, self.threads, self.weight = seconds, threads, weight
        self.rate = 0.0  # of a core, for each thread
        self.speed = 0.0  # seconds of work in a second
        self.done = env.event()


class Processor:
    """`used_s` is the processor time of all threads until now."""

    def __init__(
        self, env: simpy.Environment, cores: float, together: float = 1.0, barrier: float = 1.0
    ) -> None:
        self._env, self.cores, self.together, self.barrier = env, cores, together, barrier
        self._works: list[Work] = []
        self._reserved = 0.0
        self._at, self._changes, self.used_s = env.now, 0, 0.0

    def start(self, seconds: float, threads: int = 1, nice: int = 0) -> Work:
        work = Work(self._env, seconds, threads, weight(nice))
        self._advance()
        self._works.append(work)
        self._divide()
        return work

    def cancel(self, work: Work) -> None:
        if work in self._works:
            self._advance()
            self._works.remove(work)
            self._divide()

    def reserve(self, cores: float) -> None:
        """What small steady work takes from all others: `cores` may be a part of one."""
        self._advance()
        self._reserved = min(cores, 0.95 * self.cores)
        self._divide()

    # ---------------------------------------------------------------------------------------------

    def _due(self, event: simpy.Event) -> None:
        """A work should be done now, unless the cores were divided anew meanwhile."""
        if event.value != self._changes:
            return
        self._advance()
        ended = [one for one in self._works if one.left_s <= DONE_S]
        self._works = [one for one in self._works if one.left_s > DONE_S]
        self._divide()
        for one in ended:
            one.done.succeed()

    def _advance(self) -> None:
        passed_s, self._at = self._env.now - self._at, self._env.now
        self.used_s += self._reserved * passed_s
        for one in self._works:
            one.left_s -= one.speed * passed_s
            self.used_s += one.rate * one.threads * passed_s

    def _divide(self) -> None:
        cores = self.cores - self._reserved
        rates = shares([(one.threads, one.weight) for one in self._works], cores)
        threads = sum(one.threads for one in self._works)
        busy = min(self.cores, threads + self._reserved)
        slower = 1.0
        if self.cores > 1 and busy > 1:
            slower = 1.0 - (1.0 - self.together) * (busy - 1) / (self.cores - 1)
        for one, rate in zip(self._works, rates, strict=True):
            one.rate = rate
            crowded = one.threads > 1 and threads > self.cores
            one.speed = rate * slower * (self.barrier if crowded else 1.0)
        self._changes += 1
        next_s = min((one.left_s / one.speed for one in self._works), default=None)
        if next_s is not None:
            due = self._env.timeout(max(next_s, 0.0), self._changes)
            due.callbacks.append(self._due)


def shares(works: list[tuple[int, float]], cores: float) -> list[float]:
    """The part of a core that each thread gets, for works of (threads, weight): in proportion to
    the weights, at most one.
    """
    found = [0.0] * len(works)
    open_, left = list(range(len(works))), cores
    while open_ and left > 0:
        total = sum(works[at][0] * works[at][1] for at in open_)
        whole = [at for at in open_ if left * works[at][1] / total >= 1.0]
        if not whole:
            for at in open_:
                found[at] = left * works[at][1] / total
            break
        for at in whole:
            found[at] = 1.0
            left -= works[at][0]
            open_.remove(at)
    return found
