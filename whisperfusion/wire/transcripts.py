"""A transcript as the files and bodies that people ask for: text, subtitles, tables, JSON.

One list of cues, six writers; the REST routes and the subtitle tools share them. Each writer takes
cues one by one and gives text piece by piece, so an hour of speech is never held as one string.
Formats: SubRip, WebVTT (W3C), and those of OpenAI's `whisper` command (tsv, json), with the shapes
of docs/wire.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FORMATS = ("txt", "srt", "vtt", "tsv", "json", "jsonl")


@dataclass(frozen=True)
class SpokenWord:
    """Times in seconds from the start of the file."""

    word: str
    start: float
    end: float
    probability: float = 1.0


@dataclass(frozen=True)
class Cue:
    """A stretch of speech; times in seconds from the start of the file."""

    start: float
    end: float
    text: str
    words: tuple[SpokenWord, ...] = ()
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0


def written(cues: Iterable[Cue], output: str, language: str = "") -> Iterator[str]:
    """`cues` in the format `output`, one of FORMATS.

    Raises ValueError for another; without speech there is no text, but for what the format
    itself asks for.
    """
    writers = {"txt": text, "srt": srt, "vtt": vtt, "tsv": tsv, "jsonl": jsonl}
    if output == "json":
        return whole_json(cues, language)
    if output not in writers:
        raise ValueError(f"{output!r} is not a known format; allowed: {', '.join(FORMATS)}")
    return writers[output](cues)


def text(cues: Iterable[Cue]) -> Iterator[str]:
    """One stripped segment in each line."""
    for cue in cues:
        if cue.text.strip():
            yield f"{_line(cue.text)}\n"


def srt(cues: Iterable[Cue]) -> Iterator[str]:
    for number, cue in enumerate(_spoken(cues), 1):
        yield (
            f"{number}\n{_clock(cue.start, ',')} --> "
            f"{_clock(cue.end, ',')}\n{_unarrowed(cue.text)}\n\n"
        )


def vtt(cues: Iterable[Cue]) -> Iterator[str]:
    yield "WEBVTT\n\n"
    for cue in _spoken(cues):
        escaped = _unarrowed(cue.text).replace("&", "&amp;").replace("<", "&lt;")
        yield f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{escaped}\n\n"


def tsv(cues: Iterable[Cue]) -> Iterator[str]:
    """Whole milliseconds; tabs in the text become spaces."""
    yield "start\tend\ttext\n"
    for cue in _spoken(cues):
        yield f"{_ms(cue.start)}\t{_ms(cue.end)}\t{_line(cue.text)}\n"


def jsonl(cues: Iterable[Cue]) -> Iterator[str]:
    """One object in each line."""
    for cue in _spoken(cues):
        words = {"words": [as_word(word) for word in cue.words]} if cue.words else {}
        yield (
            json.dumps(
                {
                    "start": round(cue.start, 3),
                    "end": round(cue.end, 3),
                    "text": _line(cue.text),
                    **words,
                },
                ensure_ascii=False,
            )
            + "\n"
        )


def whole_json(cues: Iterable[Cue], language: str) -> Iterator[str]:
    """`whisper`'s own: {text, segments, language}.

    The text comes last here, because it is known last.
    """
    texts: list[str] = []
    yield '{"segments": ['
    for number, cue in enumerate(_spoken(cues)):
        texts.append(_line(cue.text))
        yield (", " if number else "") + json.dumps(
            as_segment(number, cue, words=bool(cue.words)), ensure_ascii=False
        )
    yield (
        f'], "language": {json.dumps(language)}, "text": '
        f"{json.dumps(' '.join(texts), ensure_ascii=False)}}}"
    )


def as_segment(number: int, cue: Cue, words: bool = False) -> dict[str, Any]:
    """A segment of verbose_json: all fields that clients require."""
    segment: dict[str, Any] = {
        "id": number,
        "seek": _ms(cue.start) // 10,
        "start": round(cue.start, 3),
        "end": round(cue.end, 3),
        "text": f" {_line(cue.text)}",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": cue.avg_logprob,
        "compression_ratio": 1.0,
        "no_speech_prob": cue.no_speech_prob,
    }
    return (
        {
            **segment,
            "words": [{**as_word(word), "probability": word.probability} for word in cue.words],
        }
        if words
        else segment
    )


def as_word(word: SpokenWord) -> Mapping[str, Any]:
    return {"word": word.word, "start": round(word.start, 3), "end": round(word.end, 3)}


def _spoken(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Those with words, in order and of at least one millisecond: players skip or refuse others."""
    last = 0.0
    for cue in cues:
        if cue.text.strip():
            start = max(last, cue.start)
            last = max(cue.end, start + 0.001)
            yield Cue(start, last, cue.text, cue.words, cue.avg_logprob, cue.no_speech_prob)


def _line(text: str) -> str:
    return " ".join(text.split())


def _unarrowed(text: str) -> str:
    return _line(text).replace("-->", "->")


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _clock(seconds: float, point: str) -> str:
    minutes, ms = divmod(_ms(seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{point}{ms % 1000:03}"
