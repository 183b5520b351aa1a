"""Many callers at once, cheaply: what a server of scripted engines costs for each, and whether
every one of them gets an answer of its own.

    python -m bench.load --callers 250 --asr ws://127.0.0.1:6006 --tts ws://127.0.0.1:8888
    python -m bench.load --callers 1000 --cells 4 --haproxy --minutes 120 --frame-ms 256 --pause 40

Callers open one after the other and speak in turns (bench/load_call.py). Every minute a line of
JSON goes to the file: the turns and what came of them, how long answers took, how late the
generator itself was, its share of a core, and what the servers with these process ids used. The
program ends with 1 for a foreign answer, a stuck turn, or one that the server forgot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.common import OUT, say
from bench.load_call import Call, Pattern, Phase, Tally
from bench.load_cells import Cells, cells
from bench.load_cost import Cost, costs
from bench.load_sounds import MOST_MARKS, silence, voice_of
from bench.verdicts import percentile

SLOTS = 10  # of a frame's time: callers send in so many groups, one after the other
PAUSED_S = 1.0  # so late, the generator was paused: what it did not send is left out
LAST_S = 45.0  # for the turns that are open when time is over
PERCENTILES = (50, 95, 99, 100)


@dataclass(frozen=True)
class Plan:
    """Who calls whom. `cells`: the addresses of the sockets 6006 and 8888 of each."""

    callers: int
    cells: tuple[tuple[str, str], ...]
    pattern: Pattern = field(default_factory=Pattern)
    opened_per_s: float = 20.0
    processes: int = 1
    seed: int = 1


@dataclass
class Seen:
    """What one process of the generator saw since it was last asked."""

    tally: Tally = field(default_factory=Tally)
    phases: dict[str, int] = field(default_factory=dict)  # how many callers are in each now
    late_s: float = 0.0  # the worst delay of its own clock
    left_out: int = 0  # groups of frames that were not sent, because it was paused
    cpu_s: float = 0.0

    def add(self, other: Seen) -> None:
        self.tally.add(other.tally)
        for name, count in other.phases.items():
            self.phases[name] = self.phases.get(name, 0) + count
        self.late_s = max(self.late_s, other.late_s)
        self.left_out += other.left_out
        self.cpu_s += other.cpu_s


class Generator:
    """All callers of a plan, in processes of their own. `take` and `stop` block for a moment."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for part in range(plan.processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_run, args=(theirs, plan, part), daemon=True)
            self._pipes.append(mine)
            self._processes.append(process)

    def start(self) -> None:
        for process in self._processes:
            process.start()

    def collect(self) -> Seen:
        """What was seen since the last call of this."""
        return self._ask("collect")

    def stop(self) -> Seen:
        """No caller begins another turn; returns when the open ones are over, and all hung up."""
        seen = self._ask("stop")
        for process in self._processes:
            process.join(10)
            process.kill()
        return seen

    def _ask(self, what: str) -> Seen:
        for pipe in self._pipes:
            pipe.send(what)
        seen = Seen()
        for pipe in self._pipes:
            seen.add(pipe.recv())
        return seen


# --- in a process of the generator ---------------------------------------------------------------


def _run(pipe: Connection, plan: Plan, part: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(pipe, plan, part))


async def _serve(pipe: Connection, plan: Plan, part: int) -> None:
    await _Part(plan, part).serve(pipe)


async def drive(calls: Sequence[Call], frame_s: float, seen: Seen) -> None:
    """Every `frame_s` a tick for each call, in groups; how late they come is noted in `seen`."""
    loop = asyncio.get_running_loop()
    groups = [calls[at::SLOTS] for at in range(SLOTS)]
    step, due, turn = frame_s / SLOTS, loop.time(), 0
    while True:
        late = loop.time() - due
        if late < 0 or turn % SLOTS == 0:  # late or not, what has come is read
            await asyncio.sleep(max(0.0, -late))
        late = max(0.0, late)
        seen.late_s = max(seen.late_s, late)
        if late > PAUSED_S:
            seen.left_out += int(late / step)
            due += int(late / step) * step
        now = loop.time()
        for call in groups[turn % SLOTS]:
            call.tick(now)
        due, turn = due + step, turn + 1


