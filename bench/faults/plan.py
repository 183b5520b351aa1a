"""Which faults there are for a topology, and in which order they come."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.common import say
from bench.faults.clock import ShiftedClock
from bench.faults.faults import (
    ClockJump,
    Fault,
    FullDisk,
    Kill,
    KillDecoder,
    KillService,
    LockedStore,
    LostModel,
    NoFault,
    Paused,
    ReadOnlyStore,
    SlowNetwork,
    Stop,
    StopService,
)
from bench.faults.llm_server import EchoServer
from bench.faults.network import SlowLine
from bench.faults.ray_cluster import RAY_KINDS, OnCluster, ray_faults
from bench.faults.topology import STAGES, Cell, Topology

STATE_MB = 24  # of the file system that is filled
JUMPS_S = (3600.0, -3600.0, 400 * 86_400.0)
MOODS = ("gone", "fails", "hangs", "breaks off")
Make = Callable[[random.Random], Fault]
MakeAt = Callable[[str, random.Random, Cell], Fault]


@dataclass
class Kit:
    """What is around the servers, and can be hit, too. What is None is left out."""

    folder: Path
    models: list[EchoServer] = field(default_factory=list)
    lines: list[SlowLine] = field(default_factory=list)
    clock: ShiftedClock | None = None
    small_disk: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Of the cells."""
        found = dict(self.clock.environment) if self.clock is not None else {}
        if self.models:
            found["LLM_CHAIN"] = ", ".join(one.link for one in self.models)
        return found


def kit_of(folder: Path, models: bool) -> Kit:
    """What this machine has; with `models` also servers of language models, whose answers are
    scripted. What is missing is told, and its faults are left out.
    """
    kit = Kit(folder)
    if models:
        kit.models = [EchoServer(), EchoServer()]
    if ShiftedClock.possible():
        kit.clock = ShiftedClock(folder / "clock")
    else:
        say("no C compiler (Debian: gcc): clocks do not jump")
    kit.small_disk = os.geteuid() == 0 and shutil.which("mount") is not None
    if not kit.small_disk:
        say("not root: no disk is full")
    return kit


@contextmanager
def small_disks(kit: Kit, topology: Topology) -> Iterator[None]:
    """The state of each cell lies on a small file system of its own, where that can be."""
    mounted: list[Path] = []
    try:
        for cell in topology.cells if kit.small_disk else ():
            options = ["-t", "tmpfs", "-o", f"size={STATE_MB}m", "chaos", str(cell.state)]
            done = subprocess.run(["mount", *options], check=False, capture_output=True)
            if done.returncode:
                kit.small_disk = False
                say(f"no file system can be mounted: {done.stderr.decode().strip()}")
                break
            mounted.append(cell.state)
        yield
    finally:
        for path in mounted:
            subprocess.run(["umount", "-l", str(path)], check=False)


def kinds(topology: Topology, kit: Kit) -> dict[str, Make]:
    """Each kind of fault, with what makes one, at a cell and for a time of chance's choice."""
    found: dict[str, Make] = {}

    def at_a_cell(kind: str, make: MakeAt) -> None:
        found[kind] = lambda chance: make(kind, chance, chance.choice(topology.cells))

    found["no fault"] = lambda chance: NoFault("no fault")
    for stage in ("main", *STAGES):
        at_a_cell(f"kill {stage}", partial(_kill, stage))
    for stage in STAGES:
        at_a_cell(f"stop {stage}", partial(_stop, stage))
    at_a_cell("hang", _hang)
    at_a_cell("kill decoder", lambda kind, _, cell: KillDecoder(kind, target=cell))
    at_a_cell("pause of a machine", _pause)
    if kit.small_disk:
        at_a_cell("full disk", partial(_store, FullDisk))
    if "redis" not in topology.services:  # a program, and hit as one
        at_a_cell("locked store", partial(_store, LockedStore))
        if shutil.which("chattr") and os.geteuid() == 0:
            at_a_cell("read-only store", partial(_store, ReadOnlyStore))
    if isinstance(topology, OnCluster) and topology.ray is not None:
        for kind in RAY_KINDS:
            found[kind] = partial(ray_faults, topology.ray, kind)
    for name in topology.services.keys() - {"cluster"}:
        found[f"kill {name}"] = partial(_service, topology, KillService, f"kill {name}", name)
        found[f"stop {name}"] = partial(_service, topology, StopService, f"stop {name}", name)
    for mood in MOODS if kit.models else ():
        found[f"model server: {mood}"] = partial(_model, kit.models[0], mood)
    for kind in ("slow lines", "cut lines") if kit.lines else ():
        found[kind] = partial(_lines, kit.lines, kind)
    if kit.clock is not None:
        found["clock jump"] = partial(_jump, kit.clock)
    return found


def _kill(stage: str, kind: str, _: random.Random, cell: Cell) -> Fault:
    return Kill(kind, 0.0, cell.name, pid=partial(cell.stage_pid, stage), stage=stage)


def _stop(stage: str, kind: str, chance: random.Random, cell: Cell) -> Fault:
    pid = partial(cell.stage_pid, stage)
    return Stop(kind, chance.uniform(1, 8), cell.name, pid=pid, stage=stage)


def _hang(kind: str, chance: random.Random, cell: Cell) -> Fault:
    stage = chance.choice(STAGES)
    pid = partial(cell.stage_pid, stage)
    return Stop(kind, 0.0, cell.name, pid=pid, stage=stage, hangs=True)


def _pause(kind: str, chance: random.Random, cell: Cell) -> Fault:
    return Paused(kind, chance.uniform(2, 8), cell.name, target=cell)


def _store(made: Callable[..., Fault], kind: str, chance: random.Random, cell: Cell) -> Fault:
    return made(kind, chance.uniform(2, 6), cell.name, loses_store=True, target=cell)


def _service(
    topology: Topology,
    made: Callable[..., Fault],
    kind: str,
    name: str,
    chance: random.Random,
) -> Fault:
    noticed = name != "redis"  # calls go on without their store
    hold_s = chance.uniform(1, 6) if made is StopService else 0.0
    service = topology.services[name]
    return made(kind, hold_s, service=service, noticed=noticed, loses_store=not noticed)


def _model(server: EchoServer, mood: str, chance: random.Random) -> Fault:
    return LostModel(f"model server: {mood}", chance.uniform(2, 6), server=server, mood=mood)


def _lines(lines: Sequence[SlowLine], kind: str, chance: random.Random) -> Fault:
    return SlowNetwork(kind, chance.uniform(3, 8), lines=lines, cuts=kind == "cut lines")


def _jump(clock: ShiftedClock, chance: random.Random) -> Fault:
    seconds = chance.choice(JUMPS_S)
    return ClockJump("clock jump", chance.uniform(2, 6), clock=clock, seconds=seconds)


def order(kinds: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """`count` kinds, in rounds of all of them, each in another order."""
    found: list[str] = []
    while len(found) < count:
        found += chance.sample(list(kinds), len(kinds))
    return found[:count]
