"""Kokoro's voices: a name such as "ef_dora" begins with the letter of its language and that of the
sex of its speaker (hexgrad/Kokoro-82M, VOICES.md).
"""

from __future__ import annotations

import re

# the letter: ISO 639-1 code, espeak-ng's name for the language
LETTERS = {
    "a": ("en", "en-us"),
    "b": ("en", "en-gb"),
    "e": ("es", "es"),
    "f": ("fr", "fr-fr"),
    "h": ("hi", "hi"),
    "i": ("it", "it"),
    "j": ("ja", "ja"),
    "p": ("pt", "pt-br"),
    "z": ("zh", "cmn"),
}
# `Entry.gains_db`; the others are measured as they speak
GAINS_DB = {"af_heart": 4.6}
NAME = re.compile(rf"[{''.join(LETTERS)}][fm]_\w+")


def language_of(name: str) -> str | None:
    """ISO 639-1 code; None for what is not a voice's name."""
    return LETTERS[name[0]][0] if NAME.fullmatch(name) else None
