"""XTTS's voices: every one speaks every language of the model, so a name may end with the language
that is meant, as in "Ana Florence@es" or "me.wav@es".
"""

from __future__ import annotations

# of coqui/XTTS-v2's config.json, "zh-cn" as ISO 639-1
LANGUAGES = tuple("en es fr de it pt pl tr ru nl cs ar zh hu ko ja hi".split())
MARK = "@"


def parted(name: str) -> tuple[str, str]:
    """(voice, ISO 639-1 code, "" where none is named)."""
    voice, _, tail = name.rpartition(MARK)
    language = tail.lower().replace("_", "-").partition("-")[0]
    return (voice, language) if MARK in name and language in LANGUAGES else (name, "")


def language_of(name: str) -> str | None:
    """ISO 639-1 code; None where the name does not have one."""
    return parted(name)[1] or None
