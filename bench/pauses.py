"""Turns of people with their pauses, as the product's own detector finds them in a recording.

A set is a folder with a manifest.jsonl as in shared/data/dialogue: kind `turn` or
`turn-with-pause`, `end_s` the true end of the speech; a manifest without kinds (read sentences)
counts as turns that end with the sound. Positions come from Silero and the product's endpointer
with no limit on silence, so that every pause is seen to its end. After the last sound the quietest
tenth of a second of the recording goes on, so that a wait can be longer than the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import manifest
from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, Samples, to_samples
from whisperfusion.turns.endpointing import START_S, Endpointer, SpeechStarted, SpeechStopped
from whisperfusion.turns.options import Options

ROOM_S = 2.5  # of quiet room after the recording
QUIET_S = 0.3  # the stretch that is repeated for it
# a pause that begins so much before the marked end, or later, is the end: marks of people and the
# detector differ by that
END_S = 0.35
PREFIX_S = Options().prefix_padding
FOREVER_S = 1e6


@dataclass(frozen=True)
class Pause:
    """Silence from sample `at`, for `length_s`; None: the turn ended there."""

    at: int
    length_s: float | None


@dataclass(frozen=True)
class Turn:
    """`pcm` is float32 [samples] at 16 kHz, the room after it included; speech begins at sample
    `start`. The last pause is the end of the turn, which was truly at `end_s`.
    """

    name: str
    speaker: str
    kind: str
    tags: tuple[str, ...]
    text: str
    pcm: Samples
    start: int
    end_s: float
    pauses: tuple[Pause, ...]
    asked: str = ""  # what the turn answers, where the manifest says so

    def audio(self, until: int) -> Samples:
        """What a recognizer is given of the turn by sample `until`."""
        return self.audio_of(self.pcm, until)

    def audio_of(self, pcm: Samples, until: int) -> Samples:
        """The same of another version of the recording."""
        return pcm[max(0, self.start - to_samples(PREFIX_S)) : until]


def read_turns(folder: Path) -> Iterator[Turn]:
    """Those of `folder` in English whose end the detector finds. Raises BenchError."""
    from whisperfusion.cli.talk import read_audio
    from whisperfusion.engines.silero import Silero

    vad = Silero()
    for entry in entries(folder):
        pcm = read_audio(str(folder / entry["file"]))
        turn = _turn(entry, pcm, vad)
        if turn is not None:
            yield turn


def entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of the manifest that are turns in English."""
    wanted = ("turn", "turn-with-pause")
    english = [one for one in manifest(folder) if one["lang"] == "en"]
    return [one for one in english if one.get("kind", "turn") in wanted]


def _turn(entry: dict[str, Any], recorded: Samples, vad: Any) -> Turn | None:
    pcm = with_room(recorded)
    start, found = pauses_of(pcm, vad)
    inside = [one for one in found if one.at <= len(recorded)]
    if not inside:
        return None
    end_s = entry.get("end_s") or inside[-1].at / MICROPHONE_RATE
    inner = [p for p in found if p.at / MICROPHONE_RATE < end_s - END_S]
    ends = found[len(inner) :]
    if not ends:
        return None
    return Turn(
        entry["file"],
        entry["speaker"],
        entry.get("kind") or ("turn-with-pause" if inner else "turn"),
        tuple(entry["tags"]),
        entry["text"],
        pcm,
        start,
        end_s,
        (*inner, Pause(ends[0].at, None)),
        entry.get("asked", ""),
    )


def with_room(pcm: Samples) -> Samples:
    """`pcm`, then its own room: the quietest of its last stretches, forwards and backwards."""
    size = to_samples(QUIET_S)
    stretches = [pcm[at : at + size] for at in range(0, len(pcm) - size, size // 2)][-4:]
    if not stretches:
        return np.pad(pcm, (0, to_samples(ROOM_S)))
    quiet = min(stretches, key=lambda one: float(np.square(one).mean()))
    room = np.concatenate([quiet, quiet[::-1]] * (to_samples(ROOM_S) // (2 * size) + 1))
    return np.concatenate((pcm, room[: to_samples(ROOM_S)]))


def pauses_of(pcm: Samples, vad: Any) -> tuple[int, list[Pause]]:
    """Where speech begins, and all pauses after it."""
    stream = vad.create_stream()
    endpointer = Endpointer(Options(max_silence_s=FOREVER_S), max_turn_s=FOREVER_S)
    start, found = 0, list[Pause]()
    for at in range(0, len(pcm) - VAD_WINDOW + 1, VAD_WINDOW):
        for event in endpointer.feed(stream.probability(pcm[at : at + VAD_WINDOW])):
            match event:
                case SpeechStopped(stopped):
                    found.append(Pause(stopped, None))
                case SpeechStarted():
                    began = endpointer.position - to_samples(START_S + 0.016)
                    if found:
                        length_s = (began - found[-1].at) / MICROPHONE_RATE
                        found[-1] = Pause(found[-1].at, length_s)
                    else:
                        start = began
    return start, found
