"""What port 8888 sends beside audio: frozen dataclasses, written and read in one place
(docs/wire.md).

Audio is binary frames of at most 0.1 s, 24 kHz mono. `turn` counts the turns of the call on 6006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from whisperfusion.wire.event_frames import EventCodec

_codec = EventCodec()


@_codec.event("start")
@dataclass(frozen=True)
class AudioStarted:
    """Before the first audio of a reply."""

    turn: int


@_codec.event("hold")
@dataclass(frozen=True)
class Paused:
    """Stop playing at once and keep what is left."""


@_codec.event("resume")
@dataclass(frozen=True)
class Resumed:
    """Go on playing."""


@_codec.event("clear")
@dataclass(frozen=True)
class Flushed:
    """Throw away what is left of the reply."""

    turn: int


@_codec.event("sent")
@dataclass(frozen=True)
class AudioSent:
    """All audio of a reply has left; it may still be playing. Only where audio is not paced."""

    turn: int


@_codec.event("end")
@dataclass(frozen=True)
class AudioEnded:
    """After the last audio of a reply, when it has been played."""

    turn: int


@_codec.event("said")
@dataclass(frozen=True)
class TextSpoken:
    """After the last audio of a `say`, which had this `id`; `seconds` of audio."""

    id: str | int | None
    seconds: float


@_codec.event("error")
@dataclass(frozen=True)
class Rejected:
    """A frame was refused, or its text could not be spoken; the connection goes on, unless the
    `code` is "refused".
    """

    id: str | int | None
    code: str
    message: str


TtsEvent = (
    AudioStarted | Paused | Resumed | Flushed | AudioSent | AudioEnded | TextSpoken | Rejected
)


def to_json(event: TtsEvent) -> str:
    return _codec.to_json(event)


def parse(frame: str) -> TtsEvent | None:
    """A text frame of 8888; None = a kind that we do not know. Raises WireError."""
    return cast("TtsEvent | None", _codec.parse(frame))


def kind(event: TtsEvent) -> str:
    """What the event is called on the wire, such as "hold"."""
    return _codec.kind(event)
