"""Row 3: sounds over an answer that take no turn.

Which of them kill it, and for how long is it held for nothing?
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.common import Server, say
from bench.people import LONG, STORIES, answering, call, since, until_or
from bench.sounds import HARMLESS, Sound, sounds
from bench.verdicts import held_s, rate, spread
from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.client import CallError, Paused, ReplyDone, ReplyInterrupted, Resumed, UserTurn
from whisperfusion.client.timed_call import TimedCall, only

ECHO_DB = (-15.0, -10.0, -6.0)
QUESTIONS = (  # whose answers are played back into the microphone as a whole
    "What is the capital of France?",
    "How does a bicycle stay upright?",
    "What should I cook tonight?",
    "Why is the sky blue?",
    "Tell me about the moon.",
)
JUDGED_S = 2.8  # after a sound, until what the server makes of it is known
STUCK_S = 5.0  # longer, if the sound is held still
TOLD_S = 3.0  # after an interruption, until it is told what it was taken for
BETWEEN_S = (0.5, 1.0)
VOID_TRIES = 3  # of one sound, when the answer ends under it


async def one_noise(open_call: TimedCall, noise: Sound) -> dict[str, Any] | None:
    """Make `noise` over the running answer; None when the answer ended meanwhile, so that it
    proves nothing.
    """
    began = open_call.speak(noise.pcm)
    ended = began + len(noise.pcm) / MICROPHONE_RATE

    def seen(*kinds: type) -> bool:
        return bool(only(since(open_call.log, began), *kinds))

    await until_or(
        open_call, lambda: seen(ReplyInterrupted, ReplyDone), ended + JUDGED_S - time.monotonic()
    )
    if seen(Paused) and not (seen(Resumed, ReplyInterrupted)):
        await until_or(open_call, lambda: seen(ReplyInterrupted, Resumed), STUCK_S)
    if seen(ReplyDone) and not seen(ReplyInterrupted):
        return None
    if seen(ReplyInterrupted):
        await until_or(open_call, lambda: seen(UserTurn), TOLD_S)
    log = since(open_call.log, began)
    taken = [one.event.text for one in only(log, UserTurn)]
    return {
        "kind": noise.kind,
        "name": noise.name,
        "killed": seen(ReplyInterrupted),
        "taken for": taken,
        "noticed": seen(Paused),
        "held": held_s(log, time.monotonic()) * 1000,
    }


async def over_answers(server: Server, noises: Sequence[Sound]) -> list[dict[str, Any]]:
    """Each noise over a running answer, several to one answer, a new call for each answer."""
    chance, waiting, done = random.Random(3), list(noises), []
    voids: dict[str, int] = {}
    number = 0
    while waiting:
        try:
            async with call(server, LONG) as open_call:
                await answering(open_call, STORIES[number % len(STORIES)])
                number += 1
                while waiting:
                    await asyncio.sleep(chance.uniform(*BETWEEN_S))
                    if open_call.seen(ReplyDone):
                        break
                    outcome = await one_noise(open_call, waiting[0])
                    if outcome is None:
                        voids[waiting[0].name] = voids.get(waiting[0].name, 0) + 1
                        if voids[waiting[0].name] >= VOID_TRIES:
                            outcome = {
                                "kind": waiting[0].kind,
                                "name": waiting[0].name,
                                "error": "each time the answer ended under it",
                            }
                    if outcome is not None:
                        done.append(outcome)
                        waiting.pop(0)
                    if outcome is None or outcome.get("killed"):
                        break
        except CallError as error:
            if waiting:
                done.append(
                    {"kind": waiting[0].kind, "name": waiting.pop(0).name, "error": str(error)}
                )
    return done


async def one_echo(server: Server, question: str, gain_db: float) -> dict[str, Any]:
    """A whole answer, played back into the microphone; a turn that no user took counts as killed
    too.
    """
    name = {"kind": f"echo {gain_db:.0f} dB", "name": question}
    try:
        async with call(server, echo_db=gain_db) as open_call:
            await answering(open_call, question)

            def wrong() -> bool:
                return bool(open_call.seen(ReplyInterrupted)) or len(open_call.seen(UserTurn)) > 1

            if not await until_or(
                open_call, lambda: wrong() or bool(open_call.seen(ReplyDone)), 60.0
            ):
                return {**name, "error": "the answer did not end"}
            if not wrong():
                await until_or(open_call, wrong, JUDGED_S)
            if open_call.seen(ReplyInterrupted):
                await until_or(open_call, lambda: len(open_call.seen(UserTurn)) > 1, TOLD_S)
            log = list(open_call.log)
            return {
                **name,
                "killed": wrong(),
                "taken for": [one.event.text for one in open_call.seen(UserTurn)[1:]],
                "noticed": bool(open_call.seen(Paused)),
                "held": held_s(log, time.monotonic()) * 1000,
            }
    except CallError as error:
        return {**name, "error": str(error)}


async def measure(server: Server, every: int) -> dict[str, Any]:
    tries = await over_answers(server, [one for one in sounds() if one.kind in HARMLESS][::every])
    for gain_db in ECHO_DB:
        for question in QUESTIONS[::every]:
            tries.append(await one_echo(server, question, gain_db))
    found = summary(tries)
    print_summary(found)
    return found


def summary(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = [one for one in tries if "error" not in one]
    kinds = list(dict.fromkeys(one["kind"] for one in tries))
    return {
        "killed": rate(one["killed"] for one in done),
        "kinds": {kind: _of([one for one in done if one["kind"] == kind]) for kind in kinds},
        "echo": _of([one for one in done if one["kind"].startswith("echo")]),
        "held needlessly": spread(
            one["held"] for one in done if one["noticed"] and not one["killed"]
        ),
        "failures": [
            f"{one['kind']}, {one['name']}: {one['error']}" for one in tries if "error" in one
        ],
        "tries": list(tries),
    }


def _of(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "killed": rate(one["killed"] for one in tries),
        "noticed": rate(one["noticed"] for one in tries),
        "held": spread(one["held"] for one in tries if one["noticed"] and not one["killed"]),
    }


def print_summary(found: Mapping[str, Any]) -> None:
    for kind, of in found["kinds"].items():
        held = f", held for {of['held']['p50']:.0f} ms" if of["held"]["n"] else ""
        say(
            f"  {kind}: {of['killed']['count']} of {of['killed']['n']} answers killed, "
            f"{of['noticed']['count']} stopped the sound{held}"
        )
    for one in found["tries"]:
        if one.get("killed"):
            say(f"  KILLED by {one['kind']}, {one['name']}: {one['taken for']}")
    for failure in found["failures"]:
        say(f"  FAILED: {failure}")
