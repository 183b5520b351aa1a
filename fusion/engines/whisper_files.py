"""Whole recordings by faster-whisper: stretches of speech, decoded in batches, whoever they belong to.

A window of 30 s costs the encoder the same whatever it holds, and the decoder little more for eight windows than for two
(measured in bench/README.md). So the recordings of several callers are read together. Batches know no second try, which Whisper
needs when it loops or is unsure: such a window is read again alone, by faster-whisper's own schedule of temperatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fusion.engines import ASR_RATE, ASROptions, Segment, Word

LONGEST_S = 28.0  # of one window; the model takes 30, and speech is padded
GAP_S = 3.0  # of silence that a window may hold; more begins another
AT_ONCE = 8  # windows
LOOPS, UNSURE = 2.4, -1.0  # Whisper's own bounds: text that packs better than this repeats itself; the mean log probability of a token
REPEATED_WITH = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # temperatures, as in Whisper

Recording = tuple[np.ndarray, ASROptions]  # float32 [samples] at 16 kHz
Span = tuple[int, int, int]  # whose, first sample, one past the last


class WhisperFiles:
    """`whisper` is a `faster_whisper.WhisperModel`; one thread at a time."""

    def __init__(self, whisper: Any, beam_size: int) -> None:
        from faster_whisper import BatchedInferencePipeline

        self._whisper, self._beam_size = whisper, beam_size
        self._batched = BatchedInferencePipeline(whisper)

    def read(self, recordings: Sequence[Recording]) -> Iterator[tuple[int, Segment]]:
        """(index of the recording, segment) as they are found; the segments of one recording are in order.

        Closing it stops the work after the windows at hand.
        """
        alike: dict[ASROptions, list[int]] = {}
        for at, (_, options) in enumerate(recordings):
            alike.setdefault(options, []).append(at)
        for options, members in alike.items():
            spans = [(at, *span) for at in members for span in windows(recordings[at][0])]
            yield from self._read(recordings, interleaved(spans), options)

    def _read(self, recordings: Sequence[Recording], spans: Sequence[Span], options: ASROptions) -> Iterator[tuple[int, Segment]]:
        for first in range(0, len(spans), AT_ONCE):
            batch = spans[first : first + AT_ONCE]
            pieces = [recordings[at][0][begin:end] for at, begin, end in batch]
            for (at, begin, _), piece, found in zip(batch, pieces, self._together(pieces, options), strict=True):
                if any(one.compression_ratio > LOOPS or one.avg_logprob < UNSURE for one in found) and not options.temperature:
                    found = self._alone(piece, options)
                for one in found:
                    if one.text.strip():
                        yield at, segment(one, begin / ASR_RATE)

    def _together(self, pieces: Sequence[np.ndarray], options: ASROptions) -> list[list[Any]]:
        """faster-whisper's segments of each piece, times from its start."""
        ends = np.cumsum([len(piece) for piece in pieces])
        starts = ends - [len(piece) for piece in pieces]
        clips = [{"start": start / ASR_RATE, "end": end / ASR_RATE} for start, end in zip(starts, ends, strict=True)]
        segments, _ = self._batched.transcribe(
            np.concatenate(pieces),
            clip_timestamps=clips,
            batch_size=len(pieces),
            temperature=options.temperature,
            without_timestamps=False,
            **self._asked(options),
        )
        found: list[list[Any]] = [[] for _ in pieces]
        for one in segments:
            whose = int(np.searchsorted(ends, one.start * ASR_RATE + 1, side="right").clip(0, len(pieces) - 1))
            found[whose].append(moved(one, -starts[whose] / ASR_RATE))
        return found

    def _alone(self, piece: np.ndarray, options: ASROptions) -> list[Any]:
        segments, _ = self._whisper.transcribe(
            piece, temperature=REPEATED_WITH, condition_on_previous_text=False, vad_filter=False, **self._asked(options)
        )
        return list(segments)

    def _asked(self, options: ASROptions) -> dict[str, Any]:
        return {
            "language": options.language,
            "task": options.task,
            "beam_size": self._beam_size,
            "word_timestamps": options.word_timestamps,
            "initial_prompt": options.initial_prompt or None,
            "hotwords": options.hotwords or None,
        }


def windows(pcm: np.ndarray) -> list[tuple[int, int]]:
    """The speech in `pcm`, in stretches that fit one window of the model: (first sample, one past the last)."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(pcm):
        return []
    speech = get_speech_timestamps(pcm, VadOptions(max_speech_duration_s=LONGEST_S, min_silence_duration_ms=160))
    return joined(((part["start"], part["end"]) for part in speech), round(LONGEST_S * ASR_RATE), round(GAP_S * ASR_RATE))


def joined(parts: Iterable[tuple[int, int]], longest: int, gap: int) -> list[tuple[int, int]]:
    """Neighbours as one, up to `longest` samples with no more than `gap` between two of them."""
    found: list[tuple[int, int]] = []
    for start, end in parts:
        if found and start - found[-1][1] <= gap and end - found[-1][0] <= longest:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


def interleaved(spans: Sequence[Span]) -> list[Span]:
    """In turns, one of each recording: nobody waits for the end of another's."""
    order: dict[int, int] = {}
    ranked = []
    for span in spans:
        order[span[0]] = order.get(span[0], -1) + 1
        ranked.append((order[span[0]], span))
    return [span for _, span in sorted(ranked)]


def moved(one: Any, by_s: float) -> Any:
    """A segment of faster-whisper, later by `by_s` seconds."""
    words = None if one.words is None else [replace(word, start=word.start + by_s, end=word.end + by_s) for word in one.words]
    return replace(one, start=one.start + by_s, end=one.end + by_s, words=words)


def segment(one: Any, from_s: float) -> Segment:
    """faster-whisper's segment as ours, `from_s` seconds later."""
    words = tuple(Word(max(0.0, word.start + from_s), word.end + from_s, word.word.strip(), word.probability) for word in one.words or ())
    return Segment(max(0.0, one.start + from_s), one.end + from_s, one.text.strip(), words, one.avg_logprob, one.no_speech_prob)
