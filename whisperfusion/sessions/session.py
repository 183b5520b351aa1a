"""What is kept of one call, so that a later connection can go on with it.

A record is JSON: an object with a `version`. A reader takes what it knows. Fields of a newer
release stay in `unknown` and are written back, so that servers of two releases can share a store
while one is replaced by the other. `updated` and `ended` are Unix times, since sessions outlive
processes.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from whisperfusion.errors import WhisperFusionError
from whisperfusion.messages import ChatMessage, Timer

VERSION = 1
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{21,63}")
ID_BYTES = 24  # of chance; 192 bits cannot be guessed
LONGEST_CALLER = 200  # characters
FIELDS = frozenset(
    "version id owner call agent language caller history summary timers tool_state pending "
    "created updated ended".split()
)


class BadRecord(WhisperFusionError):
    """A stored record is not a session; the text says why, without the words in it."""


class Pending(NamedTuple):
    """A turn whose reply was not finished: what the user said, and what was heard of the reply."""

    user: str
    heard: str = ""


@dataclass(frozen=True)
class Session:
    """The memory of one conversation, over all calls that took it up.

    `id` is unguessable, and who knows it may go on with the session, with the key that made it.
    `owner` names that key (see `owners.py`), `call` the newest call. `caller` is the identity that
    the client gave; "" = none. `history` is what was heard, oldest first; `summary` stands for
    what came before it. `tool_state` has one JSON value for each tool that keeps something.
    `pending`: the turn that was being answered. `created`, `updated` (the last sign of life) and
    `ended` (None = the call goes on, or its process died) are Unix times.
    """

    id: str
    created: float
    updated: float
    owner: str = ""
    call: str = ""
    agent: str = ""
    language: str = ""
    caller: str = ""
    history: tuple[ChatMessage, ...] = ()
    summary: str = ""
    timers: tuple[Timer, ...] = ()
    tool_state: Mapping[str, Any] = field(default_factory=dict)
    pending: Pending | None = None
    ended: float | None = None
    version: int = VERSION
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """ASCII, on one line. Raises ValueError where `tool_state` is not JSON."""
        record = {
            **self.unknown,
            "version": max(self.version, VERSION),
            "id": self.id,
            "owner": self.owner,
            "call": self.call,
            "agent": self.agent,
            "language": self.language,
            "caller": self.caller,
            "history": [message._asdict() for message in self.history],
            "summary": self.summary,
            "timers": [timer._asdict() for timer in self.timers],
            "tool_state": dict(self.tool_state),
            "pending": self.pending._asdict() if self.pending else None,
            "created": self.created,
            "updated": self.updated,
            "ended": self.ended,
        }
        return json.dumps(record, allow_nan=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> Session:
        """Raises BadRecord."""
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRecord("the record is not JSON") from None
        if not isinstance(record, dict):
            raise BadRecord("the record is not a JSON object")
        return _session(record)


def _session(record: dict[str, Any]) -> Session:
    pending = _get(record, "pending", dict, None)
    return Session(
        version=max(1, int(_time(record, "version", VERSION))),
        id=_get(record, "id", str),
        owner=_get(record, "owner", str, ""),
        call=_get(record, "call", str, ""),
        agent=_get(record, "agent", str, ""),
        language=_get(record, "language", str, ""),
        caller=_get(record, "caller", str, ""),
        history=tuple(
            ChatMessage(_get(one, "role", str), _get(one, "text", str))
            for one in _objects(record, "history")
        ),
        summary=_get(record, "summary", str, ""),
        timers=tuple(
            Timer(
                _get(one, "id", str),
                _get(one, "text", str, ""),
                _time(one, "due_at"),
                int(_time(one, "told", 0)),
            )
            for one in _objects(record, "timers")
        ),
        tool_state=_get(record, "tool_state", dict, {}),
        pending=Pending(_get(pending, "user", str), _get(pending, "heard", str, ""))
        if pending is not None
        else None,
        created=_time(record, "created"),
        updated=_time(record, "updated"),
        ended=_time(record, "ended") if record.get("ended") is not None else None,
        unknown={name: value for name, value in record.items() if name not in FIELDS},
    )


_REQUIRED: Any = object()


def _get(record: dict[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """The field, or `default` where it is missing or null."""
    value = record.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if not isinstance(value, kind):
        raise BadRecord(f"the field {name} of the record is missing or has another type")
    return value


def _objects(record: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[Any] = _get(record, name, list, [])
    if not all(isinstance(one, dict) for one in found):
        raise BadRecord(f"the field {name} of the record has an element that is not an object")
    return found


def _time(record: dict[str, Any], name: str, default: Any = _REQUIRED) -> float:
    value = record.get(name, None if default is _REQUIRED else default)
    try:
        if isinstance(value, (int, float)) and math.isfinite(value):  # a huge int overflows
            return float(value)
    except OverflowError:
        pass
    raise BadRecord(f"the field {name} of the record is missing or is not a number")


def new_id() -> str:
    """An id that cannot be guessed."""
    id = secrets.token_urlsafe(ID_BYTES)
    return id if is_id(id) else new_id()  # a leading "-" would be a flag on a command line


def is_id(text: object) -> bool:
    """Whether a value from a client has the form of an id; only then a store is asked for it."""
    return isinstance(text, str) and ID.fullmatch(text) is not None


def is_caller(text: object) -> bool:
    """Whether a value from a client can be a caller's identity: 1 to 200 printable characters."""
    return isinstance(text, str) and 0 < len(text) <= LONGEST_CALLER and text.isprintable()


def may_resume(session: Session, owner: str, now: float, resume_s: float) -> bool:
    """Whether a new call of `owner` may go on with `session` at Unix time `now`: it was made with
    the same key, and its last sign of life is at most `resume_s` seconds ago.
    """
    return session.owner == owner and now - session.updated <= resume_s
