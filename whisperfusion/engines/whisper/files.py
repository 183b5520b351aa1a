"""Whole recordings by faster-whisper: stretches of speech, decoded in batches across callers.

A window of 30 s costs the encoder the same whatever it holds, and the decoder little more for eight
windows than for two (measured in bench/README.md). So the recordings of several callers are read
together. Batches know no second try, which Whisper needs when it is unsure: such a window is read
again alone, by faster-whisper's own schedule of temperatures. How well a text packs does not tell a
loop from people who repeat themselves; `loop_guard` does, and what lies behind a loop is read
again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.protocols import ASROptions, Segment, Word
from whisperfusion.engines.whisper import loop_guard as guard
from whisperfusion.engines.whisper.decode import AGAIN, AGAIN_FROM_S, ShortContext
from whisperfusion.engines.whisper.prompt import tokens_before

LONGEST_S = 28.0  # of one window; the model takes 30, and speech is padded
GAP_S = 3.0  # of silence that a window may hold; more begins another
AT_ONCE = 8  # windows
# Whisper's own bound for how well text packs; people who repeat themselves reach it, but not in so
# little sound
PACKS = 2.4
UNSURE = -1.0  # Whisper's own bound for the mean log probability of a token
REPEATED_WITH = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # temperatures, as in Whisper

Recording = tuple[Samples, ASROptions]  # float32 [samples] at 16 kHz
Span = tuple[int, int, int]  # whose, first sample, one past the last


class WhisperFiles:
    """`model` gives the `faster_whisper.WhisperModel` for the next batch; one thread at a time."""

    def __init__(self, model: Callable[[], Any], beam_size: int) -> None:
        self._model, self._beam_size = model, beam_size
        self._whisper: Any = None
        self._batched: Any = None
        self._short = ShortContext(None)

    def _renew(self) -> None:
        from faster_whisper import BatchedInferencePipeline
        from tqdm import tqdm

        if self._whisper is not (whisper := self._model()):
            # the lock of its progress bars is a semaphore that outlives this process otherwise
            tqdm.set_lock(threading.RLock())
            self._whisper, self._batched = whisper, BatchedInferencePipeline(whisper)
            self._short = ShortContext(whisper)

    def forget(self) -> None:
        """The model will be another one from the next batch on."""
        self._whisper = self._batched = None
        self._short = ShortContext(None)

    def language(self, pcm: Samples) -> tuple[str, float]:
        self._renew()
        found = self._short.language_probabilities(self._short.encode(pcm))
        return max(found.items(), key=lambda one: one[1])

    def read(
        self, recordings: Sequence[Recording], wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, Segment]]:
        """(index of the recording, segment) as they are found; the segments of one recording are in
        order.

        Closing it stops the work after the windows at hand, and so does `wanted(index)` for one of
        them.
        """
        alike: dict[ASROptions, list[int]] = {}
        for at, (_, options) in enumerate(recordings):
            alike.setdefault(options, []).append(at)
        for options, members in alike.items():
            spans = [(at, *span) for at in members for span in windows(recordings[at][0])]
            yield from self._read(recordings, interleaved(spans), options, wanted)

    def _read(
        self,
        recordings: Sequence[Recording],
        spans: Sequence[Span],
        options: ASROptions,
        wanted: Callable[[int], bool],
    ) -> Iterator[tuple[int, Segment]]:
        while spans := [span for span in spans if wanted(span[0])]:
            self._renew()
            batch, spans = spans[:AT_ONCE], spans[AT_ONCE:]
            pieces = [recordings[at][0][begin:end] for at, begin, end in batch]
            for (at, begin, _), piece, found in zip(
                batch, pieces, self._together(pieces, options), strict=True
            ):
                if not wanted(at):
                    continue
                packed = crammed(found, piece)
                if (
                    packed or any(one.avg_logprob < UNSURE for one in found)
                ) and not options.temperature:
                    found = self._alone(piece, options, PACKS if packed else None)
                for one in self._guarded(piece, found, options):
                    if one.text.strip():
                        yield at, segment(one, begin / MICROPHONE_RATE)

    def _together(self, pieces: Sequence[Samples], options: ASROptions) -> list[list[Any]]:
        """faster-whisper's segments of each piece, times from its start."""
        ends = np.cumsum([len(piece) for piece in pieces])
        starts = ends - [len(piece) for piece in pieces]
        clips = [
            {"start": start / MICROPHONE_RATE, "end": end / MICROPHONE_RATE}
            for start, end in zip(starts, ends, strict=True)
        ]
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
            whose = int(
                np.searchsorted(ends, one.start * MICROPHONE_RATE + 1, side="right").clip(
                    0, len(pieces) - 1
                )
            )
            found[whose].append(moved(one, -starts[whose] / MICROPHONE_RATE))
        return found

    def _alone(self, piece: Samples, options: ASROptions, packs: float | None = None) -> list[Any]:
        segments, _ = self._whisper.transcribe(
            piece,
            temperature=REPEATED_WITH,
            compression_ratio_threshold=packs,
            condition_on_previous_text=False,
            vad_filter=False,
            **self._asked(options),
        )
        return list(segments)

    def _guarded(
        self, piece: Samples, found: list[Any], options: ASROptions, again: int = AGAIN
    ) -> list[Any]:
        """`found` without a loop at its end; the sound from there on is read again."""
        tokenizer = self._short.tokenizer(options.language or "en", options.task)
        text = [token for one in found for token in one.tokens if token < tokenizer.eot]
        if not text or not guard.copies(text)[-1]:
            return found
        starts, _ = guard.token_starts(
            self._whisper, tokenizer, self._short.encode(piece), text, len(piece) / MICROPHONE_RATE
        )
        end = guard.loop_at(text, starts)
        if end is None:
            return found
        kept, rest = cut(found, end, starts[end], tokenizer), guard.rest(piece, starts[end])
        if not again or not len(rest) or starts[end] < AGAIN_FROM_S:
            return kept
        more = self._guarded(rest, self._alone(rest, options), options, again - 1)
        invented = guard.too_fast(" ".join(one.text for one in more), rest)  # of the end of a word
        return kept if invented else kept + [moved(one, starts[end]) for one in more]

    def _asked(self, options: ASROptions) -> dict[str, Any]:
        """faster-whisper would take 223 tokens of each, which leaves no positions for the text:
        it gets both as one.
        """
        tokenizer = self._short.tokenizer(options.language or "en", options.task)
        # a character may have been cut
        before = tokenizer.decode(tokens_before(tokenizer, options)).strip("\ufffd ")
        return {
            "language": options.language,
            "task": options.task,
            "beam_size": self._beam_size,
            "word_timestamps": options.word_timestamps,
            "hotwords": before or None,
        }


