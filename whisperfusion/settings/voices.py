"""TTS_VOICE: the default voice, or a list with one for each language.

"heart" is the default voice, whatever is spoken. In "en:heart, es:kokoro/ef_dora,
de:piper/de_DE-thorsten-medium" each entry has the language that it is for, and before "/" the
engine, where that is another than TTS_ENGINE. An entry without a language is the default voice.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import NamedTuple, TypeVar

LANGUAGE = re.compile(r"([a-z]{2,3}(?:[-_][A-Za-z]{2,4})?):(?!//)(.*)", re.DOTALL)
NAMED_BY_MODEL = ("piper",)  # a voice is a model of these engines
# a voice of these speaks any language, which its name ends with: "Ana Florence@es"
OF_ANY_LANGUAGE, LANGUAGE_MARK = ("xtts",), "@"
OF_ENGINE = ("tts_chain", "tts_model", "tts_option", "tts_url", "tts_key")
S = TypeVar("S")


class VoiceEntry(NamedTuple):
    """`language` as it is written, "" = any; `engine` "" = TTS_ENGINE; `voice` "" = its first."""

    language: str
    engine: str
    voice: str


def voice_entries(text: str) -> tuple[VoiceEntry, ...]:
    """The entries of a list; none of a single name without a language, which is a voice of
    TTS_ENGINE as it stands.
    """
    if "," not in text and not LANGUAGE.fullmatch(text.strip()):
        return ()
    return tuple(_entry(one.strip()) for one in text.split(",") if one.strip())


def _entry(text: str) -> VoiceEntry:
    found = LANGUAGE.fullmatch(text)
    language, name = (found[1], found[2].strip()) if found else ("", text)
    engine, slash, voice = name.partition("/")
    return VoiceEntry(language, engine, voice) if slash else VoiceEntry(language, "", name)


def default_entry(text: str, engine: str) -> VoiceEntry:
    """The voice for all that no other entry is for: the one without a language, else the first of
    TTS_ENGINE, else that engine's own first.
    """
    entries = voice_entries(text)
    if not entries:
        return VoiceEntry("", "", text)
    plain = [one for one in entries if not one.language]
    own = [one for one in entries if one.engine in ("", engine)]
    return (*plain, *own, VoiceEntry("", "", ""))[0]


def settings_of_voice(settings: S, entry: VoiceEntry) -> S:
    """`settings` (a frozen dataclass with `tts_engine` and the like) as if `entry` were the only
    voice. Another engine than TTS_ENGINE has neither its model nor its options, server and key.
    """
    usual: str = getattr(settings, "tts_engine")  # noqa: B009
    engine = entry.engine or usual
    changed = {"tts_engine": engine, "tts_voice": entry.voice}
    if engine in OF_ANY_LANGUAGE and entry.language and LANGUAGE_MARK not in entry.voice:
        changed["tts_voice"] += LANGUAGE_MARK + entry.language
    if engine != usual:
        changed |= dict.fromkeys(OF_ENGINE, "")
    model = changed.get("tts_model", getattr(settings, "tts_model"))  # noqa: B009
    folder = os.path.isdir(os.path.expanduser(model))  # of voices, one of which is meant
    if engine in NAMED_BY_MODEL and entry.voice and not folder:
        changed |= {"tts_model": entry.voice, "tts_voice": ""}
    return replace(settings, **changed)  # type: ignore[type-var]
