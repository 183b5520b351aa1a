"""Speakers on 6006: embeddings as text, known speakers in a handshake, and whose words are whose.

An embedding is the base64 of its values as float32, little-endian.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whisperfusion.wire.fields import refuse
from whisperfusion.wire.limits import NAME_LENGTH
from whisperfusion.wire.transcripts import Cue

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
MOST_KNOWN = 16
MOST_SPEAKERS = 20
MOST_VALUES = 1024  # of an embedding


@dataclass(frozen=True)
class KnownSpeaker:
    """By an embedding, or by `wav`, a file of their speech."""

    name: str
    embedding: tuple[float, ...] = ()
    wav: bytes = b""


@dataclass(frozen=True)
class SpokenCue:
    """Words of one speaker without a break; seconds from the start of the recording."""

    start: float
    end: float
    speaker: str
    text: str


def embedding_text(values: Iterable[float]) -> str:
    found = list(values)
    return base64.b64encode(struct.pack(f"<{len(found)}f", *found)).decode()


def known_speakers_field(values: dict[str, Any], name: str) -> tuple[KnownSpeaker, ...]:
    """A list of objects: WhisperLive's form, or with embeddings. Raises FieldError."""
    given = values.get(name)
    if given is None:
        return ()
    allowed = (
        f'a list of at most {MOST_KNOWN} objects with a "name" of 1 to {NAME_LENGTH} printable '
        'characters, each once, and "embedding", as the task embed gives it, or "audio_base64", a '
        "WAV file in base64"
    )
    if not isinstance(given, list) or len(given) > MOST_KNOWN:
        raise refuse(name, given, allowed)
    found: dict[str, KnownSpeaker] = {}
    for one in given:
        speaker = _known_speaker(one) if isinstance(one, dict) else None
        if speaker is None or speaker.name in found:
            raise refuse(name, one, allowed)
        found[speaker.name] = speaker
    return tuple(found.values())


def _known_speaker(given: dict[str, Any]) -> KnownSpeaker | None:
    """None: it is not one."""
    name, embedding = given.get("name"), _values(given.get("embedding"))
    wav = b"" if embedding else _raw(given.get("audio_base64"))
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        return None
    return KnownSpeaker(name, embedding, wav) if embedding or wav else None


def _values(text: Any) -> tuple[float, ...]:
    """Empty where it is no embedding."""
    raw = _raw(text)
    if len(raw) % 4 or len(raw) > 4 * MOST_VALUES:
        return ()
    found = struct.unpack(f"<{len(raw) // 4}f", raw)
    return found if all(map(math.isfinite, found)) else ()


def _raw(text: Any) -> bytes:
    """Empty where it is no base64."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b""


# --- whose words are whose ----------------------------------------------------------------------

Turns = Sequence[tuple[float, float, str]]  # start, end, speaker; in order, without overlaps


def spoken_cues(cues: Iterable[Cue], turns: Turns) -> list[SpokenCue]:
    """`cues` with their speakers, divided where another speaker begins.

    A word is the speaker's in whose turn its middle lies, or whose turn is the nearest; a cue
    without words goes to the speaker in its middle. Without turns all is the speaker A's. The first
    word of a cue goes with the second, unless it is a sentence: Whisper begins it in the pause
    before.
    """
    found: list[SpokenCue] = []
    for cue in cues:
        if not cue.text.strip():
            continue
        begins: list[int] = []
        begun, at = len(found), 0  # what belongs to this cue; where its next word stands in it
        parts = [(w.start, w.end, w.word.strip()) for w in cue.words]
        parts = parts or [(cue.start, cue.end, "")]
        middles = [(start + end) / 2 for start, end, _ in parts]
        if len(parts) > 1 and not parts[0][2].endswith(SENTENCE_ENDS):
            middles[0] = middles[1]
        for (start, end, word), middle in zip(parts, middles, strict=True):
            stands = cue.text.find(word, at)
            at = max(at, stands)
            speaker = speaker_at(middle, turns)
            if len(found) > begun and found[-1].speaker == speaker:
                found[-1] = replace(found[-1], end=max(end, found[-1].end))
            else:
                begins.append(at)
                found.append(SpokenCue(start, end, speaker, ""))
            at += len(word) if stands >= 0 else 0
        found[begun:] = _with_texts(found[begun:], cue.text, begins)
    return found


def _with_texts(parts: list[SpokenCue], text: str, begins: list[int]) -> list[SpokenCue]:
    """Each with what stands in `text` from where it begins to where the next one does."""
    ends = [*begins[1:], len(text)]
    begins = [0, *begins[1:]]
    return [
        replace(one, text=" ".join(text[begin:end].split()))
        for one, begin, end in zip(parts, begins, ends, strict=True)
    ]


def speaker_at(second: float, turns: Turns) -> str:
    if not turns:
        return "A"
    return min(turns, key=lambda turn: max(turn[0] - second, second - turn[1], 0.0))[2]
