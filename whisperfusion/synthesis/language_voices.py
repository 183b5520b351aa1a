"""Which voice says a text of which language: TTS_VOICE or the list of an agent, one for each.

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
from dataclasses import replace
from typing import NamedTuple

from whisperfusion.engines import TTS
from whisperfusion.errors import EngineError
from whisperfusion.settings import Settings
from whisperfusion.settings.voices import VoiceEntry, settings_of_voice
from whisperfusion.synthesis.voice import languages_of
from whisperfusion.synthesis.voice_link import VoiceLink
from whisperfusion.synthesis.voices import Voices
from whisperfusion.wire.languages import code_of, name_of
from whisperfusion.wire.voices import CUSTOM, MARK, UnknownVoice, in_language, voice_named

log = logging.getLogger("tts")


class Choice(NamedTuple):
    """`link` None = the default voice and those behind it. `missing`: why no voice of the language
    says the text, for its caller; "" = one does.
    """

    link: VoiceLink | None
    name: str | None
    missing: str = ""


class Listed(NamedTuple):
    """A list of voices: the name of its default one, and the choice for each ISO code, "" = all."""

    default: str
    of: dict[str, Choice]


class LanguageVoices:
    """Thread-safe. Raises EngineError for a list that cannot be read."""

    def __init__(
        self, settings: Settings, default: Voices, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._default, self._settings, self._clock = default, settings, clock
        self._links: dict[tuple[str, str], VoiceLink] = {}
        self._own = self._listed(settings)
        self._of_agents: dict[str, Listed] = {}
        if self._own.of.get("", Choice(None, None)).link is not None:
            raise AssertionError("the default voice is the one of the default engine")

    def _listed(self, settings: Settings) -> Listed:
        """Voices elsewhere are started."""
        usual, of = self._settings.with_default_voice, {}
        for entry in settings.voices:
            own = settings_of_voice(settings, entry)
            key = own.tts_engine, own.tts_model
            link = None
            if key != (usual.tts_engine, usual.tts_model):
                link = self._links.get(key) or self._new_link(key, own)
            code = _language(entry)
            if code in of:
                raise EngineError(
                    f"TTS_VOICE names two voices for {name_of(code) if code else 'all languages'}; "
                    "one for each is enough"
                )
            of[code] = Choice(link, own.tts_voice or None)
        return Listed(settings.default_voice, of)

    def _new_link(self, key: tuple[str, str], settings: Settings) -> VoiceLink:
        link = VoiceLink("/".join(filter(None, key)), settings, self._clock)
        self._links[key] = link
        if link.elsewhere:
            link.start()
        return link

    def of_agent(self, voices: str) -> Listed:
        """The list of an agent, as TTS_VOICE has one; "" = that of TTS_VOICE. One that cannot be
        read counts as none, with an error in the log: a process does not end for a file that was
        edited.
        """
        if not voices:
            return self._own
        found = self._of_agents.get(voices)
        if found is None:
            try:
                found = self._listed(replace(self._settings, tts_voice=voices))
            except EngineError as problem:
                log.error("an agent has the voices %r: %s", voices, problem)
                found = self._own
            self._of_agents[voices] = found
        return found

    @property
    def several(self) -> bool:
        """Whether the language of a text may change its voice."""
        default = self._default.chosen
        of_engine = default is not None and bool(languages_of(default.engine))
        return len(self._own.of) > 1 or of_engine

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO codes that some voice speaks."""
        default = self._default.chosen
        found = dict.fromkeys(filter(None, self._own.of))
        if default is not None:
            own = languages_of(default.engine).values() or (default.language_of(None) or "",)
            found |= dict.fromkeys(filter(None, own))
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """What a client may ask for: the voices of the default engine, and those of the list."""
        listed = [_name(choice) for choice in self._own.of.values() if choice.link is not None]
        known = self._default.names
        return tuple(dict.fromkeys((*known, *filter(None, listed)))) if known else ()

    @property
    def clone(self) -> bool:
        """Whether custom voices can speak."""
        return self._default.clone

    def choose(self, language: str, asked: str | None = None, voices: str = "") -> Choice:
        """The voice for a text of `language` (ISO code, "" = not known). `asked`: the name that the
        client chose; it counts for the languages that it speaks. `voices`: the list of the call's
        agent; what it has no voice for is said by those of TTS_VOICE.
        """
        listed = self.of_agent(voices)
        chosen = asked not in (None, "", listed.default)
        if asked and chosen:
            own = self._speaking(asked, language) if language else self._named(asked)
            if own is not None:
                return own
        asked = self._known(asked)
        found = (listed.of.get(language) or self._own.of.get(language)) if language else None
        plain = listed.of.get("")
        if found is None and plain is not None and plain.link is not None and not chosen:
            found = plain
        if found is not None:
            return self._usable(found, language, asked)
        default = self._default.chosen
        if default is None or not language:
            return Choice(None, asked)
        return self._of_default(default.engine, language, asked)

    def _known(self, name: str | None) -> str | None:
        """`name`, unless the default engine does not have it."""
        default = self._default.chosen
        try:
            if name and default is not None:
                return name if default.check(name) else None
            return name
        except UnknownVoice:
            return None

    def _of_default(self, engine: TTS, language: str, asked: str | None) -> Choice:
        voices = languages_of(engine)
        own = [name for name, spoken in voices.items() if spoken == language]
        if own:
            return Choice(None, _same_voice(asked, language, engine) or own[0])
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
        if link is None and not found.name:
            return Choice(None, asked)
        why = link.why_away() if link is not None else ""
        voice = link.voice if link is not None else self._default.chosen
        if not why and found.name and voice is not None and voice.engine.voices:
            try:
                voice.check(found.name)
            except UnknownVoice as problem:
                why = str(problem)
        if why:
            spoken = f" for {_title(language)}" if language else ""
            return Choice(None, asked, f"the voice{spoken} is away ({why}); the default reads")
        return found

    def _named(self, asked: str | None) -> Choice | None:
        """A voice of the list, by its name."""
        for choice in self._own.of.values():
            if asked and choice.link is not None and asked == _name(choice):
                return None if choice.link.why_away() else choice
        return None

    def _speaking(self, asked: str, language: str) -> Choice | None:
        """The voice of this name, if it speaks `language`."""
        listed = self._own.of.get(language)
        if listed is not None and listed.link is not None and asked == _name(listed):
            return self._named(asked)
        default = self._default.chosen
        if default is None:
            return None
        if default.clone(asked) is not None:
            same = _same_voice(asked, language, default.engine)
            return Choice(None, same) if same else None
        name = asked
        with suppress(UnknownVoice):
            name = voice_named(asked, default.engine.voices) or asked
        if name not in default.engine.voices:
            return None
        spoken = languages_of(default.engine).get(name, default.engine.language)
        return Choice(None, name) if spoken in (None, language) else None


def _same_voice(asked: str | None, language: str, engine: TTS) -> str | None:
    """The voice that a client asked for, as it speaks `language`; None = it does not."""
    if not asked or languages_of(engine).get(asked) == language:
        return asked
    voice, own = in_language(asked)
    custom = (voice,) if CUSTOM.fullmatch(voice) else ()  # it is none of the engine's
    if custom and (own or engine.language) in (None, language):
        return asked
    with suppress(UnknownVoice):
        return voice_named(f"{voice}{MARK}{language}", (*engine.voices, *custom))
    return None


def _name(choice: Choice) -> str:
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
