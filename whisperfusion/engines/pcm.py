"""What every engine that listens demands of its audio."""

from __future__ import annotations

from math import isfinite

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.errors import EngineError


def checked(pcm: Samples) -> Samples:
    """`pcm` as contiguous float32 [samples]; `EngineError` when it is anything else or has NaN
    or infinity in it.
    """
    if pcm.ndim != 1 or pcm.dtype.kind != "f":
        raise EngineError(
            f"audio must be one channel of floats in -1..1, not {pcm.dtype} of shape {pcm.shape}"
        )
    # the sum of squares costs a third; of finite samples it is finite unless they are far too loud
    if not isfinite(float(pcm.dot(pcm))) and not np.isfinite(pcm).all():
        raise EngineError("the audio has values that are not numbers; check what the client sends")
    return np.ascontiguousarray(pcm, dtype=np.float32)


def loudest(pcm: Samples, window: int = 480) -> float:
    """Root mean square of the loudest window (30 ms at 16 kHz); 0 without a whole window."""
    return float(loudness(pcm, window).max(initial=0.0))


def loudness(pcm: Samples, window: int = 480) -> Samples:
    """Root mean square of each window [windows]; what is left over is not in it."""
    count = len(pcm) // window
    levels: Samples = np.sqrt(
        np.mean(np.square(pcm[: count * window].reshape(count, window)), axis=1)
    )
    return levels


def at_rate(pcm: Samples, rate: int, wanted: int) -> Samples:
    """A whole clip at another rate, band-limited by its spectrum: float32 [samples]."""
    if rate == wanted or not len(pcm):
        return pcm
    size = round(len(pcm) * wanted / rate)
    spectrum = np.fft.rfft(pcm)
    kept = np.zeros(size // 2 + 1, complex)
    both = min(len(spectrum), len(kept))
    kept[:both] = spectrum[:both]
    made: Samples = (np.fft.irfft(kept, size) * (size / len(pcm))).astype(np.float32)
    return made
