"""Samples to files of every kind through PyAV, piece by piece, and headerless samples to ours.

Files are decoded by `decoders`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.runtime.resampling import Converter


class Encoder:
    """Mono float32 at `rate` to the bytes of one file, as they come.

    `stretch`: 2.0 = twice as fast, at the same pitch.
    """

    def __init__(self, output: str, rate: int, wanted_rate: int, stretch: float = 1.0) -> None:
        self._out = _Written()
        self._rate, self._position = rate, 0
        self._container: Any = None
        if output in ("pcm", "wav"):
            self._converter = Converter("s16", wanted_rate, stretch=stretch)
            self._out.write(wav_header(wanted_rate) if output == "wav" else b"")
            return
        kind, codec, options = {
            "mp3": ("mp3", "libmp3lame", {"write_xing": "0"}),
            "opus": ("ogg", "libopus", {"page_duration": "100000"}),
            "aac": ("adts", "aac", {}),
            "flac": ("flac", "flac", {}),
        }[output]
        self._container = av.open(self._out, mode="w", format=kind, options=options)
        self._stream = self._container.add_stream(
            codec, rate=_codec_rate(output, wanted_rate), layout="mono"
        )
        context = self._stream.codec_context
        context.thread_count = 1
        context.time_base = Fraction(1, context.sample_rate)
        context.open()  # only then it knows its frame size
        self._converter = Converter(
            context.format.name, context.sample_rate, frame_size=context.frame_size, stretch=stretch
        )

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        """Releases what FFmpeg holds, also of a file that was not finished."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def encode(self, pcm: Samples) -> bytes:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm[np.newaxis], np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = (
            self._rate,
            self._position,
            Fraction(1, self._rate),
        )
        self._position += len(pcm)
        return self._convert(frame)

    def close(self) -> bytes:
        """What is still held back, and the end of the file."""
        last = self._convert(None)
        if self._container is not None:
            self._mux(None)
            self.__exit__()
        return last + self._out.taken()

    def _convert(self, frame: Any) -> bytes:
        for part in self._converter.feed(frame):
            if self._container is None:
                self._out.write(part.to_ndarray()[0].astype("<i2").tobytes())
            else:
                self._mux(part)
        return self._out.taken()

    def _mux(self, frame: Any) -> None:
        """A frame as the codec wants it; None = it was the last.

        Not `encode`: PyAV would send it through filters of its own again, with a thread for each
        core.
        """
        context = self._stream.codec_context
        for packet in context._send_frame_and_recv(frame):
            packet.stream, packet.time_base = self._stream, context.time_base
            self._container.mux(packet)


class _Written:
    """A file that can only be written: PyAV asks nothing else of it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _codec_rate(output: str, wanted: int) -> int:
    """Opus knows five rates only, mp3 and aac a dozen: the next higher one."""
    known = {"opus": (8000, 12_000, 16_000, 24_000, 48_000)}.get(
        output, (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    )
    return wanted if output == "flac" else next(rate for rate in known if rate >= wanted)


class RawDecoder:
    """Headerless s16 at any rate, channel after channel, as float32 mono at 16 kHz, while it
    comes.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels, self._rest = rate, channels, b""
        self._converter = Converter("flt", MICROPHONE_RATE)

    def feed(self, data: bytes) -> Samples:
        data = self._rest + data
        whole = len(data) - len(data) % (2 * self._channels)
        self._rest = data[whole:]
        frames = np.frombuffer(data[:whole], "<i2").reshape(-1, self._channels)
        pcm: Samples = (frames.mean(axis=1) / 32768).astype(np.float32)
        if self._rate == MICROPHONE_RATE or not len(pcm):
            return pcm
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self._rate
        return self._joined(self._converter.feed(frame))

    def close(self) -> Samples:
        """What the filters still hold."""
        return (
            np.zeros(0, np.float32)
            if self._rate == MICROPHONE_RATE
            else self._joined(self._converter.feed(None))
        )

    def _joined(self, parts: list[Any]) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *(part.to_ndarray()[0] for part in parts)])


def wav_header(rate: int, size: int | None = None) -> bytes:
    """`size` bytes of s16 mono follow.

    Of a stream whose length is not known: the largest sizes, which players read to the end; of 0
    some would read nothing.
    """
    most, data = (
        ((0xFFFFFFFF).to_bytes(4, "little"),) * 2
        if size is None
        else ((size + 36).to_bytes(4, "little"), size.to_bytes(4, "little"))
    )
    form = (
        (1).to_bytes(2, "little")
        + (1).to_bytes(2, "little")
        + rate.to_bytes(4, "little")
        + (2 * rate).to_bytes(4, "little")
    )
    return (
        b"RIFF"
        + most
        + b"WAVEfmt "
        + (16).to_bytes(4, "little")
        + form
        + (2).to_bytes(2, "little")
        + (16).to_bytes(2, "little")
        + b"data"
        + data
    )
