"""Audio files of every kind to PCM through PyAV, in chunks, so that hours of audio need no memory.

Runs in a child process (`child`). Uploads are opened as data only: no playlist, no other file, no
network, whatever the bytes ask for. A file that declares more audio than allowed is refused before
it is decoded; one that decodes to more is cut off with an error. Everything else that FFmpeg's
command line reads is read: damaged packets are skipped, and the format may change in the middle.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import av.error
from av.stream import Disposition

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.errors import WhisperFusionError
from whisperfusion.runtime.resampling import Converter
from whisperfusion.wire.languages import code_of

LONGEST_S = 12 * 3600.0  # of sound in one file
# beyond FREE_S, audio must have at least as many bytes a second as any speech codec
FREE_S, LEAST_BYTES_S = 300.0, 50.0
MOST_STREAMS = 64  # films have a dozen
MOST_LINKS = 1000  # of a chained Ogg
LOWEST_RATE, HIGHEST_RATE = 4000, 384_000
PIECE_S = 1.0  # of audio in one chunk
SIGN_S = 60.0  # of skipped audio after which an empty chunk is yielded as a sign of life
# Containers that hold their own data. Not among them: hls, dash, concat, image sequences and
# everything else that opens other files.
CONTAINERS = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dts,flac,flv,gsm,matroska,webm,mov,"
    "mp4,m4a,3gp,3g2,mj2,mp2,mp3,mpeg,mpegts,ogg,opus,tta,voc,w64,wav,wv"
)
SAFE = {
    "protocol_whitelist": "file,pipe",
    "format_whitelist": CONTAINERS,
    "probesize": "5000000",
    "analyzeduration": "5000000",
}
LINK = re.compile(rb"OggS\0[\x02\x03\x06\x07]")  # the first page of a stream
SEND = "send wav, mp3, m4a, flac, ogg or webm"


class Undecodable(WhisperFusionError):
    """The file is not audio that can be decoded; the text says why."""


def pieces(
    file: BinaryIO,
    rate: int = MICROPHONE_RATE,
    offset_s: float = 0.0,
    length_s: float | None = None,
    language: str | None = None,
) -> Iterator[bytes]:
    """s16 mono at `rate` in chunks of about a second; an empty one while audio is skipped.

    `file` must be seekable. `language` selects one of several tracks. Raises Undecodable.
    """
    size = file.seek(0, 2)
    longest_s = min(LONGEST_S, FREE_S + size / LEAST_BYTES_S)
    nothing = True
    try:
        for piece in _span(_decoded(file, rate, language), rate, offset_s, length_s, longest_s):
            nothing = False
            yield piece
    except MemoryError:
        raise Undecodable(f"this file needs more memory than is allowed; {SEND}") from None
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        why = error.__class__.__name__
        raise Undecodable(f"this is not an audio file that can be read ({why}); {SEND}") from error
    if nothing and not offset_s:
        raise Undecodable(f"the file has no sound; {SEND}")


def _decoded(file: BinaryIO, rate: int, language: str | None) -> Iterator[bytes]:
    """The links of a chained Ogg, one by one: FFmpeg's demuxer stops at a format change."""
    start = 0
    for _ in range(MOST_LINKS):
        try:
            with av.open(
                _Source(file, start), mode="r", options=SAFE, metadata_errors="ignore"
            ) as container:
                frames = Frames(container, _track(container, language))
                yield from _converted(frames, rate)
                broken = container.format.name == "ogg" and frames.broken
        except (av.error.FFmpegError, Undecodable) as error:
            if not start or isinstance(error, MemoryError):
                raise
            return
        following = next_link(file, start + max(1, frames.position)) if broken else None
        if following is None:
            return
        start = following


def _track(container: Any, language: str | None) -> Any:
    """The track in the requested language, else the default one, else the first decodable one."""
    if len(container.streams) > MOST_STREAMS:
        raise Undecodable(f"the file has {len(container.streams)} streams; allowed: {MOST_STREAMS}")
    if not container.streams.audio:
        raise Undecodable(f"the file has no sound; {SEND}")
    tracks = [stream for stream in container.streams.audio if _has_decoder(stream)]
    if not tracks:
        raise Undecodable(f"the sound in this file is in a codec that cannot be read; {SEND}")
    declared = (container.duration or 0) / av.time_base
    if declared > LONGEST_S:
        hours = f"{declared / 3600:.0f} hours; allowed: {LONGEST_S / 3600:.0f}"
        raise Undecodable(f"the file says that it lasts {hours}")
    spoken = [
        one for one in tracks if language and code_of(one.metadata.get("language", "")) == language
    ]
    default = [one for one in spoken or tracks if one.disposition & Disposition.default]
    chosen = (default or spoken or tracks)[0]
    if chosen.codec_context.sample_rate:  # else the decoder knows it
        _check_rate(chosen.codec_context.sample_rate)
    return chosen


