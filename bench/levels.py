"""Conversations at several levels of load with real models, by the real sockets: what
bench/capacity.py fits and checks its model with.

The callers are those of `bench.turns`, but all recordings are said equally often at each level, so
that the medians of two levels are of the same turns.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import turns
from bench.common import Recording, Server, say
from bench.one_caller import used_s
from bench.people import call
from bench.verdicts import percentile, spread
from whisperfusion.client import CallError, ServerBusy

# callers at once -> how often each recording is said, by all of them together: with one pass of 19
# the median of one caller was known to -16 and +48 %
PASSES = {1: 3, 2: 3, 4: 3, 8: 3, 16: 4}
DRAWS = 2000  # of the turns, for the interval of a median
BETWEEN_S = 2.0


@dataclass(frozen=True)
class Said:
    """A turn of a call: its figures as `bench.turns.turn_of` has them, and the reply's samples."""

    recording: Recording
    figures: dict[str, Any]


def deck(names: Sequence[str], passes: int, callers: int, seed: int) -> list[list[str]]:
    """What each caller says: `passes` times all of `names`, each time in another order, dealt one
    by one.
    """
    chance = random.Random(seed)
    cards = [name for _ in range(passes) for name in chance.sample(list(names), len(names))]
    return [cards[number::callers] for number in range(callers)]


async def one_turn(open_call: Any, recording: Recording) -> Said:
    result = await open_call.turn(recording.pcm, timeout_s=turns.WAIT_S)
    return Said(recording, {**turns.turn_of(recording, (), result), "audio": len(result.audio)})


async def caller(
    server: Server, number: int, said: Sequence[Recording]
) -> tuple[list[Said], list[str], int]:
    """(turns, failures, how often the caller was told to come back)."""
    chance, waiting, away = random.Random(number), list(said), 0
    found: list[Said] = []
    failures: list[str] = []
    await asyncio.sleep(chance.uniform(0.0, 3.0))
    while waiting:
        try:
            async with call(server) as open_call:
                for _ in range(min(turns.TURNS_A_CALL, len(waiting))):
                    found.append(await one_turn(open_call, waiting.pop(0)))
                    await asyncio.sleep(chance.uniform(*turns.THINK_S))
        except ServerBusy as busy:
            away += 1
            if away > turns.MOST_TRIES:
                failures += [str(busy)] * len(waiting)
                break
            await asyncio.sleep(busy.minutes * 60 * chance.uniform(1.0, 1.3))
        except CallError as error:
            failures.append(str(error))
    return found, failures, away


async def level(
    server: Server, callers: int, passes: int, recordings: Sequence[Recording], seed: int
) -> tuple[dict[str, Any], list[Said]]:
    """The summary, in seconds, and every turn of `callers` at once."""
    known = {one.name: one for one in recordings}
    hands = deck([one.name for one in recordings], passes, callers, seed)
    used, began = used_s(server), time.monotonic()
    everybody = await asyncio.gather(
        *(caller(server, at, [known[name] for name in hand]) for at, hand in enumerate(hands))
    )
    took = time.monotonic() - began
    said = [one for found, _, _ in everybody for one in found]
    failures = [text for _, failed, _ in everybody for text in failed]
    failures += [turns.wrong(one.figures) for one in said if turns.wrong(one.figures)]
    summary = {
        **figures([one.figures for one in said if not turns.wrong(one.figures)]),
        "asked": sum(map(len, hands)),
        "failures": failures,
        "cut in two": sum(one.figures["turns"] > 1 for one in said),
        "sent away": sum(away for _, _, away in everybody),
        "turns a minute": len(said) / took * 60,
        "cores": (used_s(server) - used) / took,
    }
    print_summary(callers, summary)
    await asyncio.sleep(BETWEEN_S)
    return summary, said


def figures(timed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seconds: median and 95th percentile of what callers waited, and the interval of the
    median.
    """
    heard = [one["first sound"] / 1000 for one in timed]
    spread_s = spread(heard)
    if not heard:
        return {"n": 0}
    low, high = interval(heard)
    return {
        "n": len(heard),
        "p50": spread_s["p50"],
        "p95": spread_s["p95"],
        "low": low,
        "high": high,
        "words": spread(one["final"] / 1000 for one in timed if one["final"]).get("p50", 0.0),
        "decided": spread(one["turn"] / 1000 for one in timed if one["turn"]).get("p50", 0.0),
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of the medians of as many values, drawn anew."""
    chance = random.Random(0)
    medians = sorted(
        percentile(sorted(chance.choices(values, k=len(values))), 0.5) for _ in range(DRAWS)
    )
    return percentile(medians, 0.025), percentile(medians, 0.975)


def print_summary(callers: int, found: dict[str, Any]) -> None:
    if not found["n"]:
        say(f"  {callers} at once: no turn was answered: {found['failures'][:1]}")
        return
    say(
        f"  {callers} at once: heard after {found['p50'] * 1000:.0f} ms (p95 "
        f"{found['p95'] * 1000:.0f}, n {found['n']}), words {found['words'] * 1000:.0f} ms, "
        f"{found['turns a minute']:.0f} turns a minute, {found['cores']:.2f} cores, told to come "
        f"back {found['sent away']} times, {len(found['failures'])} failures"
    )
