"""The pipe to an engine in another interpreter: frames of a JSON header and raw samples.

| offset | bytes | what |
| --- | --- | --- |
| 0 | 4 | `WFE1`: this format and its version |
| 4 | 4 | length of the header, unsigned, little-endian |
| 8 | 4 | length of the payload, the same |
| 12 | | header: a JSON object in ASCII; `is` names the message, the rest are its own fields |
| | | payload: the samples of the message's array; `array` in the header has type and shape |

The server sends | and receives
    Load, once   | Hello first of all, then Ready, or Failed with id 0
    Call         | Piece for each piece, then Done or Failed; of a call without pieces Done carries
                 | the result. A server on the network sends a Pulse while it has nothing
    Took         | every `WINDOW` pieces at most: an engine never is further ahead of its listener
                 | than that
    Unwanted     | nothing: the engine is told which parts of a call are of no use any more
    Cancel       | Done or Failed, as soon as the engine has stopped

Many calls are under way at once; `id` tells them apart. Audio keeps its type and shape on the way,
so that wrong audio is refused by the engine in its own words. Both ends run the same code, so there
is no older version to speak.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from whisperfusion.wire import WireError

if TYPE_CHECKING:  # an interpreter without numpy must be able to say so through this pipe
    from numpy.typing import NDArray

WINDOW = 32  # pieces of one call that may be on their way
MAGIC = b"WFE1"
PREFIX = struct.Struct("<4sII")
HEADER_LIMIT = 16 << 20  # bytes; the longest dialogues have some 100 kB
PAYLOAD_LIMIT = 1 << 30  # bytes: 4.6 hours of 16 kHz audio
# numpy's names: bytes
SAMPLES = {"<f4": 4, "<f8": 8, "<f2": 2, "<i2": 2, "<i4": 4, "<i8": 8, "|i1": 1, "|u1": 1}


@dataclass(frozen=True)
class Hello:
    """The other interpreter runs. `python` is its version; that of the format is in every frame."""

    python: str


@dataclass(frozen=True)
class Load:
    kind: str
    name: str
    options: dict[str, Any]
    log_levels: dict[str, Any]  # of loggers by name; "" is the root
    log_process: str  # name in a log of JSON lines (whisperfusion.json_log); "" = text


@dataclass(frozen=True)
class Ready:
    """The engine is built.

    `attributes` are what its protocol promises: model, device, sample_rate …
    """

    attributes: dict[str, Any]


@dataclass(frozen=True)
class Call:
    id: int
    method: str
    arguments: dict[str, Any]
    pcm: NDArray[Any] | None = None


@dataclass(frozen=True)
class Took:
    """`count` more pieces have been taken by the listener."""

    id: int
    count: int


@dataclass(frozen=True)
class Unwanted:
    """`parts` (recordings, by their index) are of no use any more; the others are."""

    id: int
    parts: list[int]


@dataclass(frozen=True)
class Cancel:
    id: int


@dataclass(frozen=True)
class Piece:
    id: int
    value: Any = None
    pcm: NDArray[Any] | None = None


@dataclass(frozen=True)
class Pulse:
    """Nothing yet, of a server: bytes, so that all that is between notices a listener who has gone
    (HAProxy does when it has something to send).
    """

    id: int


@dataclass(frozen=True)
class Done:
    id: int
    value: Any = None


@dataclass(frozen=True)
class Failed:
    """An `EngineError`, or the kind of it that `kind` names. `id` 0 is that of loading."""

    id: int
    text: str
    kind: str


Message = Hello | Load | Ready | Call | Took | Unwanted | Cancel | Piece | Pulse | Done | Failed
TYPES = {
    kind.__name__: kind
    for kind in (Hello, Load, Ready, Call, Took, Unwanted, Cancel, Piece, Pulse, Done, Failed)
}
# of a field, as it is written above
KINDS: dict[str, type] = {
    "int": int,
    "str": str,
    "list[int]": list,
    "dict[str, Any]": dict,
    "Any": object,
}


def encode(message: Message) -> tuple[bytes, memoryview]:
    """Prefix and header, and the samples, to be sent one after the other.

    `WireError` for what the format does not allow.
    """
    header: dict[str, Any] = {"is": type(message).__name__}
    header |= {one.name: getattr(message, one.name) for one in fields(message) if one.name != "pcm"}
    pcm, payload = getattr(message, "pcm", None), memoryview(b"")
    if pcm is not None:
        if pcm.dtype.str not in SAMPLES or pcm.ndim > 2:
            raise WireError(
                f"audio must be one channel of floats in -1..1, not {pcm.dtype} of shape "
                f"{pcm.shape}"
            )
        header["array"] = [pcm.dtype.str, list(pcm.shape)]
    text = json.dumps(header, default=_plain).encode("ascii")
    _check_lengths(len(text), pcm.nbytes if pcm is not None else 0)
    if pcm is not None:
        import numpy as np

        samples: Any = np.ascontiguousarray(pcm).reshape(-1).view(np.uint8)
        payload = memoryview(samples)
    return PREFIX.pack(MAGIC, len(text), payload.nbytes) + text, payload


def _plain(value: Any) -> Any:
    """numpy's numbers, which engines like to return, as Python's."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot go to another interpreter: {value!r}")


