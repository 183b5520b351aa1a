"""Scripts that a voice can read: that of its language, and Latin letters."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# The first word of a letter's Unicode name.
_SCRIPTS = {
    "CYRILLIC": "ru uk bg sr mk be kk ky mn",
    "GREEK": "el",
    "CJK": "zh yue ja cmn",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "BOPOMOFO": "zh",
    "KATAKANA-HIRAGANA": "ja",
    "HANGUL": "ko",
    "ARABIC": "ar fa ur ps",
    "HEBREW": "he yi",
    "DEVANAGARI": "hi ne mr sa",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "THAI": "th",
    "TAMIL": "ta",
    "TELUGU": "te",
    "MALAYALAM": "ml",
    "BENGALI": "bn as",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "KANNADA": "kn",
    "SINHALA": "si",
    "MYANMAR": "my",
    "KHMER": "km",
    "LAO": "lo",
    "ETHIOPIC": "am",
    "ORIYA": "or",
    "TIBETAN": "bo",
}
_READS = {script: frozenset(languages.split()) for script, languages in _SCRIPTS.items()}
_RUN = re.compile(r"\S+")


@lru_cache(maxsize=4096)
def _readable(character: str, language: str) -> bool:
    """Whether a voice of `language` has a sound for a letter. Signs are left to the voice."""
    if character.isascii() or unicodedata.category(character)[0] not in "LN":
        return True
    script = unicodedata.name(character, "?").split()[0]
    if unicodedata.category(character)[0] == "N" or script in (
        "LATIN",
        "MODIFIER",
        "FEMININE",
        "MASCULINE",
        "MICRO",
        "OHM",
        "KELVIN",
        "ANGSTROM",
    ):
        return True
    return language in _READS.get(script, ())


def sayable(text: str, language: str | None) -> tuple[str, str]:
    """The part of `text` that a voice of `language` can say, and an example of the rest. None =
    unknown language: all of it.
    """
    if not language or text.isascii():
        return text, ""
    language, lost = language.lower().replace("_", "-").partition("-")[0], ""
    kept = []
    for run in _RUN.findall(text):
        if all(_readable(c, language) for c in run):
            kept.append(run)
            continue
        lost = lost or run
        part = "".join(c if _readable(c, language) else " " for c in run)
        kept += part.split()
    return " ".join(kept), lost[:20]


def has_words(text: str) -> bool:
    return any(c.isalnum() for c in text)
