"""Backchannels: what a listener says without wanting the turn ("mm-hmm", "yeah", "I see")."""

from __future__ import annotations

import re
from functools import lru_cache

from whisperfusion.text import phrases
from whisperfusion.text.languages import words_of
from whisperfusion.text.segmentation import words

MAX_WORDS, MAX_REPEATED = 3, 6  # different ones, and "yeah, yeah, yeah, yeah"
_DOUBLED = re.compile(r"(.)\1+")


def is_backchannel(text: str, language: str | None = "en") -> bool:
    """Is this at most three different words, all of them mere signs of listening? Silence is not
    one. The most common ones count in every language, more of them in their own.
    """
    found = [word for word in (_undoubled("".join(words(token))) for token in text.split()) if word]
    line = " ".join(found)
    few = 0 < len(set(found)) <= MAX_WORDS and len(found) <= MAX_REPEATED
    known, phrases_of = _known(language)
    if few:
        line = phrases_of.sub("", line)  # "yeah, I see"
    return few and all(word in known for word in line.split())


def _undoubled(text: str) -> str:
    return _DOUBLED.sub(r"\1", text)  # "mmmm" is "mm"


@lru_cache
def _known(language: str | None) -> tuple[frozenset[str], re.Pattern[str]]:
    """The words, and a pattern of those that are several."""
    own = (" ".join(map(_joined, one.split())) for one in words_of(language).backchannels)
    found = frozenset(map(_undoubled, (*phrases.BACKCHANNELS, *own)))
    longest_first = sorted((one for one in found if " " in one), key=len, reverse=True)
    return found, re.compile(rf"(?<!\S)(?:{'|'.join(longest_first)})(?!\S)")


def _joined(token: str) -> str:
    return "".join(words(token))
