"""What a client may say of a dialogue, its functions and its history: field case A5 with its
right values.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whisperfusion.wire import FrameError, WireError
from whisperfusion.wire import asr_socket as asr
from whisperfusion.wire.fields import FieldError
from whisperfusion.wire.tool_schema import MOST_PROPERTIES, check_tool

ROOT = Path(__file__).parent.parent
CALL = {"id": "c1", "name": "look_up", "arguments": '{"text": "owls"}'}
HONEST = {  # as pydantic, zod and hands write them
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Order",
    "additionalProperties": False,
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
        }
    },
    "required": ["size", "tree"],
    "properties": {
        "size": {
            "type": "integer",
            "minimum": 1,
            "maximum": 9,
            "description": "how many",
            "default": 1,
        },
        "kind": {"enum": ["a", "b", None, 3]},
        "when": {"type": ["string", "null"], "format": "date-time"},
        "code": {
            "type": "string",
            "pattern": r"^(?<head>[A-Z]{2})\p{L}+-\d{1,4}$",
            "maxLength": 12,
        },
        "any": {},
        "price": {"anyOf": [{"type": "number", "exclusiveMinimum": True}, {"type": "null"}]},
        "tree": {"$ref": "#/$defs/Node"},
        "twice": {"$ref": "#/properties/size"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def tool(parameters: Any, **other: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "look_up", "parameters": parameters, **other}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def properties(one: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": one}}


WRONG = {
    "a missing $ref": properties({"$ref": "#/$defs/none"}),
    "a remote $ref": properties({"$ref": "https://example.com/schema.json"}),
    "a $ref that is not text": properties({"$ref": 5}),
    "a property named $ref": {"type": "object", "properties": {"$ref": {"type": "string"}}},
    "a $ref to what is not a schema": {
        "type": "object",
        "default": {"type": 5},
        "properties": {"a": {"$ref": "#/default"}},
    },
    "a $ref to itself": {
        "type": "object",
        "$defs": {"a": {"$ref": "#/$defs/a"}},
        "properties": {"a": {"$ref": "#/$defs/a"}},
    },
    "a $ref to itself by allOf": properties({"allOf": [{"$ref": "#/properties/a"}]}),
    "a $ref to itself, far around": {
        "type": "object",
        "properties": {"a": {"$ref": "#/x/b"}},
        "x": {"b": {"anyOf": [{"$ref": "#/x/b"}]}},
    },
    "a type that is a number": properties({"type": 5}),
    "a type that is unknown": properties({"type": "text"}),
    "no type": properties({"type": []}),
    "an empty enum": properties({"enum": []}),
    "an enum that is not a list": properties({"enum": "a"}),
    "an empty anyOf": properties({"anyOf": []}),
    "an open group": properties({"type": "string", "pattern": "^(a$"}),
    "an open class": properties({"type": "string", "pattern": "^[a$"}),
    "nothing to repeat": properties({"type": "string", "pattern": "*a"}),
    "a repetition without end": properties({"type": "string", "pattern": "^a{99999999999}$"}),
    "a pattern that is not text": properties({"type": "string", "pattern": {}}),
    "a schema that is a flag": properties(True),
    "properties that are a list": {"type": "object", "properties": []},
    "required that is not a list": {"type": "object", "required": {"a": 1}},
    "a format that is not text": properties({"type": "string", "format": 5}),
    "a length below 0": properties({"type": "string", "minLength": -1}),
    "a length that is a float": properties({"type": "string", "maxLength": 1.5}),
    "a bound beyond all numbers": properties({"type": "integer", "minimum": 1e300}),
    "bounds the wrong way round": properties({"type": "integer", "minimum": 5, "maximum": 1}),
    "too deep": nested(40),
    "too many properties": {
        "type": "object",
        "properties": {f"a{i}": {} for i in range(MOST_PROPERTIES + 1)},
    },
    "a name of 300 characters": {"type": "object", "properties": {"a" * 300: {}}},
    "half a surrogate pair": properties({"enum": ["\ud800"]}),
    "parameters that are an array": {"type": "array", "items": {}},
    "parameters that are a list": [],
    "a number that JSON has not": properties({"default": float("inf")}),
}


def test_a5_an_honest_schema_is_taken():
    check_tool(tool(HONEST)["function"])
    for parameters in (
        None,
        {},
        {"type": "object", "properties": {}},
        nested(12),
        properties({"type": "integer", "maximum": -1}),
    ):
        check_tool(tool(parameters)["function"])


@pytest.mark.parametrize("parameters", WRONG.values(), ids=WRONG.keys())
def test_a5_a_schema_that_compilers_stumble_over_is_refused(parameters):
    with pytest.raises(FieldError, match="function look_up"):
        check_tool(tool(parameters)["function"])


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "x\n", "naïve", "<|im_end|>", 5, None])
def test_a5_relative_a_function_with_another_name_is_refused(name):
    with pytest.raises(FieldError, match="name"):
        check_tool({"name": name})


def test_a5_relative_no_schema_that_the_door_lets_in_ends_the_process_that_compiles_it():
    count = os.environ.get("RANDOM_SCHEMAS", "400")
    done = subprocess.run(
        [sys.executable, "tests/random_schemas.py", count, "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    passed, converted = map(int, done.stdout.split())
    assert passed > 20 and converted > 10


def test_a5_relative_6006_refuses_tools_at_its_three_doors():
    wrong = tool(WRONG["a missing $ref"])
    for frame in (
        {"type": "update", "tools": [tool({}), wrong]},
        {"type": "respond", "id": "r1", "tools": [wrong]},
    ):
        with pytest.raises(FrameError, match="look_up.*none") as refused:
            asr.parse_control(json.dumps(frame))
        assert refused.value.id == frame.get("id")
    with pytest.raises(WireError, match="look_up"):
        asr.parse_handshake(json.dumps({"uid": "u", "events": True, "tools": [wrong]}))


# --- history ------------------------------------------------------------------------------------


def test_a5_history_with_the_json_promised_is_taken():
    lines = [
        {"text": "hello"},
        {"role": "call", "text": json.dumps(CALL)},
        {"role": "result", "text": '{"id": "c1", "output": "none"}'},
    ]
    found = asr.parse_control(json.dumps({"type": "history", "lines": lines}))
    assert [line.role for line in found.lines] == ["user", "call", "result"]


@pytest.mark.parametrize(
    ("role", "text"),
    [
        ("call", "not json"),
        ("call", "[]"),
        ("call", "5"),
        ("call", "{}"),
        ("call", json.dumps({**CALL, "id": 5})),
        ("call", json.dumps({**CALL, "name": None})),
        ("call", json.dumps({**CALL, "arguments": {}})),
        ("call", json.dumps({**CALL, "arguments": "not json"})),
        ("call", json.dumps({**CALL, "arguments": "[1]"})),
        ("result", "not json"),
        ("result", '{"id": "c1"}'),
        ("result", '{"output": "x"}'),
        ("result", '{"id": "c1", "output": 5}'),
        ("call", "[" * 5000),
        ("result", '{"id": "c1", "output": ' + "[" * 5000),
    ],
)
def test_a5_history_that_is_not_the_json_promised_names_the_line(role, text):
    lines = [{"text": "hello"}, {"role": role, "text": text}]
    with pytest.raises(FrameError, match=f'field "lines", line 2: the text of a "{role}"'):
        asr.parse_control(json.dumps({"type": "history", "lines": lines}))
    with pytest.raises(WireError, match='field "history", line 2'):
        asr.parse_handshake(json.dumps({"uid": "u", "events": True, "history": lines}))
