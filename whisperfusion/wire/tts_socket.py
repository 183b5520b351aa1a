"""Port 8888: a caller's name or a text to say in, sound and the events around it out.

A client that never names itself is the WhisperFusion page: it sends nothing, breaks on text frames
and gets one binary message per reply. Others name a call of 6006, in the address or in a
text frame, and gets that caller's replies as they are played (docs/wire.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from whisperfusion.wire import FrameError, WireError
from whisperfusion.wire.asr_controls import SAY_LENGTH
from whisperfusion.wire.fields import (
    FieldError,
    choice_field,
    flag_field,
    json_object,
    number_field,
    refuse,
    text_field,
)
from whisperfusion.wire.limits import FASTEST, NAME_LENGTH, SLOWEST, UID_LENGTH
from whisperfusion.wire.pcm import SPOKEN_FORMATS


@dataclass(frozen=True)
class Name:
    """Whose replies this connection wants; `uid` "" = it did not say."""

    uid: str = ""
    audio_format: str = "float32"
    events: bool = False
    listen_secret: str = ""  # from the SERVER_READY of the caller; "" = it did not say


@dataclass(frozen=True)
class Say:
    """A text to synthesize at once, outside of any call.

    None = the server's own; `id` comes back with the answer.
    """

    text: str
    voice: str | None = None
    speed: float | None = None
    id: str | int | None = None


def parse_address(address: str) -> Name:
    """What the address says that a client opened, such as `/audio?uid=U&events=1&listen_secret=S`.

    Raises `WireError`.
    """
    try:
        query = dict(parse_qsl(urlsplit(address).query))
    except ValueError:
        raise WireError(
            "the address of the socket cannot be read; use /?uid=YOUR_UID&events=1&format=float32"
        ) from None
    fields: dict[str, Any] = {
        name: query[name] for name in ("uid", "format", "listen_secret") if name in query
    }
    events = query.get("events", "0").lower()
    if events not in ("0", "1", "false", "true"):
        raise WireError(f"address: {refuse('events', events, '0, 1, false, true')}")
    try:
        return _name({**fields, "events": events in ("1", "true")})
    except FieldError as problem:
        raise WireError(f"address: {problem}") from None


def parse_frame(text: str) -> Name | Say | None:
    """A text frame; None = a type that we do not know, to be ignored. Raises `FrameError`."""
    values: dict[str, Any] = {}
    try:
        values = json_object(text)
        if "type" not in values and ("uid" in values or "listen_secret" in values):
            return _name(values)
        kind = values.get("type")
        if not isinstance(kind, str):
            raise refuse("type", kind, 'say; or {"uid": "..."} without a type')
        return _say(values) if kind == "say" else None
    except FieldError as problem:
        raise FrameError("bad_frame", str(problem), _id(values)) from None


def _name(values: Mapping[str, Any]) -> Name:
    fields = dict(values)
    uid = text_field(fields, "uid", "", UID_LENGTH)
    secret = text_field(fields, "listen_secret", "", NAME_LENGTH)
    return Name(
        uid,
        choice_field(fields, "format", "float32", SPOKEN_FORMATS),
        flag_field(fields, "events", False),
        secret,
    )


def _say(values: dict[str, Any]) -> Say:
    text = text_field(values, "text", "", SAY_LENGTH).strip()
    if not text:
        raise refuse(
            "text", values.get("text"), f"1 to {SAY_LENGTH} characters that are not all blank"
        )
    voice = text_field(values, "voice", "", NAME_LENGTH) or None
    return Say(text, voice, number_field(values, "speed", None, SLOWEST, FASTEST), _id(values))


def _id(values: dict[str, Any]) -> str | int | None:
    """The client's own mark; any other value is not echoed."""
    id = values.get("id")
    if isinstance(id, bool) or not isinstance(id, (str, int)):
        return None
    if isinstance(id, str):
        return id[:NAME_LENGTH]
    return id if abs(id) < 2**63 else None
