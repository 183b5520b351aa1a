"""Whole recordings for servers of speech to text, in pieces that they accept, a few at once."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import ASROptions, Recording, Segment
from whisperfusion.engines.whisper.utterance import moved, quietest

PIECE_FROM_S, PIECE_S = 100.0, 120.0  # a recording is cut at its quietest place between the two
SHORTEST_S = 0.2  # servers refuse less than a tenth


def read_recordings(
    recordings: Sequence[Recording],
    wanted: Callable[[int], bool],
    read: Callable[[Samples, ASROptions, Callable[[], bool]], Iterable[Segment]],
    pool: Executor,
) -> Iterator[tuple[int, Segment]]:
    """What `BatchASR.transcribe_batch` gives; `read` is one request, times from its start,
    and may end early when what it asks with its last argument is false: it is of no use any more.
    """
    pieces = [
        (at, start_s, piece, options)
        for at, (pcm, options) in enumerate(recordings)
        for start_s, piece in cut(checked(pcm))
    ]

    def found(piece: tuple[int, float, Samples, ASROptions]) -> tuple[int, list[Segment]]:
        at, start_s, pcm, options = piece
        segments = read(pcm, options, lambda: wanted(at)) if wanted(at) else ()
        return at, [moved(segment, start_s) for segment in segments]

    for at, segments in pool.map(found, pieces):
        for segment in segments:
            yield at, segment


def cut(pcm: Samples) -> Iterator[tuple[float, Samples]]:
    """Pieces of at most `PIECE_S`, each with its start in seconds."""
    start = 0
    while len(pcm) - start > PIECE_S * MICROPHONE_RATE:
        end_s = quietest(pcm[start : start + int(PIECE_S * MICROPHONE_RATE)], PIECE_FROM_S, PIECE_S)
        end = start + int(end_s * MICROPHONE_RATE)
        yield start / MICROPHONE_RATE, pcm[start:end]
        start = end
    if len(pcm) > start:
        yield start / MICROPHONE_RATE, pcm[start:]


def as_wav(pcm: Samples) -> bytes:
    """16 bits, one channel, filled up with silence to what servers accept."""
    pcm = np.pad(pcm, (0, max(0, int(SHORTEST_S * MICROPHONE_RATE) - len(pcm))))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(MICROPHONE_RATE)
        out.writeframes(as_bytes(pcm))
    return file.getvalue()


def as_bytes(pcm: Samples) -> bytes:
    """16-bit samples."""
    return (np.clip(pcm, -1.0, 1.0) * 32767).astype("<i2").tobytes()
