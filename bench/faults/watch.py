"""Samples of every process while callers talk, and what they say about growth."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field

from bench.faults.leaks import uses
from bench.faults.slopes import Slope, slope
from bench.faults.topology import Topology, metrics

GAUGES = {"queue_oldest_job_seconds": "oldest job, s", "event_loop_lag_seconds": "loop held, s"}
MEASURES = ("memory, MB", "descriptors", "threads", "processes")
# smaller changes over a whole run are those of an allocator, and of one caller more or less
FLOOR = {"memory, MB": 1.0, "descriptors": 2.0, "threads": 1.0, "processes": 1.0}
FLOOR_PART = 0.02  # of the typical value


@dataclass
class Watch:
    """`series`: by process and measure, (seconds since the start, value)."""

    topology: Topology
    every_s: float
    series: dict[tuple[str, str], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    restarts: list[str] = field(default_factory=list)
    _pids: dict[str, int] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        while True:
            due = time.monotonic() + self.every_s
            await asyncio.to_thread(self.sample)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def sample(self) -> None:
        """Blocks for some milliseconds a process."""
        at, names = time.monotonic() - self._began, self.topology.names()
        for name, use in uses(names).items():
            values = (use.pss_mb, use.descriptors, use.threads, use.processes)
            for measure, value in zip(MEASURES, values, strict=True):
                self.series[name, measure].append((at, float(value)))
        for cell in self.topology.cells:
            for metric, stage, value in metrics(cell):
                if metric in GAUGES:
                    self.series[f"{cell.name}/{stage}", GAUGES[metric]].append((at, value))
        self._note_restarts(at, names)

    def _note_restarts(self, at: float, names: dict[int, str]) -> None:
        for pid, name in names.items():
            before = self._pids.get(name, pid)
            if before != pid and not name.endswith("/others"):
                self.restarts.append(f"{name} was started again after {at:.0f} s")
            self._pids[name] = pid

    # --- what they say ---------------------------------------------------------------------------

    def slopes(self, warm_up_s: float) -> dict[tuple[str, str], Slope]:
        found = {}
        for (name, measure), samples in sorted(self.series.items()):
            if measure in MEASURES:
                late = [(at, value) for at, value in samples if at >= warm_up_s]
                found[name, measure] = slope([at for at, _ in late], [one for _, one in late])
        return found

    def worst(self, measure: str) -> dict[str, float]:
        """By process."""
        return {
            name: max(value for _, value in samples)
            for (name, found), samples in sorted(self.series.items())
            if found == measure
        }


def floor(measure: str, typical: float) -> float:
    """The growth over a run, below which it is noise."""
    return max(FLOOR[measure], FLOOR_PART * typical)
