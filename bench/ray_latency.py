"""What engines on a Ray cluster cost in time (docs/cluster.md; `make .venv-cluster/installed`).

    python -m bench.ray_latency                # 4 minutes: scripted engines
    python -m bench.ray_latency --models       # 4 minutes: voice to voice with the real ones

**Round trips**, as the cell's `ray` engines make them, of one caller and of eight: the first piece
of a reply, the first audio of a sentence, the final transcript after the last 100 ms of an
utterance. Engines that cost nothing are asked here, on single servers (`cluster.serve_engine`), and
on a cluster, so that the columns differ by the way alone.

**Voice to voice** of two servers that differ in nothing but the place of their engines. Both run,
and each recording is said to the one and to the other in turn, in changing order: the figure is the
median of the differences, with an interval by bootstrap, and not the difference of two medians.
The spans of both ways are those of this machine, whose cores the engines share with all the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.common import (
    OUT,
    ROOT,
    BenchError,
    Recording,
    Server,
    machine,
    say,
    server,
    utterances,
    write,
)
from bench.loudspeaker import played
from bench.people import call, end_of
from bench.ray_places import KINDS, LOG, cluster, one_replica_each, single_servers
from bench.verdicts import audio_of_last_turn, spread
from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.client import CallError
from whisperfusion.engines import ASROptions, load
from whisperfusion.engines.scripted import tone_speech

SCRIPTED = tuple(f"--{stage}-engine=scripted" for stage in ("vad", "turn", "speaker"))
ROUNDS, EACH_OF_EIGHT = 60, 20
TURNS = 16
WAIT_S = 40.0
SENTENCES = (
    "where is the station",
    "what time is it now?",
    "tell me about the weather",
    "can you hear me?",
    "I would like a cup of tea",
    "how far is the sea?",
)
LAST_S = 0.1  # of an utterance: what the cell sends with the wish for the final transcript

Ask = Callable[[], float]  # one round trip; `time.perf_counter` at its first piece


# --- round trips ----------------------------------------------------------------------------------


def asks(addresses: Mapping[str, str] | None) -> dict[str, Callable[[], Ask]]:
    """By name, what makes one caller's round trip; `addresses` None = engines in this process."""

    def engine(kind: str) -> Any:
        if addresses is None:
            return load(kind, "scripted")
        return load(kind, "ray", url=addresses[kind])

    language_model, voice, recognizer = engine("llm"), engine("tts"), engine("asr")

    def reply() -> float:
        history = (("user", "alpha beta"),)
        return _first(language_model.stream_chat(history, max_tokens=50, temperature=0.0))

    def sentence() -> float:
        return _first(voice.synthesize("Hello there."))

    def transcript() -> Ask:
        utterance = recognizer.create_utterance(ASROptions(language="en"))
        utterance.accept_audio(tone_speech("one two "), final=False)
        silence = np.zeros(int(LAST_S * MICROPHONE_RATE), np.float32)

        def ask() -> float:
            utterance.accept_audio(silence)
            return time.perf_counter()

        return ask

    return {"reply": lambda: reply, "sentence": lambda: sentence, "transcript": transcript}


def _first(pieces: Iterator[Any]) -> float:
    """When the first piece came. All are read: an answer that is left closes its connection."""
    came = 0.0
    for piece in pieces:
        if len(piece) and not came:
            came = time.perf_counter()
    return came


def timed(make: Callable[[], Ask], rounds: int) -> list[float]:
    """Milliseconds of each."""
    found, ask = [], make()
    for number in range(rounds + 5):
        began = time.perf_counter()
        came = ask()
        if number >= 5:  # the first ones open connections
            found.append((came - began) * 1000)
        time.sleep(0.02)
    return found


