"""OpenAI Realtime (GA): the options of a session, and how a client is shown them.

What clients send is read by `realtime_update` (session.update) with `realtime_fields` (one field),
and becomes options of a call on 6006 in `realtime_options`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whisperfusion.errors import WhisperFusionError
from whisperfusion.tools.client_servers import ClientServer
from whisperfusion.wire.mcp_fields import approval_of, fields_of

PCM, ULAW, ALAW = "audio/pcm", "audio/pcmu", "audio/pcma"
RATES = {PCM: 24_000, ULAW: 8000, ALAW: 8000}
DEFAULT_TURNS = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}


class RealtimeError(WhisperFusionError):
    """One client event is refused; the session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


@dataclass(frozen=True)
class Session:
    id: str = field(default_factory=lambda: f"sess_{uuid.uuid4().hex[:24]}")
    kind: str = "realtime"  # or "transcription"
    model: str = "gpt-realtime"
    agent: str = ""  # the server's agent of that name, or of the client's key
    caller: str = ""  # who speaks, as the client knows it
    modality: str = "audio"  # or "text"
    instructions: str = ""
    voice: str = ""
    speed: float = 1.0
    input_format: str = PCM
    output_format: str = PCM
    transcription: Mapping[str, Any] | None = None
    noise_reduction: Mapping[str, Any] | None = None
    turns: Mapping[str, Any] | None = field(default_factory=lambda: dict(DEFAULT_TURNS))
    # ours, as in a handshake of 6006: None = the client named none
    known_speakers: tuple[Mapping[str, Any], ...] | None = None
    known_speakers_only: bool | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    mcp_servers: tuple[ClientServer, ...] | None = None  # None: none was ever named
    tool_choice: Any = "auto"
    max_output_tokens: Any = "inf"
    kept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Does the end of a turn bring an answer?"""
        return (
            self.kind == "realtime"
            and self.turns is not None
            and bool(self.turns.get("create_response", True))
        )

    @property
    def diarizes(self) -> bool:
        """Are speakers asked for, by the name of OpenAI's model for that?"""
        return str((self.transcription or {}).get("model", "")).endswith("diarize")

    @property
    def shows_speakers(self) -> bool:
        """Did the client ask for anything of speakers, so that it knows the events about them?"""
        return self.transcription is not None and (self.diarizes or bool(self.known_speakers))

    @property
    def speaks(self) -> bool:
        """Replies come with audio."""
        return self.kind == "realtime" and self.modality == "audio"

    @property
    def interruptible(self) -> bool:
        return self.turns is None or bool(self.turns.get("interrupt_response", True))


def as_dict(session: Session, expires_at: int) -> dict[str, Any]:
    """The whole effective session."""
    audio_in: dict[str, Any] = {
        "format": format_dict(session.input_format),
        "transcription": session.transcription,
        "noise_reduction": session.noise_reduction,
        "turn_detection": session.turns,
    }
    if session.known_speakers is not None:  # without their samples
        names = [{"name": one.get("name")} for one in session.known_speakers]
        audio_in["known_speakers"] = names
    if session.known_speakers_only is not None:
        audio_in["known_speakers_only"] = session.known_speakers_only
    kind = "session" if session.kind == "realtime" else "transcription_session"
    shown: dict[str, Any] = {
        "type": session.kind,
        "object": f"realtime.{kind}",
        "id": session.id,
        "expires_at": expires_at,
    }
    if session.kind == "transcription":
        return {**shown, "include": session.kept.get("include"), "audio": {"input": audio_in}}
    return {
        **shown,
        "model": session.model,
        "output_modalities": [session.modality],
        "instructions": session.instructions,
        "tools": [*map(dict, session.tools), *map(shown_server, session.mcp_servers or ())],
        "tool_choice": session.tool_choice,
        "max_output_tokens": session.max_output_tokens,
        "tracing": session.kept.get("tracing"),
        "prompt": session.kept.get("prompt"),
        "include": session.kept.get("include"),
        "truncation": session.kept.get("truncation", "auto"),
        "audio": {
            "input": audio_in,
            "output": {
                "format": format_dict(session.output_format),
                "voice": session.voice,
                "speed": session.speed,
            },
        },
    }


def shown_server(server: ClientServer) -> dict[str, Any]:
    """As a client is shown it: without its keys."""
    fields = {**fields_of(server), "require_approval": approval_of(server)}
    hidden = ("answers", "headers", "only")
    return {"type": "mcp", **{name: fields[name] for name in fields if name not in hidden}}


def format_dict(kind: str) -> dict[str, Any]:
    return {"type": kind, "rate": RATES[kind]} if kind == PCM else {"type": kind}
