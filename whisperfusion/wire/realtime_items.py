"""OpenAI Realtime (GA): the items of a conversation, and the events that tell about them, in
upstream's order and shapes.

Shapes are as the strictest clients want them (pipecat, the Agents SDK): what is optional and
unknown is absent or null as upstream has it, and every event has an id of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from whisperfusion.wire.dialogue_fields import LINE_LENGTH
from whisperfusion.wire.limits import NAME_LENGTH
from whisperfusion.wire.realtime import RealtimeError
from whisperfusion.wire.realtime_history import tool_message, words_of
from whisperfusion.wire.realtime_mcp import APPROVAL_RESPONSE

LARGEST_SOUND = 15 * 2**20  # bytes of base64 in one event
BASE64_PIECE = 2**18  # characters, a multiple of four
MOST_PARTS = 64
SAME_ROLE = {"developer": "system"}  # newer name, older name
ROLES = {
    "user": ("input_text", "input_audio"),
    "assistant": ("output_text", "output_audio", "text"),
    "system": ("input_text",),
}


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


# --- items --------------------------------------------------------------------------------------


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
    return (
        {"type": "output_audio", "transcript": text}
        if modality == "audio"
        else {"type": "output_text", "text": text}
    )


def announced(modality: str, text: str) -> dict[str, Any]:
    """As it stands in response.content_part.*: there the kinds have shorter names."""
    return (
        {"type": "audio", "transcript": text}
        if modality == "audio"
        else {"type": "text", "text": text}
    )


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


def remembered_item(role: str, text: str) -> dict[str, Any]:
    """A message of a call's chat history, whatever its length."""
    shared = {"id": new_id("item"), "object": "realtime.item", "status": "completed"}
    if role in ROLES:
        content = [{"type": ROLES[role][0], "text": text}]
        return {**shared, "type": "message", "role": role, "content": content}
    given = json.loads(text)
    if role == "call":
        called = {"call_id": given["id"], "name": given["name"], "arguments": given["arguments"]}
        return {**shared, "type": "function_call", **called}
    returned = {"call_id": given["id"], "output": given["output"]}
    return {**shared, "type": "function_call_output", **returned}


def item_of(given: Any) -> dict[str, Any]:
    """An item that a client made, complete and checked: what a call would refuse is refused here.

    Raises RealtimeError.
    """
    if not isinstance(given, dict):
        raise RealtimeError("invalid_type", "item must be an object", "item")
    kind, id = given.get("type"), given.get("id")
    if id is not None and (not isinstance(id, str) or not 0 < len(id) <= NAME_LENGTH):
        raise RealtimeError(
            "invalid_value", f"item.id must be text of 1 to {NAME_LENGTH} characters", "item.id"
        )
    shared = {
        "id": id or new_id("item"),
        "object": "realtime.item",
        "type": kind,
        "status": "completed",
    }
    if kind == "message":
        return _message(shared, given)
    if kind == "function_call":
        item = {
            **shared,
            "call_id": _name(given, "call_id"),
            "name": _name(given, "name"),
            "arguments": _arguments(given),
        }
    elif kind == "function_call_output":
        item = {**shared, "call_id": _name(given, "call_id"), "output": _text(given, "output", "")}
    elif kind == APPROVAL_RESPONSE:
        return _decision(shared, given)
    else:
        allowed = f"message, function_call, function_call_output, {APPROVAL_RESPONSE}"
        raise RealtimeError(
            "invalid_value", f"item.type is {str(kind)[:40]!r}; allowed: {allowed}", "item.type"
        )
    if len(tool_message(item)["text"]) > LINE_LENGTH:
        field = "arguments" if kind == "function_call" else "output"
        raise RealtimeError(
            "string_above_max_length",
            f"item.{field} has more than {LINE_LENGTH} characters as JSON",
            f"item.{field}",
        )
    return item


