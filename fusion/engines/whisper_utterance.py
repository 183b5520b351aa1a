"""What every Whisper shares, whatever runs it: an utterance that grows, and what may be asked of the model.

A live utterance is decoded again and again from its beginning, because Whisper has no streaming state. What keeps
that affordable is a bounded buffer: when it is full, the text of its older part is settled and that audio is let go.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fusion.engines import ASR_RATE, ASROptions, EngineError, Hypothesis, Segment
from fusion.engines.pcm import checked

BUFFER_S = 20.0  # more is decoded in pieces
CUT_FROM_S = 8.0  # the first place to cut a full buffer
CUT_MARGIN_S = 1.0  # the end of a full buffer may be in the middle of a word
SURE = ((2.0, 0.9), (5.0, 0.5))  # a language is kept from this much audio (s) and this probability on
TASKS = ("transcribe", "translate")


@dataclass(frozen=True)
class Decoded:
    """Segments of one piece of audio, times from its start. `closed` are those whose end the model itself named."""

    segments: tuple[Segment, ...] = ()
    closed: int = 0


class Decoder(Protocol):
    """One model, decoded a short piece at a time."""

    def encode(self, pcm: np.ndarray) -> Any:
        """Encoder output of at most 29 s of speech at 16 kHz."""

    def language(self, encoded: Any) -> tuple[str, float]:
        """The likeliest language and its probability."""

    def decode(self, encoded: Any, pcm: np.ndarray, language: str, options: ASROptions) -> Decoded:
        """The text of `pcm`, whose `encoded` form came from `encode`."""


class BatchDecoder(Decoder, Protocol):
    """One that decodes several pieces in the time of few."""

    def read_together(self, pieces: Sequence[np.ndarray], language: str, options: ASROptions) -> list[Decoded]:
        """The texts of pieces of at most 29 s."""


def fitting(options: ASROptions, languages: Sequence[str], multilingual: bool) -> ASROptions:
    """`options` as the model can follow them; `EngineError` for a language or task that Whisper does not have."""
    if options.task not in TASKS:
        raise EngineError(f"task {options.task!r} is not known; allowed: {', '.join(TASKS)}")
    if not multilingual:
        return replace(options, language="en", task="transcribe")
    language = options.language.lower() if options.language else None
    if language is not None and language not in languages:
        raise EngineError(f"language {options.language!r} is not known; allowed: {', '.join(sorted(languages))}")
    return replace(options, language=language)


class WhisperUtterance:
    """One utterance of any length. `hear` costs one decode of at most `BUFFER_S`, and one more when the buffer is full.

    `behind` is the same model for what is not urgent, where there is one: it decodes what is not final.
    """

    def __init__(self, decoder: Decoder, options: ASROptions, behind: Decoder | None = None) -> None:
        self._decoders, self._options = {True: decoder, False: behind or decoder}, options
        self.buffer = np.zeros(0, np.float32)
        self._buffer_start_s = 0.0
        self._settled: list[Segment] = []
        self._language, self._probability = options.language or "", 1.0 if options.language else 0.0
        self._language_kept = options.language is not None
        self._last = Hypothesis("", self._language, self._probability)

    def hear(self, pcm: np.ndarray, final: bool = True) -> Hypothesis:
        if self.add(pcm, final):
            self.heard(self._decode(self._decoders[final], self.buffer))
        return self._last

    def finish(self) -> Hypothesis:
        return self._last

    # --- for `hear_together` --------------------------------------------------------------------------------

    def add(self, pcm: np.ndarray, final: bool) -> bool:
        """Append audio; whether there is something new to decode in `buffer`."""
        pcm = checked(pcm)
        self.buffer = np.concatenate((self.buffer, pcm))
        while len(self.buffer) > BUFFER_S * ASR_RATE:
            self._settle(self._decoders[final])
        return bool(len(pcm))

    def alike(self, final: bool) -> Hashable:
        """Utterances that give the same can be decoded together; None: this one cannot now."""
        decoder = self._decoders[final]
        if not self._language_kept or self._options.word_timestamps or not hasattr(decoder, "read_together"):
            return None
        return id(decoder), self._language, self._options

    def read_with(self, others: Sequence[np.ndarray], final: bool) -> list[Decoded]:
        """Its own buffer and those of others that are alike."""
        decoder: Any = self._decoders[final]
        found: list[Decoded] = decoder.read_together([self.buffer, *others], self._language, self._options)
        return found

    def heard(self, decoded: Decoded) -> Hypothesis:
        segments = (*self._settled, *(moved(s, self._buffer_start_s) for s in decoded.segments))
        text = " ".join(s.text for s in segments if s.text)
        self._last = Hypothesis(text, self._language, self._probability, tuple(s for s in segments if s.text))
        return self._last

    # ---------------------------------------------------------------------------------------------------------

    def _decode(self, decoder: Decoder, pcm: np.ndarray) -> Decoded:
        encoded = decoder.encode(pcm)
        if not self._language_kept:
            self._language, self._probability = decoder.language(encoded)
            self._language_kept = any(len(pcm) >= s * ASR_RATE and self._probability >= p for s, p in SURE)
        return decoder.decode(encoded, pcm, self._language, self._options)

    def _settle(self, decoder: Decoder) -> None:
        """Fix the text of the buffer's older part and let its audio go; at a silence if the model names none."""
        full = self.buffer[: int(BUFFER_S * ASR_RATE)]
        decoded = self._decode(decoder, full)
        ends = [s.end_s for s in decoded.segments[: decoded.closed] if CUT_FROM_S <= s.end_s <= BUFFER_S - CUT_MARGIN_S]
        if ends:
            cut_s = ends[-1]
            kept = [s for s in decoded.segments if s.end_s <= cut_s]
        else:
            cut_s = quietest(full, CUT_FROM_S, BUFFER_S - CUT_MARGIN_S)
            kept = list(self._decode(decoder, full[: int(cut_s * ASR_RATE)]).segments)
        self._settled += [moved(s, self._buffer_start_s) for s in kept]
        self.buffer = self.buffer[int(cut_s * ASR_RATE) :]
        self._buffer_start_s += cut_s


