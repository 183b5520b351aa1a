"""Two texts in a language as lists that can be compared: words, and in Japanese and Chinese signs.

Numbers and signs become words by the rules of the voices; case and punctuation do not count,
accents do. Chinese is compared in simplified signs, Japanese by its reading in katakana, since a
recognizer chooses freely between kanji and kana. The dictionary for that (IPADIC, by Janome) is
another one than the voice's: what the voice reads wrongly counts.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any

from whisperfusion.text.normalization import spoken


def comparable(text: str, language: str) -> list[str]:
    """The words of `text`, in Japanese and Chinese its signs."""
    text = unicodedata.normalize("NFKC", spoken(text, language))
    if language == "zh":
        text = _simplified().convert(text)
    if language == "ja":
        text = "".join(
            token.surface if token.reading == "*" else token.reading
            for token in _japanese().tokenize(text)
        )
    # a combining mark or a length mark is part of its word
    plain = "".join(
        one if unicodedata.category(one)[0] in "LMN" else " " for one in text
    ).casefold()
    return list("".join(plain.split())) if language in ("ja", "zh") else plain.split()


def error_rate(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Substituted, missing and added parts for each one of what was said, over all pairs of (said,
    heard).
    """
    import jiwer

    spoken_pairs = [(" ".join(said), " ".join(heard)) for said, heard in pairs if said]
    if not spoken_pairs:
        return 0.0
    said, heard = zip(*spoken_pairs, strict=True)
    return float(jiwer.wer(list(said), list(heard)))


@functools.lru_cache(maxsize=1)
def _simplified() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


@functools.lru_cache(maxsize=1)
def _japanese() -> Any:
    from janome.tokenizer import Tokenizer

    return Tokenizer()
