"""How long a caller waits, measured as a caller: from the last word spoken to the first sound heard.

    python bench/latency.py                      # against a running server
    python bench/latency.py --start --callers 1,2,4 -- --llm-model smollm2

What follows `--` goes to the server that --start starts. Sound counts when a loudspeaker would play it, not when it arrives.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import common  # noqa: E402
from fusion.client import Call, CallError, Observed, Result, first_audible  # noqa: E402
from fusion.wire.pcm import HEARD_RATE, SPOKEN_RATE  # noqa: E402

LISTEN_S = 1.0  # of an answer, before the bench speaks over it


def turn_times(recording: common.Recording, result: Result) -> dict[str, Any]:
    """Milliseconds of one turn. None = it did not happen."""
    spoken = result.began + recording.last / HEARD_RATE

    def after(at: float | None) -> float | None:
        return None if at is None else (at - spoken) * 1000

    final = next((event.at for event in result.log if event.kind == "turn"), None)
    lags = sorted(result.caption_lags)
    return {
        "recording": recording.name, "caption": result.caption, "reply": result.reply, "turns": len(_of(result.log, "turn")),
        "first sound": after(result.first_sound), "final words": after(final), "first reply text": after(result.first_reply),
        "caption lag": lags[len(lags) // 2] * 1000 if lags else None,
        "server: words": result.latency.get("words"), "server: first token": result.latency.get("first_token"),
        "server: first sound": result.latency.get("first_sound"), "reused": result.latency.get("reused"),
    }


def _of(log: Sequence[Observed], kind: str) -> list[Observed]:
    return [event for event in log if event.kind == kind]


async def caller(server: common.Server, recordings: Sequence[common.Recording], wait_s: float) -> list[dict[str, Any]]:
    """One caller, each recording in a call of its own so that no history helps or hinders."""
    await asyncio.sleep(wait_s)
    turns = []
    for recording in recordings:
        try:
            async with Call(server.asr_url, server.tts_url) as call:
                turns.append(turn_times(recording, await call.turn(recording.pcm)))
        except CallError as error:
            turns.append({"recording": recording.name, "error": str(error)})
    return turns


async def interruption(server: common.Server, question: common.Recording, over: common.Recording) -> dict[str, Any]:
    """Speak over an answer. "held": the server says stop; "silent": a player that knows no events has run dry."""
    async with Call(server.asr_url, server.tts_url, options={"instructions": "Always answer in five long sentences."}) as call:
        call.speak(question.pcm)
        await call.until(lambda: first_audible(call.seen("sound")) is not None, 60, "an answer to speak over")
        await asyncio.sleep(LISTEN_S)
        if call.seen("end"):
            return {"recording": question.name, "error": "the answer was over before it could be interrupted"}
        spoken = call.speak(over.pcm) + over.first / HEARD_RATE
        await call.until(lambda: bool(call.seen("hold")), 10, "the end of the sound")
        held = call.seen("hold")[0].at
        await call.until(lambda: bool(call.seen("interrupted")), 10, "the interruption")
        played = [event for event in call.seen("sound") if event.at <= held][-1]
        silent = max(held, played.fields["plays_at"] + len(played.fields["pcm"]) / SPOKEN_RATE)
        return {"recording": question.name, "over": over.name, "held": (held - spoken) * 1000, "silent": (silent - spoken) * 1000,
                "decided": (call.seen("interrupted")[0].at - spoken) * 1000}


NAMES = ("first sound", "final words", "first reply text", "caption lag", "server: words", "server: first token", "server: first sound")


async def measure(server: common.Server, callers: int, recordings: Sequence[common.Recording]) -> dict[str, Any]:
    """All recordings, shared out to `callers` at once."""
    shares = [recordings[number::callers] if len(recordings) >= 2 * callers else recordings for number in range(callers)]
    turns = [turn for share in await asyncio.gather(*(caller(server, s, 0.3 * i) for i, s in enumerate(shares))) for turn in share]
    answered = [turn for turn in turns if "error" not in turn]
    whole = [turn for turn in answered if turn["turns"] == 1]  # else the clock would start at the wrong word
    rows = {name: common.spread([turn[name] for turn in whole if turn[name] is not None]) for name in NAMES}
    common.print_table(f"{callers} caller{'s' if callers > 1 else ''}, after the last word", rows)
    reused = sum(bool(turn["reused"]) for turn in whole)
    print(f"{len(turns)} turns: {len(answered)} answered, {len(answered) - len(whole)} cut in two, "
          f"{reused} of {len(whole)} answered with the guess made before the end of the turn")
    for turn in turns:
        if "error" in turn:
            print(f"  {turn['recording']}: {turn['error']}")
    return {"callers": callers, "stages": rows, "turns": turns}


async def bench(server: common.Server, arguments: argparse.Namespace) -> dict[str, Any]:
    recordings = common.read_recordings(lambda entry: "single-turn" in entry["tags"] or not arguments.short and "short" in entry["tags"])
    result: dict[str, Any] = {"start_s": server.start_s, "memory_idle_mb": common.memory_mb(server.pid), "load": []}
    for callers in arguments.callers:
        result["load"].append(await measure(server, callers, recordings * arguments.repeat))
    questions = [recording for recording in recordings if "question" in recording.tags]
    over = next(recording for recording in recordings if "command" in recording.tags)
    stops = [await interruption(server, question, over) for question in questions[: arguments.interruptions]]
    done = [stop for stop in stops if "error" not in stop]
    common.print_table("speaking over the answer, after the first sound of it",
                       {name: common.spread([stop[name] for stop in done]) for name in ("held", "silent", "decided")})
    return {**result, "interruptions": stops, "memory_mb": common.memory_mb(server.pid)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0], usage="%(prog)s [options] [-- FLAGS OF main.py]")
    parser.add_argument("--start", action="store_true", help="start a server on free ports and stop it at the end")
    parser.add_argument("--asr-port", type=int, default=6006)
    parser.add_argument("--tts-port", type=int, default=8888)
    parser.add_argument("--callers", type=lambda text: [int(part) for part in text.split(",")], default=[1], help="callers at once: 1,2,4")
    parser.add_argument("--repeat", type=int, default=1, help="times that each recording is spoken")
    parser.add_argument("--interruptions", type=int, default=3, help="answers that are spoken over")
    parser.add_argument("--short", action="store_true", help="only the ten questions and commands")
    own, flags = common.split_flags(sys.argv[1:])
    arguments = parser.parse_args(own)
    with common.server(arguments.start, flags, arguments.asr_port, arguments.tts_port) as server:
        result = asyncio.run(bench(server, arguments))
        for name in ("memory_idle_mb", "memory_mb"):
            if result[name]:
                print(f"{name}: {result[name]['rss']:.0f} resident, {result[name]['pss']:.0f} proportional")
        if server.start_s is not None:
            print(f"start to ready: {server.start_s:.1f} s")
    common.write("latency", {**result, "flags": flags})


if __name__ == "__main__":
    main()