class _Part:
    """The callers `part`, `part` + `processes`, … of a plan."""

    def __init__(self, plan: Plan, part: int) -> None:
        self._plan, self._loop = plan, asyncio.get_running_loop()
        pattern = plan.pattern
        quiet, now = silence(pattern.frame_ms), self._loop.time()
        self._calls = []
        for number in range(part, plan.callers, plan.processes):
            voice = voice_of(number % MOST_MARKS, pattern.speech_s, pattern.frame_ms)
            urls = plan.cells[number % len(plan.cells)]
            call = Call(voice, pattern, urls, quiet, plan.seed)
            call.due = now + number / plan.opened_per_s
            self._calls.append(call)
        self._seen = Seen()

    async def serve(self, pipe: Connection) -> None:
        frame_s = self._plan.pattern.frame_ms / 1000
        driven = self._loop.create_task(drive(self._calls, frame_s, self._seen))
        asked = asyncio.Event()
        self._loop.add_reader(pipe.fileno(), asked.set)
        while True:
            await asked.wait()
            asked.clear()
            if not pipe.poll():
                continue
            stops = pipe.recv() == "stop"
            if stops:
                await self._end()
            if driven.done():
                driven.result()
            pipe.send(self._collect())
            if stops:
                driven.cancel()
                return

    async def _end(self) -> None:
        until = self._loop.time() + LAST_S
        for call in self._calls:
            call.last = True
        while self._loop.time() < until and any(call.busy for call in self._calls):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for call in self._calls:
            call.close(float("inf"))

    def _collect(self) -> Seen:
        seen = Seen(late_s=self._seen.late_s, left_out=self._seen.left_out)
        self._seen.late_s, self._seen.left_out = 0.0, 0
        for call in self._calls:
            seen.tally.add(call.collect())
            seen.phases[call.phase.value] = seen.phases.get(call.phase.value, 0) + 1
        used = resource.getrusage(resource.RUSAGE_SELF)
        seen.cpu_s = used.ru_utime + used.ru_stime
        return seen


# --- the report ----------------------------------------------------------------------------------


def row_of(
    seen: Seen, seconds: float, used: dict[str, Cost], before: dict[str, Cost]
) -> dict[str, Any]:
    """One line of the report. `used` and `before`: the servers' costs, now and a report ago."""
    counts = {one.name: getattr(seen.tally, one.name) for one in fields(Tally)}
    delays = sorted(counts.pop("first_sound_s"))
    server = {}
    for name, cost in used.items():
        spent = cost.cpu_s - before.get(name, Cost()).cpu_s
        server[name] = {**asdict(cost), "cores": round(max(0.0, spent) / seconds, 3)}
        del server[name]["cpu_s"]
    return {
        "at": time.strftime("%H:%M:%S"),
        "seconds": round(seconds, 1),
        **counts,
        "first_sound_ms": {
            f"p{share}": round(1000 * percentile(delays, share / 100)) for share in PERCENTILES
        }
        if delays
        else {},
        "phases": seen.phases,
        "late_ms": round(1000 * seen.late_s),
        "left_out": seen.left_out,
        "generator_cores": round(seen.cpu_s / seconds, 3),
        "server": server,
    }


def line_of(row: dict[str, Any]) -> str:
    talking = sum(row["phases"].get(one.value, 0) for one in Phase if one not in NOT_THERE)
    cores = sum(one["cores"] for one in row["server"].values())
    sound = row["first_sound_ms"]
    return (
        f"{talking} calls, {row['turns']} turns, {row['answered']} answered "
        f"(p50 {sound.get('p50', '-')}, p95 {sound.get('p95', '-')} ms), "
        f"{row['stuck']} stuck, {row['foreign']} foreign, {row['forgotten']} forgotten, "
        f"{row['failed']} failed, {row['refused']} refused, {row['lost']} lost; "
        f"cores: servers {cores:.2f}, generator {row['generator_cores']:.2f}, "
        f"{row['late_ms']} ms late"
    )


