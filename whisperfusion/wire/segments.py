"""The list of segments that WhisperLive clients get: the last finished ones, repeated, and the one
still changing.

What those clients rely on, and what `SegmentHistory` therefore promises: times are strings with
three decimals, a finished segment never changes, each start is at or after the previous end, only
the last may be unfinished, and a list is never sent empty.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class LiveWord:
    """Times in seconds from the start of the call's audio."""

    word: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class LiveSegment:
    """Times in whole milliseconds from the start of the call's audio, so that equal times are
    equal strings; never of no length.
    """

    start_ms: int
    end_ms: int
    text: str
    completed: bool
    words: tuple[LiveWord, ...] = ()
    speaker: str = ""


class SegmentHistory:
    """One caller's segments. Send what each call returns, unless it is empty."""

    def __init__(self, last_n: int) -> None:
        self._finished: deque[LiveSegment] = deque(maxlen=last_n)

    def partial(
        self, start_s: float, end_s: float, text: str, words: Sequence[LiveWord] = ()
    ) -> tuple[LiveSegment, ...]:
        """The utterance so far, which may still change. Blank text = none."""
        if not text.strip():
            return tuple(self._finished)
        return (*self._finished, self._segment(start_s, end_s, text, words, completed=False))

    def finish(
        self,
        start_s: float,
        end_s: float,
        text: str,
        words: Sequence[LiveWord] = (),
        speaker: str = "",
    ) -> tuple[LiveSegment, ...]:
        """A segment in its final form; the unfinished one before it is replaced.

        Blank text only removes that.
        """
        if text.strip():
            segment = self._segment(start_s, end_s, text, words, completed=True)
            self._finished.append(replace(segment, speaker=speaker))
        return tuple(self._finished)

    def _segment(
        self, start_s: float, end_s: float, text: str, words: Sequence[LiveWord], *, completed: bool
    ) -> LiveSegment:
        earliest = self._finished[-1].end_ms if self._finished else 0
        start = max(earliest, round(start_s * 1000))
        return LiveSegment(
            start, max(start + 1, round(end_s * 1000)), text.strip(), completed, tuple(words)
        )


def whisper_live_segments(uid: str, segments: Sequence[LiveSegment]) -> str:
    """The message; `segments` as `SegmentHistory` gives them, not empty: clients read the last
    element unasked.
    """
    if not segments:
        raise ValueError("a segments message needs at least one segment; send nothing instead")
    return json.dumps(
        {"uid": uid, "segments": [_as_json(segment) for segment in segments]}, allow_nan=False
    )


def _as_json(segment: LiveSegment) -> dict[str, object]:
    fields: dict[str, object] = {
        "start": f"{segment.start_ms / 1000:.3f}",
        "end": f"{segment.end_ms / 1000:.3f}",
        "text": f" {segment.text}",  # clients join segments without a space of their own, or strip
        "completed": segment.completed,
    }
    if segment.words:
        fields["words"] = [
            {
                "word": w.word,
                "start": f"{w.start_s:.3f}",
                "end": f"{w.end_s:.3f}",
                "probability": w.probability,
            }
            for w in segment.words
        ]
    if segment.speaker:
        fields["speaker"] = segment.speaker
    return fields
