"""Port 8888: a caller's name or a text to say in, sound and the events around it out.

A client that never names itself is the WhisperFusion page: it sends nothing, breaks on text frames and
gets one binary message per reply. Everybody else names a caller of 6006, in the address or in a text
frame, and gets that caller's replies as they are played (docs/wire.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fusion.wire import FrameError, WireError
from fusion.wire.asr_socket import FASTEST, NAME_LENGTH, SAY_LENGTH, SLOWEST, UID_LENGTH
from fusion.wire.fields import FieldError, choice_field, flag_field, json_object, number_field, refuse, text_field
from fusion.wire.pcm import SPOKEN_FORMATS


@dataclass(frozen=True)
class Name:
    """Whose replies this connection wants; `uid` "" = it did not say."""

    uid: str = ""
    audio_format: str = "float32"
    events: bool = False


@dataclass(frozen=True)
class Say:
    """A text to say at once, whoever is calling. None = the server's own; `id` comes back with the answer."""

    text: str
    voice: str | None = None
    speed: float | None = None
    id: str | int | None = None


def parse_address(address: str) -> Name:
    """The `uid`, `format` and `events` of the address a client opened, such as `/audio?uid=U&events=1`. Raises `WireError`."""
    try:
        query = dict(parse_qsl(urlsplit(address).query))
    except ValueError:
        raise WireError("the address of the socket cannot be read; use /?uid=YOUR_UID&events=1&format=float32") from None
    fields: dict[str, Any] = {name: query[name] for name in ("uid", "format") if name in query}
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
        if "type" not in values and "uid" in values:
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
    return Name(uid, choice_field(fields, "format", "float32", SPOKEN_FORMATS), flag_field(fields, "events", False))


def _say(values: dict[str, Any]) -> Say:
    text = text_field(values, "text", "", SAY_LENGTH).strip()
    if not text:
        raise refuse("text", values.get("text"), f"1 to {SAY_LENGTH} characters that are not all blank")
    voice = text_field(values, "voice", "", NAME_LENGTH) or None
    return Say(text, voice, number_field(values, "speed", None, SLOWEST, FASTEST), _id(values))


def _id(values: dict[str, Any]) -> str | int | None:
    """The client's own mark; what is no mark is not echoed."""
    id = values.get("id")
    if isinstance(id, bool) or not isinstance(id, (str, int)):
        return None
    return id[:NAME_LENGTH] if isinstance(id, str) else id if abs(id) < 2**63 else None


# --- server messages ------------------------------------------------------------------------------


def start(turn: int) -> str:
    """Before the first sound of a reply."""
    return json.dumps({"type": "start", "turn": turn})


def hold() -> str:
    """Stop playing at once and keep what is left."""
    return json.dumps({"type": "hold"})


def resume() -> str:
    return json.dumps({"type": "resume"})


def clear(turn: int) -> str:
    """Throw away what is left of the reply."""
    return json.dumps({"type": "clear", "turn": turn})


def sent(turn: int) -> str:
    """All sound of a reply has left; it may still be playing."""
    return json.dumps({"type": "sent", "turn": turn})


def end(turn: int) -> str:
    """After the last sound of a reply."""
    return json.dumps({"type": "end", "turn": turn})


def said(id: str | int | None, seconds: float) -> str:
    """After the last sound of a `Say`; `seconds` of audio."""
    return json.dumps({"type": "said", "id": id, "seconds": round(seconds, 3)}, allow_nan=False)


def error(id: str | int | None, code: str, message: str) -> str:
    """A frame was refused, or could not be said; the connection goes on."""
    return json.dumps({"type": "error", "id": id, "code": code, "message": message})
