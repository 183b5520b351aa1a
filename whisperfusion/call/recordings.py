"""Reads what whisperfusion/call/recorder.py wrote: each line is checked, and an error names its
line.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from whisperfusion.call import recordings_v1
from whisperfusion.call.recorder import FORMAT, STEPS, TICKS, VERSION
from whisperfusion.errors import WhisperFusionError
from whisperfusion.messages import ChatMessage, Ticket
from whisperfusion.tools import NO_TOOLS, Tools, from_chat_completions
from whisperfusion.turns.events import Event, OptionsChanged, SpeechProbability
from whisperfusion.turns.options import Options

# characters of a line: 200 lines of history with 8000 characters each fit many times
LONGEST = 16_000_000
MOST_S = 1e9  # of a call
LARGEST = 1e15  # number; NaN is not smaller

# by their names; windows have lines of their own
EVENTS: dict[str, type] = {
    kind.__name__: kind for kind in typing.get_args(Event) if kind is not SpeechProbability
}
HEADER: dict[str, type] = {
    "began": str,
    "clock": float,
    "call": str,
    "history": list,
    "options": dict,
}
KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class BadRecording(WhisperFusionError):
    """The file cannot be replayed; the text says where and why."""


@dataclass(frozen=True)
class Received:
    """What the conversation received, `ticks` after the call's start, and its commands then."""

    line: int
    ticks: int
    event: Event
    out: list[Any]


@dataclass(frozen=True)
class Recorded:
    """A file. `whole`: the recording went on until the client was gone."""

    header: dict[str, Any]
    options: Options
    history: tuple[ChatMessage, ...]
    events: tuple[Received, ...]
    whole: bool


