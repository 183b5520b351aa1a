"""Functions that a client offers to the language model, checked before any engine sees them.

What a client sends as `parameters` is a JSON schema, and engines compile it: llama.cpp turns it
into a grammar by recursive code, an HTTP server refuses it a whole turn later. So everything that
such a compiler may stumble over is checked here: sizes, types, references (only local ones, which
resolve, and whose cycles pass through a value), patterns. Keywords that are not known here are left
alone within the limits for every JSON value.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from whisperfusion.wire.fields import FieldError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
MAPS, LISTS = (
    ("properties", "patternProperties", "$defs", "definitions"),
    ("anyOf", "oneOf", "allOf"),
)
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
DEPTH = 32  # of objects and lists within each other
MOST_VALUES = 4000  # objects, lists, texts and numbers in the parameters of one function
MOST_PROPERTIES = 100  # of one object: compilers take the cube of it
MOST_CHOICES = 500  # of an enum, or of anyOf and its like
KEY_LENGTH, PATTERN_LENGTH, DESCRIPTION_LENGTH, PATH_SHOWN = 200, 300, 8000, 100
MOST_COUNT, MOST_BOUND = 2**31 - 1, 2.0**53
_NAMED_GROUP = re.compile(r"\(\?<(?=\w)")
_ECMA = re.compile(
    r"\\[pP]\{\w{1,40}(?:=\w{1,40})?\}|\\u\{[0-9A-Fa-f]{1,6}\}|\\u[0-9A-Fa-f]{4}|\\c[A-Za-z]|\\k<\w{1,40}>"
)


def check_tool(function: Mapping[str, Any]) -> None:
    """`function` is {"name", "description", "parameters"}, as chat completions nest it and Realtime
    has it flat.

    Raises `FieldError` that names the function and the place in its parameters.
    """
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise FieldError(
            f"a function's name is {reprlib.repr(name)}; allowed: 1 to 64 letters, digits, _ and -"
        )
    description = function.get("description") or ""
    if not isinstance(description, str) or len(description) > DESCRIPTION_LENGTH:
        raise FieldError(
            f"the description of function {name} is not text of at most {DESCRIPTION_LENGTH} "
            "characters"
        )
    if not _is_unicode(description):
        raise FieldError(
            f"the description of function {name} contains half a surrogate pair; send Unicode text"
        )
    if parameters is None:
        return
    try:
        _check_parameters(parameters)
    except _Wrong as problem:
        raise FieldError(f"the parameters of function {name} cannot be used: {problem}") from None


class _Wrong(Exception):
    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path[-PATH_SHOWN:].lstrip('/') or 'the schema'} {problem}")


def _check_parameters(parameters: Any) -> None:
    if not isinstance(parameters, dict):
        raise _Wrong("", f"is {reprlib.repr(parameters)}; send a JSON schema, an object")
    _check_json(parameters)
    if parameters.get("type", "object") != "object":
        raise _Wrong(
            "type",
            f"is {reprlib.repr(parameters['type'])}; the parameters of a function are an object",
        )
    schemas: dict[int, dict[str, Any]] = {}
    _check_schema(parameters, "", schemas)
    for path, reference in _references(parameters, ""):
        _check_schema(_resolved(parameters, reference, path), path, schemas)
    _check_cycles(parameters, schemas)


# --- every JSON value ---------------------------------------------------------------------------


def _check_json(root: dict[str, Any]) -> None:
    """Sizes, text that is Unicode, and numbers that JSON can spell."""
    count, waiting = 0, [(root, "", 1)]
    while waiting:
        value, path, depth = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise _Wrong(
                "", f"has more than {MOST_VALUES} values; offer fewer or simpler functions"
            )
        if depth > DEPTH:
            raise _Wrong(path, f"is nested more than {DEPTH} deep")
        if isinstance(value, dict):
            wrong = next(
                (key for key in value if len(key) > KEY_LENGTH or not _is_unicode(key)), None
            )
            if wrong is not None:
                raise _Wrong(
                    path,
                    f"has the key {reprlib.repr(wrong)}; allowed: at most {KEY_LENGTH} characters",
                )
            waiting.extend((one, f"{path}/{key}", depth + 1) for key, one in value.items())
        elif isinstance(value, list):
            waiting.extend((one, f"{path}/{at}", depth + 1) for at, one in enumerate(value))
        elif isinstance(value, str) and not _is_unicode(value):
            raise _Wrong(path, "contains half a surrogate pair; send Unicode text")
        elif isinstance(value, float) and not isfinite(value):
            raise _Wrong(path, f"is {value}; JSON has no such number")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# --- schemas ------------------------------------------------------------------------------------


def _check_schema(schema: Any, path: str, checked: dict[int, dict[str, Any]]) -> None:
    """`checked` are the schemas that were seen, by identity: a reference may lead to where no
    keyword does.
    """
    if not isinstance(schema, dict):
        raise _Wrong(
            path, f"is {reprlib.repr(schema)}; a schema is an object, such as {{}} for any value"
        )
    if id(schema) in checked:
        return
    checked[id(schema)] = schema
    _check_keywords(schema, path)
    for part, inner in _parts(schema):
        _check_schema(inner, f"{path}/{part}", checked)


def _parts(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(where, schema) of each schema that stands right inside this one."""
    for name in MAPS:
        yield from ((f"{name}/{key}", inner) for key, inner in schema.get(name, {}).items())
    for name in (*LISTS, "prefixItems"):
        yield from ((f"{name}/{at}", inner) for at, inner in enumerate(schema.get(name, [])))
    items = schema.get("items")
    if isinstance(items, list):
        yield from ((f"items/{at}", inner) for at, inner in enumerate(items))
    elif items is not None:
        yield "items", items
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield "additionalProperties", schema["additionalProperties"]


