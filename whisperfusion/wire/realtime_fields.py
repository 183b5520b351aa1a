"""OpenAI Realtime: one field of a client's event. One that is not valid raises RealtimeError."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from whisperfusion.tools.client_servers import ClientServer
from whisperfusion.wire.dialogue_fields import MOST_TOOLS, TOOL_CHOICES, tools_field
from whisperfusion.wire.fields import FieldError, text_field
from whisperfusion.wire.languages import UnknownLanguage, asked_language
from whisperfusion.wire.limits import INSTRUCTIONS_LENGTH, NAME_LENGTH
from whisperfusion.wire.mcp_fields import check_hosts, fields_of, mcp_servers_field
from whisperfusion.wire.realtime import ALAW, PCM, RATES, ULAW, RealtimeError
from whisperfusion.wire.voices import UnknownVoice, refused, voice_named

DETECT = "auto"  # of a language
# characters from which values are counted: a million of them take a second to read
LARGE_EVENT, MOST_VALUES = 256 * 1024, 20_000
KEPT_LENGTH = 4000  # characters as JSON, of each object that is shown again
MOST_METADATA, METADATA_KEY, METADATA_VALUE = 16, 64, 512


def parsed_event(text: Any) -> dict[str, Any]:
    """A whole event: a text frame that is a JSON object."""
    if not isinstance(text, str):
        how = "sound goes into input_audio_buffer.append as base64"
        raise RealtimeError("invalid_type", f"events are text frames, one JSON object each; {how}")
    if len(text) > LARGE_EVENT and sum(map(text.count, "{[,")) > MOST_VALUES:
        raise RealtimeError(
            "invalid_value",
            f"an event of this length may have {MOST_VALUES} values at most; send several events",
        )
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise RealtimeError("invalid_json", "the event is not JSON") from None
    if not isinstance(given, dict):
        raise RealtimeError("invalid_type", "an event is a JSON object with a type")
    return given


def modality_of(value: Any) -> str:
    if value not in (["audio"], ["text"]):
        raise RealtimeError(
            "invalid_value",
            f'output_modalities is {str(value)[:80]}; allowed: ["audio"] or ["text"]',
            "session.output_modalities",
        )
    return str(value[0])


def format_of(value: Any, where: str) -> str:
    kind = value if isinstance(value, str) else object_of(value, where).get("type")
    known = {"pcm16": PCM, "g711_ulaw": ULAW, "g711_alaw": ALAW}.get(str(kind), kind)
    if known not in RATES:
        raise RealtimeError(
            "invalid_value",
            f"{where}.type is {str(kind)[:40]!r}; allowed: {', '.join(RATES)}",
            f"{where}.type",
        )
    rate = value.get("rate") if isinstance(value, dict) else None
    if known == PCM and rate not in (None, RATES[PCM]):
        raise RealtimeError(
            "invalid_value",
            f"{where}.rate is {str(rate)[:40]}; allowed: {RATES[PCM]}",
            f"{where}.rate",
        )
    return str(known)


def voice_of(value: Any, voices: Collection[str]) -> str:
    """A voice of ours; upstream's names mean the default."""
    name = value.get("id") if isinstance(value, dict) else value
    known = None
    try:
        if not isinstance(name, str) or (voices and len(name) > NAME_LENGTH):
            raise UnknownVoice
        known = voice_named(name[:NAME_LENGTH], voices)
    except UnknownVoice:
        if voices or not isinstance(name, str):
            raise RealtimeError(
                "invalid_value",
                refused(name, voices, f"voice is {str(value)[:40]!r}"),
                "session.audio.output.voice",
            ) from None
    return known or next(iter(voices), "")


def tools_of(
    value: Any, hosts: str, where: str = "session.tools"
) -> tuple[tuple[Mapping[str, Any], ...], tuple[ClientServer, ...]]:
    """Functions and MCP servers, checked as the call will check them. `hosts` is MCP_HOSTS.

    Raises RealtimeError.
    """
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise RealtimeError(
            "invalid_value", f"tools must be a list of at most {MOST_TOOLS} tools", where
        )
    for tool in value:
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "mcp"):
            raise RealtimeError(
                "invalid_value",
                'a tool must be {"type": "function", "name", "description", "parameters"} or '
                '{"type": "mcp", "server_label", "server_url"}',
                where,
            )
    functions = [tool for tool in value if tool["type"] == "function"]
    servers = [{**tool, "answers": "asked"} for tool in value if tool["type"] == "mcp"]
    try:
        tools_field(nested_tools(functions, "auto"))
        found = mcp_servers_field({"mcp_servers": servers})
        check_hosts(found, hosts)
    except FieldError as problem:
        raise RealtimeError("invalid_value", str(problem), where) from None
    return tuple(functions), found


