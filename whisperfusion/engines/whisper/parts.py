"""The tokens that the model wrote, in parts between its timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

END_S = 0.25  # a timestamp this near to the end means that the rest is invented
# at most; fast speech has 6 tokens a second in English, more in other languages
TOKENS_PER_S, TOKENS_SPARE = 8, 16
# a word that is cut in the middle can start a loop, which costs time up to here
ENGLISH_PER_S, ENGLISH_SPARE = 6, 8
TIME_STEP_S = 0.02  # between timestamp tokens

Part = tuple[float, float, list[int]]  # start_s, end_s, text tokens


def most_tokens(duration: float, language: str) -> int:
    per_s, spare = (
        (ENGLISH_PER_S, ENGLISH_SPARE) if language == "en" else (TOKENS_PER_S, TOKENS_SPARE)
    )
    return int(per_s * duration) + spare


def split(tokens: Sequence[int], tokenizer: Any, duration: float) -> tuple[list[Part], int]:
    """The text between timestamps, and how many of its parts the model closed itself."""
    parts: list[Part] = []
    part: list[int] = []
    start, closed = 0.0, 0
    for token in tokens:
        if token >= tokenizer.timestamp_begin:
            at = (token - tokenizer.timestamp_begin) * TIME_STEP_S
            if part:
                parts.append((start, min(at, duration), part))
                part, closed = [], len(parts)
            if at >= duration - END_S:
                break
            start = at
        elif token < tokenizer.eot:
            part.append(token)
    if part:
        parts.append((start, duration, part))
    return parts, closed


def text_of(parts: Sequence[Part]) -> list[int]:
    return [token for _, _, part in parts for token in part]


def shortened(parts: Sequence[Part], count: int, end_s: float) -> list[Part]:
    """The first `count` tokens, which end at `end_s`."""
    kept: list[Part] = []
    for start, end, part in parts:
        if count > 0:
            whole = len(part) <= count
            kept.append((min(start, end_s), min(end, end_s) if whole else end_s, part[:count]))
        count -= len(part)
    return kept


def last_word(text: Sequence[int], tokenizer: Any) -> int:
    """How many tokens stand before the last word."""
    _, words = tokenizer.split_to_word_tokens(list(text))
    return len(text) - (len(words[-1]) if len(words) > 1 else 0)
