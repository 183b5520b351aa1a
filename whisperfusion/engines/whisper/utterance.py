"""What every Whisper shares, whatever runs it: an utterance that grows, and what may be asked of
the model.

A live utterance is decoded again and again from its beginning, because Whisper has no streaming
state. What keeps that affordable is a bounded buffer: when it is full, the text of its older part
is settled and that audio is let go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import ASROptions, Hypothesis, Segment
from whisperfusion.engines.whisper.spoken_language import Spoken, chosen, proves
from whisperfusion.errors import EngineError, GaveWay, first_line, lost_for_good

BUFFER_S = 20.0  # more is decoded in pieces
CUT_FROM_S = 8.0  # the first place to cut a full buffer
CUT_MARGIN_S = 1.0  # the end of a full buffer may be in the middle of a word
# a language is kept from this much audio (s) and this probability on
SURE = ((2.0, 0.9), (5.0, 0.5))
TASKS = ("transcribe", "translate")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """Segments of one piece of audio, times from its start.

    `closed` are those whose end the model itself named. `end_of_turn`: see `Hypothesis`.
    """

    segments: tuple[Segment, ...] = ()
    closed: int = 0
    end_of_turn: float | None = None

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


class Decoder(Protocol):
    """One model, decoded a short piece at a time."""

    def encode(self, pcm: Samples) -> Any:
        """Encoder output of at most 29 s of speech at 16 kHz."""

    def language_probabilities(self, encoded: Any) -> Mapping[str, float]:
        """ISO codes and their probabilities: of all languages, or of the likeliest alone where no
        more is known.
        """

    def decode(self, encoded: Any, pcm: Samples, language: str, options: ASROptions) -> Decoded:
        """The text of `pcm`, whose `encoded` form came from `encode`."""


@runtime_checkable
class BatchDecoder(Decoder, Protocol):
    """One that decodes several pieces in the time of few."""

    def decode_batch(
        self, pieces: Sequence[Samples], language: str, options: ASROptions
    ) -> list[Decoded]:
        """The texts of pieces of at most 29 s."""


def fitting(options: ASROptions, languages: Sequence[str], multilingual: bool) -> ASROptions:
    """`options` as the model can follow them; `EngineError` for a language or task that this one
    was not trained for.
    """
    if options.task not in TASKS:
        raise EngineError(f"task {options.task!r} is not known; allowed: {', '.join(TASKS)}")
    if not multilingual:
        return replace(options, language="en", task="transcribe")
    language = options.language.lower() if options.language else None
    if language is not None and language not in languages:
        raise EngineError(
            f"language {options.language!r} is not one that this recognizer knows; allowed: "
            f"{', '.join(sorted(languages))}"
        )
    return replace(options, language=language)


class WhisperUtterance:
    """One utterance of any length.

    `accept_audio` costs one decode of at most `BUFFER_S`, and one more when the buffer is full.

    `behind` is the same model for what is not urgent, where there is one: it decodes what is not
    final.
    """

    def __init__(
        self, decoder: Decoder, options: ASROptions, behind: Decoder | None = None
    ) -> None:
        self._decoders, self._options = {True: decoder, False: behind or decoder}, options
        self.buffer: Samples = np.zeros(0, np.float32)
        self._buffer_start_s = 0.0
        self._settled: list[Segment] = []
        self._language, self._probability = options.language or "", 1.0 if options.language else 0.0
        self._language_kept, self._assumed = options.language is not None, False
        self._likeliest = ""
        self._last = Hypothesis("", self._language, self._probability)

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        if self.add(pcm, final):
            self.update(self._decode(self._decoders[final], self.buffer))
        return self._last

    def finish(self) -> Hypothesis:
        return self._last

    # --- for `decode_batch` ---------------------------------------------------------------------

    def add(self, pcm: Samples, final: bool) -> bool:
        """Append audio; whether there is something new to decode in `buffer`."""
        pcm = checked(pcm)
        self.buffer = np.concatenate((self.buffer, pcm))
        while len(self.buffer) > BUFFER_S * MICROPHONE_RATE:
            self._settle(self._decoders[final])
        return bool(len(pcm))

    def alike(self, final: bool) -> Hashable:
        """Utterances that give the same can be decoded together; None: this one cannot now."""
        decoder = self._decoders[final]
        if (
            not self._language_kept
            or self._options.word_timestamps
            or not isinstance(decoder, BatchDecoder)
        ):
            return None
        # how the language was found makes no difference to its words
        options = replace(self._options, languages=(), expected="", suspected="")
        return id(decoder), self._language, options

    def decode_with(self, others: Sequence[Samples], final: bool) -> list[Decoded]:
        """Its own buffer and those of others that are alike."""
        decoder = self._decoders[final]
        assert isinstance(decoder, BatchDecoder), decoder  # else they would not be alike
        return decoder.decode_batch([self.buffer, *others], self._language, self._options)

    def update(self, decoded: Decoded) -> Hypothesis:
        segments = (*self._settled, *(moved(s, self._buffer_start_s) for s in decoded.segments))
        text = " ".join(s.text for s in segments if s.text)
        self._last = Hypothesis(
            text,
            self._language,
            self._probability,
            tuple(s for s in segments if s.text),
            decoded.end_of_turn,
            self._assumed,
            self._likeliest,
        )
        return self._last

    # ---------------------------------------------------------------------------------------------

    def _decode(self, decoder: Decoder, pcm: Samples) -> Decoded:
        encoded = decoder.encode(pcm)
        if self._language_kept:
            return decoder.decode(encoded, pcm, self._language, self._options)
        found = self._detect(decoder, encoded, len(pcm))
        decoded = decoder.decode(encoded, pcm, found.language, self._options)
        if found.better is not None:
            expected = decoder.decode(encoded, pcm, self._options.expected, self._options)
            if not proves(found.language, decoded.segments, expected.segments, found.better):
                found = Spoken(self._options.expected, 0.0, found.language)
                decoded = expected
        self._keep(found, len(pcm))
        return decoded

    def _keep(self, found: Spoken, length: int) -> None:
        self._language, self._probability, self._likeliest, _ = found
        self._language_kept = self._assumed or any(
            length >= s * MICROPHONE_RATE and self._probability >= p for s, p in SURE
        )

    def _detect(self, decoder: Decoder, encoded: Any, length: int) -> Spoken:
        """The language, or the default one where that fails: the words are worth more."""
        try:
            found = decoder.language_probabilities(encoded)
            return chosen(found, self._options, length / MICROPHONE_RATE)
        except Exception as error:
            if isinstance(error, GaveWay) or lost_for_good(error):
                raise
            self._assumed = True
            log.warning("the language could not be detected (%s)", first_line(error))
            return Spoken(self._options.default_language, 0.0)

    def _settle(self, decoder: Decoder) -> None:
        """Fix the text of the buffer's older part and let its audio go; at a silence if the
        model names none.
        """
        full = self.buffer[: int(BUFFER_S * MICROPHONE_RATE)]
        decoded = self._decode(decoder, full)
        ends = [
            s.end_s
            for s in decoded.segments[: decoded.closed]
            if CUT_FROM_S <= s.end_s <= BUFFER_S - CUT_MARGIN_S
        ]
        if ends:
            cut_s = ends[-1]
            kept = [s for s in decoded.segments if s.end_s <= cut_s]
        else:
            cut_s = quietest(full, CUT_FROM_S, BUFFER_S - CUT_MARGIN_S)
            kept = list(self._decode(decoder, full[: int(cut_s * MICROPHONE_RATE)]).segments)
        self._settled += [moved(s, self._buffer_start_s) for s in kept]
        self.buffer = self.buffer[int(cut_s * MICROPHONE_RATE) :]
        self._buffer_start_s += cut_s


Job = tuple[WhisperUtterance, Samples, bool]  # what `accept_audio` is given


def decode_batch(jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
    """What `accept_audio` of each would return or raise, in less time.

    The utterances are different ones.
    """
    found: list[Hypothesis | Exception] = []
    groups: dict[Hashable, list[int]] = {}
    for at, (utterance, pcm, final) in enumerate(jobs):
        try:
            alike = utterance.alike(final)
            if alike is None:
                found.append(utterance.accept_audio(pcm, final))
                continue
            if utterance.add(pcm, final):
                groups.setdefault(alike, []).append(at)
            found.append(utterance.finish())
        except Exception as error:
            found.append(error)
    for members in groups.values():
        for at, one in zip(members, _read(jobs, members), strict=True):
            found[at] = one
    return found


def _read(jobs: Sequence[Job], members: Sequence[int]) -> list[Hypothesis | Exception]:
    """Those of `jobs` that are `members`, in one pass; when that fails, one by one, so that only
    the guilty one fails.
    """
    first, _, final = jobs[members[0]]
    try:
        decoded = first.decode_with([jobs[at][0].buffer for at in members[1:]], final)
        return [jobs[at][0].update(one) for at, one in zip(members, decoded, strict=True)]
    except Exception as error:
        if len(members) == 1 or lost_for_good(error):
            return [error for _ in members]
    return [found for at in members for found in _read(jobs, [at])]


def quietest(pcm: Samples, from_s: float, to_s: float) -> float:
    """The middle, in seconds, of the quietest 0.2 s of `pcm` between two times."""
    step = MICROPHONE_RATE // 50
    part = np.square(pcm[int(from_s * MICROPHONE_RATE) : int(to_s * MICROPHONE_RATE)])
    energy = part[: len(part) // step * step].reshape(-1, step).sum(axis=1)
    smooth = np.convolve(energy, np.ones(10), mode="valid")
    return from_s + (int(smooth.argmin()) + 5) * 0.02


def known_languages(token_of: Callable[[str], int | None], multilingual: bool) -> tuple[str, ...]:
    """The ISO codes that a vocabulary has a token for: Cantonese (yue) came with large-v3, and
    an older model writes nonsense for it. English-only vocabularies have the tokens of all
    languages, and know one.
    """
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return (
        tuple(code for code in _LANGUAGE_CODES if token_of(f"<|{code}|>") is not None)
        if multilingual
        else ("en",)
    )


def moved(segment: Segment, by_s: float) -> Segment:
    words = tuple(replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s) for w in segment.words)
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)