def read(path: str | Path) -> Recorded:
    """Raises BadRecording.

    A last line that was cut off is left out: the server died, or the disk was full.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            lines = _lines(file)
            header, options, history = _header(next(lines, (1, None))[1])
            reader = _Reader(header["call"], options)
            for number, line in lines:
                try:
                    reader.line(number, line, header["version"])
                except BadRecording as problem:
                    raise BadRecording(f"line {number}: {problem}") from None
    except OSError as error:
        raise BadRecording(f"cannot be read: {error.strerror or error}") from None
    if not reader.events:
        raise BadRecording("no event is in it: the recording ended before the call began")
    return Recorded(header, options, history, tuple(reader.events), reader.whole)


def _lines(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while True:
        number += 1
        try:
            text = file.readline(LONGEST)
            if not text or (number > 1 and not text.endswith("\n") and len(text) < LONGEST):
                return
            line = json.loads(text)
        except (ValueError, RecursionError):  # not UTF-8, or not JSON
            line = None
        if not isinstance(line, dict):
            raise BadRecording(
                f"line {number} is damaged: it is not a JSON object"
                if number > 1
                else "this is not a recording of a call"
            )
        yield number, line


def _header(
    line: dict[str, Any] | None,
) -> tuple[dict[str, Any], Options, tuple[ChatMessage, ...]]:
    if line is None:
        raise BadRecording("it is empty")
    if line.get("format") != FORMAT or not _is(line.get("version"), int):
        raise BadRecording("this is not a recording of a call")
    if line["version"] > VERSION:
        raise BadRecording(
            f"it was written by a newer version: its format is {line['version']}, this one reads "
            f"{VERSION}"
        )
    try:
        if line["version"] == 1:
            line = recordings_v1.header(line)
        _check({"summary": "", **line}, {**HEADER, "summary": str}, "the header")
        options = _built(Options, line["options"], "options", line["call"])
        return line, options, _messages(line["history"], "history")
    except BadRecording as problem:
        raise BadRecording(f"line 1: {problem}") from None


class _Reader:
    """Lines to events."""

    def __init__(self, call: str, options: Options) -> None:
        self._call, self._options = call, options
        self.events: list[Received] = []
        self.whole = False

    def line(self, number: int, line: dict[str, Any], version: int) -> None:
        if version == 1:
            line = recordings_v1.line(line)
        _check(line, {"at": float}, "the event")
        if not 0 <= line["at"] <= MOST_S:
            raise BadRecording(f"at {line['at']} is not a time of a call")
        self.whole = line.get("end") is True
        if self.whole:
            return
        ticks, out = round(line["at"] * TICKS), _commands(line.get("out", []))
        if "p" in line:
            self.events += _windows(number, ticks, line, out)
        else:
            self.events.append(Received(number, ticks, self._event(line.get("event")), out))

    def _event(self, value: Any) -> Event:
        if not _is_named(value):
            raise BadRecording(f"event must be [name, fields], not {value!r}")
        name, values = value
        if name not in EVENTS:
            raise BadRecording(f"{name!r} is not an event of a call")
        if name != OptionsChanged.__name__:
            event: Event = _built(EVENTS[name], values, name, self._call)
            return event
        self._options = replace(self._options, **_fields(Options, values, name, self._call))
        return OptionsChanged(self._options)


def _commands(out: Any) -> list[Any]:
    if not _is(out, list):
        raise BadRecording("out must be a list of commands")
    for command in out:
        if not _is_named(command):
            raise BadRecording(f"{command!r} is not a command; one looks like [name, fields]")
    return list(out)


def _windows(number: int, ticks: int, line: dict[str, Any], out: list[Any]) -> list[Received]:
    """A line of windows as events; only the last of them had commands."""
    steps: Any = line.get("p")
    after: Any = line.get("after")
    if not (
        _is(steps, list) and steps and all(_is(step, int) and 0 <= step <= STEPS for step in steps)
    ):
        raise BadRecording(f"p must be a list of whole numbers from 0 to {STEPS}")
    if not (
        _is(after, list) and len(after) == len(steps) - 1 and all(_is(one, int) for one in after)
    ):
        raise BadRecording("after must be a list of whole numbers, one less than p has")
    events = []
    for index, step in enumerate(steps):
        ticks += after[index - 1] if index else 0
        last = index == len(steps) - 1
        events.append(Received(number, ticks, SpeechProbability(step / STEPS), out if last else []))
    return events


# --- fields of dataclasses ----------------------------------------------------------------------


@cache
def _kinds(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _built(kind: type, values: dict[str, Any], where: str, call: str) -> Any:
    known = _fields(kind, values, where, call)
    for one in fields(kind):
        if one.name not in known and one.default is MISSING:
            raise BadRecording(f"{where} has no {one.name!r}")
    return kind(**known)


def _fields(kind: type, values: dict[str, Any], where: str, call: str) -> dict[str, Any]:
    kinds = _kinds(kind)
    unknown = set(values) - set(kinds)
    if unknown:
        raise BadRecording(f"{where} has unknown fields: {', '.join(sorted(unknown))}")
    return {
        name: _value(kinds[name], value, f"{where}: {name}", call) for name, value in values.items()
    }


def _value(kind: Any, value: Any, where: str, call: str) -> Any:
    """`value`, checked to be of the type `kind`."""
    if kind is Ticket:
        turn, _, revision = str(value).partition(".")
        if not (turn.isdecimal() and revision.isdecimal()):
            raise BadRecording(f"ticket {value!r} must look like 3.1")
        return Ticket(call, int(turn), int(revision))
    if kind in (Tools, Tools | None) and _is(value, str):
        return _tools(value, where)
    if kind not in KINDS and type(None) in typing.get_args(kind):
        if value is None:
            return None
        kind = typing.get_args(kind)[0]
    if kind == tuple[str, ...]:
        if not _is(value, list) or not all(_is(one, str) for one in value):
            raise BadRecording(f"{where} must be a list of texts")
        return tuple(value)
    if kind not in KINDS:
        return _messages(value, where)
    if not _is(value, kind):
        raise BadRecording(f"{where} must be {KINDS[kind]}, not {value!r}")
    return value


def _tools(text: str, where: str) -> Tools:
    """As JSON, in the form of chat completions; empty = none."""
    try:
        return from_chat_completions(json.loads(text)) if text else NO_TOOLS
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadRecording(f"{where} must be tools as JSON, not {text!r}") from None


def _messages(history: Any, where: str) -> tuple[ChatMessage, ...]:
    if not _is(history, list) or not all(
        _is(entry, list) and len(entry) == 2 and all(_is(part, str) for part in entry)
        for entry in history
    ):
        raise BadRecording(f"{where} must be a list of [role, text]")
    return tuple(ChatMessage(*entry) for entry in history)


def _check(values: dict[str, Any], kinds: dict[str, type], where: str) -> None:
    for name, kind in kinds.items():
        if name not in values:
            raise BadRecording(f"{where} has no {name!r}")
        if not _is(values[name], kind):
            raise BadRecording(f"{where}: {name} must be {KINDS[kind]}, not {values[name]!r}")


def _is_named(value: Any) -> bool:
    return _is(value, list) and len(value) == 2 and _is(value[0], str) and _is(value[1], dict)


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
        )
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
