"""The harm of answers that begin too early: milliseconds of the assistant's sound over people who
go on, per hour of conversation.

    python bench/harm.py                                   # a server of this checkout
    python bench/harm.py --asr-url ws://127.0.0.1:6006 --tts-url ws://127.0.0.1:8888 --every 3

Each recording with pauses (kind `turn-with-pause` of a manifest as in shared/data/dialogue) is one
call: it is spoken in real time, then the microphone is silent until the answer is over. Speech is
what lies between the recording's marked start, pauses and end; sound is what a loudspeaker plays
audibly, once of a client that obeys `hold` and `clear` and once of one that plays all it was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import (
    OUT,
    ROOT,
    BenchError,
    Server,
    machine,
    manifest,
    say,
    server,
    version,
    write,
)
from bench.loudspeaker import played
from bench.people import call
from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.client import CallError, ReplyAudio, UserTurn
from whisperfusion.client.timed_call import AUDIBLE, Observed, only
from whisperfusion.turns.harm import Harm, Span, common_s

DIALOGUE = ROOT.parent / "shared" / "data" / "dialogue"
KIND = "turn-with-pause"
BLOCK = SPEECH_RATE // 100  # samples that are audible or not as one
WAIT_S = 40.0  # for the end of the answer


@dataclass(frozen=True)
class Turn:
    """`pcm` is float32 [samples] at 16 kHz; times are seconds from its beginning."""

    name: str
    speaker: str
    pcm: Samples
    speech: tuple[Span, ...]

    @property
    def end_s(self) -> float:
        return self.speech[-1][1]


def speech_of(entry: Mapping[str, Any]) -> tuple[Span, ...]:
    """From start to end, without the pauses."""
    spans, begin = [], float(entry["start_s"])
    for pause_begins, pause_ends in entry["pauses"]:
        spans.append((begin, float(pause_begins)))
        begin = float(pause_ends)
    return (*spans, (begin, float(entry["end_s"])))


def turns(folder: Path, every: int = 1) -> list[Turn]:
    from whisperfusion.cli.talk import read_audio

    return [
        Turn(one["file"], one["speaker"], read_audio(str(folder / one["file"])), speech_of(one))
        for one in [one for one in manifest(folder) if one["kind"] == KIND][::every]
    ]


# --- one call ------------------------------------------------------------------------------------


def audible(parts: Sequence[tuple[float, Samples]]) -> list[Span]:
    """The spans in which what a loudspeaker plays can be heard, to 10 ms."""
    spans: list[Span] = []
    for at, pcm in parts:
        for number, begin in enumerate(range(0, len(pcm), BLOCK)):
            if np.abs(pcm[begin : begin + BLOCK]).max() <= AUDIBLE:
                continue
            since = at + number * BLOCK / SPEECH_RATE
            until = at + min(len(pcm), begin + BLOCK) / SPEECH_RATE
            if spans and since - spans[-1][1] < 1e-6:
                since = spans.pop()[0]
            spans.append((since, until))
    return spans


def outcome(turn: Turn, log: Sequence[Observed[Any]], began: float) -> dict[str, Any]:
    """`log`: of a call in which the recording was spoken from `began` on. Milliseconds, but
    `call_s`.
    """
    speech = [(began + begin, began + end) for begin, end in turn.speech]
    end = began + turn.end_s
    heard = audible(played(log).parts)
    before = [(since, min(until, end)) for since, until in heard if since < end]
    said = only(log, UserTurn)
    early = {one.event.turn for one in only(log, ReplyAudio) if one.plays_at < end}
    return {
        "recording": turn.name,
        "speaker": turn.speaker,
        "over": common_s(heard, speech) * 1000,
        "over, sent": common_s(audible(played(log, obeys=False).parts), speech) * 1000,
        "before the end": sum(until - since for since, until in before) * 1000,
        "starts": len(early) if before else 0,
        "parts": len(said),
        "text": " | ".join(one.event.text for one in said),
        "call_s": log[-1].at - began,
    }


async def one_call(running: Server, turn: Turn) -> dict[str, Any]:
    open_call = call(running)
    try:
        async with open_call:
            began = (await open_call.turn(turn.pcm, timeout_s=WAIT_S)).began
    except CallError as error:
        return {"recording": turn.name, "error": str(error)}
    return outcome(turn, open_call.log, began)


async def measure(running: Server, spoken: Sequence[Turn]) -> dict[str, Any]:
    calls = []
    for turn in spoken:
        calls.append(await one_call(running, turn))
        if "error" in calls[-1]:
            say(f"  FAILED: {turn.name}: {calls[-1]['error']}")
    return summary(calls)


def summary(calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = [one for one in calls if "error" not in one]

    def harm(what: str) -> Harm:
        parts = (Harm(one[what] / 1000, one["starts"], one["call_s"]) for one in done)
        return sum(parts, Harm())

    return {
        "calls": len(done),
        "hours": sum(one["call_s"] for one in done) / 3600,
        "starts": sum(one["starts"] for one in done),
        "calls with one": sum(one["starts"] > 0 for one in done),
        "calls in parts": sum(one["parts"] > 1 for one in done),
        "ms an hour": harm("over").ms_per_hour,
        "ms an hour, sent": harm("over, sent").ms_per_hour,
        "ms an hour, before the end": harm("before the end").ms_per_hour,
        "failures": [f"{one['recording']}: {one['error']}" for one in calls if "error" in one],
        "each": list(calls),
    }


def print_summary(found: Mapping[str, Any]) -> None:
    say(
        f"{found['calls']} calls, {found['hours'] * 60:.1f} minutes: {found['starts']} answers "
        f"were heard too early, in {found['calls with one']} calls; {found['calls in parts']} "
        "turns were taken to be over before their end"
    )
    say(
        f"over people who go on: {found['ms an hour']:.0f} ms an hour "
        f"({found['ms an hour, sent']:.0f} at a client that plays all it was sent); "
        f"before the end, with their pauses: {found['ms an hour, before the end']:.0f} ms an hour"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DIALOGUE, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, help="only every n-th recording")
    parser.add_argument("--json", type=Path, default=OUT / "harm.json", metavar="FILE")
    parser.add_argument("--asr-url", default="", help="of a running server")
    parser.add_argument("--tts-url", default="")
    parser.add_argument("flags", nargs="*", help="of the server that is started (after --)")
    asked = parser.parse_args()
    if bool(asked.asr_url) != bool(asked.tts_url):
        parser.error("a running server has both, --asr-url and --tts-url")
    try:
        spoken = turns(asked.data, asked.every)
        if asked.asr_url:
            found = asyncio.run(measure(Server(asked.asr_url, asked.tts_url, 0.0), spoken))
        else:
            with server(ROOT, asked.flags, log="harm.log") as running:
                found = asyncio.run(measure(running, spoken))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print_summary(found)
    write(asked.json, {"machine": machine(), "version": version(ROOT), "harm": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
