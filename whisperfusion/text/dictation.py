"""Dictation: a number, code, address or name that is given piece by piece (English only)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from whisperfusion.text import phrases

_USER_AT = re.compile(r"@[\w-]*$")
_ABOUT_MAIL = re.compile(r"e ?mail|\bdot\b|\w@")
_ASKS_WHERE = re.compile(r"(?:what|where|who)\b")
_FIGURE = re.compile(r"\+?\d+[a-z]?|[a-z]\d+")
_NO_DIGIT = re.compile(r"\D")


def is_dictation(text: str) -> bool:
    """Is a number, code, address or name being dictated, and may more of it follow?

    One number that ends a sentence is not dictation ("ten minutes", "two plus two", "in 1969"), nor
    is what has as many digits as its kind needs, a name that was spoken and then spelled, or a
    street or e-mail address with its end.
    """
    tokens = _dictated(text)
    line = " ".join(tokens)
    cue = phrases.DICTATION_CUE.search(line)
    if not tokens or phrases.DATE_OR_TIME.search(line):
        return False
    if phrases.DICTATION_OPEN.search(line):
        return True
    tail = _tail(tokens)
    if tokens[-1] in phrases.DICTATION_SIGNS:
        return (
            bool(tail or cue)
            or tokens[-1] in ("dot", "underscore")
            and tokens[-2:-1] not in (["a"], ["the"])
        )
    if tokens[-1] == "at" or _USER_AT.search(line):
        return bool(_ABOUT_MAIL.search(line)) and not _ASKS_WHERE.match(line)
    if phrases.EMAIL_BEGUN.search(line) and not phrases.EMAIL_ENDED.search(line):
        return True
    if not tail:
        return bool(phrases.STREET_BEGUN.search(line)) and tokens[-1] not in phrases.STREETS
    return _symbols_go_on(tokens[: -len(tail)], tail, cue)


def _dictated(text: str) -> list[str]:
    """Words in lower case, but groups of digits and of single letters fall apart at their
    dashes: "J-O-H", "555-1234".
    """
    found: list[str] = []
    for token in text.lower().replace("’", "'").split():
        plain = token.strip(".,;:!?\"'()")
        parts = plain.split("-")
        apart = len(parts) > 1 and all(part.isdigit() or len(part) == 1 for part in parts)
        found += parts if apart else filter(None, [plain])
    return found


def _tail(tokens: Sequence[str]) -> list[str]:
    """The symbols at the end: single letters, digits, figures, words such as "dash", letters by
    their names ("alpha bravo").
    """
    tail: list[str] = []
    for word in reversed(tokens):
        if not (
            word in phrases.DIGITS
            or word in phrases.DICTATION_SIGNS
            or word in phrases.NATO
            or _figure(word)
            or len(word) == 1
        ):
            break
        tail.insert(0, word)
    while tail and tail[0] in ("a", "i", "to", "for", "at", "point", "o"):
        tail.pop(0)  # words of the sentence before it
    return tail


def _figure(word: str) -> bool:
    return bool(_FIGURE.fullmatch(word))


def _symbols_go_on(before: Sequence[str], tail: Sequence[str], cue: re.Match[str] | None) -> bool:
    """May more follow the symbols in `tail`, which the words `before` lead to?"""
    letters = "".join(word for word in tail if len(word) == 1 and word.isalpha())
    if len(letters) == len(tail) and letters in before:
        return False  # "Smith, S M I T H"
    digits = sum(
        len(_NO_DIGIT.sub("", word)) if _figure(word) else 1
        for word in tail
        if word in phrases.DIGITS or _figure(word)
    )
    if digits == sum(1 if not _figure(word) else len(word) for word in tail):
        wanted = next(
            (length for kind, length in phrases.NUMBER_LENGTHS.items() if kind in before), 10
        )
        if digits >= wanted:
            return False
    if cue is not None:
        return True
    symbols = [word for word in tail if word not in phrases.NATO]
    if len(symbols) < len(tail):
        return len(tail) > 1
    if (
        before
        and before[0] in phrases.WH_WORDS
        and not any(_figure(word) or word in phrases.DIGITS for word in tail)
    ):
        return False  # "what is the U S"
    return len(tail) > 1
