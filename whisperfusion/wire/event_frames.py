"""Frozen dataclasses to JSON objects and back: the one serializer of what the two sockets send.

A class is registered with the pair of key and value that marks its frames, such as "type" and
"reply"; its other fields follow in their order. What a field is called on the wire, where that
differs, and whether it is left out while it has its default, stands at the field (`wire_name`,
`left_out`). A reader ignores fields that it does not know and frames without a registered mark.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from whisperfusion.wire import WireError

T = TypeVar("T")
PLAIN: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
    NoneType: (NoneType,),
}


def wire_name(name: str) -> Any:
    """A field that is called `name` on the wire."""
    return field(metadata={"name": name})


def left_out(default: Any) -> Any:
    """A field that is written only where it differs from `default`."""
    return field(default=default, metadata={"left out": True})


class EventCodec:
    """The events of one socket."""

    def __init__(self) -> None:
        self._marks: dict[type, tuple[str, str]] = {}
        self._classes: dict[tuple[str, str], type] = {}

    def event(self, value: str, key: str = "type") -> Callable[[type[T]], type[T]]:
        """Registers a dataclass whose frames have `value` under `key`."""

        def register(cls: type[T]) -> type[T]:
            self._marks[cls] = key, value
            self._classes[key, value] = cls
            return cls

        return register

    def kind(self, event: object) -> str:
        """The mark of an event, such as "reply"."""
        return self._marks[type(event)][1]

    def to_json(self, event: object, **first: Any) -> str:
        """The frame; `first` are fields before its own."""
        key, value = self._marks[type(event)]
        return json.dumps({**first, key: value, **_as_fields(event)}, allow_nan=False)

    def parse(self, frame: str) -> Any:
        """The event of a frame; None = a kind that we do not know. Raises WireError."""
        try:
            values = json.loads(frame)
            marks = ((key, values.get(key)) for key in ("type", "status", "message"))
            cls = next((self._classes[mark] for mark in marks if _known(mark, self._classes)), None)
            return None if cls is None else _build(cls, values)
        except (ValueError, TypeError, AttributeError, RecursionError) as problem:
            raise WireError(
                f"a frame that is not of docs/wire.md: {frame[:200]} ({problem})"
            ) from None


def _known(mark: tuple[str, Any], classes: Mapping[tuple[str, str], type]) -> bool:
    return isinstance(mark[1], str) and mark in classes


def _name(one: Field[Any]) -> str:
    return str(one.metadata.get("name", one.name))


def _as_fields(event: Any) -> dict[str, Any]:
    return {
        _name(one): _as_plain(getattr(event, one.name))
        for one in fields(event)
        if not ("left out" in one.metadata and getattr(event, one.name) == one.default)
    }


def _as_plain(value: Any) -> Any:
    if is_dataclass(value):
        return _as_fields(value)
    if isinstance(value, tuple):
        return [_as_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _as_plain(one) for name, one in value.items()}
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _build(cls: Any, values: Any) -> Any:
    """An object of the dataclass `cls`. Raises TypeError."""
    if not isinstance(values, dict):
        raise TypeError(f"{values!r:.40} is not an object")
    found = {}
    for one in fields(cls):
        name = _name(one)
        if name in values:
            found[one.name] = _read(_hints(cls)[one.name], values[name], name)
        elif one.default is MISSING:
            raise TypeError(f"field {name!r} is missing")
    return cls(**found)


def _read(hint: Any, value: Any, name: str) -> Any:
    """`value`, as JSON has it, in the type `hint`. Raises TypeError."""
    for choice in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        inner = get_args(choice)
        match value:
            case dict() if is_dataclass(choice):
                return _build(choice, value)
            case dict() if get_origin(choice) is Mapping:
                return {key: _read(inner[1], one, name) for key, one in value.items()}
            case list() if get_origin(choice) is tuple:
                return tuple(_read(inner[0], one, name) for one in value)
            case _ if type(value) in PLAIN.get(choice, ()):
                return value
    raise TypeError(f"field {name!r} is {value!r:.40}")