def _check_keywords(schema: dict[str, Any], path: str) -> None:
    for name, value in schema.items():
        allowed = _allowed(name, value)
        if allowed:
            raise _Wrong(f"{path}/{name}", f"is {reprlib.repr(value)}; allowed: {allowed}")
    for low, high in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")):
        if low in schema and high in schema and schema[low] > schema[high]:
            raise _Wrong(f"{path}/{low}", f"is {schema[low]}, which is more than {high}")


def _allowed(name: str, value: Any) -> str:
    """What `name` may be, if `value` is not that; else ""."""
    right, allowed = True, ""
    if name == "type":
        several = (
            isinstance(value, list)
            and 0 < len(value) <= len(TYPES)
            and all(isinstance(one, str) for one in value)
        )
        kinds = value if several else [value]
        right = all(one in TYPES for one in kinds) and len(set(map(str, kinds))) == len(kinds)
        allowed = f"{', '.join(TYPES)}, or a list of them"
    elif name == "enum":
        right, allowed = (
            isinstance(value, list) and 0 < len(value) <= MOST_CHOICES,
            f"a list of 1 to {MOST_CHOICES} values",
        )
    elif name in LISTS:
        right, allowed = (
            isinstance(value, list) and 0 < len(value) <= MOST_CHOICES,
            f"a list of 1 to {MOST_CHOICES} schemas",
        )
    elif name in MAPS:
        right = isinstance(value, dict) and len(value) <= MOST_PROPERTIES
        allowed = f"an object with at most {MOST_PROPERTIES} schemas"
    elif name == "required":
        right = isinstance(value, list) and all(isinstance(one, str) for one in value)
        allowed = "a list of names of properties"
    elif name == "prefixItems":
        right = isinstance(value, list) and len(value) <= MOST_PROPERTIES
        allowed = f"a list of at most {MOST_PROPERTIES} schemas"
    elif name == "items":
        right = isinstance(value, dict) or isinstance(value, list) and len(value) <= MOST_PROPERTIES
        allowed = "a schema"
    elif name in COUNTS:
        right = type(value) is int and 0 <= value <= MOST_COUNT
        allowed = f"a whole number from 0 to {MOST_COUNT}"
    elif name in BOUNDS:
        flag = name.startswith("exclusive") and isinstance(value, bool)  # as draft 4 has it
        right = flag or type(value) in (int, float) and abs(value) <= MOST_BOUND
        allowed = "a number of at most 2 to the power of 53"
    elif name == "format":
        right, allowed = isinstance(value, str), "text"
    elif name == "pattern":
        right, allowed = (
            _is_pattern(value),
            f"a regular expression of at most {PATTERN_LENGTH} characters",
        )
    return "" if right else allowed


def _is_pattern(value: Any) -> bool:
    """A regular expression; what ECMAScript alone knows counts as one character, and its named
    groups are Python's.
    """
    if not isinstance(value, str) or len(value) > PATTERN_LENGTH:
        return False
    try:
        re.compile(_NAMED_GROUP.sub("(?P<", _ECMA.sub("x", value)))  # read, and never run
    except (re.error, OverflowError, RecursionError):
        return False
    return True


# --- references ---------------------------------------------------------------------------------


def _references(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, reference) of every object with "$ref", also where it is not a keyword: compilers do
    not tell these apart.
    """
    if isinstance(value, dict):
        if "$ref" in value:
            yield f"{path}/$ref", value["$ref"]
        for key, one in value.items():
            yield from _references(one, f"{path}/{key}")
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _references(one, f"{path}/{at}")


def _resolved(root: dict[str, Any], reference: Any, path: str) -> dict[str, Any]:
    """The schema that `reference` names. References to other documents are never fetched."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise _Wrong(
            path,
            (
                f"is {reprlib.repr(reference)}; allowed: a place in the same schema, such as "
                '"#/$defs/name"'
            ),
        )
    found: Any = root
    steps = reference[2:].split("/")
    for at, step in enumerate(steps):
        if step == "$defs" and at:
            raise _Wrong(path, f"is {reprlib.repr(reference)}; put $defs into the outermost schema")
        if (
            isinstance(found, list)
            and step.isascii()
            and step.isdigit()
            and len(step) < 5
            and int(step) < len(found)
        ):
            found = found[int(step)]
        else:
            found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise _Wrong(path, f"is {reprlib.repr(reference)}, and there is no schema at that place")
    return found


def _check_cycles(root: dict[str, Any], schemas: Mapping[int, dict[str, Any]]) -> None:
    """A value may contain its like (a tree), but not be described by itself: nothing could ever
    be written for it.
    """
    done: set[int] = set()
    for schema in schemas.values():
        _follow(root, schema, done, [])


def _follow(root: dict[str, Any], schema: dict[str, Any], done: set[int], above: list[int]) -> None:
    """What stands under LISTS and $ref describes the value itself, and not a part of it."""
    if id(schema) in above:
        raise _Wrong(
            "",
            (
                "refers to itself without an object or a list between; put the reference into "
                "properties or items"
            ),
        )
    if len(above) > 2 * DEPTH:
        raise _Wrong(
            "", f"has a chain of more than {2 * DEPTH} references; put the schema where it is used"
        )
    if id(schema) in done:
        return
    nexts = [one for name in LISTS for one in schema.get(name, [])]
    if "$ref" in schema:
        nexts.append(_resolved(root, schema["$ref"], "$ref"))
    for one in nexts:
        _follow(root, one, done, [*above, id(schema)])
    done.add(id(schema))
