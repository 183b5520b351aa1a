"""OpenAI Realtime: the items of a conversation as the chat history of a call, and their length in
tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from whisperfusion.wire.dialogue_fields import HISTORY_LINES, LINE_LENGTH
from whisperfusion.wire.realtime_mcp import TYPES, decisions, mcp_lines

CHARACTERS = 100_000  # of a chat history: more does not fit the context of any model
MS_PER_TOKEN_IN, MS_PER_TOKEN_OUT = 100, 50  # of audio, by upstream's price list
CHARACTERS_PER_TOKEN = 4


def words_of(item: Mapping[str, Any]) -> str:
    """All text of an item, written and spoken."""
    return " ".join(
        filter(
            None,
            (one.get("text") or one.get("transcript") or "" for one in item.get("content", ())),
        )
    )


def history(items: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The newest messages, each within the limits of `history` on 6006 (docs/wire.md)."""
    lines: list[dict[str, str]] = []
    left, known = CHARACTERS, list(items)
    decided = decisions(known)
    for item in reversed(known):
        for line in reversed(_lines(item, decided)):
            left -= len(line["text"])
            if left < 0 or len(lines) == HISTORY_LINES:
                return lines[::-1]
            lines.append(line)
    return lines[::-1]


def _lines(item: Mapping[str, Any], decided: Mapping[str, bool]) -> list[dict[str, str]]:
    """A long reply is several messages; arguments of a tool that are too long for one are left
    out. `decided`: which calls of MCP servers were approved.
    """
    if item["type"] in TYPES:
        return [one for one in mcp_lines(item, decided) if len(one["text"]) <= LINE_LENGTH]
    if item["type"] == "message":
        return [{"role": item["role"], "text": piece} for piece in _pieces(words_of(item))]
    line = tool_message(item)
    if len(line["text"]) > LINE_LENGTH:
        line = tool_message({**item, "arguments": "{}"})
    return [line]


def tool_message(item: Mapping[str, Any]) -> dict[str, str]:
    """The message of a tool call, or of its result."""
    if item["type"] == "function_call":
        call = {"id": item["call_id"], "name": item["name"], "arguments": item["arguments"]}
        return {"role": "call", "text": json.dumps(call, ensure_ascii=False)}
    result = {"id": item["call_id"], "output": item["output"]}
    return {"role": "result", "text": json.dumps(result, ensure_ascii=False)}


def _pieces(text: str) -> list[str]:
    """`text` in pieces of at most `LINE_LENGTH` characters, cut between words where that can be."""
    pieces = []
    while len(text) > LINE_LENGTH:
        cut = text.rfind(" ", 1, LINE_LENGTH)
        cut = LINE_LENGTH if cut < 0 else cut
        pieces.append(text[:cut])
        text = text[cut:].lstrip(" ")
    return [*pieces, text] if text else pieces


# --- usage --------------------------------------------------------------------------------------


def usage(history: Iterable[Mapping[str, Any]], text: str, sound_ms: float) -> dict[str, Any]:
    """Of a response. An estimate: text counts by its length, audio by its duration."""
    read, written, sounded = (
        tokens(" ".join(map(words_of, history))),
        tokens(text),
        round(sound_ms / MS_PER_TOKEN_OUT),
    )
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
    spoken, written = round(sound_ms / MS_PER_TOKEN_IN), tokens(text)
    return {
        "type": "tokens",
        "total_tokens": spoken + written,
        "input_tokens": spoken,
        "output_tokens": written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": spoken},
    }


def tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
