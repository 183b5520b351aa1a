"""What an agent is, and how a call gets its options from one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from whisperfusion.settings import Settings

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

    def settings(self, settings: Settings) -> Settings:
        """`settings`, as a call with this agent has them."""
        own = {theirs: getattr(self, ours) for ours, theirs in _SETTINGS.items()}
        changed: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        return replace(settings, **changed)


def digits(number: str) -> str:
    """A telephone number as it is compared: "+49 30 123-45" and "493012345" are the same."""
    return "".join(sign for sign in number if sign.isdecimal())
