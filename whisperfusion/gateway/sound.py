"""Sound as Realtime clients send and want it, while it comes: PCM at 24 kHz or G.711 at 8 kHz,
to and from ours.
"""

from __future__ import annotations

from typing import Any, Literal

import av
import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE
from whisperfusion.runtime.resampling import Converter
from whisperfusion.wire.realtime import PCM, RATES, ULAW


class _Resampler:
    """s16 mono from one rate to another, in pieces; filters are kept between them."""

    def __init__(self, rate: int, wanted: int) -> None:
        self._rate, self._same = rate, rate == wanted
        self._converter = Converter("s16", wanted)

    def feed(self, data: bytes) -> bytes:
        if self._same or not data:
            return data
        frame = av.AudioFrame.from_ndarray(
            np.frombuffer(data, "<i2")[np.newaxis], format="s16", layout="mono"
        )
        frame.sample_rate = self._rate
        return self._bytes(self._converter.feed(frame))

    def close(self) -> bytes:
        return b"" if self._same else self._bytes(self._converter.feed(None))

    def _bytes(self, parts: list[Any]) -> bytes:
        return b"".join(part.to_ndarray()[0].astype("<i2").tobytes() for part in parts)


class InputConverter:
    """Audio of a client, in its format, to s16 at 16 kHz."""

    def __init__(self, kind: str) -> None:
        self._kind, self._rest = kind, b""
        self._resampler = _Resampler(RATES[kind], MICROPHONE_RATE)

    def feed(self, data: bytes) -> bytes:
        if self._kind != PCM:
            return self._resampler.feed(expanded(data, self._kind))
        data = self._rest + data
        whole = len(data) - len(data) % 2
        self._rest = data[whole:]
        return self._resampler.feed(data[:whole])


class OutputConverter:
    """s16 at 24 kHz to the format that the client asked for."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._resampler = _Resampler(SPEECH_RATE, RATES[kind])

    def feed(self, data: bytes) -> bytes:
        return self._out(self._resampler.feed(data))

    def close(self) -> bytes:
        return self._out(self._resampler.close())

    def _out(self, data: bytes) -> bytes:
        return data if self._kind == PCM or not data else companded(data, self._kind)


def milliseconds(kind: str, size: int) -> float:
    """How long `size` bytes of a format last."""
    return size / (RATES[kind] * (2 if kind == PCM else 1)) * 1000


def _codec(kind: str, mode: Literal["r", "w"]) -> Any:
    name: Literal["pcm_mulaw", "pcm_alaw"] = "pcm_mulaw" if kind == ULAW else "pcm_alaw"
    codec: Any = av.CodecContext.create(name, mode)
    codec.sample_rate, codec.layout = 8000, "mono"
    if mode == "w":
        codec.format = "s16"
    return codec


def expanded(data: bytes, kind: str) -> bytes:
    """G.711 to s16, both at 8 kHz."""
    if not data:
        return b""
    return b"".join(
        frame.to_ndarray().astype("<i2").tobytes()
        for frame in _codec(kind, "r").decode(av.Packet(data))
    )


def companded(data: bytes, kind: str) -> bytes:
    """s16 to G.711, both at 8 kHz."""
    frame = av.AudioFrame.from_ndarray(
        np.frombuffer(data, "<i2")[np.newaxis], format="s16", layout="mono"
    )
    frame.sample_rate = 8000
    codec = _codec(kind, "w")
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))
