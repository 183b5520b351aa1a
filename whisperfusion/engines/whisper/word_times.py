"""When each word was spoken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whisperfusion.engines.protocols import Word
from whisperfusion.engines.whisper.parts import Part


def words_of(
    timed: Iterable[Mapping[str, Any]], parts: Sequence[Part], duration: float
) -> list[tuple[Word, ...]]:
    """The words of each part; `timed` is `Library.timed_words` of the text of all of them."""
    result: list[tuple[Word, ...]] = []
    seen, consumed = 0, iter(timed)
    for _, _, part in parts:
        words, seen_end = [], seen + len(part)
        while seen < seen_end and (word := next(consumed, None)) is not None:
            seen += len(word["tokens"])
            if word["word"].strip():
                end = min(float(word["end"]), duration)
                words.append(
                    Word(
                        min(float(word["start"]), end),
                        end,
                        word["word"].strip(),
                        float(word["probability"]),
                    )
                )
        result.append(tuple(words))
    return result