Job = tuple[WhisperUtterance, np.ndarray, bool]  # what `hear` is given


def hear_together(jobs: Sequence[Job]) -> list[Hypothesis | EngineError]:
    """What `hear` of each would return or raise, in less time. The utterances are different ones."""
    found: list[Hypothesis | EngineError] = []
    groups: dict[Hashable, list[int]] = {}
    for at, (utterance, pcm, final) in enumerate(jobs):
        try:
            alike = utterance.alike(final)
            if alike is None:
                found.append(utterance.hear(pcm, final))
                continue
            if utterance.add(pcm, final):
                groups.setdefault(alike, []).append(at)
            found.append(utterance.finish())
        except EngineError as error:
            found.append(error)
    for members in groups.values():
        first, _, final = jobs[members[0]]
        try:
            decoded = first.read_with([jobs[at][0].buffer for at in members[1:]], final)
            for at, one in zip(members, decoded, strict=True):
                found[at] = jobs[at][0].heard(one)
        except EngineError as error:
            found = [error if at in members else one for at, one in enumerate(found)]
    return found


def quietest(pcm: np.ndarray, from_s: float, to_s: float) -> float:
    """The middle, in seconds, of the quietest 0.2 s of `pcm` between two times."""
    step = ASR_RATE // 50
    part = np.square(pcm[int(from_s * ASR_RATE) : int(to_s * ASR_RATE)])
    energy = part[: len(part) // step * step].reshape(-1, step).sum(axis=1)
    smooth = np.convolve(energy, np.ones(10), mode="valid")
    return from_s + (int(smooth.argmin()) + 5) * 0.02


def moved(segment: Segment, by_s: float) -> Segment:
    words = tuple(replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s) for w in segment.words)
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)
