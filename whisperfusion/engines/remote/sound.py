"""Sound as servers send it, 16-bit samples in pieces of any size, as float32 at 24 kHz.

Raw samples have the rate that was asked for. A WAV header may come before them, once or in each
piece; then its rate counts. What is compressed is refused, because a decoder would hold back the
first sounds.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.errors import EngineError

COMPRESSED = (b"ID3", b"OggS", b"fLaC")
RIFF, DATA = b"RIFF", b"data"
LONGEST_HEAD = 4096  # bytes
KINDS = {(1, 16): "<i2", (65534, 16): "<i2", (3, 32): "<f4"}  # of WAV: format, bits
CROSSINGS = 16  # of the interpolating function, each side


class SoundReader:
    """`rate` of samples without a header."""

    def __init__(self, rate: int) -> None:
        self._rate, self._channels, self._kind = rate, 1, np.dtype("<i2")
        self._held, self._begun = b"", False
        self._resampler: Resampler | None = None

    def restart(self) -> None:
        """What comes next may have a header of its own."""
        self._begun = False

    def feed(self, data: bytes) -> Samples:
        """float32 [samples]; empty while there is less than a header or a sample."""
        data = self._held + data
        if not self._begun:
            start = self._start(data)
            if start is None:
                self._held = data
                return np.zeros(0, np.float32)
            data, self._begun = data[start:], True
        size = self._kind.itemsize * self._channels
        whole = len(data) // size * size
        self._held = data[whole:]
        samples = np.frombuffer(data[:whole], self._kind).astype(np.float32)
        if self._kind.kind == "i":
            samples /= 32768
        return self._at_24_khz(samples.reshape(-1, self._channels).mean(1, dtype=np.float32))

    def rest(self) -> Samples:
        """At the end. Raises EngineError when a sample is cut in two: the end was lost."""
        if self._held:
            raise EngineError("the text to speech server broke off in the middle of a sample")
        return self._resampler.rest() if self._resampler else np.zeros(0, np.float32)

    def _at_24_khz(self, pcm: Samples) -> Samples:
        if self._rate != SPEECH_RATE and self._resampler is None:
            self._resampler = Resampler(self._rate)
        return self._resampler.feed(pcm) if self._resampler else pcm

    def _start(self, data: bytes) -> int | None:
        """Where the samples begin; None = that is not there yet."""
        if data.startswith(COMPRESSED):
            raise EngineError(
                "the text to speech server sends compressed sound, not the pcm or wav that it was "
                "asked for; this engine plays nothing else"
            )
        if len(data) < len(RIFF) and RIFF.startswith(data):
            return None
        if not data.startswith(RIFF):
            return 0
        at = 12
        while len(data) >= at + 8:
            name, length = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
            if name == DATA:
                return at + 8
            if name == b"fmt " and len(data) >= at + 24:
                self._format(*struct.unpack_from("<HHIIHH", data, at + 8))
            at += 8 + length + length % 2
        if len(data) > LONGEST_HEAD:
            raise EngineError("the text to speech server sent a WAV header without an end")
        return None

    def _format(self, kind: int, channels: int, rate: int, _: int, __: int, bits: int) -> None:
        if (kind, bits) not in KINDS or not channels or not rate:
            raise EngineError(
                f"the text to speech server sends WAV of format {kind} with {bits} bits; 16-bit "
                "PCM is needed"
            )
        self._rate, self._channels, self._kind = rate, channels, np.dtype(KINDS[kind, bits])


class Resampler:
    """Pieces at `rate` to 24 kHz, by interpolation with a windowed sinc, without seams."""

    def __init__(self, rate: int) -> None:
        self._step = rate / SPEECH_RATE
        self._cut = min(1.0, SPEECH_RATE / rate)  # of the band, as a part of the input's
        self._half = math.ceil(CROSSINGS / self._cut)  # samples each side
        self._held: Samples = np.zeros(self._half, np.float32)
        self._at = float(self._half)  # where in them the next sample is

    def feed(self, pcm: Samples) -> Samples:
        half, held = self._half, np.concatenate((self._held, pcm))
        count = max(0, math.ceil((len(held) - half - self._at) / self._step))
        places = self._at + self._step * np.arange(count)
        places = places[places < len(held) - half]  # a quotient is rounded
        index = np.floor(places).astype(int)[:, None] + np.arange(1 - half, half + 1)
        away = places[:, None] - index
        weights = self._cut * np.sinc(self._cut * away) * (0.5 + 0.5 * np.cos(np.pi * away / half))
        made: Samples = (held[index] * weights).sum(1).astype(np.float32)
        self._at += self._step * len(places)
        done = int(self._at) - half
        self._held, self._at = held[done:], self._at - done
        return made

    def rest(self) -> Samples:
        return self.feed(np.zeros(self._half, np.float32))
