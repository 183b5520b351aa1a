"""What a client may send about the dialogue: its chat history, and the functions that the model may
call.

A message of the roles `call` and `result` holds JSON, because engines read it as such later: other
text is refused here, with the number of its message.
"""

from __future__ import annotations

import json
from typing import Any

from whisperfusion.messages import ChatMessage
from whisperfusion.tools import Tools, from_chat_completions
from whisperfusion.wire.fields import FieldError, choice_field, json_object, refuse, text_field
from whisperfusion.wire.tool_schema import check_tool

ROLES = ("system", "user", "assistant", "call", "result")
HISTORY_LINES, LINE_LENGTH = 200, 8000
MOST_TOOLS, TOOLS_LENGTH, TOOL_CHOICES = 64, 32_000, ("auto", "none", "required")
PROMISED = {"call": ("id", "name", "arguments"), "result": ("id", "output")}
PROMISED_FORM = {
    "call": '{"id", "name", "arguments": a JSON object as text}',
    "result": '{"id", "output": text}',
}


def tools_field(values: dict[str, Any]) -> Tools:
    """The fields "tools" and "tool_choice", in the form of chat completions."""
    tools = values.get("tools") or []
    if (
        not isinstance(tools, list)
        or len(tools) > MOST_TOOLS
        or not all(_is_function(tool) for tool in tools)
    ):
        one = '{"type": "function", "function": {"name", "description", "parameters"}}'
        raise refuse("tools", tools, f"a list of at most {MOST_TOOLS} {one}")
    choice = values.get("tool_choice") or "auto"
    if not isinstance(choice, str) or choice not in TOOL_CHOICES:
        raise refuse("tool_choice", choice, ", ".join(TOOL_CHOICES))
    for tool in tools:
        try:
            check_tool(tool["function"])
        except FieldError as problem:
            raise FieldError(f'field "tools": {problem}') from None
    given = {"tools": tools, "tool_choice": choice}
    offered = from_chat_completions(given)
    if not offered and choice == "required" and values.get("mcp_servers"):
        return Tools(choice=choice)  # of the tools of those servers
    if offered and len(json.dumps(given)) > TOOLS_LENGTH:
        raise refuse("tools", tools, f"at most {TOOLS_LENGTH} characters in all")
    return offered


def _is_function(tool: Any) -> bool:
    return (
        isinstance(tool, dict)
        and tool.get("type") == "function"
        and isinstance(tool.get("function"), dict)
    )


def history_field(values: dict[str, Any], name: str) -> tuple[ChatMessage, ...]:
    history = values.get(name)
    if history is None:
        return ()
    if (
        not isinstance(history, list)
        or len(history) > HISTORY_LINES
        or not all(isinstance(line, dict) for line in history)
    ):
        raise refuse(name, history, f'a list of at most {HISTORY_LINES} objects {{"role", "text"}}')
    lines: list[ChatMessage] = []
    for number, line in enumerate(history, 1):
        try:
            lines.append(_line(line))
        except FieldError as problem:
            raise FieldError(f'field "{name}", line {number}: {problem}') from None
    return tuple(lines)


def _line(values: dict[str, Any]) -> ChatMessage:
    line = ChatMessage(
        choice_field(values, "role", "user", ROLES), text_field(values, "text", "", LINE_LENGTH)
    )
    promised = PROMISED.get(line.role, ())
    if not promised:
        return line
    try:
        given = json_object(line.text)
        wrong = next((name for name in promised if not isinstance(given.get(name), str)), None)
        if wrong is not None:
            raise refuse(wrong, given.get(wrong), "text")
        if "arguments" in promised:
            json_object(given["arguments"])
    except FieldError as problem:
        raise FieldError(
            f'the text of a "{line.role}" is JSON, {PROMISED_FORM[line.role]}: {problem}'
        ) from None
    return line
