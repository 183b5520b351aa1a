"""Rows 4 and 6: recordings with pauses, spoken as turns.

Who is cut off, and what was understood?
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench import reference
from bench.common import Recording, Server, recordings, say
from bench.loudspeaker import played
from bench.people import call, end_of, until_or
from bench.reference import SpokenWord
from bench.verdicts import (
    committed_early,
    cut_off,
    rate,
    settled_at,
    shown,
    spread,
    unsettled,
    word_delays,
)
from whisperfusion.client import CallError, UserTurn
from whisperfusion.client.timed_call import Observed, only

WAIT_S = 10.0  # after the last word, for its text
AFTER_S = 0.3  # after the last word, before the turn can be taken to be over
READERS = 4  # at once, of the recordings without pauses: only their words count


def outcome(
    recording: Recording, spoken: Sequence[SpokenWord], log: Sequence[Observed[Any]], began: float
) -> dict[str, Any]:
    ended = end_of(recording, began)
    heard, turns = played(log).first_audible(), only(log, UserTurn)
    off, settled = cut_off(heard, ended), settled_at(log)
    delays = word_delays(spoken, shown(log), began)
    return {
        "recording": recording.name,
        "pauses": len(recording.pauses),
        "cut off": off,
        "answered at": None if heard is None else heard - began,
        "committed early": [round(seconds, 3) for seconds in committed_early(log, ended)],
        "text": " ".join(one.event.text for one in turns),
        "final": (turns[-1].at - ended) * 1000,
        "settled": None if settled is None else (settled - ended) * 1000,
        "partial words": [None if delay is None else delay * 1000 for delay in delays],
    }


async def read(server: Server, recording: Recording) -> dict[str, Any]:
    """Speak a recording and hang up when all of its words are final; no one listens to the
    answer.
    """
    try:
        async with call(server) as open_call:
            began = open_call.speak(recording.pcm)
            ended = end_of(recording, began)
            await asyncio.sleep(ended + AFTER_S - time.monotonic())
            if not await until_or(
                open_call,
                lambda: bool(open_call.seen(UserTurn)) and not unsettled(open_call.log),
                WAIT_S,
            ):
                return {
                    "recording": recording.name,
                    "error": f"its words were not final {WAIT_S:.0f} s after the last of them",
                }
            return outcome(
                recording, reference.word_times()[recording.name], list(open_call.log), began
            )
    except CallError as error:
        return {"recording": recording.name, "error": str(error)}


async def measure(server: Server, every: int, everything: bool) -> dict[str, Any]:
    """Recordings with pauses one at a time; with `everything`, for the words, the others too,
    several at a time.
    """
    paused = [r for r in recordings() if r.pauses][::every]
    tries = []
    for recording in paused:
        tries.append(await read(server, recording))
    found = cut_offs(tries)
    print_summary(found)
    if everything:
        others = [r for r in recordings() if not r.pauses][::every]
        room = asyncio.Semaphore(READERS)

        async def share(recording: Recording) -> dict[str, Any]:
            async with room:
                return await read(server, recording)

        tries += await asyncio.gather(*(share(recording) for recording in others))
        found["texts"] = {one["recording"]: one.get("text", "") for one in tries}
        found["failures"] = [
            f"{one['recording']}: {one['error']}" for one in tries if "error" in one
        ]
    return found


def cut_offs(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = [one for one in tries if "error" not in one]
    early = [one for one in done if one["committed early"] and not one["cut off"]]
    words = [delay for one in done for delay in one["partial words"]]
    return {
        "cut off": rate(one["cut off"] for one in done),
        "which": [one["recording"] for one in done if one["cut off"]],
        "pauses": sum(one["pauses"] for one in done),
        "committed early, unheard": [one["recording"] for one in early],
        "final": spread(one["final"] for one in done),
        "partial words": spread(words),
        "words never shown": sum(w is None for w in words),
        "failures": [f"{one['recording']}: {one['error']}" for one in tries if "error" in one],
        "tries": list(tries),
    }


def print_summary(found: Mapping[str, Any]) -> None:
    say(
        f"  cut off: {found['cut off']['count']} of {found['cut off']['n']} recordings with "
        f"{found['pauses']} pauses: {', '.join(found['which']) or 'none'}"
    )
    say(
        "  taken for over too early, but nothing was heard: "
        f"{', '.join(found['committed early, unheard']) or 'none'}"
    )
    for failure in found["failures"]:
        say(f"  FAILED: {failure}")