def round_trips(addresses: Mapping[str, str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, make in asks(addresses).items():
        alone = timed(make, ROUNDS)
        with ThreadPoolExecutor(8) as callers:
            together = callers.map(lambda _, make=make: timed(make, EACH_OF_EIGHT), range(8))
            eight = [one for each in together for one in each]
        found[name] = {"1": spread(alone), "8": spread(eight)}
    return found


def report_round_trips(found: Mapping[str, Any]) -> None:
    for callers in ("1", "8"):
        for name in ("reply", "sentence", "transcript"):
            figures = "   ".join(
                f"{way} {one[name][callers]['p50']:6.2f} /{one[name][callers]['p95']:7.2f}"
                for way, one in found.items()
            )
            say(f"  {callers} at once, {name:10} {figures} ms")
    added = {
        way: sum(
            found[way][name]["1"]["p50"] - found["here"][name]["1"]["p50"] for name in found[way]
        )
        for way in found
        if way != "here"
    }
    say(
        "  all three of a turn together: "
        + ", ".join(f"{w} +{ms:.1f} ms" for w, ms in added.items())
    )


# --- voice to voice -------------------------------------------------------------------------------


def tones() -> list[Recording]:
    found = []
    for text in SENTENCES:
        pcm: Samples = tone_speech(text.lower())
        found.append(Recording(text, text, (), pcm, 0, len(pcm), ()))
    return found


async def voice_to_voice(at: Server, recording: Recording) -> float | None:
    """Milliseconds from the end of the recording to the first audible sound of the answer."""
    try:
        async with call(at) as open_call:
            result = await open_call.turn(recording.pcm, timeout_s=WAIT_S)
    except CallError as error:
        say(f"  {recording.name}: {error}")
        return None
    heard = played(audio_of_last_turn(result.log)).first_audible()
    return None if heard is None else (heard - end_of(recording, result.began)) * 1000


def paired(servers: Mapping[str, Server], said: Sequence[Recording], turns: int) -> dict[str, Any]:
    chance = random.Random(1)
    for at in servers.values():
        asyncio.run(voice_to_voice(at, said[0]))  # the first turn after a start is another thing
    found: list[dict[str, float]] = []
    for number in range(turns):
        order = list(servers)
        chance.shuffle(order)
        recording = said[number % len(said)]
        times = {way: asyncio.run(voice_to_voice(servers[way], recording)) for way in order}
        whole = {way: ms for way, ms in times.items() if ms is not None}
        if len(whole) == len(servers):
            found.append(whole)
    differences = [one["ray"] - one["here"] for one in found]
    low, high = interval(differences)
    return {
        "here": spread(one["here"] for one in found),
        "ray": spread(one["ray"] for one in found),
        "added": statistics.median(differences),
        "interval": [low, high],
        "turns": found,
    }


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Of the median, 95 %, by 2,000 draws."""
    chance = random.Random(1)
    medians = sorted(
        statistics.median(chance.choices(differences, k=len(differences))) for _ in range(2000)
    )
    return medians[50], medians[1949]


def flags(addresses: Mapping[str, str] | None, scripted: bool) -> list[str]:
    others = list(SCRIPTED) if scripted else []
    if addresses is None:
        return others + [f"--{kind}-engine=scripted" for kind in KINDS if scripted]
    chosen = [f"--{kind}-engine=ray" for kind in KINDS]
    return others + chosen + [f"--{kind}-url={address}" for kind, address in addresses.items()]


def compare(engines: Mapping[str, str], said: Sequence[Recording], turns: int) -> dict[str, Any]:
    scripted = engines["llm"] == "scripted"
    with cluster(one_replica_each(OUT, engines)) as addresses:
        with server(ROOT, flags(None, scripted), log="ray_latency_here.log") as here:
            with server(ROOT, flags(addresses, scripted), log="ray_latency_ray.log") as far:
                found = paired({"here": here, "ray": far}, said, turns)
    at_home, away = ("{p50:.0f} / {p95:.0f} ms".format(**found[way]) for way in ("here", "ray"))
    low, high = found["interval"]
    say(
        f"  voice to voice: here {at_home}, with ray {away}; median of {len(found['turns'])} "
        f"differences {found['added']:+.1f} ms ({low:+.1f} to {high:+.1f})"
    )
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--models", action="store_true", help="real models, voice to voice alone")
    asked.add_argument("--turns", type=int, default=TURNS, help=f"of each server ({TURNS})")
    given = asked.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    os.environ.pop("ENGINE_KEY", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # what it started is stopped
    result: dict[str, Any] = {**machine()}
    try:
        if given.models:
            engines = {"asr": "faster-whisper", "llm": "llama.cpp", "tts": "hibari"}
            say("voice to voice, the models of the CPU default")
            result["models"] = compare(engines, utterances(), given.turns)
        else:
            engines = dict.fromkeys(KINDS, "scripted")
            say("round trips, median / 95th percentile")
            result["round trips"] = found = {"here": round_trips(None)}
            with single_servers() as addresses:
                found["uvicorn"] = round_trips(addresses)
            with cluster(one_replica_each(OUT, engines)) as addresses:
                found["ray"] = round_trips(addresses)
            report_round_trips(found)
            say("voice to voice, scripted engines")
            result["scripted"] = compare(engines, tones(), given.turns)
    except BenchError as error:
        sys.exit(str(error))
    write(OUT / "ray_latency.json", result)


if __name__ == "__main__":
    main()
