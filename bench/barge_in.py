"""Row 2: somebody starts to speak over an answer. When is it silent?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from bench.common import RATE, Recording, Server, say, utterances
from bench.loudspeaker import played
from bench.people import LONG, STORIES, answering, call, since
from bench.verdicts import spread
from fusion.client import CallError, Observed

LISTEN_S = (0.8, 2.0)  # of the answer, before somebody speaks over it
WAIT_S = 10.0
AIMS = ("hold", "silent", "interrupted")


def times(log: Sequence[Observed], began: float, first: int) -> dict[str, Any]:
    """`log` up to and with `interrupted`, of a recording played from `began` on whose speech begins at sample `first`; ms.

    "hold": the server says stop. "silent": a player that knows no events has played the last audible sample it was sent.
    """
    spoken = began + first / RATE
    after = since(list(log), began)
    held = next(event.at for event in after if event.kind in ("hold", "clear"))
    silent = played(log, obeys=False).last_audible() or held
    return {"hold": (held - spoken) * 1000, "silent": max(0.0, silent - spoken) * 1000, "interrupted": (log[-1].at - spoken) * 1000,
            "resumed": any(event.kind == "resume" for event in after)}


async def attempt(server: Server, number: int, over: Recording) -> dict[str, Any]:
    chance = random.Random(number)
    try:
        async with call(server, LONG) as open_call:
            await answering(open_call, STORIES[number % len(STORIES)])
            await asyncio.sleep(chance.uniform(*LISTEN_S))
            if open_call.seen("end"):
                return {"over": over.name, "error": "the answer was over before it could be interrupted"}
            began = open_call.speak(over.pcm)
            await open_call.until(lambda: bool(open_call.seen("interrupted")), WAIT_S + len(over.pcm) / RATE, "the interruption")
            last = next(number for number, event in enumerate(open_call.log) if event.kind == "interrupted")
            return {"over": over.name, **times(open_call.log[: last + 1], began, over.first)}
    except CallError as error:
        return {"over": over.name, "error": str(error)}


async def measure(server: Server, every: int) -> dict[str, Any]:
    """One try with each utterance as what is said over the answer."""
    tries = []
    for number, over in enumerate(utterances()[::every]):
        tries.append(await attempt(server, number, over))
    found = summary(tries)
    tell(found)
    return found


def summary(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = [one for one in tries if "error" not in one]
    return {**{name: spread(one[name] for one in done) for name in AIMS}, "resumed": [one["over"] for one in done if one["resumed"]],
            "failures": [f"{one['over']}: {one['error']}" for one in tries if "error" in one], "tries": list(tries)}


def tell(found: Mapping[str, Any]) -> None:
    if found["hold"]["n"]:
        text = "; ".join(f"{name} {found[name]['p50']:.0f} ms, p95 {found[name]['p95']:.0f} ms" for name in AIMS)
        say(f"  speaking over the answer, {found['hold']['n']} tries: {text}")
    for name in found["resumed"]:
        say(f"  the sound went on for a moment: {name}")
    for failure in found["failures"]:
        say(f"  FAILED: {failure}")
