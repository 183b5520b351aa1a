"""Hostile input, made by a seeded generator: damaged files and messages that are almost right.

Everything here is a pure function of `random.Random`, so that a finding can be made again from its
seed and number.
"""

from __future__ import annotations

import io
import json
import random
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE

KINDS = (  # container, codec: each is written by FFmpeg and read by the server
    ("wav", "pcm_s16le"),
    ("wav", "pcm_u8"),
    ("wav", "pcm_alaw"),
    ("wav", "adpcm_ms"),
    ("w64", "pcm_s16le"),
    ("voc", "pcm_u8"),
    ("caf", "pcm_s16le"),
    ("caf", "pcm_mulaw"),
    ("aiff", "pcm_s16be"),
    ("au", "pcm_mulaw"),
    ("flac", "flac"),
    ("mp3", "libmp3lame"),
    ("adts", "aac"),
    ("mp4", "aac"),
    ("mov", "pcm_s16le"),
    ("mov", "alac"),
    ("ogg", "libvorbis"),
    ("ogg", "libopus"),
    ("webm", "libopus"),
    ("matroska", "flac"),
    ("flv", "libmp3lame"),
    ("mpegts", "aac"),
    ("avi", "pcm_s16le"),
    ("asf", "wmav2"),
    ("tta", "tta"),
    ("wv", "wavpack"),
    ("ac3", "ac3"),
    ("eac3", "eac3"),
)
RATES = {"libmp3lame": 44_100, "wmav2": 44_100, "libopus": 48_000}  # that FFmpeg writes them with
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD_BYTES = 160  # of a file, where its numbers are: hit more often than the rest
WORDS = (
    "hello",
    "alpha beta",
    "recall",
    "forever",
    "explode",
    "unspeakable",
    "",
    " ",
    "\u0000",
    "\ud800",
    "😀" * 50,
    "₹°İ£",
    "<|im_end|>",
    "<|nospeech|>",
    "</think>",
    "<think>",
    "、" * 300,
    "a" * 5000,
    "christopher.robinson@universityhospital.org and so on",
    "no " * 400,
    "555-0134",
    "\u202e",
    "..",
    "{" * 200,
    "[" * 200,
    '"\\' * 100,
    "۵" * 40,
    "ﷺ" * 80,
    "a.b." * 500 + "@",
    "../../etc/passwd",
)
NUMBERS = (
    0,
    1,
    -1,
    0.5,
    2**31,
    2**63,
    -(2**63),
    10**40,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    1e-320,
)


def sources() -> list[tuple[str, bytes]]:
    """Small honest files of many kinds, 0.3 s of two tones each, as (container, content)."""
    made = []
    for container, codec in KINDS:
        data = _file(container, codec)
        if data:
            made.append((container, data))
    return made


def _file(container: str, codec: str) -> bytes:
    """Empty where this build of FFmpeg cannot write the kind."""
    import av
    import av.error

    at = np.arange(int(0.3 * MICROPHONE_RATE)) / MICROPHONE_RATE
    pcm = (0.3 * np.sin(2 * np.pi * 440 * at) + 0.2 * np.sin(2 * np.pi * 3000 * at)).astype(
        np.float32
    )
    out = io.BytesIO()
    try:
        with av.open(out, mode="w", format=container) as output:
            rate = RATES.get(codec, MICROPHONE_RATE)
            stream: Any = output.add_stream(codec, rate=rate, layout="mono")
            resampler = av.AudioResampler(
                format=stream.codec_context.format,
                layout="mono",
                rate=rate,
                frame_size=stream.codec_context.frame_size or None,
            )
            frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="fltp", layout="mono")
            frame.sample_rate = MICROPHONE_RATE
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError, TypeError, AttributeError):
        return b""
    return out.getvalue()


