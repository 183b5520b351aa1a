"""Hours of mixed callers; does anything grow, get stuck, or reach another caller?

    python bench/soak.py --hours 1 --engines real
    python bench/soak.py --hours 2 --engines scripted --cells 4 --calls 1000
    python bench/soak.py --hours 0.1                               # one server, scripted engines

Callers come by every way in: the two sockets, the same through port 8000, Realtime, `/ws`,
`/interact`, REST, Bazarr and Wyoming (`bench/faults/people.py`, `interfaces.py`); they type, speak,
hesitate, interrupt, are silent for long, hang up in the middle and lose their connection. `--calls`
adds so many callers of the load generator (`bench/load.py`, scripted engines). Each answer is
checked to be the caller's own. Every few seconds memory (proportional set size), descriptors,
threads and processes are read of every process of the server, and the ages of its queues. After the
warm-up each of them gets a slope with an interval of 95 % (`bench/faults/slopes.py`). The program
ends with 1 for a foreign, wrong or lost answer, a turn without any answer or message, a process
that was started again, growth beyond noise, and for what is left behind at the end. How long
anything took is reported, not judged, so other work may run beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import common
from bench.common import OUT, BenchError, say
from bench.faults.account import Account, Codes
from bench.faults.crowd import Crowd
from bench.faults.leaks import left_files
from bench.faults.material import Material, Recordings, Tones
from bench.faults.topology import SCRIPTED, Topology, cells, one
from bench.faults.watch import GAUGES, Watch, floor

INTERFACES = (
    "sockets",
    "page",
    "realtime",
    "ws",
    "interact",
    "transcriptions",
    "speech",
    "bazarr",
    "wyoming",
    "sockets",
)
WARM_UP = 0.2  # of the time, at most
WARM_UP_S = 900.0
TOLD_EVERY_S = 300.0
ROOM = 1.25  # places for callers, per call
# the calls of the generator push to talk, and pause so long that all of them together begin some
# ten turns a second: what two cores answer
PAUSE_A_CALL_S, LEAST_PAUSE_S = 0.09, 4.0
OPENED_PER_S = 15.0


@dataclass(frozen=True)
class Plan:
    hours: float = 1.0
    engines: str = "scripted"
    cells: int = 1
    callers: int = len(INTERFACES)
    calls: int = 0
    every_s: float = 5.0
    seed: int = 1
    flags: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.hours * 3600

    @property
    def warm_up_s(self) -> float:
        return min(WARM_UP_S, WARM_UP * self.seconds)


@dataclass
class Found:
    account: Account
    watch: Watch
    load: dict[str, Any] = field(default_factory=dict)  # of the generator
    errors: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Soak:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        scripted = plan.engines == "scripted"
        self.material: Material = Tones() if scripted else Recordings()
        flags = [*(SCRIPTED if scripted else ()), *plan.flags]
        if plan.calls:
            flags.append(f"--max-callers={int(plan.calls / plan.cells * ROOM) + plan.callers}")
        self.topology: Topology = (
            cells(folder, flags, {}, plan.cells) if plan.cells > 1 else one(folder, flags, {})
        )
        self.found = Found(Account(Codes(plan.seed)), Watch(self.topology, plan.every_s))

    def run(self) -> Found:
        """Raises BenchError."""
        found = self.found
        try:
            self.topology.start()
            asyncio.run(self._soak())
        finally:
            left = self.topology.stop()
        found.errors = self.topology.errors()
        found.broken += found.account.broken + found.watch.restarts
        for (name, measure), slope in found.watch.slopes(self.plan.warm_up_s).items():
            if slope.verdict(floor(measure, slope.typical)) == "grows":
                found.broken.append(f"{measure} of {name} grows by {slope.per_hour:.2f} an hour")
        found.broken += [f"left behind: {name}" for name in left]
        found.broken += [f"left in a folder: {name}" for name in left_files(self.topology)]
        return found

    async def _soak(self) -> None:
        plan, account = self.plan, self.found.account
        interfaces = (INTERFACES * plan.callers)[: plan.callers]
        crowd = Crowd(interfaces, self.topology.front, account, self.material, plan.seed)
        over = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):  # the report comes earlier
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        generator = self._generator()
        watching = asyncio.create_task(self.found.watch.run())
        crowd.start()
        try:
            await self._until(over, crowd)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if generator is not None:
                self._count_load(await asyncio.to_thread(generator.stop))
            await crowd.stop()

    async def _until(self, over: asyncio.Event, crowd: Crowd) -> None:
        end, told = time.monotonic() + self.plan.seconds, time.monotonic()
        while time.monotonic() < end and not over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), min(1.0, end - time.monotonic() + 0.01))
            crowd.check()
            if time.monotonic() - told > TOLD_EVERY_S:
                told = time.monotonic()
                say(f"{self.found.account.turns} turns, broken: {len(self.found.account.broken)}")

    def _generator(self) -> Any:
        if not self.plan.calls:
            return None
        from bench import load
        from bench.load_call import Pattern

        front = self.topology.front
        pause_s = max(LEAST_PAUSE_S, PAUSE_A_CALL_S * self.plan.calls)
        generator = load.Generator(
            load.Plan(
                self.plan.calls,
                ((front.asr_url, front.tts_url),),
                Pattern(pause_s=pause_s, push_to_talk=True),
                OPENED_PER_S,
                seed=self.plan.seed,
            )
        )
        generator.start()
        return generator

    def _count_load(self, seen: Any) -> None:
        """What the generator saw, in the words of the account."""
        tally = seen.tally
        self.found.load = {**asdict(tally), "first_sound_s": None, "examples": tally.examples}
        for kind in ("foreign", "stuck", "wrong", "unheard", "forgotten", "failed"):
            if count := getattr(tally, kind):
                self.found.broken.append(f"load: {count} {kind}: {tally.examples[:3]}")


# --- the report ----------------------------------------------------------------------------------


def table(found: Found, plan: Plan) -> str:
    lines = [f"{'process':16} {'measure':12} {'typical':>9} {'per hour':>9} {'95 %':>19}  verdict"]
    for (name, measure), slope in found.watch.slopes(plan.warm_up_s).items():
        lines.append(
            f"{name:16} {measure:12} {slope.typical:9.1f} {slope.per_hour:+9.2f} "
            f"{slope.low:+9.2f} {slope.high:+9.2f}  "
            f"{slope.verdict(floor(measure, slope.typical))}"
        )
    for measure in GAUGES.values():
        worst = found.watch.worst(measure)
        figures = ", ".join(f"{name} {value:.2f}" for name, value in worst.items())
        lines.append(f"{measure}, at most: {figures}")
    account = found.account
    for interface in sorted({interface for interface, _ in account.count}):
        each = (
            f"{n} {what}" for (one, what), n in sorted(account.count.items()) if one == interface
        )
        lines.append(f"{interface:16} {', '.join(each)}")
    if found.load:
        lines.append(f"load generator: {found.load}")
    reasons = sorted({event.what for event in account.noticed if "told" in event.what})
    lines += [f"told: {reason}" for reason in reasons[:12]]
    lines += [f"error in a log: {line}" for line in found.errors[:12]]
    lines.append(
        f"{account.turns} turns, foreign {len(account.foreign)}, wrong {len(account.wrong)}, lost "
        f"{len(account.lost)}, stuck {len(account.stuck)}, restarts {len(found.watch.restarts)}; "
        f"own code in {account.repeated} texts"
    )
    lines += [f"BROKEN {line[:600]}" for line in found.broken]
    return "\n".join(lines)


def as_json(found: Found, plan: Plan) -> dict[str, Any]:
    slopes = found.watch.slopes(plan.warm_up_s)
    return {
        "plan": asdict(plan),
        "machine": common.machine(),
        "turns": {f"{interface} {what}": n for (interface, what), n in found.account.count.items()},
        "load": found.load,
        "slopes": [
            {"process": name, "measure": measure, **asdict(slope)}
            for (name, measure), slope in slopes.items()
        ],
        "series": [
            {"process": name, "measure": measure, "samples": samples}
            for (name, measure), samples in sorted(found.watch.series.items())
        ],
        "noticed": [asdict(event) for event in found.account.noticed],
        "errors": found.errors,
        "broken": found.broken,
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0], epilog="what follows -- is for main.py"
    )
    add = parser.add_argument
    add("--hours", type=float, default=Plan.hours)
    add("--engines", choices=("scripted", "real"), default=Plan.engines)
    add("--cells", type=int, default=Plan.cells, help="more than one: behind HAProxy, with Redis")
    add("--callers", type=int, default=Plan.callers, help="by all ways in, in turn")
    add("--calls", type=int, default=Plan.calls, help="callers of the load generator beside them")
    add("--every", type=float, default=Plan.every_s, help="seconds between two samples")
    add("--seed", type=int, default=Plan.seed)
    add("flags", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.calls and chosen.engines != "scripted":
        parser.error("--calls needs --engines scripted: the load generator speaks in tones")
    plan = Plan(
        chosen.hours,
        chosen.engines,
        chosen.cells,
        chosen.callers,
        chosen.calls,
        chosen.every,
        chosen.seed,
        tuple(chosen.flags),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was started is stopped
    stamp = time.strftime("%m%d-%H%M%S")
    folder = OUT / f"soak-{stamp}"
    try:
        found = Soak(plan, folder).run()
    except BenchError as error:
        raise SystemExit(f"{error}\nlogs: {folder}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; logs: {folder}") from None
    print(table(found, plan))
    common.write(OUT / f"soak-{stamp}.json", as_json(found, plan))
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
