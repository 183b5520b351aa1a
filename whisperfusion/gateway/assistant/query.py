"""What the address and the text frames of /ws say."""

from __future__ import annotations

import json
from typing import Any

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.wire.openai_rest import ApiError

TEXT_LENGTH = 256 * 1024  # of a text frame
MPEG = tuple(bytes((0xFF, second)) for second in (0xFB, 0xF3, 0xF2, 0xF1, 0xF9))  # MP3, AAC
# how files begin; the first five are WAV, Ogg, WebM, MP3 with tags and FLAC
FILES = (b"RIFF", b"OggS", b"\x1aE\xdf\xa3", b"ID3", b"fLaC", b"FORM", b"caff", *MPEG)


class Query:
    """The audio in both directions, by the parameters of the address. Raises ApiError."""

    def __init__(self, values: dict[str, str]) -> None:
        self.format, self.output = values.get("format", "auto"), values.get("output", "wav")
        if self.format not in ("auto", "raw", "pcm", "wav", "file"):
            raise ApiError(
                400,
                f"format is {self.format[:40]!r}; allowed: auto, raw, file",
                code="invalid_value",
            )
        if self.output not in ("wav", "pcm", "raw"):
            raise ApiError(
                400, f"output is {self.output[:40]!r}; allowed: wav, pcm", code="invalid_value"
            )
        self.session = values.get("session", "")  # to go on with
        self.rate, self.channels = (
            _whole(values, "sample_rate", MICROPHONE_RATE, 4000, 192_000),
            _whole(values, "channels", 1, 1, 8),
        )

    def is_file(self, begins: bytes) -> bool:
        return self.format in ("wav", "file") or self.format == "auto" and begins.startswith(FILES)


def _whole(values: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name, str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ApiError(
            400,
            f"{name} is {text[:40]!r}; allowed: a whole number from {low} to {high}",
            code="invalid_value",
        )
    return int(text)


def message_type(text: str) -> str:
    """The type of a text frame; "" = none that is known. Raises ApiError."""
    values = _read(text)
    if values is None:
        allowed = f"one JSON object with a type, of at most {TEXT_LENGTH // 1024} KiB"
        raise ApiError(400, f"a text frame must be {allowed}", code="bad_frame")
    return str(values.get("type")) if isinstance(values, dict) else ""


def names_itself(text: str) -> bool:
    """Whether a first frame is the handshake of a WhisperLive client."""
    values = _read(text)
    return isinstance(values, dict) and "uid" in values and "type" not in values


def _read(text: str) -> Any:
    """The value of a JSON text; None for a text that is not JSON, or too long."""
    try:
        return json.loads(text) if len(text) <= TEXT_LENGTH else None
    except (ValueError, RecursionError):
        return None
