"""Reading what fusion/call/recorder.py wrote: each line is checked, and what is wrong is told with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from fusion.call.recorder import FORMAT, SET_ON_CONVERSATION, SET_ON_DIALOGUE, SET_ON_FLOOR, STEPS, TICKS, VERSION
from fusion.messages import Called, Failed, Line, Sentence, Spoken, Ticket

LONGEST = 16_000_000  # characters of a line: 200 lines of history with 8000 characters each fit many times
MOST_S = 1e9  # of a call
LARGEST = 1e15  # number; NaN is no smaller

EVENTS: dict[str, dict[str, type]] = {  # the floor's methods and their arguments
    "window": {"probability": float},
    "score": {"probability": float, "stopped_at": int},
    "words": {"text": str, "upto": int, "doubtful": bool},
    "commit": {},
    "opened": {},
    "typed": {"text": str},
    "interrupt": {},
    "respond": {"changes": dict, "id": str},
    "clear": {},
    "remember": {"lines": list},
    "result": {"id": str, "output": str},
    "heard_up_to": {"turn": int, "seconds": float},
    "message": {"message": list},
    "stage_down": {"stage": str},
    "wake": {},
}
HEADER: dict[str, type] = {"began": str, "clock": float, "call": str, "history": list, "replies": bool, "filler": str, "patience_s": float,
                           "scored": bool, "set": dict}
LATER = {"silence_s", "answers", "interruptible", "tools", "max_tokens"}  # set since the first recordings
CHANGES: dict[str, type] = {"instructions": str, "tools": str, "max_tokens": int}
SETTABLE = {**SET_ON_FLOOR, **SET_ON_CONVERSATION, **SET_ON_DIALOGUE}
MESSAGES = {kind.__name__: kind for kind in (Sentence, Called, Spoken, Failed)}
FIELDS = {"str": str, "int": int, "float": float, "bool": bool}
KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


class BadRecording(Exception):
    """The file cannot be replayed; the text says where and why."""


@dataclass(frozen=True)
class Event:
    """What was told to the floor, `ticks` after the call's start: a method of it, or "set". `out`: what it wanted then."""

    line: int
    ticks: int
    do: str
    arguments: dict[str, Any]
    out: list[Any]


@dataclass(frozen=True)
class Recorded:
    """A file. `whole`: the recording went on until the caller was gone."""

    header: dict[str, Any]
    events: tuple[Event, ...]
    whole: bool


def read(path: str | Path) -> Recorded:
    """Raises BadRecording. A last line that was cut off is left out: the server died, or the disk was full."""
    try:
        with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            lines = _lines(file)
            header = _header(next(lines, (1, None))[1])
            events: list[Event] = []
            whole = False
            for number, line in lines:
                whole = line.get("do") == "end"
                try:
                    events += [] if whole else _events(number, line, header["call"])
                except BadRecording as problem:
                    raise BadRecording(f"line {number}: {problem}") from None
    except OSError as error:
        raise BadRecording(f"cannot be read: {error.strerror or error}") from None
    if not events:
        raise BadRecording("no event is in it: the recording ended before the call began")
    return Recorded(header, tuple(events), whole)