NOT_THERE = (Phase.CLOSED, Phase.OPENING)


def run(plan: Plan, seconds: float, out: Path, servers: Cells, every_s: float) -> Tally:
    """The load of `plan` for so long. Returns what came of all turns."""
    out.parent.mkdir(parents=True, exist_ok=True)
    total, generator = Tally(), Generator(plan)
    generator.start()
    began = reported = time.monotonic()
    spent, before = 0.0, costs(servers.pids, servers.balancer)
    with out.open("a", encoding="utf-8") as lines:
        while True:
            left = seconds - (reported - began)
            time.sleep(max(0.0, min(every_s, left)))
            seen = generator.collect() if left > every_s else generator.stop()
            now, used = time.monotonic(), costs(servers.pids, servers.balancer)
            seen.cpu_s, spent = seen.cpu_s - spent, seen.cpu_s
            row = row_of(seen, now - reported, used, before)
            print(json.dumps(row), file=lines, flush=True)
            say(line_of(row))
            for example in seen.tally.examples:
                say(f"  {example}")
            total.add(seen.tally)
            reported, before = now, used
            if left <= every_s:
                return total


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    if len(chosen.asr) != len(chosen.tts):
        raise SystemExit("--asr and --tts need as many addresses each: one pair for each cell")
    if not chosen.cells:
        sockets = tuple(zip(chosen.asr, chosen.tts, strict=True))
        return _measure(chosen, Cells(sockets, tuple(chosen.pid)))
    with cells(chosen.cells, chosen.callers, chosen.haproxy) as started:
        return _measure(chosen, started)


def _measure(chosen: argparse.Namespace, servers: Cells) -> int:
    """The load of the command line, and the exit status that follows."""
    plan = Plan(
        chosen.callers,
        servers.sockets,
        Pattern(chosen.frame_ms, chosen.speech, chosen.pause, chosen.call, chosen.push_to_talk),
        chosen.opened,
        chosen.processes,
        chosen.seed,
    )
    total = run(plan, chosen.minutes * 60, chosen.out, servers, chosen.every)
    say(
        f"{total.turns} turns, {total.answered} answered; {total.stuck} stuck, "
        f"{total.foreign} foreign, {total.forgotten} forgotten, {total.wrong} wrong, "
        f"{total.unheard} unheard; lines in {chosen.out}"
    )
    return 1 if total.stuck or total.foreign or total.forgotten else 0


def _parser() -> argparse.ArgumentParser:
    own = Pattern()
    parser = argparse.ArgumentParser(
        description="many callers of scripted engines at once", allow_abbrev=False
    )
    add = parser.add_argument
    add("--callers", type=int, default=250)
    add("--cells", type=int, default=0, help="start so many servers for it; 0 = one is running")
    add("--haproxy", action="store_true", help="callers reach these through HAProxy")
    add("--asr", nargs="+", default=["ws://127.0.0.1:6006"], help="socket of each cell")
    add("--tts", nargs="+", default=["ws://127.0.0.1:8888"], help="in the same order")
    add("--minutes", type=float, default=5.0)
    add("--out", type=Path, default=OUT / "load.jsonl", help="lines are added to it")
    add("--every", type=float, default=60.0, help="seconds between two lines")
    add("--pid", type=int, nargs="*", default=[], help="main.py of each server to measure")
    add("--frame-ms", type=int, default=own.frame_ms, help="audio in a frame; the page: 50")
    add("--speech", type=float, default=own.speech_s, help="seconds of a caller's sentence")
    add("--pause", type=float, default=own.pause_s, help="mean, after an answer")
    add("--call", type=float, default=own.call_s, help="mean length of a call")
    add("--push-to-talk", action="store_true", help="frames are sent while a caller speaks")
    add("--opened", type=float, default=20.0, help="calls that are opened in a second")
    add("--processes", type=int, default=1)
    add("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
