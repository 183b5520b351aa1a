"""ChatHistory of dialogue as every chat server takes them, and the functions that models use."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection
from typing import Any

from whisperfusion.engines.protocols import ChatHistory, ToolCall
from whisperfusion.errors import EngineError

MARKS = ("```json", "```", "<tool_call>")  # what may stand before a call
LONGEST_CALL = 4000  # characters
CALL, RESULT = ("id", "name", "arguments"), ("id", "output")
# How models spell the control tokens of their turns, and what older templates write as plain text
# in their place.
CONTROL = re.compile(
    r"<[|｜][^<>|｜]{1,40}[|｜]>|<(?:start|end)_of_turn>|</s>|\[/?INST\]|<</?SYS>>"
)


def messages(history: ChatHistory) -> list[dict[str, Any]]:
    """(role, text) lines in the form of chat completions, each text as `plain_text` has it."""
    made: list[dict[str, Any]] = []
    for role, text in history:
        if role == "call":
            if not (made and made[-1]["role"] == "assistant"):
                made.append({"role": "assistant", "content": ""})
            given = given_in(text)
            call = {
                "id": given["id"],
                "type": "function",
                "function": {"name": given["name"], "arguments": given["arguments"]},
            }
            made[-1].setdefault("tool_calls", []).append(call)
        elif role == "result":
            given = given_in(text)
            made.append({"role": "tool", "tool_call_id": given["id"], "content": given["output"]})
        else:
            made.append({"role": role, "content": plain_text(text)})
    return made


def plain_text(text: str) -> str:
    """`text` without what a server would read as the end of a turn and the beginning of another, or
    as no Unicode.

    Half a surrogate pair, which JSON may carry, becomes "?".
    """
    return CONTROL.sub(" ", text.encode("utf-8", "replace").decode())


def given_in(text: str) -> dict[str, str]:
    """The JSON of a call or a result: all that `messages.ChatMessage` promises, as Unicode text;
    EngineError if it is something else.
    """
    try:
        given = json.loads(text)
        found = {name: given[name] for name in (CALL if "name" in given else RESULT)}
        if "arguments" in found:
            arguments = json.loads(found["arguments"])
            if not isinstance(arguments, dict):
                raise ValueError
            # an escape could hide what `plain_text` looks for
            found["arguments"] = json.dumps(arguments, ensure_ascii=False)
        return {name: plain_text(value) for name, value in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EngineError(
            "a call or a result in the dialogue is not the JSON that its role promises; clear the "
            "history"
        ) from None


def without_tools(history: ChatHistory) -> ChatHistory:
    """The history for a model without tools: calls and results in words."""
    plain: list[tuple[str, str]] = []
    for role, text in history:
        if role == "call":
            given = given_in(text)
            role, text = "assistant", f"({given['name']} {given['arguments']})"
        elif role == "result":
            role, text = "user", f"(the result: {given_in(text)['output']})"
        if plain and plain[-1][0] == role and role != "system":
            text = f"{plain.pop()[1]} {text}"
        plain.append((role, text))
    return plain


class Calls:
    """Fragments of calls as chat completions stream them: by index, the name first, then pieces
    of the arguments. Gemini gives all of its calls one index, or none, and each an id.
    """

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def feed(self, fragments: Any) -> None:
        for at, fragment in enumerate(fragments or []):
            function = fragment.get("function") or {}
            index = fragment.get("index", at)
            begun = self._calls.get(index)
            if begun and begun["id"] and fragment.get("id") not in (None, "", begun["id"]):
                index = self._index_of(fragment["id"])
            call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            call["id"] = fragment.get("id") or call["id"]
            call["name"] = function.get("name") or call["name"]
            arguments = function.get("arguments") or ""
            call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _index_of(self, id: str) -> int:
        known = (index for index, call in self._calls.items() if call["id"] == id)
        return next(known, max(self._calls, default=-1) + 1)

    def whole(self) -> list[ToolCall]:
        """Once all has come.

        Arguments that are no JSON object are an empty one: the client is to read them.
        """
        return [
            ToolCall(call["id"] or f"call_{at}", call["name"], _object(call["arguments"]))
            for at, call in sorted(self._calls.items())
            if call["name"]
        ]


class WrittenCalls:
    """A call that a small model writes as text, {"name", "arguments"}, because it was not trained
    on the marks of one.

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
        """Text that was held back and is not a call."""
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
            self.call = ToolCall(
                f"call_{uuid.uuid4().hex[:12]}", found["name"], json.dumps(arguments)
            )


def _object(text: str) -> str:
    try:
        return text if isinstance(json.loads(text), dict) else "{}"
    except ValueError:
        return "{}"
