"""Speaks the tool requests of tests/data/tool_requests, and writes down what the recognizer makes
of them.

    python -m bench.speak_tool_requests [--only first]

Each request is said by every voice and decoded by whisper-base as one utterance, as the
server does. The transcripts go into the same files, by voice, under "heard".
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.common import ROOT
from bench.sounds import to_microphone
from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import ASROptions, load
from whisperfusion.models import machine, store
from whisperfusion.settings import Settings, build

REQUESTS = ROOT / "tests" / "data" / "tool_requests"
SILENCE = np.zeros(MICROPHONE_RATE // 4, dtype=np.float32)
Speak = Callable[[str], Samples]


def weights(name: str, kind: str, settings: Settings) -> Path:
    return store.fetch(store.resolve(name, kind, settings), settings.cache, settings.sources)


def voices(settings: Settings) -> Iterator[tuple[str, Speak]]:
    """Name of a voice, and what says a text with it at 16 kHz."""
    heart = load("tts", "hibari", model="", voice="")
    joe = load("tts", "piper", model=str(weights("piper-joe", "tts", settings)))
    for name, engine, speed in (
        ("hibari heart", heart, 1.0),
        ("hibari heart, 1.25 times as fast", heart, 1.25),
        ("piper joe", joe, 1.0),
    ):

        def speak(text: str, engine: object = engine, speed: float = speed) -> Samples:
            pieces = list(engine.synthesize(text, speed=speed))  # type: ignore[attr-defined]
            pcm = to_microphone(np.concatenate(pieces), engine.sample_rate)  # type: ignore[attr-defined]
            return np.concatenate((SILENCE, pcm, SILENCE))

        yield name, speak


def transcribe(file: Path) -> None:
    settings = build({}, os.environ, {})
    model = weights("whisper-base", "asr", settings)
    asr = load("asr", "faster-whisper", model=str(model), device="cpu", threads=machine.cores())
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["heard"] = {}
    for name, speak in voices(settings):
        for row in rows:
            utterance = asr.create_utterance(ASROptions(language="en"))
            utterance.accept_audio(speak(row["text"]))
            row["heard"][name] = utterance.finish().text
            print(f"{name}: {row['text']} -> {row['heard'][name]}", flush=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="name of one file, without .jsonl")
    for file in sorted(REQUESTS.glob(f"{parser.parse_args().only}.jsonl")):
        transcribe(file)


if __name__ == "__main__":
    main()
