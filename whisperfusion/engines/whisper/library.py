"""What differs between the libraries that run Whisper, so that `decode` is written once.

`whisper.model` answers `generate` and `detect_language` as CTranslate2's Whisper does, whatever
runs it, and `whisper.feature_extractor.mel_filters` are float32 [bands, 201]. A tokenizer is
faster-whisper's, or OpenAI's, of which that is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.engines.whisper import loop_guard as guard

# punctuation that belongs to the word after it, and to the word before it; Whisper's own
OPENING = "\"'“¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"


class Library(Protocol):
    def encode(self, whisper: Any, mel: Samples) -> Any:
        """The encoder's output of log-mel spectrograms, float32 [pieces, bands, frames]."""

    def apart(self, encoded: Any, at: int) -> Any:
        """The encoder's output of one of several pieces; None where it cannot be cut."""

    def states(self, encoded: Any) -> Any:
        """The encoder's output as an array [pieces, time, size]; None where numpy has no such
        type.
        """

    def tokenizer(self, whisper: Any, language: str, task: str) -> Any: ...

    def token_starts(
        self, whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> tuple[list[float], list[float]]:
        """When each of `tokens` and their end begin in the sound (s), and their probabilities."""

    def timed_words(
        self, whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> Sequence[Mapping[str, Any]]:
        """word, tokens, start and end (s), and probability of each word of `tokens`, by
        cross-attention; punctuation belongs to a word.
        """


class CTranslate2:
    """`whisper` is a `faster_whisper.WhisperModel`."""

    def encode(self, whisper: Any, mel: Samples) -> Any:
        from ctranslate2 import StorageView

        return whisper.model.encode(StorageView.from_array(mel))

    def apart(self, encoded: Any, at: int) -> Any:
        """None on a GPU, and for bfloat16."""
        from ctranslate2 import DataType, StorageView

        if encoded.device != "cpu" or encoded.dtype != DataType.float32:
            return None
        return StorageView.from_array(np.ascontiguousarray(np.array(encoded)[at : at + 1]))

    def states(self, encoded: Any) -> Any:
        from ctranslate2 import DataType, Device

        if encoded.dtype not in (DataType.float32, DataType.float16):
            return None
        return np.array(encoded if encoded.device == "cpu" else encoded.to_device(Device.cpu))

    def tokenizer(self, whisper: Any, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(whisper.hf_tokenizer, whisper.model.is_multilingual, task, language)

    def token_starts(
        self, whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> tuple[list[float], list[float]]:
        return guard.token_starts(whisper, tokenizer, encoded, tokens, duration)

    def timed_words(
        self, whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> Sequence[Mapping[str, Any]]:
        from faster_whisper.transcribe import merge_punctuations

        timed = whisper.find_alignment(tokenizer, [list(tokens)], encoded, int(duration * 100))[0]
        merge_punctuations(timed, OPENING, CLOSING)
        return list(timed)


CTRANSLATE2 = CTranslate2()
