"""The question by which a small model chooses among a few tools: its prompt, the grammar of its
answer, and what the answer means.

The model only fills in a form: the grammar allows one of the tools with arguments of its schema, or
none. The instructions and examples come first and never change, so the engine keeps them read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from whisperfusion.tools import ServerTool
from whisperfusion.tools.router.heard import Arguments
from whisperfusion.tools.router.rules import SUM

NONE = "none"
INSTRUCTIONS = (
    "You choose the function that does what the user asks for, and its arguments. When no function "
    "does it, or the user only talks, choose none. Answer with JSON."
)
DOOR = "open_door(door: string): Open or close a door."
MAIL = "send_mail(to: string, text: string): Send an e-mail."
EXAMPLES: tuple[tuple[tuple[str, ...], str, str, Mapping[str, str]], ...] = (
    ((DOOR, MAIL), "Could you open the garage door?", "open_door", {"door": "garage"}),
    ((DOOR,), "My brother painted his door green last year.", NONE, {}),
    (
        (MAIL,),
        "Write to Anna that I am late.",
        "send_mail",
        {"to": "Anna", "text": "I am late."},
    ),
    ((MAIL,), "Do you think that people write too many mails?", NONE, {}),
)
LONGEST = 300  # characters of a description, and of what the user says
SIMPLE = ("type", "enum", "minimum", "maximum", "items", "properties", "required", "maxLength")


def question(text: str, tools: Sequence[ServerTool]) -> list[tuple[str, str]]:
    """A chat history that ends with the user's words."""
    lines = [("system", INSTRUCTIONS)]
    for functions, said, name, arguments in EXAMPLES:
        lines += [
            ("user", _asked(functions, said)),
            ("assistant", json.dumps(_answer(name, arguments))),
        ]
    return [*lines, ("user", _asked([described(tool) for tool in tools], text))]


def _asked(functions: Sequence[str], text: str) -> str:
    return "\n".join(("Functions:", *functions, f"User: {text[:LONGEST]}"))


def _answer(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"function": name} if name == NONE else {"function": name, "arguments": arguments}


def described(tool: ServerTool) -> str:
    """On one line, as a signature."""
    parameters = [
        f"{name}: {_kind(one)}" for name, one in (tool.parameters.get("properties") or {}).items()
    ]
    description = " ".join(tool.description.split())[:LONGEST]
    return f"{tool.name}({', '.join(parameters)}): {description}"


def _kind(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    if schema.get("enum"):
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    return str(schema.get("type", "any"))


# what a sum is made of; other tools check their own arguments
NARROWER: Mapping[str, Mapping[str, Any]] = {
    SUM: {
        "type": "object",
        "properties": {"expression": {"type": "string", "pattern": "^[-0-9+*/(). ]{1,60}$"}},
        "required": ["expression"],
        "additionalProperties": False,
    }
}


def grammar(tools: Sequence[ServerTool]) -> dict[str, Any]:
    """The JSON schema of an answer."""
    none = {
        "type": "object",
        "properties": {"function": {"const": NONE}},
        "required": ["function"],
        "additionalProperties": False,
    }
    return {"anyOf": [*(_call_of(tool) for tool in tools), none]}


def _call_of(tool: ServerTool) -> dict[str, Any]:
    arguments = NARROWER.get(tool.name) or plain(tool.parameters)
    return {
        "type": "object",
        "properties": {"function": {"const": tool.name}, "arguments": arguments},
        "required": ["function", "arguments"],
        "additionalProperties": False,
    }


def plain(schema: Any) -> dict[str, Any]:
    """`schema` with what every grammar knows; the rest is the tool's own to check."""
    if not isinstance(schema, Mapping):
        return {}
    kept = {name: schema[name] for name in SIMPLE if name in schema}
    if isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {name: plain(one) for name, one in kept["properties"].items()}
        kept["additionalProperties"] = False
    if "items" in kept:
        kept["items"] = plain(kept["items"])
    return kept


def chosen(answer: str, tools: Sequence[ServerTool]) -> tuple[str, Arguments] | None:
    """The tool that the model's answer names, and its arguments; None for none, or for half an
    answer.
    """
    try:
        given = json.loads(answer)
        name, arguments = given["function"], given.get("arguments", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    known = any(tool.name == name for tool in tools)
    return (name, arguments) if known and isinstance(arguments, dict) else None
