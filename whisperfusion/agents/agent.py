"""What an agent is, and how a call gets its options from one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from whisperfusion.settings import Settings
from whisperfusion.settings.voices import voice_entries
from whisperfusion.wire.speakers import KnownSpeaker

# fields of `Agent`, and the settings in whose place they stand
_SETTINGS = {
    "instructions": "instructions",
    "voice": "tts_voice",
    "speed": "tts_speed",
    "language": "asr_language",
    "eagerness": "eagerness",
    "filler": "filler",
}


@dataclass(frozen=True)
class Agent:
    """One file of AGENTS_DIR. None: as the settings have it.

    `voice` is a name, or a list as TTS_VOICE has it, with one for each language.
    `keys` are positions in SHARED_SECRET from 1, or names of paired devices. Of the telephone
    numbers in `numbers` only the digits count. `tools` None: those of the server's own that every
    call has.
    """

    name: str
    title: str
    instructions: str
    greeting: str = ""
    voice: str | None = None
    speed: float | None = None
    language: str | None = None
    eagerness: float | None = None
    chain: str = ""
    tools: tuple[str, ...] | None = None
    filler: str | None = None
    keys: tuple[int | str, ...] = ()
    numbers: tuple[str, ...] = ()
    known_speakers: tuple[KnownSpeaker, ...] = ()
    known_speakers_only: bool = False

    @property
    def voices(self) -> str:
        """The list of voices; "" = there is one, or none."""
        return self.voice if self.voice and voice_entries(self.voice) else ""

    def default_voice(self, settings: Settings) -> str | None:
        """The name of its default voice, where that is one of the default engine; None: as the
        settings have it.
        """
        if not self.voices:
            return self.voice
        usual, own = settings.with_default_voice, self.settings(settings).with_default_voice
        same = (own.tts_engine, own.tts_model) == (usual.tts_engine, usual.tts_model)
        return (own.tts_voice or None) if same else None

    def settings(self, settings: Settings) -> Settings:
        """`settings`, as a call with this agent has them."""
        own = {theirs: getattr(self, ours) for ours, theirs in _SETTINGS.items()}
        changed: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        return replace(settings, **changed)


def digits(number: str) -> str:
    """A telephone number as it is compared: "+49 30 123-45" and "493012345" are the same."""
    return "".join(sign for sign in number if sign.isdecimal())
