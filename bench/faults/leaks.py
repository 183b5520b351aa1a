"""What is there before and after: processes, descriptors, threads, memory, shared memory, files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.faults.topology import Topology
from whisperfusion.gateway.decoding.pool import WARM

PSS = re.compile(r"^Pss:\s+(\d+) kB", re.M)
SHARED = Path("/dev/shm")
# a process that was started again is younger than one of the beginning, and has not filled all of
# its buffers; one that has been hit by many callers has more of them
DECODERS = WARM + 1  # that may be idle below a cell, with the one that tracks what it shares
MORE_DESCRIPTORS, MORE_THREADS, MORE_MB, MORE_PART = 16, 4, 24.0, 0.25
ENGINE_THREADS = 12  # of an engine that was loaded


@dataclass(frozen=True)
class Use:
    """Of one process, or of several of one name together."""

    pss_mb: float = 0.0
    descriptors: int = 0
    threads: int = 0
    processes: int = 1

    def __add__(self, other: Use) -> Use:
        return Use(
            self.pss_mb + other.pss_mb,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
            self.processes + other.processes,
        )


def pss_mb(pid: int) -> float:
    """Proportional set size: what it has for itself, and its part of what it shares."""
    try:
        found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def use_of(pid: int) -> Use | None:
    """None: it is not there any more."""
    try:
        process = psutil.Process(pid)
        return Use(pss_mb(pid), process.num_fds(), process.num_threads())
    except psutil.Error:
        return None


def uses(names: Mapping[int, str]) -> dict[str, Use]:
    """By name."""
    found: dict[str, Use] = {}
    for pid, name in names.items():
        if (one := use_of(pid)) is not None:
            found[name] = found[name] + one if name in found else one
    return found


def shared_memory() -> frozenset[str]:
    """Names in /dev/shm, of this server and of all other programs."""
    return frozenset(one.name for one in SHARED.iterdir()) if SHARED.is_dir() else frozenset()


@dataclass(frozen=True)
class Snapshot:
    uses: dict[str, Use] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    @staticmethod
    def of(topology: Topology) -> Snapshot:
        return Snapshot(uses(topology.names()), shared_memory())

    def grown(self, before: Snapshot, may_load: Mapping[str, float]) -> list[str]:
        """What is more than `before`, beyond what differs between two starts, and the engines that
        may have been loaded since (`Topology.may_load`).
        """
        found = []
        for name, now in self.uses.items():
            if "/" not in name:  # Redis, HAProxy and Ray are not this project's
                continue
            then = before.uses.get(name, Use(processes=0))
            engine_mb = may_load.get(name.partition("/")[2], 0.0)
            threads = MORE_THREADS * max(1, now.processes) + (ENGINE_THREADS if engine_mb else 0)
            idle = DECODERS if name.endswith("/others") else 0
            if now.processes > max(then.processes, idle):
                found.append(f"{name}: {now.processes} processes, before {then.processes}")
            if now.descriptors > then.descriptors + MORE_DESCRIPTORS * max(1, now.processes):
                found.append(f"{name}: {now.descriptors} descriptors, before {then.descriptors}")
            if now.threads > then.threads + threads:
                found.append(f"{name}: {now.threads} threads, before {then.threads}")
            if now.pss_mb > then.pss_mb * (1 + MORE_PART) + MORE_MB + engine_mb:
                found.append(f"{name}: {now.pss_mb:.0f} MB, before {then.pss_mb:.0f}")
        return found


def left_files(topology: Topology) -> list[str]:
    """Temporary files of servers that have stopped."""
    kinds = Counter(
        re.sub(r"[0-9a-z_]{8}$", "…", str(path.relative_to(topology.folder)))
        for cell in topology.cells
        for path in cell.temporary.rglob("*")
    )
    return [f"{name} ({count} times)" for name, count in sorted(kinds.items())]
