"""Lines of dialogue as every chat server takes them, and the functions that models use."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from typing import Any

from fusion.engines import ToolCall

MARKS = ("```json", "```", "<tool_call>")  # what may stand before a call
LONGEST_CALL = 4000  # characters
Lines = Sequence[tuple[str, str]]


def messages(lines: Lines) -> list[dict[str, Any]]:
    """(role, text) lines in the form of chat completions. Half a surrogate pair, which JSON may carry, becomes "?"."""
    made: list[dict[str, Any]] = []
    for role, text in lines:
        text = text.encode("utf-8", "replace").decode()
        if role == "call":
            if not (made and made[-1]["role"] == "assistant"):
                made.append({"role": "assistant", "content": ""})
            given = json.loads(text)
            call = {"id": given["id"], "type": "function", "function": {"name": given["name"], "arguments": given["arguments"]}}
            made[-1].setdefault("tool_calls", []).append(call)
        elif role == "result":
            given = json.loads(text)
            made.append({"role": "tool", "tool_call_id": given["id"], "content": given["output"]})
        else:
            made.append({"role": role, "content": text})
    return made


def spoken(lines: Lines) -> Lines:
    """For a model that knows no functions: what it was told of them, in words."""
    told: list[tuple[str, str]] = []
    for role, text in lines:
        if role == "call":
            given = json.loads(text)
            role, text = "assistant", f"({given['name']} {given['arguments']})"
        elif role == "result":
            role, text = "user", f"(the result: {json.loads(text)['output']})"
        if told and told[-1][0] == role and role != "system":
            text = f"{told.pop()[1]} {text}"
        told.append((role, text))
    return told


class Calls:
    """Fragments of calls as chat completions stream them: by index, the name first, then pieces of the arguments."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def feed(self, fragments: Any) -> None:
        for at, fragment in enumerate(fragments or []):
            function = fragment.get("function") or {}
            call = self._calls.setdefault(fragment.get("index", at), {"id": "", "name": "", "arguments": ""})
            call["id"] = fragment.get("id") or call["id"]
            call["name"] = function.get("name") or call["name"]
            arguments = function.get("arguments") or ""
            call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def whole(self) -> list[ToolCall]:
        """Once all has come. Arguments that are no JSON object are an empty one: the client is to read them."""
        return [ToolCall(call["id"] or f"call_{at}", call["name"], _object(call["arguments"]))
                for at, call in sorted(self._calls.items()) if call["name"]]


class WrittenCalls:
    """A call that a small model writes as text, {"name", "arguments"}, because nobody taught it the marks of one.

    `names` are the functions that there are. Text is held back as long as it may be a call.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names, self._held, self._over = names, "", False
        self.call: ToolCall | None = None

    def feed(self, piece: str) -> str:
        """More text; what of it may be spoken."""
        if self._over:
            return "" if self.call else piece
        self._held += piece
        text = self._held.lstrip()
        if any(mark.startswith(text) for mark in MARKS):
            return ""
        for mark in MARKS:
            text = text.removeprefix(mark).lstrip()
        if text.startswith("{") and len(text) <= LONGEST_CALL:
            self._read(text)
            return "" if not self._over or self.call else self.rest()
        return "" if not text else self.rest()

    def rest(self) -> str:
        """What was held back and is no call."""
        self._over, held, self._held = True, self._held, ""
        return "" if self.call else held

    def _read(self, text: str) -> None:
        try:
            found, _ = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return
        self._over = True
        arguments = found.get("arguments", found.get("parameters"))
        if found.get("name") in self._names and isinstance(arguments, dict):
            self.call = ToolCall(f"call_{uuid.uuid4().hex[:12]}", found["name"], json.dumps(arguments))


def _object(text: str) -> str:
    try:
        return text if isinstance(json.loads(text), dict) else "{}"
    except ValueError:
        return "{}"
