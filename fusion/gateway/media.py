"""Files of every kind to samples, and samples to files of every kind, through PyAV; piece by piece, so that hours need no memory.

What strangers send is opened as data only: no playlist, no other file, no network, whatever the bytes ask for. A file that declares
more than it may hold is refused before it is decoded; one that decodes to more is cut off with an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import av.error
import numpy as np

from fusion.wire.pcm import HEARD_RATE

LONGEST_S = 12 * 3600.0  # of sound in one file
MOST_STREAMS = 64  # films have a dozen
PIECE_S = 1.0  # of sound given out at once
# Containers that hold their own data. Not among them: hls, dash, concat, image sequences and whatever else opens other files.
CONTAINERS = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dts,flac,flv,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp2,mp3,mpeg,"
    "mpegts,ogg,opus,tta,voc,w64,wav,wv"
)
SAFE = {"protocol_whitelist": "file,pipe", "format_whitelist": CONTAINERS, "probesize": "5000000", "analyzeduration": "5000000"}


class Undecodable(Exception):
    """The file is no sound that can be read; the text says why."""


def samples(file: BinaryIO, rate: int = 16_000, offset_s: float = 0.0, length_s: float | None = None) -> Iterator[np.ndarray]:
    """float32 mono [samples] at `rate` in pieces of about a second. `file` can seek. Raises Undecodable."""
    try:
        with av.open(file, mode="r", options=SAFE, metadata_errors="ignore") as container:
            stream = _stream(container)
            nothing = True
            for piece in _span(_decoded(container, stream, rate), rate, offset_s, length_s):
                nothing = False
                yield piece
            if nothing and not offset_s:
                raise Undecodable("there is no sound in this file")
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise Undecodable(
            f"this is no audio file that can be read ({error.__class__.__name__}); send wav, mp3, m4a, flac, ogg or webm"
        ) from error


def _stream(container: Any) -> Any:
    if len(container.streams) > MOST_STREAMS:
        raise Undecodable(f"the file has {len(container.streams)} streams; allowed: {MOST_STREAMS}")
    if not container.streams.audio:
        raise Undecodable("there is no sound in this file")
    declared = (container.duration or 0) / av.time_base
    if declared > LONGEST_S:
        raise Undecodable(f"the file says that it lasts {declared / 3600:.0f} hours; allowed: {LONGEST_S / 3600:.0f}")
    return container.streams.audio[0]


def _decoded(container: Any, stream: Any, rate: int) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    for frame in container.decode(stream):
        frame.pts = None  # holes and jumps in the time stamps of a broken file are not silence
        for part in resampler.resample(frame):
            yield part.to_ndarray()[0]
    for part in resampler.resample(None):
        yield part.to_ndarray()[0]


def _span(parts: Iterator[np.ndarray], rate: int, offset_s: float, length_s: float | None) -> Iterator[np.ndarray]:
    """Pieces of about a second, of the stretch that was asked for."""
    position, begin = 0, round(offset_s * rate)
    end = begin + round(length_s * rate) if length_s is not None else round(LONGEST_S * rate)
    held: list[np.ndarray] = []
    for part in parts:
        wanted = part[max(0, begin - position) : max(0, end - position)]
        position += len(part)
        if len(wanted):
            held.append(wanted)
        if sum(map(len, held)) >= PIECE_S * rate:
            yield np.concatenate(held)
            held = []
        if position >= end:
            if length_s is None:
                raise Undecodable(f"the file holds more than {LONGEST_S / 3600:.0f} hours of sound")
            break
    if held:
        yield np.concatenate(held)


class Encoder:
    """Mono float32 at `rate` to the bytes of one file, as they come. `stretch`: 2.0 = twice as fast, at the same pitch."""

    def __init__(self, output: str, rate: int, wanted_rate: int, stretch: float = 1.0) -> None:
        self._out = _Written()
        self._graph = _stretching(rate, stretch) if stretch != 1.0 else None
        self._raw = output in ("pcm", "wav")
        self._resampler = av.AudioResampler(format="s16" if self._raw else "fltp", layout="mono", rate=wanted_rate)
        self._rate, self._position = rate, 0
        if output == "wav":
            self._out.write(wav_header(wanted_rate))
        if self._raw:
            return
        kind, codec, options = {
            "mp3": ("mp3", "libmp3lame", {"write_xing": "0"}),
            "opus": ("ogg", "libopus", {"page_duration": "100000"}),
            "aac": ("adts", "aac", {}),
            "flac": ("flac", "flac", {}),
        }[output]
        self._container = av.open(self._out, mode="w", format=kind, options=options)
        self._stream = self._container.add_stream(codec, rate=_codec_rate(output, wanted_rate), layout="mono")
        self._resampler = av.AudioResampler(
            format=self._stream.codec_context.format,
            layout="mono",
            rate=self._stream.codec_context.sample_rate,
            frame_size=self._stream.codec_context.frame_size,
        )

    def encode(self, pcm: np.ndarray) -> bytes:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm[np.newaxis], np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
        self._position += len(pcm)
        return self._take(frame)

    def close(self) -> bytes:
        """What is still held back, and the end of the file."""
        last = self._take(None)
        if not self._raw:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
        return last + self._out.taken()

    def _take(self, frame: Any) -> bytes:
        for stretched in self._stretched(frame):
            for part in self._resampler.resample(stretched):
                if self._raw:
                    self._out.write(part.to_ndarray()[0].astype("<i2").tobytes())
                else:
                    for packet in self._stream.encode(part):
                        self._container.mux(packet)
        return self._out.taken()

    def _stretched(self, frame: Any) -> Iterator[Any]:
        if self._graph is None:
            yield frame
            return
        self._graph.push(frame)
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
        if frame is None:
            yield None


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


def _stretching(rate: int, stretch: float) -> Any:
    """A chain of ffmpeg's atempo, each of which takes 0.5 to 2 well."""
    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(format="fltp", sample_rate=rate, layout="mono", time_base=Fraction(1, rate))]
    while abs(stretch - 1.0) > 1e-6:
        step = min(2.0, max(0.5, stretch))
        nodes.append(graph.add("atempo", f"{step}"))
        stretch /= step
    nodes.append(graph.add("abuffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _codec_rate(output: str, wanted: int) -> int:
    """Opus knows five rates only, mp3 and aac a dozen: the next higher one."""
    known = {"opus": (8000, 12_000, 16_000, 24_000, 48_000)}.get(
        output, (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    )
    return wanted if output == "flac" else next(rate for rate in known if rate >= wanted)


class RawDecoder:
    """Headerless s16 at any rate, channel after channel, as float32 mono at 16 kHz, while it comes."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels, self._rest = rate, channels, b""
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=HEARD_RATE)

    def feed(self, data: bytes) -> np.ndarray:
        data = self._rest + data
        whole = len(data) - len(data) % (2 * self._channels)
        self._rest = data[whole:]
        pcm = (np.frombuffer(data[:whole], "<i2").reshape(-1, self._channels).mean(axis=1) / 32768).astype(np.float32)
        if self._rate == HEARD_RATE or not len(pcm):
            return pcm
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self._rate
        return self._joined(self._resampler.resample(frame))

    def close(self) -> np.ndarray:
        """What the resampler still holds."""
        return np.zeros(0, np.float32) if self._rate == HEARD_RATE else self._joined(self._resampler.resample(None))

    def _joined(self, parts: list[Any]) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.float32), *(part.to_ndarray()[0] for part in parts)])


def wav_header(rate: int, size: int | None = None) -> bytes:
    """`size` bytes of s16 mono follow. Of a stream whose length is not known: the largest sizes, which players read to the end; of 0
    some would read nothing."""
    most, data = (
        ((0xFFFFFFFF).to_bytes(4, "little"),) * 2 if size is None else ((size + 36).to_bytes(4, "little"), size.to_bytes(4, "little"))
    )
    form = (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little")
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
