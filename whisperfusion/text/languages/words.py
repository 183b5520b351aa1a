"""The form of the word lists of one language."""

from __future__ import annotations

from dataclasses import dataclass


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Words:
    """`note` tells a model to answer in the language, and `filler` bridges the wait for a late
    reply. `failed` is said instead of a reply, and `interrupted` before one that was cut off comes
    again; "" = not known. The others are lower case: `hesitations` and `open_words` ask for more
    when a turn ends with them, `backchannels` are said without wanting the turn, `commands` are
    never an echo and interrupt a reply, and `stops` of them are about the reply itself.
    Backchannels and commands may have several words.
    """

    note: str
    filler: str
    failed: str = ""
    interrupted: str = ""
    hesitations: frozenset[str] = frozenset()
    open_words: frozenset[str] = frozenset()
    backchannels: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()
    stops: frozenset[str] = frozenset()


def words(
    note: str,
    filler: str,
    *,
    failed: str = "",
    interrupted: str = "",
    hesitations: str = "",
    open_words: str = "",
    backchannels: str = "",
    commands: str = "",
    stops: str = "",
) -> Words:
    """Lists as text: words apart by spaces; of backchannels, commands and stops by commas."""
    return Words(
        note,
        filler,
        failed,
        interrupted,
        _set(hesitations),
        _set(open_words),
        _phrases(backchannels),
        _phrases(commands) | _phrases(stops),
        _phrases(stops),
    )


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(one.split()) for one in text.split(",") if one.strip())
