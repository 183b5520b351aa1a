"""What a running server costs: processor time, memory, descriptors and threads of each of its
processes, read from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

STAGES = ("asr", "llm", "tts", "gateway")  # in the order in which main starts them


@dataclass(frozen=True)
class Cost:
    """Of one process, or of several together. `held_mb` is the proportional set size where the
    system tells it, else the resident one.
    """

    cpu_s: float = 0.0
    held_mb: float = 0.0
    descriptors: int = 0
    threads: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu_s + other.cpu_s,
            self.held_mb + other.held_mb,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
        )


def cost_of(one: psutil.Process) -> Cost:
    """Zeros of a process that has ended."""
    try:
        times = one.cpu_times()
        with one.oneshot():
            memory = one.memory_full_info()
            held = getattr(memory, "pss", memory.rss)
            return Cost(times.user + times.system, held / 2**20, one.num_fds(), one.num_threads())
    except psutil.Error:
        return Cost()


def costs(pids: Sequence[int], balancer: int = 0) -> dict[str, Cost]:
    """The processes of the servers whose `main.py` these are, by stage, all servers together, and
    the balancer before them (0: there is none).

    A stage that was started again has the name of those that are behind it in the list.
    """
    found: dict[str, Cost] = {}
    if balancer:
        found["haproxy"] = cost_of(psutil.Process(balancer))
    for pid in pids:
        try:
            main = psutil.Process(pid)
            children = [one for one in main.children() if "spawn_main" in " ".join(one.cmdline())]
        except psutil.Error:
            continue
        children.sort(key=lambda one: one.create_time())
        names = ("main", *STAGES, *("other" for _ in children))
        for name, one in zip(names, (main, *children), strict=False):
            found[name] = found.get(name, Cost()) + cost_of(one)
    return found
