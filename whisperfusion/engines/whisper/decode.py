"""One decode of Whisper over a short context, on the model itself (`library`).

Whisper was trained on windows of 30 s, but its encoder takes any even number of frames, and 8 s
cost a third of 30 s. Done plainly, that makes it repeat sentences; these measures stop it (and cost
half a point of word error rate): timestamps are asked for, then dropped, and one that lies at the
end of the audio ends the text; the number of tokens is bounded by the duration; a second of silence
follows the speech; what repeats itself without sound of its own ends the text, and the sound after
that is decoded again (`loop_guard`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import loudest
from whisperfusion.engines.protocols import ASROptions, Segment, Word
from whisperfusion.engines.whisper import loop_guard as guard
from whisperfusion.engines.whisper.end_of_turn import Head
from whisperfusion.engines.whisper.library import CTRANSLATE2, Library
from whisperfusion.engines.whisper.log_mel import log_mel
from whisperfusion.engines.whisper.parts import (
    END_S,
    TIME_STEP_S,
    Part,
    last_word,
    most_tokens,
    shortened,
    split,
    text_of,
)
from whisperfusion.engines.whisper.prompt import text_before
from whisperfusion.engines.whisper.utterance import Decoded, moved
from whisperfusion.engines.whisper.word_times import words_of

# 172 pieces under 4 s, base: 8.1 % word errors with 3, 4 and 6 s, 8.2 % with 8; with noise of 12 dB
# 21, 22, 22, 21 %
MIN_CONTEXT_S = 6.0
MAX_CONTEXT_S = 30.0  # the model has no positions beyond
TAIL_S = 1.0  # silence after the speech: without it the last word is lost or doubled
SILENCE_RMS = 0.0005  # nothing louder than this (-66 dBFS) in 30 ms: no speech
# pieces decoded together may differ by so much: a second of context costs 11 ms, a decode of its
# own 70
LONGER_S = 2.0
AGAIN = 2  # decodes of what a loop or the end of the tokens left over
AGAIN_FROM_S = 0.3  # of the sound that is done by then, at least
# for a text that is too short for its sound: greedy decoding passes over repeated words
CAREFUL_BEAM = 5
# probability of silence and mean log probability of the tokens: Whisper's own bounds
NO_SPEECH, GUESS = 0.6, -1.0


@dataclass(frozen=True)
class Piece:
    """One piece of sound, float32 [samples] at 16 kHz, on its way to text.

    `most`: tokens that it may have; `times` the usual number.
    """

    encoded: Any
    pcm: Samples
    most: int
    language: str
    options: ASROptions
    times: int = 1

    @property
    def duration(self) -> float:
        return len(self.pcm) / MICROPHONE_RATE


@dataclass
class ShortContext:
    """A Whisper model, decoded greedily a short piece at a time.

    Safe in several threads. `whisper` is what `library` runs: by default a
    `faster_whisper.WhisperModel`.

    `careful`: a text that is too short for its sound is decoded once more, which takes as long
    again. `head` tells the end of a turn from the encoder's states.
    """

    whisper: Any
    min_context_s: float = MIN_CONTEXT_S
    careful: bool = True
    head: Head | None = None
    tokenizers: dict[tuple[str, str], Any] = field(default_factory=dict)
    library: Library = CTRANSLATE2

    def encode(self, pcm: Samples) -> Any:
        """Encoder output of at most 29 s of speech followed by silence."""
        return self._encode([pcm], self._frames(pcm))

    def _encode(self, pieces: Sequence[Samples], frames: int) -> Any:
        filters = self.whisper.feature_extractor.mel_filters
        mel = np.stack([log_mel(pcm, filters, frames) for pcm in pieces])
        return self.library.encode(self.whisper, np.ascontiguousarray(mel))

    def _frames(self, pcm: Samples) -> int:
        return (
            int(
                min(max(self.min_context_s, len(pcm) / MICROPHONE_RATE + TAIL_S), MAX_CONTEXT_S)
                * 50
            )
            * 2
        )

    def language_probabilities(self, encoded: Any) -> dict[str, float]:
        """ISO codes and their probabilities, the likeliest first."""
        found = self.whisper.model.detect_language(encoded)[0]
        return {token[2:-2]: probability for token, probability in found}

    def decode(self, encoded: Any, pcm: Samples, language: str, options: ASROptions) -> Decoded:
        """The text of `pcm`, whose `encoded` form came from `encode`."""
        return self._decode(encoded, [pcm], language, options)[0]

    def decode_batch(
        self, pieces: Sequence[Samples], language: str, options: ASROptions
    ) -> list[Decoded]:
        """The texts of pieces of at most 29 s, decoded together where their lengths are near each
        other.

        On one thread of a CPU, base, 10 s of context, CPU time: the encoder gains nothing (123 ms
        for one, 502 for four), the decoder does (247 for one, 296 for two instead of 505, 368 for
        four instead of 820), together 28 and 34 %.
        """
        found: dict[int, Decoded] = {}
        rest = sorted(range(len(pieces)), key=lambda at: len(pieces[at]))
        while rest:
            frames = self._frames(pieces[rest[-1]])
            near = [at for at in rest if frames - self._frames(pieces[at]) <= LONGER_S * 100]
            rest = rest[: -len(near)]
            group = [pieces[at] for at in near]
            found.update(
                zip(
                    near,
                    self._decode(self._encode(group, frames), group, language, options),
                    strict=True,
                )
            )
        return [found[at] for at in range(len(pieces))]

    def _decode(
        self, encoded: Any, pieces: Sequence[Samples], language: str, options: ASROptions
    ) -> list[Decoded]:
        results, most = self._generate(encoded, pieces, language, options)
        if len(pieces) == 1:
            found = [self._whole(results[0], Piece(encoded, pieces[0], most, language, options))]
        else:
            found = [
                self._one_of_several(
                    result, Piece(self.library.apart(encoded, at), pcm, most, language, options)
                )
                for at, (result, pcm) in enumerate(zip(results, pieces, strict=True))
            ]
        return self._with_end_of_turn(found, encoded, pieces)

    def _with_end_of_turn(
        self, found: list[Decoded], encoded: Any, pieces: Sequence[Samples]
    ) -> list[Decoded]:
        states = None if self.head is None else self.library.states(encoded)
        if self.head is None or states is None:
            return found
        return [
            replace(one, end_of_turn=self.head.probability(states[at], len(pcm)))
            for at, (one, pcm) in enumerate(zip(found, pieces, strict=True))
        ]

    def _generate(
        self,
        encoded: Any,
        pieces: Sequence[Samples],
        language: str,
        options: ASROptions,
        beam: int = 1,
        times: int = 1,
    ) -> tuple[Any, int]:
        """CTranslate2's result of each piece, and how many tokens it may have: `times` the usual
        number.
        """
        tokenizer = self.tokenizer(language, options.task)
        prompt = text_before(tokenizer, options) + list(tokenizer.sot_sequence)
        most = times * most_tokens(max(map(len, pieces)) / MICROPHONE_RATE, language)
        results = self.whisper.model.generate(
            encoded,
            [prompt] * len(pieces),
            beam_size=beam,
            return_scores=True,
            return_no_speech_prob=True,
            # CTranslate2 takes half of it, or what the prompt leaves
            max_length=min(max(2 * most, len(prompt) + most), 448),
        )
        return results, most

    def _one_of_several(self, result: Any, piece: Piece) -> Decoded:
        """In a context as long as the longest piece's the model is less sure of speech: what seems
        to be none is encoded once more.

        So is, where that cannot be had `apart`, what needs the encoder's output: words with times,
        a loop, what was passed over.
        """
        pcm, language, options = piece.pcm, piece.language, piece.options
        if loudest(pcm) < SILENCE_RMS:
            return Decoded()
        if no_speech(result, pcm):
            return self.decode(self.encode(pcm), pcm, language, options)
        if piece.encoded is not None:
            return self._whole(result, piece)
        parts, closed = split(
            result.sequences_ids[0], self.tokenizer(language, options.task), piece.duration
        )
        found = self._segments(result, parts, closed, language, options)
        repeating = guard.first_copy(text_of(parts)) is not None or self._unfinished(result, piece)
        doubtful = repeating or self._thin(found, pcm) or len(self._skipped(parts, piece)) > 0
        return (
            self.decode(self.encode(pcm), pcm, language, options)
            if options.word_timestamps or doubtful
            else found
        )

    def _whole(self, result: Any, piece: Piece, again: int = AGAIN) -> Decoded:
        """The text of one piece; what a loop hides, and what was passed over, is decoded once
        more.
        """
        if no_speech(result, piece.pcm):
            return Decoded()
        tokenizer = self.tokenizer(piece.language, piece.options.task)
        parts, closed = split(result.sequences_ids[0], tokenizer, piece.duration)
        if self._unfinished(result, piece) or guard.first_copy(text_of(parts)) is not None:
            return self._guarded(result, parts, closed, piece, again)
        found = self._segments(result, parts, closed, piece.language, piece.options, piece)
        if (
            parts
            and self._thin(found, piece.pcm)
            and guard.passed_over(self._starts(parts, piece)[0], piece.pcm)
        ):
            return self._more_carefully(found, piece)
        rest = self._skipped(parts, piece)
        return self._and_the_rest(found, parts, rest, piece, again) if len(rest) else found

    def _skipped(self, parts: list[Part], piece: Piece) -> Samples:
        """The sound after the end that the model gave its text, when something is still said
        there.
        """
        return guard.rest(piece.pcm, parts[-1][1]) if parts and self.careful else piece.pcm[:0]

    def _thin(self, found: Decoded, pcm: Samples) -> bool:
        return self.careful and guard.too_thin(found.text, pcm)

    def _unfinished(self, result: Any, piece: Piece) -> bool:
        """Did the text come to its last token before it came to the end of the sound?"""
        tokens, tokenizer = (
            result.sequences_ids[0],
            self.tokenizer(piece.language, piece.options.task),
        )
        last = tokenizer.timestamp_begin + (piece.duration - END_S) / TIME_STEP_S
        return len(tokens) >= piece.most and all(token < last for token in tokens)

    def _guarded(
        self, result: Any, parts: list[Part], closed: int, piece: Piece, again: int
    ) -> Decoded:
        text = text_of(parts)
        starts, probabilities = self._starts(parts, piece)
        # a loop is sure of itself: what it repeats tells how sure the model was
        new = guard.first_copy(text) or len(text)
        if (
            result.no_speech_prob > NO_SPEECH
            and float(np.mean(np.log(np.maximum(probabilities[:new], 1e-9)))) < GUESS
        ):
            return Decoded()
        end = guard.loop_at(text, starts)
        if end is None and self._unfinished(result, piece):
            if piece.times == 1:  # spelled letters take two tokens each
                results, most = self._generate(
                    piece.encoded, [piece.pcm], piece.language, piece.options, times=2
                )
                return self._whole(results[0], replace(piece, most=most, times=2), again)
            # it may be half a word
            end = last_word(text, self.tokenizer(piece.language, piece.options.task))
        if end is None:
            return self._segments(result, parts, closed, piece.language, piece.options, piece)
        parts = shortened(parts, end, starts[end])
        found = self._segments(result, parts, len(parts), piece.language, piece.options, piece)
        if self._thin(found, piece.pcm[: int(starts[end] * MICROPHONE_RATE)]):
            return self._more_carefully(found, piece)
        return self._and_the_rest(found, parts, guard.rest(piece.pcm, starts[end]), piece, again)

    def _and_the_rest(
        self, found: Decoded, parts: list[Part], rest: Samples, piece: Piece, again: int
    ) -> Decoded:
        """`found` and what is said in the `rest` of the sound."""
        from_s = piece.duration - len(rest) / MICROPHONE_RATE
        if not again or not len(rest) or from_s < AGAIN_FROM_S:
            return found
        encoded = self.encode(rest)
        results, most = self._generate(encoded, [rest], piece.language, piece.options)
        more = self._whole(
            results[0], Piece(encoded, rest, most, piece.language, piece.options), again - 1
        )
        if guard.too_fast(more.text, rest):
            return found  # the end of a word, of which a sentence was made
        return Decoded(
            (*found.segments, *(moved(segment, from_s) for segment in more.segments)),
            len(parts) + more.closed,
        )

    def _more_carefully(self, found: Decoded, piece: Piece) -> Decoded:
        """By beam search, if that finds more."""
        results, most = self._generate(
            piece.encoded, [piece.pcm], piece.language, piece.options, CAREFUL_BEAM
        )
        more = replace(self, careful=False)._whole(results[0], replace(piece, most=most))
        return more if guard.letters(more.text) > guard.letters(found.text) else found

    def _starts(self, parts: list[Part], piece: Piece) -> tuple[list[float], list[float]]:
        tokenizer = self.tokenizer(piece.language, piece.options.task)
        return self.library.token_starts(
            self.whisper, tokenizer, piece.encoded, text_of(parts), piece.duration
        )

    def _segments(
        self,
        result: Any,
        parts: list[Part],
        closed: int,
        language: str,
        options: ASROptions,
        piece: Piece | None = None,
    ) -> Decoded:
        tokenizer = self.tokenizer(language, options.task)
        words: list[tuple[Word, ...]] = [()] * len(parts)
        if piece is not None and options.word_timestamps:
            text = text_of(parts)
            timed = (
                self.library.timed_words(
                    self.whisper, tokenizer, piece.encoded, text, piece.duration
                )
                if text
                else []
            )
            words = words_of(timed, parts, piece.duration)
        return Decoded(
            tuple(
                Segment(
                    start,
                    end,
                    tokenizer.decode(part).strip(),
                    w,
                    result.scores[0],
                    result.no_speech_prob,
                )
                for (start, end, part), w in zip(parts, words, strict=True)
            ),
            closed,
        )

    def tokenizer(self, language: str, task: str) -> Any:
        key = (language, task)
        if key not in self.tokenizers:
            self.tokenizers[key] = self.library.tokenizer(self.whisper, language, task)
        return self.tokenizers[key]


def no_speech(result: Any, pcm: Samples) -> bool:
    return loudest(pcm) < SILENCE_RMS or (
        result.no_speech_prob > NO_SPEECH and result.scores[0] < GUESS
    )
