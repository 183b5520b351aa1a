"""The file of an agent, checked: an error names the file, the key and what is allowed."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from whisperfusion.agents.agent import Agent, digits
from whisperfusion.errors import SettingsError
from whisperfusion.settings.voices import voice_entries
from whisperfusion.toml_files import read_toml
from whisperfusion.wire.fields import FieldError
from whisperfusion.wire.languages import UnknownLanguage, code_of, spoken_languages
from whisperfusion.wire.limits import FASTEST, INSTRUCTIONS_LENGTH, NAME_LENGTH, SLOWEST
from whisperfusion.wire.speakers import KnownSpeaker, known_speakers_field

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
GREETING_LENGTH, VOICES_LENGTH = 1000, 2000  # characters
MOST = 100  # entries of a list
SAMPLE_BYTES = 12_000_000  # 30 s of stereo at 96 kHz

Read = Callable[[Any], Any]


class Unusable(Exception):
    """A value cannot be used; the text says what is allowed."""


def read_agent(file: Path) -> Agent:
    """The agent in `file`, named as the file is. Raises SettingsError."""
    name = file.stem
    if not NAME.fullmatch(name):
        raise SettingsError(
            f"{file}: an agent is named as its file; allowed: small letters, digits, and - _ . "
            "after the first, up to 64"
        )
    values = read_toml(file)
    if unknown := sorted(values.keys() - READERS.keys()):
        raise SettingsError(
            f"{file}: the key {unknown[0]!r} is not known; allowed: {', '.join(READERS)}"
        )
    if "instructions" not in values:
        raise SettingsError(f"{file}: instructions is missing; write how the agent should behave")
    if "known_speakers" in values:
        values["known_speakers"] = with_samples(file.parent, values["known_speakers"])
    found = {key: _value(file, key, value) for key, value in values.items()}
    if found.get("known_speakers_only") and not found.get("known_speakers"):
        raise SettingsError(
            f"{file}: known_speakers_only = true needs known_speakers: each has a name and a sample"
        )
    return Agent(**{"title": name, **found, "name": name})


def _value(file: Path, key: str, value: Any) -> Any:
    try:
        return READERS[key](value)
    except Unusable as problem:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise SettingsError(f"{file}: {key} = {shown} is not valid; allowed: {problem}") from None


def _text(longest: int, least: int = 0) -> Read:
    def read(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else None
        if text is None or not least <= len(text) <= longest:
            raise Unusable(f"text of {least} to {longest} characters")
        return text

    return read


def _number(low: float, high: float) -> Read:
    def read(value: Any) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise Unusable(f"a number from {low:g} to {high:g}")
        return float(value)

    return read


def _list(what: str, valid: Callable[[Any], bool]) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        usable = isinstance(value, list) and len(value) <= MOST and all(map(valid, value))
        if not usable:
            raise Unusable(f"a list of at most {MOST} {what}")
        return tuple(value)

    return read


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= NAME_LENGTH


def _is_key(value: Any) -> bool:
    position = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return position or _is_text(value)


def _is_number(value: Any) -> bool:
    return _is_text(value) and bool(digits(value))


def _language(value: Any) -> str:
    try:
        if isinstance(value, str):
            return ",".join(spoken_languages(value)) or "auto"
    except UnknownLanguage:
        pass
    raise Unusable("a language as a code or a name, such as en or German, a list of them, or auto")


def _voice(value: Any) -> str:
    """A name, or one for each language as TTS_VOICE has them: a text, or a list of its entries."""
    if isinstance(value, list) and value and all(map(_is_text, value)):
        value = ", ".join(one.strip() for one in value)
    text: str = _text(VOICES_LENGTH)(value)
    languages = [one.language and code_of(one.language) for one in voice_entries(text)]
    if None in languages or len(set(languages)) < len(languages):
        raise Unusable(
            "the name of a voice, or a list such as en:heart, es:kokoro/ef_dora with one for each "
            "language, by its code"
        )
    return text


def with_samples(folder: Path, speakers: Any) -> Any:
    """Each `sample`, a file beside the agent's, as the text that a handshake has in its place; what
    cannot be read is left, and is not valid then.
    """
    found = []
    for one in speakers if isinstance(speakers, list) else ():
        given = dict(one) if isinstance(one, dict) else {}
        if isinstance(given.get("sample"), str):
            with suppress(OSError):
                file = folder / given["sample"]
                if file.stat().st_size <= SAMPLE_BYTES:
                    given["audio_base64"] = base64.b64encode(file.read_bytes()).decode()
        found.append(given)
    return found or speakers


def _known_speakers(value: Any) -> tuple[KnownSpeaker, ...]:
    try:
        return known_speakers_field({"known_speakers": value}, "known_speakers")
    except FieldError:
        raise Unusable(
            'a list of tables with a "name" of its own and "sample", a WAV file beside this file, '
            f'at most {SAMPLE_BYTES // 10**6} MB, or "embedding", as the task embed gives it'
        ) from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unusable("true or false")
    return value


def _chain(value: Any) -> str:
    """One text as LLM_CHAIN has it, or a list of its links."""
    if isinstance(value, list) and value and all(_is_text(link) for link in value):
        return ", ".join(link.strip() for link in value)
    text: str = _text(INSTRUCTIONS_LENGTH)(value)
    return text


READERS: dict[str, Read] = {
    "title": _text(NAME_LENGTH, 1),
    "instructions": _text(INSTRUCTIONS_LENGTH, 1),
    "greeting": _text(GREETING_LENGTH),
    "voice": _voice,
    "speed": _number(SLOWEST, FASTEST),
    "language": _language,
    "eagerness": _number(0, 1),
    "chain": _chain,
    "tools": _list('names of tools, such as "time"', _is_text),
    "filler": _text(NAME_LENGTH),
    "keys": _list("keys: positions in SHARED_SECRET from 1, or names of devices", _is_key),
    "known_speakers": _known_speakers,
    "known_speakers_only": _flag,
    "numbers": _list('telephone numbers as text, such as "+49 30 12345"', _is_number),
}
