"""The log as JSON lines (LOG_FORMAT=json): one object for each record, with the call, the turn and
the request that it belongs to, where they are known.

What a record belongs to is a `Scope` in a context variable. It is entered where work enters a
process: at a connection, a message of another process, a timer and a job of an engine thread. While
the log is text nothing is entered and nothing is kept.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

Ids = tuple[str, str]  # correlation id and trace id; "" = not known


def no_turn() -> int:
    return 0


@dataclass(frozen=True)
class Scope:
    """`turn` tells the present turn of the call, 0 = none.

    `ids` are those of a request; those of a call are kept by `remember`.
    """

    call: str = ""
    turn: Callable[[], int] = no_turn
    ids: Ids = ("", "")


@dataclass
class _State:
    process: str = ""  # the name of this process in its lines; "" = the log is text


_state = _State()
_scope: ContextVar[Scope] = ContextVar("log_scope", default=Scope())  # noqa: B039 - it is frozen
_calls: dict[str, Ids] = {}
_NOTHING = nullcontext()


def start(process: str) -> None:
    """From now on, scopes are entered, and lines carry the name `process`."""
    _state.process = process


def stop() -> None:
    """The log is text again."""
    _state.process = ""
    _calls.clear()


def process() -> str:
    """The name of this process in its lines; "" = the log is text."""
    return _state.process


def scope(
    call: str = "", turn: Callable[[], int] = no_turn, ids: Ids = ("", "")
) -> AbstractContextManager[None]:
    """What is logged inside belongs to this call, turn and request."""
    if not _state.process:
        return _NOTHING
    return _entered(Scope(call, turn, ids))


@contextmanager
def _entered(inner: Scope) -> Iterator[None]:
    token = _scope.set(inner)
    try:
        yield
    finally:
        _scope.reset(token)


def remember(call: str, ids: Ids) -> None:
    """The ids of a call's client, for all lines about the call, until `forget`."""
    if _state.process and any(ids):
        _calls[call] = ids


def forget(call: str) -> None:
    _calls.pop(call, None)


def forget_all() -> None:
    _calls.clear()


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit the text: the text is still worth a line
            message = str(record.msg)
        values = _values(record.created, record.levelname, record.name, self._process, message)
        if record.exc_info and record.exc_info[0] is not None:
            values["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            values["stack"] = self.formatStack(record.stack_info)
        return json.dumps(values)


def line(level: str, logger: str, message: str) -> str:
    """A line for where `logging` cannot be used, such as a signal handler."""
    return json.dumps(_values(time.time(), level, logger, _state.process, message))


def _values(at: float, level: str, logger: str, process: str, message: str) -> dict[str, object]:
    """`at` is Unix time."""
    day = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    values: dict[str, object] = {
        "time": f"{day}.{int(at % 1 * 1000):03d}Z",
        "level": level.lower(),
        "logger": logger,
        "process": process,
        "message": message,
    }
    present = _scope.get()
    correlation_id, trace_id = _calls.get(present.call, present.ids)
    known = {
        "call": present.call,
        "turn": present.turn(),
        "correlation_id": correlation_id,
        "trace_id": trace_id,
    }
    return {**values, **{name: value for name, value in known.items() if value}}
