"""Attacks a server of its own on this machine, and reports what it did to the other clients.

    python bench/hostile.py              # whole: 10,000 files, 20,000 messages, all floods; half an
                                         # hour
    python bench/hostile.py --short      # two minutes, as the tests run it
    python bench/hostile.py --only floods,leaving

The server runs with the scripted engines, so that the library under attack is the server and not a
model. Beside every attack a bystander, in a process of its own, talks to it and is timed; each
process is pinged from outside. The report has one row an attack: what was tried, answered and
refused; faults (`broken`: an answer that no client should get, `hung`: none in time); processes
started again; the bystander's turns, lost turns and worst wait; the longest that an event loop was
held (the server's own gauge, and the worst ping). Memory and descriptors are compared before and
after.

Ends with 1 when a process was started again that the attack had not killed, when something hung or
broke, or when the bystander lost a turn. Times are reported and not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import common
from bench.attacks import floods, frames, leaving, media
from bench.attacks import kills as processes
from bench.attacks.bystander import Account, Bystander
from bench.attacks.target import KEY, LAG, SCRIPTED, Tally, Target, running
from bench.common import OUT, say

PARTS = ("files", "messages", "floods", "leaving", "keys", "kills")
LAG_EVERY_S = 0.5
WARM_UP = 0.12  # of each flood: enough for buffers of every size that will be needed


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    files: int = 10_000
    messages: int = 20_000
    scale: float = 1.0  # of the floods
    kills: int = 50
    pause_s: float = processes.PAUSE_LONG_S
    settle_s: float = 60.0  # before memory and descriptors are read; 0: they are not compared
    seed: int = 1


SHORT = Plan(
    files=200, messages=800, scale=0.12, kills=4, pause_s=processes.PAUSE_SHORT_S, settle_s=4.0
)


@dataclass
class Row:
    """One attack: its tally, what the bystander saw beside it, and what it cost the server."""

    tally: Tally
    restarts: int  # of processes that the attack itself had not killed
    turns: int
    lost: list[str]
    worst_wait_s: float
    loop_lag_s: dict[str, float] = field(default_factory=dict)  # the server's own gauge
    ping_s: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return bool(self.restarts or self.tally.broken or self.tally.hung or self.lost)


class Attacker:
    def __init__(self, target: Target, bystander: Bystander | None) -> None:
        self._target, self._bystander = target, bystander

    async def attack(
        self, work: Callable[[], Awaitable[Tally]], *, killed: int = 0, beside: bool = True
    ) -> Row:
        """Do `work`; `beside`: the bystander's turns count (not when its own processes are
        killed).
        """
        before = await asyncio.to_thread(self._target.restarts)
        if self._bystander is not None:
            self._bystander.forget()
        lag: dict[str, float] = {}
        watching = asyncio.create_task(self._watch(lag))
        began = time.monotonic()
        try:
            tally = await work()
        finally:
            watching.cancel()
        tally.seconds = time.monotonic() - began
        account = await self._bystander.collect() if self._bystander is not None else Account()
        restarts = await asyncio.to_thread(self._target.restarts) - before - killed
        lost = account.lost if beside else []
        row = Row(
            tally,
            restarts,
            len(account.delays),
            lost,
            max(account.delays, default=0.0),
            lag,
            account.pings,
        )
        print_summary(row)
        return row

    async def _watch(self, lag: dict[str, float]) -> None:
        while True:
            for stage, value in (
                (await asyncio.to_thread(self._target.metrics)).get(LAG, {}).items()
            ):
                lag[stage] = max(lag.get(stage, 0.0), value)
            await asyncio.sleep(LAG_EVERY_S)


async def attacks(target: Target, plan: Plan, parts: Sequence[str]) -> dict[str, Any]:
    """All parts but `keys`, which needs a server with a key."""
    bystander = Bystander(target.asr_url, target.tts_url, target.http_url)
    bystander.start()
    attacker, rows = Attacker(target, bystander), []
    try:
        await bystander.collect()
        if plan.settle_s:
            await warm_up(target, plan)
        memory, descriptors = target.memory(), target.descriptors()
        if "files" in parts:
            rows.append(await attacker.attack(lambda: media.files(target, plan.files, plan.seed)))
            rows.append(await attacker.attack(lambda: media.offline(plan.files, -plan.seed)))
        if "messages" in parts:
            rows.append(
                await attacker.attack(lambda: frames.messages(target, plan.messages, plan.seed))
            )
        for flood in floods.FLOODS if "floods" in parts else ():
            rows.append(await attacker.attack(partial(flood, target, plan.scale)))
        for attack in leaving.ATTACKS if "leaving" in parts else ():
            rows.append(await attacker.attack(partial(attack, target, plan.scale)))
        await asyncio.sleep(plan.settle_s)
        after = {
            "memory_before": memory,
            "memory_after": target.memory(),
            "descriptors_before": descriptors,
            "descriptors_after": target.descriptors(),
        }
        if "kills" in parts:
            rows.append(await attacker.attack(lambda: processes.pauses(target, 1, plan.pause_s)))
            rows.append(
                await attacker.attack(
                    lambda: processes.kills(target, plan.kills, plan.seed),
                    killed=plan.kills,
                    beside=False,
                )
            )
    finally:
        bystander.stop()
    return {"rows": rows, **after}


async def warm_up(target: Target, plan: Plan) -> None:
    """Everything once, so that what is loaded and reserved at first use is not taken for a leak."""
    say("warming up")
    await media.files(target, 60, -1)
    await frames.messages(target, 200, -1)
    for flood in floods.FLOODS:
        await flood(target, WARM_UP * plan.scale)
    await leaving.hang_ups(target, 0.05)
    await asyncio.sleep(plan.settle_s)


async def keys(target: Target, plan: Plan) -> list[Row]:
    return [await Attacker(target, None).attack(lambda: floods.wrong_keys(target, plan.scale))]


def print_summary(row: Row) -> None:
    tally = row.tally
    lag = max(row.loop_lag_s.values(), default=0.0)
    ping = max(row.ping_s.values(), default=0.0)
    figures = "".join(f", {name} {value:.4g}" for name, value in tally.figures.items())
    say(
        f"{tally.name}: {tally.tried} tried, {tally.answered} answered, {tally.refused} refused, "
        f"{tally.broken} broken, {tally.hung} hung, {row.restarts} restarts; bystander {row.turns} "
        f"turns, {len(row.lost)} lost, worst {row.worst_wait_s:.2f} s; loop held {lag * 1000:.0f} "
        f"ms, worst ping {ping * 1000:.0f} ms{figures} ({tally.seconds:.0f} s)"
    )
    for example in (*tally.examples, *row.lost[:4]):
        say(f"    {example}")


def summary(found: dict[str, Any]) -> str:
    rows: list[Row] = found["rows"]
    lines = []
    lag = {
        stage: max(row.loop_lag_s.get(stage, 0.0) for row in rows)
        for row in rows
        for stage in row.loop_lag_s
    }
    if lag:
        lines.append(
            "loops held, at most: "
            + ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in sorted(lag.items()))
        )
    if "memory_before" in found:
        before, after = found["memory_before"], found["memory_after"]
        lines.append(
            "memory, MB: " + _change(sum(before.values()) / 1e6, sum(after.values()) / 1e6)
        )
        each = (
            f"{name} {before.get(name, 0) / 1e6:.0f} to {after[name] / 1e6:.0f}" for name in after
        )
        lines.append(f"    of them {', '.join(each)}")
        lines.append(
            "descriptors: " + _change(found["descriptors_before"], found["descriptors_after"])
        )
    total = sum(row.tally.tried for row in rows)
    lines.append(
        f"{total} tries, {sum(row.restarts for row in rows)} restarts, "
        f"{sum(row.tally.broken for row in rows)} broken, "
        f"{sum(row.tally.hung for row in rows)} hung; the bystander had "
        f"{sum(row.turns for row in rows)} turns and lost "
        f"{sum(len(row.lost) for row in rows)}"
    )
    return "\n".join(lines)


def _change(before: float, after: float) -> str:
    return f"{before:.0f} before, {after:.0f} after ({after / before - 1:+.1%})"


def run(plan: Plan, parts: Sequence[str]) -> dict[str, Any]:
    """Start a server, attack it, stop it; the findings, also written to bench/out/."""
    found: dict[str, Any] = {"rows": []}
    if set(parts) - {"keys"}:
        with running(SCRIPTED) as target:
            found = asyncio.run(attacks(target, plan, parts))
    if "keys" in parts:
        with running((*SCRIPTED, f"--shared-secret={KEY}")) as target:
            found["rows"] += asyncio.run(keys(target, plan))
    written = {
        **found,
        "rows": [{**asdict(row), "failed": row.failed} for row in found["rows"]],
        "plan": asdict(plan),
        "machine": common.machine(),
    }
    common.write(OUT / f"hostile-{time.strftime('%m%d-%H%M%S')}.json", written)
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--short", action="store_true", help="about two minutes")
    parser.add_argument("--only", default="", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--seed", type=int, default=1, help="another one finds other things")
    chosen = parser.parse_args(arguments)
    parts = tuple(filter(None, chosen.only.split(","))) or PARTS
    if set(parts) - set(PARTS):
        parser.error(f"--only takes some of {', '.join(PARTS)}")
    base = SHORT if chosen.short else Plan()
    plan = Plan(**{**asdict(base), "seed": chosen.seed})
    found = run(plan, parts)
    say(summary(found))
    return 1 if any(row.failed for row in found["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
