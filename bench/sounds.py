"""Sounds of people that are played over an answer: recordings of the set `dialogue`.

Backchannels, coughs, laughs, breaths and noises should not end an answer; turns and commands
should, each of them. Interjections ("hello", "please", "how are you") and other voices in the room
are kept apart: a person who says them may well want the turn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import ROOT, manifest, utterances
from whisperfusion.audio import MICROPHONE_RATE, Samples

KINDS_OF_NOISE = {
    "laugh": "laugh",
    **dict.fromkeys(("cough", "sneeze", "cleared throat"), "cough"),
    **dict.fromkeys(("gasp", "sigh", "yawn", "crying", "long breath", "click, breath"), "breath"),
    **dict.fromkeys(("people talking", "voices", "background speech", "talking"), "other voices"),
}
HARMLESS = ("backchannel", "cough", "laugh", "breath", "noise")
INTERRUPTIONS = ("turn", "command")


@dataclass(frozen=True)
class Sound:
    """`text`: the words, or what makes the noise. `pcm` float32 [samples] at 16 kHz."""

    kind: str
    name: str
    text: str
    pcm: Samples


def folder() -> Path:
    beside = ROOT.parent / "shared" / "data" / "dialogue"
    return Path(os.environ.get("WHISPERFUSION_DIALOGUE", beside))


def sounds() -> Iterator[Sound]:
    """Of the set. Raises `BenchError`."""
    from whisperfusion.cli.talk import read_audio

    for entry in manifest(folder(), "set WHISPERFUSION_DIALOGUE to"):
        kind = kind_of(entry)
        if kind:
            pcm = read_audio(str(folder() / entry["file"]))
            yield Sound(kind, entry["file"], entry.get("label") or entry["text"], pcm)


def kind_of(entry: Mapping[str, Any]) -> str:
    """Of a line of the manifest; "" for what is not played over an answer."""
    match entry["kind"]:
        case "backchannel":
            return "interjection" if "interjection" in entry["tags"] else "backchannel"
        case "noise":
            return KINDS_OF_NOISE.get(entry["label"], "noise")
        case "turn" | "turn-with-pause":
            return "turn"
    return ""


def commands() -> Iterator[Sound]:
    """Short questions and commands of the set `speech`."""
    for one in utterances():
        yield Sound("command", one.name, one.text, one.pcm)


def to_microphone(pcm: Samples, rate: int) -> Samples:
    """float32 [samples] at `rate` as float32 at 16 kHz, nothing above 8 kHz folded down."""
    count = round(len(pcm) * MICROPHONE_RATE / rate)
    spectrum = np.fft.rfft(pcm)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * count / len(pcm)).astype(np.float32)
