"""Faults in an order and at moments of chance's choice, while callers talk; then what held.

    python bench/chaos.py                                      # one server, scripted engines
    python bench/chaos.py --topology cells --faults 60 --seed 2
    python bench/chaos.py --engines real --faults 40
    python bench/chaos.py --only "kill asr,full disk" --faults 20
    python bench/chaos.py --topology cluster --engines real --only kill --faults 60

Callers come by the two sockets, through the gateway, over Realtime, `/ws` and REST, and check each
answer (`bench/faults/people.py`, `interfaces.py`). After each fault it is measured how long all
takes to be ready again, and a new caller to be answered. What must hold, all the time: no answer
reaches another caller; no turn whose answer was complete is forgotten, and none stays without an
answer or a message; bystanders notice nothing; at the end no process, descriptor, thread, memory,
shared memory or file is left. The program ends with 1 where one of these does not hold, or
something was not ready within `--ready` seconds. A seed gives the same faults in the same order;
what callers do at that moment is up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import common
from bench.common import OUT, BenchError, say
from bench.faults.account import Account, Codes, Noticed
from bench.faults.crowd import Crowd
from bench.faults.faults import Fault
from bench.faults.interfaces import VISITS, Told, Visitor, Wrong
from bench.faults.leaks import Snapshot, left_files, shared_memory
from bench.faults.material import Material, Recordings, Tones
from bench.faults.network import SlowLine
from bench.faults.plan import kinds, kit_of, order, small_disks
from bench.faults.ray_cluster import on_cluster
from bench.faults.topology import SCRIPTED, Front, Topology, cells, one
from whisperfusion.client import CallError
from whisperfusion.client.timed_call import TimedCall

INTERFACES = ("sockets", "page", "realtime", "sockets", "transcriptions", "sockets", "ws", "page")
BACK_S = 240.0  # longest wait for all to be ready again
POLL_S = 0.05
AFTER_S = 15.0  # in which a caller may notice a fault that is over
LOOKS = 4  # for what has grown, `settle_s` apart
LINES = 2  # callers behind a line that can be bad


@dataclass(frozen=True)
class Plan:
    topology: str = "one"
    engines: str = "scripted"
    callers: int = 8
    faults: int = 40
    seed: int = 1
    ready_s: float = 60.0
    only: tuple[str, ...] = ()
    gap_s: tuple[float, float] = (1.0, 6.0)  # between a recovery and the next fault
    longest_s: float = 60.0  # of a fault
    settle_s: float = 6.0  # before processes are compared


@dataclass
class Row:
    """One fault. Seconds from its end until all was ready, and until a caller who came at that
    moment was answered, or came again because of it and was answered.
    """

    kind: str
    cell: str
    began: float
    ended: float = 0.0
    ready_s: float = 0.0
    answered_s: float = 0.0
    loses_store: bool = False


@dataclass
class Found:
    """All that a run gave; `broken` is what did not hold."""

    rows: list[Row] = field(default_factory=list)
    account: Account = field(default_factory=lambda: Account(Codes(0)))
    broken: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)  # new in /dev/shm, of any program


class Chaos:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        scripted = plan.engines == "scripted"
        self.kit = kit_of(folder, scripted and plan.topology != "cluster")
        self.material: Material = Tones() if scripted else Recordings()
        self.found = Found(account=Account(Codes(plan.seed)))
        self._faults: list[Fault] = []
        self._before = Snapshot()
        self.topology = self._built(scripted)

    def _built(self, scripted: bool) -> Topology:
        environment = self.kit.environment
        if self.plan.topology == "cluster":
            return on_cluster(self.folder, scripted, environment)
        flags: Sequence[str] = SCRIPTED if scripted else ()
        if self.kit.models:  # the chain is the language model
            flags = [flag for flag in flags if not flag.startswith("--llm-engine")]
        make = {"one": one, "cells": cells}[self.plan.topology]
        return make(self.folder, flags, environment)

    def run(self) -> Found:
        """Raises BenchError."""
        for model in self.kit.models:
            model.start()
        try:
            with small_disks(self.kit, self.topology):
                try:
                    self.topology.start()
                    asyncio.run(self._faults_and_callers())
                finally:
                    left = self.topology.stop()
        finally:
            for model in self.kit.models:
                model.stop()
        broken = self.found.broken
        broken += [f"left behind: {one}" for one in left]
        broken += [f"left in a folder: {one}" for one in left_files(self.topology)]
        broken[:0] = self.found.account.broken
        self.found.errors = self.topology.errors()
        self.found.shared = sorted(shared_memory() - self._before.shared)
        return self.found

    async def _faults_and_callers(self) -> None:
        async with AsyncExitStack() as lines:
            await self._draw_lines(lines)
            await self._warm()
            await asyncio.sleep(self.plan.settle_s)
            before = await asyncio.to_thread(Snapshot.of, self.topology)
            callers = (INTERFACES * self.plan.callers)[: self.plan.callers]
            plan, account = self.plan, self.found.account
            crowd = Crowd(
                callers, self.topology.front, account, self.material, plan.seed, self._line
            )
            crowd.start()
            try:
                await self._all_faults(crowd)
            finally:
                await crowd.stop()
            self._judge_bystanders(account.noticed)
            self.found.broken += [f"leaked: {one}" for one in await self._leaked(before)]
            self._before = before

    async def _leaked(self, before: Snapshot) -> list[str]:
        """What has grown and stays; a process may just be ending, or making room for another."""
        grown: list[str] = []
        for _ in range(LOOKS):
            await asyncio.sleep(self.plan.settle_s)
            after = await asyncio.to_thread(Snapshot.of, self.topology)
            grown = after.grown(before, self.topology.may_load)
            if not grown:
                break
        return grown

    async def _warm(self) -> None:
        """One visit by each way in, so that what is made once is there. Raises BenchError."""
        await self._answered(BACK_S)
        await asyncio.gather(*map(self._visit_once, VISITS))

    async def _visit_once(self, interface: str) -> None:
        account = Account(Codes(0))
        code, chance = account.codes.new(), random.Random(0)
        client = Visitor(code, interface, self.topology.front, account, self.material, chance)
        try:
            await asyncio.wait_for(VISITS[interface](client), BACK_S)
        except (Told, Wrong, OSError, asyncio.TimeoutError) as error:
            raise BenchError(f"before any fault, {interface} gave {error!r}") from None

    async def _draw_lines(self, lines: AsyncExitStack) -> None:
        """Bad lines lead to the two sockets."""
        for number, port in enumerate(_ports(self.topology.front)):
            line = SlowLine(port, self.plan.seed + number)
            await line.start()
            lines.push_async_callback(line.stop)
            self.kit.lines.append(line)

    def _line(self, number: int, front: Front) -> Front:
        if number >= LINES * 3 or INTERFACES[number % len(INTERFACES)] != "sockets" or number == 0:
            return front
        asr, tts = (f"ws://127.0.0.1:{line.port}" for line in self.kit.lines)
        return Front(asr, tts, front.http_url, front.wyoming_port)

    # --- faults ----------------------------------------------------------------------------------

    async def _all_faults(self, crowd: Crowd) -> None:
        plan, chance = self.plan, random.Random(self.plan.seed)
        known = kinds(self.topology, self.kit)
        chosen = [kind for kind in known if not plan.only or kind.startswith(plan.only)]
        if not chosen:
            raise BenchError(f"--only takes some of: {', '.join(known)}")
        for number, kind in enumerate(order(chosen, plan.faults, chance), 1):
            await asyncio.sleep(chance.uniform(*plan.gap_s))
            crowd.check()
            try:
                row = await self._one_fault(known[kind](chance))
            except BenchError as error:  # the rest cannot be judged
                self.found.broken.append(str(error))
                return
            say(
                f"{number}/{plan.faults} {row.kind} {row.cell}: ready after {row.ready_s:.1f} s, "
                f"answered after {row.answered_s:.1f} s"
            )

    async def _one_fault(self, fault: Fault) -> Row:
        row = Row(fault.kind, fault.cell, time.monotonic(), loses_store=fault.loses_store)
        await asyncio.to_thread(fault.inject)
        await asyncio.sleep(min(fault.hold_s, self.plan.longest_s))
        await asyncio.to_thread(fault.heal)
        row.ready_s, row.answered_s = await asyncio.gather(
            self._ready(fault.kind), self._answered(BACK_S)
        )
        row.ended = time.monotonic()
        if row.ready_s > self.plan.ready_s:
            self.found.broken.append(f"{fault.kind}: ready after {row.ready_s:.1f} s only")
        self.found.rows.append(row)
        self._faults.append(fault)
        return row

    async def _ready(self, kind: str) -> float:
        """Seconds until all is. Raises BenchError."""
        began = time.monotonic()
        while not await asyncio.to_thread(self.topology.ready):
            if time.monotonic() - began > BACK_S:
                missing = await asyncio.to_thread(self.topology.missing)
                raise BenchError(f"not ready {BACK_S:.0f} s after {kind}: {missing}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    async def _answered(self, seconds: float) -> float:
        """Seconds until a new caller is answered. Raises BenchError."""
        front, began = self.topology.front, time.monotonic()
        deadline = began + seconds
        while True:
            try:
                async with TimedCall(front.asr_url, front.tts_url) as call:
                    await call.typed("hello", timeout_s=max(1.0, deadline - time.monotonic()))
                return time.monotonic() - began
            except CallError as error:
                if time.monotonic() > deadline:
                    raise BenchError(f"a new caller got no answer: {error}") from None
                await asyncio.sleep(POLL_S)

    def _judge_bystanders(self, noticed: Sequence[Noticed]) -> None:
        for event in noticed:
            if event.what.startswith("busy"):
                continue
            cell = self.topology.cell_of(event.uid) if event.uid else ""
            near = [
                (row, fault)
                for row, fault in zip(self.found.rows, self._faults, strict=True)
                if row.began <= event.at <= row.ended + AFTER_S
            ]
            if any(fault.hits(event.interface, cell) for _, fault in near):
                continue
            names = ", ".join(f"{row.kind} {row.cell}" for row, _ in near) or "no fault"
            where = f" in cell {cell}" if cell else ""
            self.found.broken.append(
                f"bystander: {event.interface}{where} at {names}: {event.what}"
            )


def _ports(front: Front) -> list[int]:
    return [int(url.rsplit(":", 1)[1]) for url in (front.asr_url, front.tts_url)]


# --- the report ----------------------------------------------------------------------------------


def table(found: Found) -> str:
    lines = [
        f"{'fault':24} {'times':>5} {'ready, s: median':>17} {'max':>6} {'answered':>9} {'max':>6}"
    ]
    for kind in sorted({row.kind for row in found.rows}):
        rows = [row for row in found.rows if row.kind == kind]
        ready = [row.ready_s for row in rows]
        answered = [row.answered_s for row in rows]
        lines.append(
            f"{kind:24} {len(rows):5} {median(ready):17.1f} {max(ready):6.1f} "
            f"{median(answered):9.1f} {max(answered):6.1f}"
        )
    account = found.account
    outcomes = ("answered", "resumed", "told", "forgotten", "unheard", "refused", "busy")
    lines.append(
        f"{account.turns} turns: "
        + ", ".join(f"{account.total(name)} {name}" for name in outcomes)
        + f"; foreign answers {len(account.foreign)}, lost {len(account.lost)}, stuck "
        f"{len(account.stuck)}, wrong {len(account.wrong)}; own code in {account.repeated} texts"
    )
    lines += [f"new in /dev/shm: {name}" for name in found.shared[:8]]
    lines += [f"error in a log: {line}" for line in found.errors[:12]]
    lines += [f"BROKEN {line[:600]}" for line in found.broken]
    return "\n".join(lines)


def as_json(found: Found, plan: Plan) -> dict[str, Any]:
    account = found.account
    return {
        "plan": asdict(plan),
        "machine": common.machine(),
        "rows": [asdict(row) for row in found.rows],
        "turns": {
            f"{interface} {what}": number for (interface, what), number in account.count.items()
        },
        "noticed": [asdict(event) for event in account.noticed],
        "errors": found.errors,
        "broken": found.broken,
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add = parser.add_argument
    add("--topology", choices=("one", "cells", "cluster"), default=Plan.topology)
    add("--engines", choices=("scripted", "real"), default=Plan.engines)
    add("--callers", type=int, default=Plan.callers)
    add("--faults", type=int, default=Plan.faults, help="how many, in rounds of all kinds")
    add("--seed", type=int, default=Plan.seed)
    add("--only", default="", help="some kinds, by the beginnings of their names, with commas")
    add("--ready", type=float, default=Plan.ready_s, help="seconds within which all must be ready")
    chosen = parser.parse_args(arguments)
    only = tuple(filter(None, (one.strip() for one in chosen.only.split(","))))
    plan = Plan(
        chosen.topology,
        chosen.engines,
        chosen.callers,
        chosen.faults,
        chosen.seed,
        chosen.ready,
        only,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was started is stopped
    stamp = time.strftime("%m%d-%H%M%S")
    folder = OUT / f"chaos-{stamp}"
    try:
        found = Chaos(plan, folder).run()
    except BenchError as error:
        raise SystemExit(f"{error}\nlogs: {folder}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; logs: {folder}") from None
    print(table(found))
    common.write(OUT / f"chaos-{stamp}.json", as_json(found, plan))
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
