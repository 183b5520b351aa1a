"""Sound on the wire: headerless little-endian mono samples, as three formats that clients ask
for by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MICROPHONE_FORMATS = ("float32", "int16", "uint8")
SPOKEN_FORMATS = ("float32", "int16")
DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "int16": np.dtype("<i2"),
    "uint8": np.dtype("u1"),
}


class AudioDecoder:
    """One caller's frames to float32 samples in -1..1, whatever the size of the frames.

    What is left of a sample at the end of a frame waits for the next. NaN and infinity become 0,
    because one of them would poison every later step of a model.
    """

    def __init__(self, audio_format: str) -> None:
        self._format = audio_format
        self._dtype = DTYPES[audio_format]
        self._rest = b""

    def feed(self, frame: bytes) -> NDArray[np.float32]:
        """float32 [samples]; empty when the frame completes no sample."""
        data = self._rest + bytes(frame)
        whole = len(data) - len(data) % self._dtype.itemsize
        self._rest = data[whole:]
        samples: NDArray[np.float32] = np.frombuffer(data[:whole], dtype=self._dtype).astype(
            np.float32
        )
        if self._format == "int16":
            samples /= 32768
            return samples
        if self._format == "uint8":
            samples -= 128
            samples /= 128
            return samples
        samples[~np.isfinite(samples)] = 0.0
        np.clip(samples, -1.0, 1.0, out=samples)
        return samples


def encode(pcm: NDArray[np.float32], audio_format: str) -> bytes:
    """float32 [samples] in -1..1 as `float32` or `int16` bytes; louder samples are clipped."""
    samples: NDArray[np.float32] = np.clip(pcm, -1.0, 1.0)
    if audio_format == "int16":
        samples = np.round(samples * 32767.0)
    return bytes(samples.astype(DTYPES[audio_format]).tobytes())


def decode(data: bytes, audio_format: str) -> NDArray[np.float32]:
    """A whole message as float32 [samples]; bytes after the last whole sample are dropped."""
    return AudioDecoder(audio_format).feed(data)