def crammed(found: Sequence[Any], piece: Samples) -> bool:
    """Does the text repeat itself, and is it more than a person can say in the time?"""
    packs = any(one.compression_ratio > PACKS for one in found)
    return packs and guard.too_fast("".join(one.text for one in found), piece)


def cut(found: Sequence[Any], count: int, end_s: float, tokenizer: Any) -> list[Any]:
    """The segments of the first `count` tokens of text, which end at `end_s`."""
    kept = []
    for one in found:
        text = [token for token in one.tokens if token < tokenizer.eot]
        if 0 < count < len(text):
            words = (
                None if one.words is None else [word for word in one.words if word.start < end_s]
            )
            one = replace(
                one,
                tokens=text[:count],
                text=tokenizer.decode(text[:count]),
                end=max(one.start, end_s),
                words=words,
            )
        if count > 0:
            kept.append(one)
        count -= len(text)
    return kept


def windows(pcm: Samples, longest_s: float = LONGEST_S) -> list[tuple[int, int]]:
    """The speech in `pcm`, in stretches that fit one window of the model: (first sample, one
    past the last).
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(pcm):
        return []
    speech = get_speech_timestamps(
        pcm, VadOptions(max_speech_duration_s=longest_s, min_silence_duration_ms=160)
    )
    return joined(
        ((part["start"], part["end"]) for part in speech),
        round(longest_s * MICROPHONE_RATE),
        round(GAP_S * MICROPHONE_RATE),
    )


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
    """In turns, one of each recording: none waits for the end of another."""
    order: dict[int, int] = {}
    ranked = []
    for span in spans:
        order[span[0]] = order.get(span[0], -1) + 1
        ranked.append((order[span[0]], span))
    return [span for _, span in sorted(ranked)]


def moved(one: Any, by_s: float) -> Any:
    """A segment of faster-whisper, later by `by_s` seconds."""
    words = (
        None
        if one.words is None
        else [replace(word, start=word.start + by_s, end=word.end + by_s) for word in one.words]
    )
    return replace(one, start=one.start + by_s, end=one.end + by_s, words=words)


def segment(one: Any, from_s: float) -> Segment:
    """faster-whisper's segment as ours, `from_s` seconds later."""
    words = tuple(
        Word(max(0.0, word.start + from_s), word.end + from_s, word.word.strip(), word.probability)
        for word in one.words or ()
    )
    return Segment(
        max(0.0, one.start + from_s),
        one.end + from_s,
        one.text.strip(),
        words,
        one.avg_logprob,
        one.no_speech_prob,
    )
