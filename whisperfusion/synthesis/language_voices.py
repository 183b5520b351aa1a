"""Which voice says a text of which language: TTS_VOICE, one for each language.

Voices of another engine than the default one's are links of their own, side by side: those in a
process or on a server of their own are started with this process, those of this process when they
are first needed. A language without a voice, or whose voice is away, is said by the default voice
as well as that knows its letters, and the caller is told: silence would look like a failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from whisperfusion.engines import TTS
from whisperfusion.errors import EngineError
from whisperfusion.settings import Settings
from whisperfusion.settings.voices import VoiceEntry, settings_of_voice
from whisperfusion.synthesis.voice import languages_of
from whisperfusion.synthesis.voice_link import VoiceLink
from whisperfusion.synthesis.voices import Voices
from whisperfusion.wire.languages import code_of, name_of
from whisperfusion.wire.voices import UnknownVoice, voice_named

log = logging.getLogger("tts")


class Choice(NamedTuple):
    """`link` None = the default voice and those behind it. `missing`: why no voice of the language
    says the text, for its caller; "" = one does.
    """

    link: VoiceLink | None
    name: str | None
    missing: str = ""


class LanguageVoices:
    """Thread-safe. Raises EngineError for a list that cannot be read."""

    def __init__(
        self, settings: Settings, default: Voices, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._default, self._default_name = default, settings.default_voice
        self._links: dict[tuple[str, str], VoiceLink] = {}
        self._of: dict[str, Choice] = {}
        usual = settings.with_default_voice
        for entry in settings.voices:
            own = settings_of_voice(settings, entry)
            key = own.tts_engine, own.tts_model
            link = None
            if key != (usual.tts_engine, usual.tts_model):
                name = "/".join(filter(None, key))
                link = self._links.get(key) or VoiceLink(name, own, clock)
                self._links[key] = link
            code = _language(entry)
            if code in self._of:
                raise EngineError(
                    f"TTS_VOICE names two voices for {name_of(code) if code else 'all languages'}; "
                    "one for each is enough"
                )
            self._of[code] = Choice(link, own.tts_voice or None)
        if self._of.get("", Choice(None, None)).link is not None:
            raise AssertionError("the default voice is the one of the default engine")
        for link in self._links.values():
            if link.elsewhere:
                link.start()

    @property
    def several(self) -> bool:
        """Whether the language of a text may change its voice."""
        default = self._default.chosen
        return len(self._of) > 1 or (default is not None and bool(languages_of(default.engine)))

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO codes that some voice speaks."""
        default = self._default.chosen
        found = dict.fromkeys(filter(None, self._of))
        if default is not None:
            own = languages_of(default.engine).values() or (default.language_of(None) or "",)
            found |= dict.fromkeys(filter(None, own))
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """What a client may ask for: the voices of the default engine, and those of the list."""
        listed = [_listed(choice) for choice in self._of.values() if choice.link is not None]
        known = self._default.names
        return tuple(dict.fromkeys((*known, *filter(None, listed)))) if known else ()

    def choose(self, language: str, asked: str | None = None) -> Choice:
        """The voice for a text of `language` (ISO code, "" = not known). `asked`: the name that the
        client chose; it counts for the languages that it speaks.
        """
        if not language:
            return self._named(asked) or Choice(None, asked)
        if asked and asked != self._default_name and (own := self._speaking(asked, language)):
            return own
        found = self._of.get(language)
        if found is not None:
            return self._usable(found, language, asked)
        default = self._default.chosen
        if default is None:  # nothing is known of it yet
            return Choice(None, asked)
        return self._of_default(default.engine, language, asked)

    def _of_default(self, engine: TTS, language: str, asked: str | None) -> Choice:
        voices = languages_of(engine)
        own = [name for name, spoken in voices.items() if spoken == language]
        if own:
            return Choice(None, asked if asked in own else own[0])
        if engine.language is None and not voices or engine.language == language:
            return Choice(None, asked)
        speaks = f"as {_title(engine.language)}" if engine.language else "as it can"
        return Choice(
            None,
            asked,
            f"no voice speaks {_title(language)}: the default voice reads it {speaks}. "
            f"TTS_VOICE={language}:NAME on the server adds one (docs/languages.md)",
        )

    def _usable(self, found: Choice, language: str, asked: str | None) -> Choice:
        link = found.link
        if link is None:
            return found if found.name else Choice(None, asked)
        why = link.why_away()
        if not why and link.voice is not None and found.name:
            try:
                voice_named(found.name, link.voice.engine.voices)
            except UnknownVoice as problem:
                why = str(problem)
        if why:
            return Choice(
                None, asked, f"the voice for {_title(language)} is away ({why}); the default reads"
            )
        return found

    def _named(self, asked: str | None) -> Choice | None:
        """A voice of the list, by its name."""
        for choice in self._of.values():
            if asked and choice.link is not None and asked == _listed(choice):
                return None if choice.link.why_away() else choice
        return None

    def _speaking(self, asked: str, language: str) -> Choice | None:
        """The voice of this name, if it speaks `language`."""
        listed = self._of.get(language)
        if listed is not None and listed.link is not None and asked == _listed(listed):
            return self._named(asked)
        default = self._default.chosen
        if default is None:
            return None
        name = asked
        with suppress(UnknownVoice):
            name = voice_named(asked, default.engine.voices) or asked
        if name not in default.engine.voices:
            return None
        spoken = languages_of(default.engine).get(name, default.engine.language)
        return Choice(None, name) if spoken in (None, language) else None


def _listed(choice: Choice) -> str:
    """The name of a voice of the list; one that is a model is named by it."""
    return choice.name or (choice.link.name.partition("/")[2] if choice.link else "")


def _language(entry: VoiceEntry) -> str:
    """Its ISO code, "" for all. Raises EngineError."""
    code = code_of(entry.language) if entry.language else ""
    if code is None:
        raise EngineError(
            f"TTS_VOICE has a voice for {entry.language!r}, which is not a language; allowed: "
            "NAME, or LANGUAGE:NAME and LANGUAGE:ENGINE/NAME, separated by commas"
        )
    return code


def _title(language: str) -> str:
    return name_of(language).title()