def _lines(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while True:
        number += 1
        try:
            text = file.readline(LONGEST)
            if not text or (number > 1 and not text.endswith("\n") and len(text) < LONGEST):
                return
            line = json.loads(text)
        except (ValueError, RecursionError):  # no UTF-8, no JSON
            line = None
        if not isinstance(line, dict):
            raise BadRecording(f"line {number} is damaged: it is no JSON object" if number > 1 else "this is no recording of a call")
        yield number, line


def _header(line: dict[str, Any] | None) -> dict[str, Any]:
    if line is None:
        raise BadRecording("it is empty")
    if line.get("format") != FORMAT or not _is(line.get("version"), int):
        raise BadRecording("this is no recording of a call")
    if line["version"] > VERSION:
        raise BadRecording(f"it was written by a newer version: its format is {line['version']}, this one reads {VERSION}")
    try:
        _check(line, HEADER, "the header")
        _check(line["set"], {name: kind for name, kind in SETTABLE.items() if name in line["set"] or name not in LATER}, "set")
        _lines_of(line["history"])
    except BadRecording as problem:
        raise BadRecording(f"line 1: {problem}") from None
    return line


def _events(number: int, line: dict[str, Any], call: str) -> list[Event]:
    _check(line, {"at": float, "do": str}, "the event")
    if not 0 <= line["at"] <= MOST_S:
        raise BadRecording(f"at {line['at']} is no time of a call")
    ticks, out = round(line["at"] * TICKS), line.get("out", [])
    if not _is(out, list):
        raise BadRecording("out must be a list of commands")
    for command in out:
        if not (_is(command, list) and len(command) == 2 and _is(command[0], str) and _is(command[1], dict)):
            raise BadRecording(f"{command!r} is no command; one looks like [name, fields]")
    if line["do"] == "windows":
        return _windows(number, ticks, line, out)
    arguments = line.get("with", {})
    if not _is(arguments, dict):
        raise BadRecording("with must be an object")
    if line["do"] == "set":
        _check(arguments, {name: kind for name, kind in SETTABLE.items() if name in arguments}, "set", only=True)
    elif line["do"] in EVENTS:
        _check(arguments, EVENTS[line["do"]], line["do"], only=True)
    else:
        raise BadRecording(f"{line['do']!r} is no event of a call")
    if line["do"] == "message":
        arguments = {"message": _message(arguments["message"], call)}
    elif line["do"] == "remember":
        arguments = {"lines": _lines_of(arguments["lines"])}
    elif line["do"] == "respond":
        _check(arguments["changes"], {name: kind for name, kind in CHANGES.items() if name in arguments["changes"]}, "respond", only=True)
    return [Event(number, ticks, line["do"], arguments, out)]


def _lines_of(history: list[Any]) -> list[Line]:
    if not all(_is(entry, list) and len(entry) == 2 and all(_is(part, str) for part in entry) for entry in history):
        raise BadRecording("history must be a list of [role, text]")
    return [Line(*entry) for entry in history]


def _windows(number: int, ticks: int, line: dict[str, Any], out: list[Any]) -> list[Event]:
    """A line of windows as events; only the last of them had commands."""
    steps: Any = line.get("p")
    after: Any = line.get("after")
    if not (_is(steps, list) and steps and all(_is(step, int) and 0 <= step <= STEPS for step in steps)):
        raise BadRecording(f"p must be a list of whole numbers from 0 to {STEPS}")
    if not (_is(after, list) and len(after) == len(steps) - 1 and all(_is(one, int) for one in after)):
        raise BadRecording("after must be a list of whole numbers, one less than p has")
    events = []
    for index, step in enumerate(steps):
        ticks += after[index - 1] if index else 0
        events.append(Event(number, ticks, "window", {"probability": step / STEPS}, out if index == len(steps) - 1 else []))
    return events


def _message(value: list[Any], call: str) -> Sentence | Called | Spoken | Failed:
    if len(value) != 2 or not _is(value[0], str) or value[0] not in MESSAGES or not _is(value[1], dict):
        raise BadRecording(f"a message must be [name, fields], with one of the names {', '.join(MESSAGES)}")
    kind = MESSAGES[value[0]]
    kinds = {spec.name: FIELDS.get(str(spec.type), str) for spec in fields(kind)}
    needed = {spec.name: kinds[spec.name] for spec in fields(kind) if spec.default is MISSING}
    unknown = set(value[1]) - set(kinds)
    if unknown:
        raise BadRecording(f"{value[0]} has no {', '.join(sorted(unknown))}")
    _check(value[1], {**needed, **{name: kinds[name] for name in value[1]}}, value[0])
    turn, _, revision = value[1]["ticket"].partition(".")
    if not (turn.isdecimal() and revision.isdecimal()):
        raise BadRecording(f"ticket {value[1]['ticket']!r} must look like 3.1")
    message: Sentence | Called | Spoken | Failed = kind(**{**value[1], "ticket": Ticket(call, int(turn), int(revision))})
    return message


def _check(values: dict[str, Any], kinds: dict[str, type], where: str, *, only: bool = False) -> None:
    for name, kind in kinds.items():
        if name not in values:
            raise BadRecording(f"{where} has no {name!r}")
        if not _is(values[name], kind):
            raise BadRecording(f"{where}: {name} must be {KINDS[kind]}, not {values[name]!r}")
    if only and set(values) != set(kinds):
        raise BadRecording(f"{where} has no {', '.join(sorted(set(values) - set(kinds)))}")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