def _check_lengths(header: int, payload: int) -> None:
    for what, length, limit in (
        ("header", header, HEADER_LIMIT),
        ("payload", payload, PAYLOAD_LIMIT),
    ):
        if length > limit:
            raise WireError(
                f"a frame with a {what} of {length} bytes is too large; at most {limit} are allowed"
            )


@dataclass
class Decoder:
    """Bytes as they come in, in pieces of any size, to messages."""

    _held: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes; exhaust it.

        `WireError` at the first byte that fits no frame: then all is lost.
        """
        self._held += data
        while self._held:
            start = self._held[:4]
            if start != MAGIC[: len(start)]:
                raise WireError(
                    f"{bytes(self._held[:40])!r} is not a frame of the engine pipe (they begin "
                    f"with {MAGIC.decode()})"
                )
            if len(self._held) < PREFIX.size:
                return
            _, header, payload = PREFIX.unpack_from(self._held)
            _check_lengths(header, payload)
            if len(self._held) < PREFIX.size + header + payload:
                return
            samples_at = PREFIX.size + header
            text, samples = (
                bytes(self._held[PREFIX.size : samples_at]),
                self._held[samples_at : samples_at + payload],
            )
            del self._held[: samples_at + payload]
            yield _message(text, samples)


def _message(text: bytes, samples: bytearray) -> Message:
    try:
        header = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise WireError(f"the header {text[:80]!r} is not a JSON object")
    kind = TYPES.get(str(header.pop("is", "")))
    if kind is None:
        raise WireError(f"the header {text[:80]!r} names no message; known: {', '.join(TYPES)}")
    known = {one.name: KINDS[str(one.type)] for one in fields(kind) if one.name != "pcm"}
    array = header.pop("array", None)
    wrong = [
        n
        for n in header.keys() | known.keys()
        if n not in header or n not in known or not _is(header[n], known[n])
    ]
    if wrong:
        raise WireError(
            f"the {kind.__name__} {text[:80]!r} lacks or should not have: "
            f"{', '.join(sorted(wrong))}"
        )
    if array is not None and "pcm" in {one.name for one in fields(kind)}:
        header["pcm"] = _array(array, samples)
    elif samples or array is not None:
        raise WireError(
            f"the {kind.__name__} {text[:80]!r} has a payload of {len(samples)} bytes that does "
            "not belong to it"
        )
    message: Message = kind(**header)
    return message


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _array(described: Any, samples: bytearray) -> NDArray[Any]:
    """The samples as an array that an engine may write to."""
    import numpy as np

    try:
        name, shape = described
        if math.prod(shape) * SAMPLES[name] == len(samples) and len(shape) <= 2 and min(shape) >= 0:
            array: NDArray[Any] = np.frombuffer(samples, np.dtype(name)).reshape(shape)
            return array
    except (KeyError, TypeError, ValueError):
        pass
    raise WireError(
        f"an array described as {str(described)[:80]} does not fit into {len(samples)} bytes"
    )