def _has_decoder(stream: Any) -> bool:
    """Decoding a stream without one crashes the process: PyAV gives it no codec context."""
    context = stream.codec_context
    if context is None or not context.is_decoder:
        return False
    # raw samples without frames: what the header lacks cannot be learnt later
    raw = context.name.startswith("pcm_")
    return not raw or bool(context.sample_rate and context.layout.nb_channels)


def _check_rate(rate: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        allowed = f"{LOWEST_RATE} to {HIGHEST_RATE}"
        raise Undecodable(f"the sound has {rate} samples a second; allowed: {allowed}")


class Frames:
    """The decodable frames of a track: damaged packets are skipped, and a truncated file ends at
    its last packet.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.broken = False  # the container could not be read to its end
        self.damaged = False  # a packet could not be decoded
        self.position = 0  # in the file, of the last packet

    def __iter__(self) -> Iterator[Any]:
        self._stream.codec_context.thread_count = 1
        packets = self._container.demux(self._stream)
        while (packet := self._next(packets)) is not None:
            self.position = packet.pos or self.position
            yield from self._decoded(packet)
        if self.broken:  # else the last packet was an empty one, which drains the decoder
            yield from self._decoded(None)

    def _next(self, packets: Iterator[Any]) -> Any:
        try:
            return next(packets, None)
        # IndexError: PyAV, for a stream that appears late
        except (av.error.FFmpegError, IndexError) as error:
            _check_memory(error)
            self.broken = True
            return None

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(self._stream.codec_context.decode(packet))
        except av.error.FFmpegError as error:
            _check_memory(error)
            self.damaged = True
            return []


def _check_memory(error: Exception) -> None:
    if isinstance(error, MemoryError):
        raise error


def _converted(frames: Frames, rate: int) -> Iterator[bytes]:
    converter, nothing = Converter("s16", rate), True
    for frame in frames:
        if not frame.layout.nb_channels or not frame.samples:
            continue
        _check_rate(frame.sample_rate)
        frame.pts = None  # holes and jumps in the time stamps of a broken file are not silence
        nothing = False
        yield from _bytes(converter.feed(frame))
    if nothing and frames.damaged:
        raise Undecodable(
            f"this is not an audio file that can be read (none of it can be decoded); {SEND}"
        )
    yield from _bytes(converter.feed(None))


def _bytes(parts: list[Any]) -> Iterator[bytes]:
    for part in parts:
        yield bytes(part.planes[0])[: 2 * part.samples]


def _span(
    parts: Iterator[bytes], rate: int, offset_s: float, length_s: float | None, longest_s: float
) -> Iterator[bytes]:
    """Chunks of about a second, of the requested time span; positions are in bytes."""
    second = 2 * rate
    position, begin, signed = 0, 2 * round(offset_s * rate), 0.0
    end = None if length_s is None else begin + 2 * round(length_s * rate)
    held = bytearray()
    for part in parts:
        held += part[max(0, begin - position) : None if end is None else max(0, end - position)]
        position += len(part)
        if len(held) >= PIECE_S * second:
            yield bytes(held)
            held.clear()
        elif not held and position > signed + SIGN_S * second:
            signed = position
            yield b""
        if end is not None and position >= end:
            break
        if position > longest_s * second:
            raise Undecodable(
                f"the file holds more than {longest_s / 3600:.1f} hours of sound, which is more "
                "than one of its size may"
            )
    if held:
        yield bytes(held)


class _Source:
    """A file from `start` on, as FFmpeg reads it."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        file.seek(start)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position, or FFmpeg's error number: PyAV does not handle an exception here."""
        try:
            return self._file.seek(offset + (0 if whence else self._start), whence) - self._start
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL

    def tell(self) -> int:
        return self._file.tell() - self._start


def next_link(file: BinaryIO, after: int) -> int | None:
    """The offset of the next stream of a chained Ogg; None = there is none."""
    file.seek(after)
    at, held = after, b""
    while data := file.read(65_536):
        held += data
        found = LINK.search(held)
        if found is not None:
            return at + found.start()
        at, held = at + len(held) - 5, held[-5:]
    return None
