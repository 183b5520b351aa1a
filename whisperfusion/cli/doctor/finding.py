"""What a check finds: its level, a sentence, and advice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`level`: "good", "note" (works, but worth knowing) or "bad" (cannot run).

    `advice` says what to do.
    """

    level: str
    text: str
    advice: str = ""


def good(text: str) -> Finding:
    return Finding("good", text)
