"""OpenAI Realtime (GA): the items of a conversation, and the events that tell about them, in upstream's order and shapes.

Shapes are as the strictest clients want them (pipecat, the Agents SDK): what is optional and unknown is absent or
null as upstream has it, and every event has an id of its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from fusion.wire.asr_socket import INSTRUCTIONS_LENGTH, NAME_LENGTH
from fusion.wire.realtime import RealtimeError

ROLES = {"user": ("input_text", "input_audio"), "assistant": ("output_text", "output_audio", "text"), "system": ("input_text",)}
MS_PER_TOKEN_IN, MS_PER_TOKEN_OUT = 100, 50  # of sound, by upstream's price list
CHARACTERS_PER_TOKEN = 4


def new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:21]}"


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, "event_id": new_id("event"), **fields}


def error(problem: RealtimeError, event_id: Any = None) -> dict[str, Any]:
    known = event_id if isinstance(event_id, str) else None
    return event(
        "error",
        error={
            "type": "invalid_request_error",
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
            "event_id": known,
        },
    )


# --- items ------------------------------------------------------------------------------------------------


def spoken_item(id: str, transcript: str | None) -> dict[str, Any]:
    """What the user said; `transcript` None = not known yet, or not asked for."""
    return {
        "id": id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": transcript}],
    }


def answer_item(id: str, modality: str, text: str | None, status: str) -> dict[str, Any]:
    """`text` None: nothing of it is there yet."""
    return {
        "id": id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [part(modality, text)],
    }


def part(modality: str, text: str) -> dict[str, Any]:
    """As it stands in an item."""
    return {"type": "output_audio", "transcript": text} if modality == "audio" else {"type": "output_text", "text": text}


def announced(modality: str, text: str) -> dict[str, Any]:
    """As it stands in response.content_part.*: there the kinds have shorter names."""
    return {"type": "audio", "transcript": text} if modality == "audio" else {"type": "text", "text": text}


def call_item(id: str, call_id: str, name: str, arguments: str, status: str) -> dict[str, Any]:
    return {
        "id": id,
        "object": "realtime.item",
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def item_of(given: Any) -> dict[str, Any]:
    """An item that a client made, complete and checked. Raises RealtimeError."""
    if not isinstance(given, dict):
        raise RealtimeError("invalid_type", "item must be an object", "item")
    kind, id = given.get("type"), given.get("id")
    if id is not None and (not isinstance(id, str) or not 0 < len(id) <= NAME_LENGTH):
        raise RealtimeError("invalid_value", "item.id must be text", "item.id")
    shared = {"id": id or new_id("item"), "object": "realtime.item", "type": kind, "status": "completed"}
    if kind == "message":
        role = given.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise RealtimeError("invalid_value", f"item.role is {str(role)[:40]!r}; allowed: {', '.join(ROLES)}", "item.role")
        content = given.get("content")
        if not isinstance(content, list) or len(content) > 64:
            raise RealtimeError("invalid_type", "item.content must be a list of parts", "item.content")
        return {**shared, "role": role, "content": [_part(one, role) for one in content]}
    if kind == "function_call":
        return {**shared, "call_id": _text(given, "call_id"), "name": _text(given, "name"), "arguments": _text(given, "arguments", "{}")}
    if kind == "function_call_output":
        return {**shared, "call_id": _text(given, "call_id"), "output": _text(given, "output", "")}
    raise RealtimeError(
        "invalid_value", f"item.type is {str(kind)[:40]!r}; allowed: message, function_call, function_call_output", "item.type"
    )


def _part(given: Any, role: str) -> dict[str, Any]:
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in ROLES[role]:
        raise RealtimeError(
            "invalid_value", f"a part of a {role} message is {str(kind)[:40]!r}; allowed: {', '.join(ROLES[role])}", "item.content.type"
        )
    if kind in ("input_audio", "output_audio"):
        text = given.get("transcript")
        if text is None and role == "user":
            raise RealtimeError(
                "invalid_value",
                "sound in an item is not read here: append it to the input audio buffer, or send its transcript",
                "item.content",
            )
        return {"type": kind, "transcript": _text(given, "transcript", "")}
    return {"type": "output_text" if role == "assistant" else kind, "text": _text(given, "text")}


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or len(value) > INSTRUCTIONS_LENGTH:
        raise RealtimeError("invalid_type", f"{name} must be text of at most {INSTRUCTIONS_LENGTH} characters", f"item.{name}")
    return value.encode("utf-8", "replace").decode("utf-8")


def words_of(item: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (one.get("text") or one.get("transcript") or "" for one in item.get("content", ()))))


def history(items: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The lines that 6006 is to remember (docs/wire.md)."""
    lines = []
    for item in items:
        if item["type"] == "function_call":
            told = {"id": item["call_id"], "name": item["name"], "arguments": item["arguments"]}
            lines.append({"role": "call", "text": json.dumps(told)})
        elif item["type"] == "function_call_output":
            lines.append({"role": "result", "text": json.dumps({"id": item["call_id"], "output": item["output"]})})
        elif words_of(item):
            lines.append({"role": item["role"], "text": words_of(item)})
    return lines


# --- usage --------------------------------------------------------------------------------------------------


def usage(heard: Iterable[Mapping[str, Any]], text: str, sound_ms: float) -> dict[str, Any]:
    """Of a response. Nobody counts tokens here: text by its length, sound by its duration."""
    read, written, sounded = tokens(" ".join(map(words_of, heard))), tokens(text), round(sound_ms / MS_PER_TOKEN_OUT)
    return {
        "total_tokens": read + written + sounded,
        "input_tokens": read,
        "output_tokens": written + sounded,
        "input_token_details": {
            "text_tokens": read,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": written, "audio_tokens": sounded},
    }


def transcription_usage(text: str, sound_ms: float) -> dict[str, Any]:
    heard, written = round(sound_ms / MS_PER_TOKEN_IN), tokens(text)
    return {
        "type": "tokens",
        "total_tokens": heard + written,
        "input_tokens": heard,
        "output_tokens": written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
    }


def tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