def _decision(shared: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """About a request for approval."""
    if not isinstance(given.get("approve"), bool):
        raise RealtimeError("invalid_value", "item.approve must be true or false", "item.approve")
    reason = given.get("reason")
    return {
        **{name: value for name, value in shared.items() if name != "status"},
        "approval_request_id": _name(given, "approval_request_id"),
        "approve": given["approve"],
        "reason": None if reason is None else _text(given, "reason"),
    }


def _message(shared: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    role = SAME_ROLE.get(str(given.get("role")), given.get("role"))
    if not isinstance(role, str) or role not in ROLES:
        allowed = ", ".join((*ROLES, *SAME_ROLE))
        raise RealtimeError(
            "invalid_value", f"item.role is {str(role)[:40]!r}; allowed: {allowed}", "item.role"
        )
    content = given.get("content")
    if isinstance(content, str):
        content = [{"type": ROLES[role][0], "text": content}]
    if not isinstance(content, list) or len(content) > MOST_PARTS:
        raise RealtimeError(
            "invalid_type",
            f"item.content must be text, or a list of at most {MOST_PARTS} parts",
            "item.content",
        )
    item = {**shared, "role": role, "content": [_part(one, role) for one in content]}
    if len(words_of(item)) > LINE_LENGTH:
        problem = f"item.content has more than {LINE_LENGTH} characters; send several items"
        raise RealtimeError("string_above_max_length", problem, "item.content")
    return item


def sounds_of(given: Mapping[str, Any]) -> dict[int, Iterator[bytes]]:
    """Of an item that `item_of` took: the sound that came without its words, by content index.

    Raises RealtimeError.
    """
    content = given.get("content")
    if given.get("role") != "user" or not isinstance(content, list):
        return {}
    untold = {
        at: part
        for at, part in enumerate(content)
        if part["type"] == "input_audio" and part.get("transcript") is None
    }
    return {
        at: decoded(part.get("audio"), f"item.content[{at}].audio") for at, part in untold.items()
    }


def decoded(audio: Any, where: str = "audio") -> Iterator[bytes]:
    """base64 to bytes, in pieces, so that others get the processor in between.

    Raises RealtimeError.
    """
    if not isinstance(audio, str) or len(audio) > LARGEST_SOUND:
        raise RealtimeError(
            "invalid_value",
            f"{where} must be base64 text of at most {LARGEST_SOUND // 2**20} MiB",
            where,
        )
    try:
        for start in range(0, len(audio), BASE64_PIECE):
            yield base64.b64decode(audio[start : start + BASE64_PIECE], validate=True)
    except (binascii.Error, ValueError):
        raise RealtimeError(
            "invalid_value",
            f"{where} is not base64; send the samples encoded as base64 text",
            where,
        ) from None


def with_words(item: Mapping[str, Any], transcripts: Mapping[int, str]) -> dict[str, Any]:
    """The item with what its sound says, by content index."""
    content = [
        {**part, "transcript": transcripts[at]} if at in transcripts else part
        for at, part in enumerate(item["content"])
    ]
    return {**item, "content": content}


def _part(given: Any, role: str) -> dict[str, Any]:
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in ROLES[role]:
        raise RealtimeError(
            "invalid_value",
            f"a part of a {role} message is {str(kind)[:40]!r}; allowed: {', '.join(ROLES[role])}",
            "item.content.type",
        )
    if kind == "input_audio" and given.get("transcript") is None:
        if not given.get("audio"):
            raise RealtimeError(
                "missing_required_parameter",
                "a part with sound needs audio (base64) or its transcript",
                "item.content",
            )
        return {"type": kind, "transcript": None}
    if kind in ("input_audio", "output_audio"):
        return {"type": kind, "transcript": _text(given, "transcript", "")}
    return {"type": "output_text" if role == "assistant" else kind, "text": _text(given, "text")}


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or len(value) > LINE_LENGTH:
        length = f", this one has {len(value)}" if isinstance(value, str) else ""
        code = "string_above_max_length" if length else "invalid_type"
        raise RealtimeError(
            code, f"{name} must be text of at most {LINE_LENGTH} characters{length}", f"item.{name}"
        )
    return value.encode("utf-8", "replace").decode("utf-8")


def _name(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH:
        allowed = f"text of 1 to {NAME_LENGTH} characters"
        raise RealtimeError(
            "invalid_value",
            f"item.{name} is {str(value)[:40]!r}; allowed: {allowed}",
            f"item.{name}",
        )
    return value.encode("utf-8", "replace").decode("utf-8")


def _arguments(given: Mapping[str, Any]) -> str:
    """Of a function: JSON, an object, as text."""
    text = _text(given, "arguments", "{}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        problem = (
            f"item.arguments is {text[:40]!r}; it must be a JSON object as text, such as '{{}}'"
        )
        raise RealtimeError("invalid_value", problem, "item.arguments")
    return text
