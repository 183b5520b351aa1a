"""Rows 1, 5 and 7: callers taking turns.

How long until they hear an answer, see their words, and where the time goes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench import reference
from bench.common import Recording, Server, say, utterances
from bench.loudspeaker import played
from bench.people import call, end_of
from bench.reference import SpokenWord
from bench.verdicts import (
    audio_of_last_turn,
    cut_off,
    settled_at,
    shown,
    spread,
    transcribed_at,
    word_delays,
)
from whisperfusion.client import CallError, ServerBusy, UserTurn
from whisperfusion.client.timed_call import Result, TimedCall, only

# of each caller; a single one says each of the 19 utterances at least once
TURNS = {1: 30, 2: 12, 4: 6, 8: 5, 16: 4}
COMPARISON_TURNS = {1: 24}
TURNS_A_CALL = 5
THINK_S = (0.3, 1.0)  # from the end of an answer to the next turn's first sample
MOST_TRIES = 10  # of a caller who is told to come back later; then a turn is given up
WAIT_S = 40.0  # for an answer: what takes longer is a failure
# of the server's `latency` event
STAGES = ("stopped", "words", "decided", "first_token", "first_clause", "first_sound")


def turn_of(recording: Recording, spoken: Sequence[SpokenWord], result: Result) -> dict[str, Any]:
    """One turn in milliseconds after the true end of speech.

    None = it did not happen; "cut off" = the clock has no beginning.
    """
    ended = end_of(recording, result.began)
    turns = only(result.log, UserTurn)
    answer = played(audio_of_last_turn(result.log)).first_audible()
    heard = played(result.log).first_audible()
    settled = settled_at(result.log)
    delays = word_delays(spoken, shown(result.log), result.began)
    return {
        "recording": recording.name,
        "caption": result.transcript,
        "reply": result.reply,
        "turns": len(turns),
        "cut off": cut_off(heard, ended),
        "first sound": _ms(answer, ended),
        "final": _ms(transcribed_at(result.log), ended),
        "turn": _ms(turns[-1].at if turns else None, ended),
        "settled": _ms(settled, ended),
        "partial words": [None if delay is None else delay * 1000 for delay in delays],
        "server": {stage: getattr(result.latency, stage, None) for stage in STAGES},
        "reused": getattr(result.latency, "reused", None),
    }


def _ms(at: float | None, since: float) -> float | None:
    return None if at is None else (at - since) * 1000


async def one_turn(open_call: TimedCall, recording: Recording) -> dict[str, Any]:
    result = await open_call.turn(recording.pcm, timeout_s=WAIT_S)
    return turn_of(recording, reference.word_times()[recording.name], result)


async def caller(server: Server, number: int, said: Sequence[Recording]) -> list[dict[str, Any]]:
    """One caller: calls of five turns.

    After a turn without an answer the caller hangs up and calls again.
    """
    chance, turns = random.Random(number), []
    await asyncio.sleep(chance.uniform(0.0, 3.0))
    waiting, sent_away = list(said), 0
    while waiting:
        try:
            async with call(server) as open_call:
                for _ in range(min(TURNS_A_CALL, len(waiting))):
                    recording = waiting.pop(0)
                    try:
                        turns.append(await one_turn(open_call, recording))
                    except CallError as error:
                        turns.append({"recording": recording.name, "error": str(error)})
                        break
                    await asyncio.sleep(chance.uniform(*THINK_S))
        except ServerBusy as busy:  # as a person who is told so: calls again a little later
            sent_away += 1
            if sent_away > MOST_TRIES:
                turns.append({"recording": waiting.pop(0).name, "error": str(busy)})
            await asyncio.sleep(busy.minutes * 60 * chance.uniform(1.0, 1.3))
        except CallError as error:  # no call at all
            turns.append({"recording": waiting.pop(0).name if waiting else "", "error": str(error)})
    if turns:
        turns[0]["sent away"] = sent_away
    return turns


def shares(callers: int, turns: int, of: Sequence[Recording]) -> list[list[Recording]]:
    """What each caller says: each goes through all of it, in an order of their own."""
    orders = []
    for number in range(callers):
        order: list[Recording] = []
        chance = random.Random(1000 * callers + number)
        while len(order) < turns:
            order += chance.sample(list(of), len(of))
        orders.append(order[:turns])
    return orders


async def first_turn(server: Server) -> dict[str, Any]:
    """The first turn of all after a start is told apart: caches are cold, and it happens once."""
    try:
        async with call(server) as open_call:
            return await one_turn(open_call, utterances()[0])
    except CallError as error:
        return {"error": str(error)}


async def measure(server: Server, turns: Mapping[int, int], every: int) -> dict[str, Any]:
    """`turns`: number of callers at once to turns of each of them; only every n-th of these."""
    cold = await first_turn(server)
    found: dict[str, Any] = {
        "cold": cold,
        "failures": [f"first turn after the start: {cold['error']}"] if "error" in cold else [],
    }
    for callers, each in turns.items():
        orders = shares(callers, max(1, each // every), utterances())
        began, used = time.monotonic(), time.process_time()
        spoken = await asyncio.gather(
            *(caller(server, number, order) for number, order in enumerate(orders))
        )
        found[str(callers)] = summary(
            [turn for turns in spoken for turn in turns], f"{callers} at once, "
        )
        found[str(callers)]["client's share of a core"] = round(
            (time.process_time() - used) / (time.monotonic() - began), 3
        )
        print_summary(callers, found[str(callers)])
    return found


def summary(turns: Sequence[Mapping[str, Any]], where: str = "") -> dict[str, Any]:
    answered = [turn for turn in turns if "error" not in turn]
    timed = [turn for turn in answered if not wrong(turn)]
    words = [delay for turn in timed for delay in turn["partial words"]]
    return {
        "first sound": spread(turn["first sound"] for turn in timed),
        "final": spread(turn["final"] for turn in timed),
        "turn": spread(turn["turn"] for turn in timed),
        "settled": spread(turn["settled"] for turn in timed),
        "partial words": spread(words),
        "words never shown": sum(delay is None for delay in words),
        "stages": stages(timed),
        "reused": sum(bool(turn["reused"]) for turn in timed),
        "cut in two": sum(turn["turns"] > 1 for turn in answered),
        "failures": [f"{where}{turn['recording']}: {wrong(turn)}" for turn in turns if wrong(turn)],
        "asked": len(turns),
        "sent away": sum(turn.get("sent away", 0) for turn in turns),
        "turns": list(turns),
    }


def wrong(turn: Mapping[str, Any]) -> str:
    """Why this turn has no time from its end to its answer; "" when it has one."""
    if "error" in turn:
        return str(turn["error"])
    if turn["cut off"]:
        return "cut off"
    return "the answer had no sound" if turn["first sound"] is None else ""


def stages(turns: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The server's own account, and what the caller heard."""
    found = {stage: spread(turn["server"][stage] for turn in turns) for stage in STAGES}
    found["heard"] = spread(turn["first sound"] for turn in turns)
    return {stage: values for stage, values in found.items() if values["n"]}


def print_summary(callers: int, found: Mapping[str, Any]) -> None:
    sound = found["first sound"]
    if sound["n"]:
        say(
            f"  {callers} caller{'s' if callers > 1 else ''}: first sound {sound['p50']:.0f} ms, "
            f"p95 {sound['p95']:.0f} ms of {sound['n']} turns, {found['reused']} preemptive; "
            f"words known after {found['final']['p50']:.0f} ms"
        )
    if found["sent away"]:
        say(f"  {found['sent away']} times a caller was told to come back later")
    for failure in found["failures"]:
        say(f"  FAILED: {failure}")