def chosen_servers(servers: Collection[ClientServer], choice: Any) -> list[dict[str, Any]]:
    """The field `mcp_servers` of 6006 for a reply with this tool_choice. Raises RealtimeError."""
    if choice == "none" or (isinstance(choice, dict) and choice["type"] == "function"):
        return []
    if not isinstance(choice, dict):
        return [fields_of(one) for one in servers]
    label, only = choice["server_label"], choice.get("name", "")
    found = [fields_of(replace(one, only=only)) for one in servers if one.label == label]
    if not found:
        raise RealtimeError(
            "invalid_value",
            f"tool_choice names the MCP server {label[:40]!r}, which is not among the tools; "
            f"given: {', '.join(one.label for one in servers) or 'none'}",
            "tool_choice",
        )
    return found


def nested_tools(tools: Collection[Mapping[str, Any]], choice: Any) -> dict[str, Any]:
    """Flat functions as chat completions nest them, for 6006.

    A choice of one function leaves the model no other.
    """
    if isinstance(choice, dict):
        named = choice.get("name") if choice["type"] == "function" else None
        tools, choice = [tool for tool in tools if tool["name"] == named], "required"
    nested = [
        {
            "type": "function",
            "function": {
                name: tool[name] for name in ("name", "description", "parameters") if tool.get(name)
            },
        }
        for tool in tools
    ]
    return {"tools": nested, "tool_choice": choice}


def tool_choice_of(value: Any) -> Any:
    if isinstance(value, str) and value in TOOL_CHOICES:
        return value
    given = value if isinstance(value, dict) else {}
    names = {name: given[name] for name in ("name", "server_label") if given.get(name) is not None}
    texts = all(isinstance(one, str) and len(one) <= NAME_LENGTH for one in names.values())
    if texts and given.get("type") == "function" and "name" in names:
        return {"type": "function", "name": names["name"]}
    if texts and given.get("type") == "mcp" and "server_label" in names:
        return {"type": "mcp", **names}
    raise RealtimeError(
        "invalid_value",
        f"tool_choice is {str(value)[:40]!r}; allowed: auto, none, required, a function, "
        "a tool of an MCP server",
        "session.tool_choice",
    )


def most_tokens_of(value: Any) -> Any:
    if (
        value == "inf"
        or isinstance(value, int)
        and not isinstance(value, bool)
        and 1 <= value <= 4096
    ):
        return value
    raise RealtimeError(
        "invalid_value",
        f"max_output_tokens is {str(value)[:40]!r}; allowed: 1 to 4096, or inf",
        "session.max_output_tokens",
    )


def transcription_of(value: Any, languages: Collection[str] | None) -> dict[str, Any] | None:
    given = optional_object(value, "session.audio.input.transcription")
    if given is None:
        return None
    shown: dict[str, Any] = {"model": text_field(given, "model", "whisper-1", NAME_LENGTH)}
    if given.get("language") is not None:
        try:
            language = asked_language(
                text_field(given, "language", "", NAME_LENGTH), languages or None
            )
        except UnknownLanguage as problem:
            raise RealtimeError(
                "invalid_value", str(problem), "session.audio.input.transcription.language"
            ) from None
        shown["language"] = language or DETECT
    if given.get("prompt"):
        shown["prompt"] = text_field(given, "prompt", "", INSTRUCTIONS_LENGTH)
    return shown


def metadata_of(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    pairs = value.items() if isinstance(value, dict) else ()
    short = all(
        len(key) <= METADATA_KEY and isinstance(one, str) and len(one) <= METADATA_VALUE
        for key, one in pairs
    )
    if not isinstance(value, dict) or len(value) > MOST_METADATA or not short:
        allowed = (
            f"at most {MOST_METADATA} texts of {METADATA_VALUE} characters, with names of "
            f"{METADATA_KEY}"
        )
        raise RealtimeError(
            "invalid_value",
            f"response.metadata must be an object with {allowed}",
            "response.metadata",
        )
    return value


def object_of(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RealtimeError(
            "invalid_type", f"{where} must be an object, not {type(value).__name__}", where
        )
    return value


def optional_object(value: Any, where: str) -> dict[str, Any] | None:
    return None if value is None else object_of(value, where)


def short_value(value: Any, where: str) -> Any:
    """A value that is only shown again; it may not be long."""
    if len(json.dumps(value)) > KEPT_LENGTH:
        raise RealtimeError(
            "string_above_max_length",
            f"{where} has more than {KEPT_LENGTH} characters as JSON",
            where,
        )
    return value