def damaged(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """`data` after one to four damages; some of them put pieces of `others` into it."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(_DAMAGES)(made, others, chance)
        if not made:
            made += b"RIFF"
    return bytes(made)


def _place(made: bytearray, chance: random.Random) -> int:
    limit = min(len(made), HEAD_BYTES) if chance.random() < 0.7 else len(made)
    return chance.randrange(max(1, limit))


def _flip(made: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    for _i in range(chance.choice((1, 3, 30))):
        made[_place(made, chance)] ^= 1 << chance.randrange(8)


def _extreme(made: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    size, order = chance.choice((1, 2, 4)), chance.choice(("little", "big"))
    at, value = _place(made, chance), chance.choice(EXTREMES) & (256**size - 1)
    made[at : at + size] = value.to_bytes(size, order)


def _cut(made: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    at = _place(made, chance)
    del made[at : at + chance.choice((1, 4, 60, 100_000))]


def _repeat(made: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    at = _place(made, chance)
    piece = bytes(made[at : at + chance.choice((4, 40, 400))])
    made[at:at] = piece * chance.choice((1, 2, 50))


def _noise(made: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    at, size = _place(made, chance), chance.choice((4, 40, 300))
    made[at : at + size] = chance.randbytes(size)


def _splice(made: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    other, at = chance.choice(others), _place(made, chance)
    made[at:] = other[chance.randrange(len(other)) :]


def _head(made: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    other, size = chance.choice(others), chance.choice((12, 44, 120))
    made[:size] = other[:size]


_DAMAGES = (_flip, _flip, _extreme, _extreme, _extreme, _cut, _repeat, _noise, _splice, _head)


# --- messages -----------------------------------------------------------------------------------


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, mostly an unusual one."""
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind == 0:
        return chance.choice(NUMBERS)
    if kind == 1:
        return chance.choice((None, True, False))
    if kind == 2:
        return "".join(chance.choices(string.printable, k=chance.choice((1, 9, 300))))
    if kind == 3:
        return "".join(chr(chance.randrange(1, 0x2FFF)) for _ in range(chance.choice((1, 20, 200))))
    if kind in (4, 5):
        return chance.choice(WORDS)
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 60)))]
    return {
        str(value(chance, 9))[:40]: value(chance, depth + 1) for _ in range(chance.randrange(5))
    }


def disturbed(message: Mapping[str, Any], chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """A copy of `message` in which some fields are gone, changed or new."""
    made: dict[str, Any] = {}
    for name, old in message.items():
        luck = chance.random()
        if luck < 0.06:
            continue
        if luck < 0.22 and not (name == "type" and depth == 0 and luck < 0.2):
            made[name] = value(chance)
        elif isinstance(old, Mapping):
            made[name] = disturbed(old, chance, depth + 1)
        elif isinstance(old, list) and old and isinstance(old[0], Mapping):
            made[name] = [disturbed(one, chance, depth + 1) for one in old] * chance.choice(
                (1, 1, 1, 40)
            )
        else:
            made[name] = old
    if chance.random() < 0.1:
        made[str(value(chance, 9))[:40]] = value(chance)
    return made


def text_of(message: Mapping[str, Any], chance: random.Random) -> str:
    """JSON of a disturbed `message`; now and then something that is not JSON."""
    luck = chance.random()
    if luck < 0.03:
        return str(value(chance, 9))
    if luck < 0.05:
        deep = chance.choice((60, 3000))
        return '{"type":' + "[" * deep + "]" * deep + "}"
    made = json.dumps(disturbed(message, chance))
    return made if luck < 0.97 else made[: chance.randrange(len(made))]


def sendable(text: str) -> str:
    """Without halves of surrogate pairs, which no WebSocket client can put into a text frame."""
    return text.encode("utf-8", "replace").decode()


def sound(chance: random.Random) -> bytes:
    """A binary frame: noise, silence, floats that are not numbers, nothing, or half a sample."""
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.choice((1, 3, 640, 4000)))
    if kind == 1:
        return bytes(chance.choice((0, 2, 3200, 9601)))
    if kind == 2:
        return np.full(800, chance.choice((np.nan, np.inf, -1e30, 5.0)), "<f4").tobytes()
    at = np.arange(chance.choice((160, 1600))) / MICROPHONE_RATE
    tone = 0.3 * np.sin(2 * np.pi * (400 + 50 * chance.randrange(44)) * at)
    return (tone * 32767).astype("<i2").tobytes() if kind == 3 else tone.astype("<f4").tobytes()
