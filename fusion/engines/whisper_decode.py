"""One decode of Whisper over a short context, on the CTranslate2 model itself.

Whisper was trained on windows of 30 s, but its encoder takes any even number of frames, and 8 s cost
a third of 30 s. Done plainly, that makes it repeat sentences; these measures stop it (and cost half a
point of word error rate): timestamps are asked for, then dropped, and one that lies at the end of the
audio ends the text; the number of tokens is bounded by the duration; a second of silence follows the
speech; a run of six tokens that was there before ends the text (five cut honest parallel sentences:
word error rate 11.2 % instead of 9.2 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fusion.engines import ASR_RATE, ASROptions, Segment, Word
from fusion.engines.log_mel import log_mel
from fusion.engines.pcm import loudest
from fusion.engines.whisper_utterance import Decoded

MIN_CONTEXT_S = 6.0  # 172 pieces under 4 s, base: 8.1 % word errors with 3, 4 and 6 s, 8.2 % with 8; with noise of 12 dB 21, 22, 22, 21 %
MAX_CONTEXT_S = 30.0  # the model has no positions beyond
TAIL_S = 1.0  # silence after the speech: without it the last word is lost or doubled
END_S = 0.25  # a timestamp this near to the end means that the rest is invented
SILENCE_RMS = 0.0005  # nothing louder than this (-66 dBFS) in 30 ms: no speech
TOKENS_PER_S, TOKENS_SPARE = 8, 16  # at most; fast speech has 6 tokens a second in English, more in other languages
ENGLISH_PER_S, ENGLISH_SPARE = 6, 8  # a word that is cut in the middle can start a loop, which costs time up to here
LONGER_S = 2.0  # pieces decoded together may differ by so much: a second of context costs 11 ms, a decode of its own 70
PROMPT_TOKENS = 223  # what the model takes as "text before" at most
REPEAT = 6
TIME_STEP_S = 0.02  # between timestamp tokens


Part = tuple[float, float, list[int]]  # start_s, end_s, text tokens


@dataclass
class ShortContext:
    """A `faster_whisper.WhisperModel`, decoded greedily a short piece at a time. Safe in several threads."""

    whisper: Any
    min_context_s: float = MIN_CONTEXT_S
    tokenizers: dict[tuple[str, str], Any] = field(default_factory=dict)

    def encode(self, pcm: np.ndarray) -> Any:
        """Encoder output of at most 29 s of speech followed by silence."""
        return self._encode([pcm], self._frames(pcm))

    def _encode(self, pieces: Sequence[np.ndarray], frames: int) -> Any:
        from ctranslate2 import StorageView

        mel = np.stack([log_mel(pcm, self.whisper.feature_extractor.mel_filters, frames) for pcm in pieces])
        return self.whisper.model.encode(StorageView.from_array(np.ascontiguousarray(mel)))

    def _frames(self, pcm: np.ndarray) -> int:
        return int(min(max(self.min_context_s, len(pcm) / ASR_RATE + TAIL_S), MAX_CONTEXT_S) * 50) * 2

    def language(self, encoded: Any) -> tuple[str, float]:
        """The likeliest language and its probability."""
        token, probability = self.whisper.model.detect_language(encoded)[0][0]
        return token[2:-2], probability

    def decode(self, encoded: Any, pcm: np.ndarray, language: str, options: ASROptions) -> Decoded:
        """The text of `pcm`, whose `encoded` form came from `encode`."""
        return self._decode(encoded, [pcm], language, options)[0]

    def read_together(self, pieces: Sequence[np.ndarray], language: str, options: ASROptions) -> list[Decoded]:
        """The texts of pieces of at most 29 s, decoded together where their lengths are near each other.

        On one thread of a CPU, base, 10 s of context, CPU time: the encoder gains nothing (123 ms for one, 502 for four), the
        decoder does (247 for one, 296 for two instead of 505, 368 for four instead of 820), together 28 and 34 %.
        """
        found: dict[int, Decoded] = {}
        rest = sorted(range(len(pieces)), key=lambda at: len(pieces[at]))
        while rest:
            frames = self._frames(pieces[rest[-1]])
            near = [at for at in rest if frames - self._frames(pieces[at]) <= LONGER_S * 100]
            rest = rest[: -len(near)]
            group = [pieces[at] for at in near]
            found.update(zip(near, self._decode(self._encode(group, frames), group, language, options), strict=True))
        return [found[at] for at in range(len(pieces))]

    def _decode(self, encoded: Any, pieces: Sequence[np.ndarray], language: str, options: ASROptions) -> list[Decoded]:
        tokenizer = self.tokenizer(language, options.task)
        prompt = text_before(tokenizer, options, PROMPT_TOKENS) + list(tokenizer.sot_sequence)
        most = most_tokens(max(map(len, pieces)) / ASR_RATE, language)
        results = self.whisper.model.generate(
            encoded, [prompt] * len(pieces), beam_size=1, return_scores=True, return_no_speech_prob=True,
            max_length=min(max(2 * most, len(prompt) + most), 448),  # CTranslate2 takes half of it, or what the prompt leaves
        )
        if len(pieces) > 1:  # words are timed piece by piece only
            options = replace(options, word_timestamps=False)
        return [self._decoded(result, encoded, pcm, tokenizer, options) for result, pcm in zip(results, pieces, strict=True)]

    def _decoded(self, result: Any, encoded: Any, pcm: np.ndarray, tokenizer: Any, options: ASROptions) -> Decoded:
        duration = len(pcm) / ASR_RATE
        if loudest(pcm) < SILENCE_RMS or (result.no_speech_prob > 0.6 and result.scores[0] < -1.0):
            return Decoded()
        parts, closed = split(result.sequences_ids[0], tokenizer.timestamp_begin, tokenizer.eot, duration)
        words = self._words(encoded, tokenizer, parts, duration) if options.word_timestamps else [()] * len(parts)
        segments = tuple(
            Segment(start, end, tokenizer.decode(part).strip(), w, result.scores[0], result.no_speech_prob)
            for (start, end, part), w in zip(parts, words, strict=True)
        )
        return Decoded(segments, closed)

    def tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        key = (language, task)
        if key not in self.tokenizers:
            self.tokenizers[key] = Tokenizer(self.whisper.hf_tokenizer, self.whisper.model.is_multilingual, task, language)
        return self.tokenizers[key]

    def _words(self, encoded: Any, tokenizer: Any, parts: list[Part], duration: float) -> list[tuple[Word, ...]]:
        from faster_whisper.transcribe import merge_punctuations

        text = [token for _, _, part in parts for token in part]
        if not text:
            return [()] * len(parts)
        timed = self.whisper.find_alignment(tokenizer, [text], encoded, int(duration * 100))[0]
        merge_punctuations(timed, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
        result: list[tuple[Word, ...]] = []
        seen, consumed = 0, iter(timed)
        for _, _, part in parts:
            words, seen_end = [], seen + len(part)
            while seen < seen_end and (word := next(consumed, None)) is not None:
                seen += len(word["tokens"])
                if word["word"].strip():
                    end = min(float(word["end"]), duration)
                    words.append(Word(min(float(word["start"]), end), end, word["word"].strip(), float(word["probability"])))
            result.append(tuple(words))
        return result


def most_tokens(duration: float, language: str) -> int:
    per_s, spare = (ENGLISH_PER_S, ENGLISH_SPARE) if language == "en" else (TOKENS_PER_S, TOKENS_SPARE)
    return int(per_s * duration) + spare


def text_before(tokenizer: Any, options: ASROptions, most: int) -> list[int]:
    """The hot words and the prompt as what was said before, in at most `most` tokens and the one that opens them."""
    text = " ".join(filter(None, (options.hotwords.strip(), options.initial_prompt.strip())))
    return [tokenizer.sot_prev, *tokenizer.encode(" " + text)[-most:]] if text and most > 0 else []


def split(tokens: Sequence[int], timestamp_begin: int, eot: int, duration: float) -> tuple[list[Part], int]:
    """The text between timestamps, and how many of its parts the model closed itself."""
    parts: list[Part] = []
    text: list[int] = []
    part: list[int] = []
    start, closed = 0.0, 0
    for token in tokens:
        if token >= timestamp_begin:
            at = (token - timestamp_begin) * TIME_STEP_S
            if part:
                parts.append((start, min(at, duration), part))
                part, closed = [], len(parts)
            if at >= duration - END_S:
                break
            start = at
        elif token < eot:
            if repeats(text + [token]):
                part = part[: max(0, len(part) - REPEAT + 1)]
                break
            text.append(token)
            part.append(token)
    if part:
        parts.append((start, duration, part))
    return parts, closed


def repeats(tokens: Sequence[int]) -> bool:
    """Whether the last six tokens were there before."""
    last = list(tokens[-REPEAT:])
    return any(list(tokens[i : i + REPEAT]) == last for i in range(len(tokens) - REPEAT))
