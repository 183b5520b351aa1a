"""OpenAI Realtime: session.update and the options of response.create.

Unknown fields are ignored and every model name is accepted, because the SDKs send them. One value
that is not valid refuses the whole event.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from whisperfusion.tools.client_servers import ClientServer
from whisperfusion.wire.fields import FieldError, choice_field, flag_field, number_field, text_field
from whisperfusion.wire.limits import INSTRUCTIONS_LENGTH, NAME_LENGTH
from whisperfusion.wire.realtime import RealtimeError, Session
from whisperfusion.wire.realtime_fields import (
    chosen_servers,
    format_of,
    modality_of,
    most_tokens_of,
    nested_tools,
    object_of,
    optional_object,
    short_value,
    tool_choice_of,
    tools_of,
    transcription_of,
    voice_of,
)
from whisperfusion.wire.realtime_options import max_tokens, named_servers, turns_of
from whisperfusion.wire.speakers import known_speakers_field

SLOWEST, FASTEST = 0.25, 1.5
LONGEST_FIELD = 64_000  # characters of what the call itself refuses, where that ends the response
KEPT = ("tracing", "prompt", "include", "truncation")  # shown again, and of no effect here


def updated(
    session: Session,
    given: Any,
    voices: Collection[str],
    languages: Collection[str] | None = None,
    *,
    spoke: bool = False,
    hosts: str = "",
) -> Session:
    """`session` with what a session.update says.

    Raises RealtimeError. `spoke`: the voice was played to the user, so it cannot change. `hosts` is
    MCP_HOSTS.
    """
    given = object_of(given, "session")
    if "type" not in given:
        raise RealtimeError(
            "missing_required_parameter",
            "session.type is missing; allowed: realtime, transcription",
            "session.type",
        )
    try:
        changed = _updated(session, given, voices, languages, spoke)
        if given.get("tools") is not None:
            functions, servers = tools_of(given["tools"], hosts)
            named = None if session.mcp_servers is None and not servers else servers
            changed = replace(changed, tools=functions, mcp_servers=named)
        named_servers(changed)  # whether tool_choice is one of them
        return changed
    except FieldError as problem:
        raise RealtimeError("invalid_value", f"session: {problem}", "session") from None


def _updated(
    session: Session,
    given: dict[str, Any],
    voices: Collection[str],
    languages: Collection[str] | None,
    spoke: bool,
) -> Session:
    audio = object_of(given.get("audio"), "session.audio")
    audio_in = object_of(audio.get("input"), "session.audio.input")
    audio_out = object_of(audio.get("output"), "session.audio.output")
    changes = {
        **_reply_changes(given),
        **_input_changes(audio_in, languages),
        **_output_changes(audio_out, session, voices, spoke),
    }
    kept = {name: short_value(given[name], f"session.{name}") for name in KEPT if name in given}
    return replace(session, **changes, kept={**session.kept, **kept})


def _reply_changes(given: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "kind": choice_field(given, "type", "realtime", ("realtime", "transcription"))
    }
    if given.get("model"):
        changes["model"] = text_field(given, "model", "", NAME_LENGTH)
    if given.get("output_modalities") is not None:
        changes["modality"] = modality_of(given["output_modalities"])
    if "instructions" in given:
        changes["instructions"] = text_field(given, "instructions", "", INSTRUCTIONS_LENGTH)
    if given.get("tool_choice") is not None:
        changes["tool_choice"] = tool_choice_of(given["tool_choice"])
    if given.get("max_output_tokens") is not None:
        changes["max_output_tokens"] = most_tokens_of(given["max_output_tokens"])
    return changes


def _input_changes(audio_in: dict[str, Any], languages: Collection[str] | None) -> dict[str, Any]:
    where = "session.audio.input"
    changes: dict[str, Any] = {}
    if audio_in.get("format") is not None:
        changes["input_format"] = format_of(audio_in["format"], f"{where}.format")
    if "transcription" in audio_in:
        changes["transcription"] = transcription_of(audio_in["transcription"], languages)
    if "noise_reduction" in audio_in:
        name = f"{where}.noise_reduction"
        given = optional_object(audio_in["noise_reduction"], name)
        changes["noise_reduction"] = short_value(given, name)
    if "turn_detection" in audio_in:
        changes["turns"] = turns_of(audio_in["turn_detection"])
    if "known_speakers" in audio_in:
        known_speakers_field(audio_in, "known_speakers")  # whether they are
        changes["known_speakers"] = tuple(audio_in["known_speakers"] or ())
    if "known_speakers_only" in audio_in:
        changes["known_speakers_only"] = flag_field(audio_in, "known_speakers_only", False)
    return changes


def _output_changes(
    audio_out: dict[str, Any], session: Session, voices: Collection[str], spoke: bool
) -> dict[str, Any]:
    where = "session.audio.output"
    changes: dict[str, Any] = {}
    if audio_out.get("format") is not None:
        changes["output_format"] = format_of(audio_out["format"], f"{where}.format")
    if audio_out.get("voice") is not None:
        changes["voice"] = voice_of(audio_out["voice"], voices)
        if spoke and changes["voice"] != session.voice:
            raise RealtimeError(
                "cannot_update_voice", "the voice cannot change once it was heard", f"{where}.voice"
            )
    changes["speed"] = number_field(audio_out, "speed", session.speed, SLOWEST, FASTEST)
    return changes


def response_changes(
    asked: dict[str, Any], session: Session, hosts: str = ""
) -> tuple[dict[str, Any], str, tuple[ClientServer, ...]]:
    """What is different in this response: fields of the control `respond`, and its modality; and
    the MCP servers that it names. Raises RealtimeError.
    """
    changes: dict[str, Any] = {}
    servers: tuple[ClientServer, ...] = ()
    if asked.get("instructions") is not None:
        if not isinstance(asked["instructions"], str) or len(asked["instructions"]) > LONGEST_FIELD:
            problem = f"instructions must be text of at most {INSTRUCTIONS_LENGTH} characters"
            raise RealtimeError("invalid_type", problem, "response.instructions")
        changes["instructions"] = asked["instructions"]
    if asked.get("tools") is not None or asked.get("tool_choice") is not None:
        tools, servers = session.tools, session.mcp_servers or ()
        if asked.get("tools") is not None:
            tools, named = tools_of(asked["tools"], hosts, "response.tools")
            servers = tuple(_as_known(one, servers) for one in named)
        choice = tool_choice_of(asked.get("tool_choice") or session.tool_choice)
        changes |= nested_tools(tools, choice)
        if servers or session.mcp_servers is not None:
            changes["mcp_servers"] = chosen_servers(servers, choice)
    if asked.get("max_output_tokens") is not None:
        changes["max_tokens"] = max_tokens(most_tokens_of(asked["max_output_tokens"]))
    modality = (
        modality_of(asked["output_modalities"])
        if asked.get("output_modalities") is not None
        else session.modality
    )
    return changes, modality, servers


def _as_known(server: ClientServer, known: Collection[ClientServer]) -> ClientServer:
    """A label alone may be that of a server of the session."""
    if server.url:
        return server
    return next((one for one in known if one.label == server.label), server)
