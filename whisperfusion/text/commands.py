"""Words that are never mere echo or listening: "stop", "wait", "no". English ones count in every
language, for people say "stop" and "hello" in many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from whisperfusion.text import phrases
from whisperfusion.text.languages import words_of
from whisperfusion.text.segmentation import words


def has_command(found: Sequence[str], language: str | None = "en") -> bool:
    """Is one of the words (as `segmentation.words` gives them) a command?"""
    if any(word in phrases.COMMANDS for word in found):
        return True
    return any(
        tuple(found[at : at + len(one)]) == one
        for one in _commands(language)
        for at in range(len(found) - len(one) + 1)
    )


def has_stop(found: Sequence[str], language: str | None = "en") -> bool:
    """Do the words begin with what one says to silence a reply?"""
    if any(word in phrases.STOPS for word in found[:1]):
        return True
    return any(tuple(found[: len(one)]) == one for one in _stops(language))


@lru_cache
def _commands(language: str | None) -> tuple[tuple[str, ...], ...]:
    return tuple(map(words, words_of(language).commands))


@lru_cache
def _stops(language: str | None) -> tuple[tuple[str, ...], ...]:
    return tuple(map(words, words_of(language).stops))
