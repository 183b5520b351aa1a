"""What every engine that listens demands of its audio."""

from __future__ import annotations

import numpy as np

from fusion.engines import EngineError


def checked(pcm: np.ndarray) -> np.ndarray:
    """`pcm` as contiguous float32 [samples]; `EngineError` when it is no such thing or has NaN or infinity in it."""
    if pcm.ndim != 1 or pcm.dtype.kind != "f":
        raise EngineError(f"audio must be one channel of floats in -1..1, not {pcm.dtype} of shape {pcm.shape}")
    if not np.isfinite(pcm).all():
        raise EngineError("the audio has values that are no numbers; check what the client sends")
    return np.ascontiguousarray(pcm, dtype=np.float32)


def loudest(pcm: np.ndarray, window: int = 480) -> float:
    """Root mean square of the loudest window (30 ms at 16 kHz); 0 when there is no whole window."""
    count = len(pcm) // window
    if not count:
        return 0.0
    return float(np.sqrt(np.mean(np.square(pcm[: count * window].reshape(count, window)), axis=1).max()))
