"""Row 2: a user starts to speak over a reply. When is it silent, on 6006 with 8888, and over
Realtime?
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.common import Recording, Server, say, utterances
from bench.loudspeaker import played
from bench.people import BREATH_S, LONG, STORIES, answering, call, since
from bench.realtime_caller import RealtimeCaller
from bench.verdicts import spread
from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.client import CallError, Flushed, Paused, ReplyDone, ReplyInterrupted, Resumed
from whisperfusion.client.timed_call import Observed, only

LISTEN_S = (0.8, 2.0)  # of the answer, before the user speaks over it
WAIT_S = 10.0
AIMS = ("hold", "silent", "interrupted")


def times(log: Sequence[Observed[Any]], began: float, first: int) -> dict[str, Any]:
    """`log` up to and with `ReplyInterrupted`, of a recording played from `began` on whose speech
    begins at sample `first`; ms.

    "hold": the server says stop. "silent": a player that knows no events has played the last
    audible sample it was sent.
    """
    spoken = began + first / MICROPHONE_RATE
    after = since(list(log), began)
    held = only(after, Paused, Flushed)[0].at
    silent = played(log, obeys=False).last_audible() or held
    return {
        "hold": (held - spoken) * 1000,
        "silent": max(0.0, silent - spoken) * 1000,
        "interrupted": (log[-1].at - spoken) * 1000,
        "resumed": bool(only(after, Resumed)),
    }


async def attempt(server: Server, number: int, over: Recording) -> dict[str, Any]:
    chance = random.Random(number)
    try:
        async with call(server, LONG) as open_call:
            await answering(open_call, STORIES[number % len(STORIES)])
            await asyncio.sleep(chance.uniform(*LISTEN_S))
            if open_call.seen(ReplyDone):
                return {
                    "over": over.name,
                    "error": "the answer was over before it could be interrupted",
                }
            began = open_call.speak(over.pcm)
            await open_call.until(
                lambda: bool(open_call.seen(ReplyInterrupted)),
                WAIT_S + len(over.pcm) / MICROPHONE_RATE,
                "the interruption",
            )
            last = open_call.log.index(open_call.seen(ReplyInterrupted)[0])
            return {"over": over.name, **times(open_call.log[: last + 1], began, over.first)}
    except CallError as error:
        return {"over": over.name, "error": str(error)}


async def over_realtime(server: Server, number: int, over: Recording) -> dict[str, Any]:
    """As `attempt`; "gaps": how often the answer's audio was late before that, in `listened` s."""
    chance = random.Random(number)
    try:
        async with RealtimeCaller(server) as caller:
            caller.speak(np.zeros(int(BREATH_S * MICROPHONE_RATE), np.float32))
            await caller.ask(STORIES[number % len(STORIES)], LONG["instructions"])
            sounds = time.monotonic()
            await asyncio.sleep(chance.uniform(*LISTEN_S))
            began = caller.speak(over.pcm)
            spoken = began + over.first / MICROPHONE_RATE
            await caller.until(
                lambda: caller.at("response.done", began) is not None,
                WAIT_S + len(over.pcm) / MICROPHONE_RATE,
                "the interruption",
            )
            told, done = (
                caller.at(kind, began)
                for kind in ("input_audio_buffer.speech_started", "response.done")
            )
            if told is None or done is None:
                return {"over": over.name, "error": "the answer was over before"}
            return {
                "over": over.name,
                "silent": max(0.0, (caller.speaker.last_audible() or spoken) - spoken) * 1000,
                "interrupted": (told - spoken) * 1000,
                "gaps": sum(at < spoken for at, _ in caller.gaps),
                "listened": spoken - sounds,
            }
    except CallError as error:
        return {"over": over.name, "error": str(error)}


async def measure(server: Server, every: int) -> dict[str, Any]:
    """One try with each utterance as what is said over the answer, at each door in turns."""
    tries, realtime = [], []
    for number, over in enumerate(utterances()[::every]):
        tries.append(await attempt(server, number, over))
        if server.http_url:
            realtime.append(await over_realtime(server, number, over))
    found = {**summary(tries), "realtime": realtime_summary(realtime)}
    print_summary(found)
    return found


def realtime_summary(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = [one for one in tries if "error" not in one]
    return {
        **{name: spread(one[name] for one in done) for name in AIMS[1:]},
        "gaps": sum(one["gaps"] for one in done),
        "listened": sum(one["listened"] for one in done),
        "failures": [f"Realtime, {one['over']}: {one['error']}" for one in tries if "error" in one],
        "tries": list(tries),
    }


def summary(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = [one for one in tries if "error" not in one]
    return {
        **{name: spread(one[name] for one in done) for name in AIMS},
        "resumed": [one["over"] for one in done if one["resumed"]],
        "failures": [f"{one['over']}: {one['error']}" for one in tries if "error" in one],
        "tries": list(tries),
    }


def print_summary(found: Mapping[str, Any]) -> None:
    if found["hold"]["n"]:
        text = "; ".join(
            f"{name} {found[name]['p50']:.0f} ms, p95 {found[name]['p95']:.0f} ms" for name in AIMS
        )
        say(f"  speaking over the answer, {found['hold']['n']} tries: {text}")
    realtime = found["realtime"]
    if realtime["silent"]["n"]:
        text = "; ".join(
            f"{name} {realtime[name]['p50']:.0f} ms, p95 {realtime[name]['p95']:.0f} ms"
            for name in AIMS[1:]
        )
        say(
            f"  over Realtime, {realtime['silent']['n']} tries: {text}; {realtime['gaps']} gaps in "
            f"{realtime['listened']:.0f} s"
        )
    for name in found["resumed"]:
        say(f"  the sound went on for a moment: {name}")
    for failure in (*found["failures"], *realtime["failures"]):
        say(f"  FAILED: {failure}")
