"""Names by which clients ask for a voice: ours in any case and with Kokoro's prefix, those of
OpenAI, which mean the default, and the ids of custom voices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from whisperfusion.errors import WhisperFusionError

OPENAI = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
)

CUSTOM = re.compile(r"voice_[0-9a-f]{24}")  # the id of one that a client has made


MARK = "@"  # "NAME@LANGUAGE": voices of some engines speak every language that the engine has


class UnknownVoice(WhisperFusionError):
    """No voice has this name."""


def voice_named(asked: str | None, voices: Iterable[str]) -> str | None:
    """The one of `voices` that is meant, or one of them in another language; None = the default
    (nothing, or a name of OpenAI's).

    Raises UnknownVoice.
    """
    if not asked:
        return None
    known = list(voices)
    if asked in known:
        return asked
    for name in (asked.casefold(), _bare(asked)):
        for voice in known:
            if name in (voice.casefold(), _bare(voice)):
                return voice
    if asked.casefold() in OPENAI:
        return None
    voice, language = in_language(asked)
    if language and any(in_language(one)[1] == language for one in known):
        return f"{voice_named(voice, known) or known[0]}{MARK}{language}"
    raise UnknownVoice(refused(asked, known, f"voice {asked!r} is not known"))


def refused(asked: object, voices: Iterable[str], why: str) -> str:
    """Why a voice cannot be had: `why`, and what is allowed. The ids of custom voices are for their
    owners alone, so no list has them.
    """
    if isinstance(asked, str) and CUSTOM.match(asked):
        return (
            f"the custom voice {asked!r} cannot speak: it is not stored here for your key, or the "
            "engine that speaks cannot clone voices; GET /v1/audio/voices says which are usable"
        )
    known = ", ".join(name for name in voices if not CUSTOM.fullmatch(name))
    return f"{why}; allowed: {known}"


def in_language(name: str) -> tuple[str, str]:
    """The voice and the language of "NAME@LANGUAGE"; "" = the name has none."""
    voice, mark, language = name.rpartition(MARK)
    return (voice, language.casefold()) if mark else (name, "")


def _bare(name: str) -> str:
    """Kokoro's "af_heart" (American, female) is "heart"."""
    language, mark, rest = name.casefold().partition("_")
    return rest if mark and len(language) == 2 and language[1] in "fm" else name.casefold()
