"""The answers of `audio/transcriptions`, json or verbose_json, as segments.

Nothing is invented: where a server tells no times, one segment is as long as the audio; times
that reach beyond the audio (some servers count nanoseconds) are not believed; a language that is
not told is "".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from whisperfusion.engines.protocols import Segment, Word
from whisperfusion.errors import EngineError
from whisperfusion.wire.languages import code_of

SLACK_S = 1.0  # servers fill up with silence, and end a segment in it


@dataclass(frozen=True)
class Transcript:
    """`closed`: how many segments end where the server says, before the audio does."""

    segments: tuple[Segment, ...] = ()
    closed: int = 0
    language: str = ""


def transcript(body: Any, duration_s: float) -> Transcript:
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise EngineError(
            "the speech to text server answered without a text; check that ASR_URL is the address "
            "of a server with OpenAI's audio/transcriptions"
        )
    language = body.get("language")
    code = code_of(language) or "" if isinstance(language, str) else ""
    timed = _segments(body, duration_s)
    if timed:
        return Transcript(timed, len(timed) - 1, code)
    whole = Segment(0.0, duration_s, text.strip(), _words(body.get("words"), duration_s))
    return Transcript((whole,) if whole.text else (), 0, code)


def _segments(body: dict[str, Any], duration_s: float) -> tuple[Segment, ...]:
    """Empty where there are none with times to believe."""
    found = []
    for entry in _objects(body.get("segments")):
        start, end = _span(entry, duration_s)
        if end is None:
            return ()
        found.append(
            Segment(
                start,
                end,
                str(entry.get("text") or "").strip(),
                _words(entry.get("words"), duration_s),
                _number(entry.get("avg_logprob")),
                _number(entry.get("no_speech_prob")),
            )
        )
    found = [one for one in found if one.text]
    if not any(one.words for one in found):
        found = _divided(found, _words(body.get("words"), duration_s))
    return tuple(found)


def _divided(segments: Sequence[Segment], words: Sequence[Word]) -> list[Segment]:
    """The words of the whole, each given to the segment that it is in."""
    made, rest = [], list(words)
    for at, segment in enumerate(segments):
        last = at == len(segments) - 1
        mine = [word for word in rest if last or (word.start_s + word.end_s) / 2 < segment.end_s]
        rest = rest[len(mine) :]
        made.append(replace(segment, words=tuple(mine)))
    return made


def _words(entries: Any, duration_s: float) -> tuple[Word, ...]:
    words = []
    for entry in _objects(entries):
        start, end = _span(entry, duration_s)
        if end is None:
            return ()
        text = str(entry.get("word") or entry.get("text") or "").strip()
        words.append(Word(start, end, text, _number(entry.get("probability"))))
    return tuple(words)


def _span(entry: dict[str, Any], duration_s: float) -> tuple[float, float | None]:
    """Start and end in seconds; the end is None where they cannot be believed."""
    start, end = _number(entry.get("start"), -1.0), _number(entry.get("end"), -1.0)
    if not 0.0 <= start <= end <= duration_s + SLACK_S:
        return 0.0, None
    return min(start, duration_s), min(end, duration_s)


def _number(value: Any, otherwise: float = 0.0) -> float:
    return float(value) if isinstance(value, (int, float)) else otherwise


def _objects(entries: Any) -> list[dict[str, Any]]:
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
