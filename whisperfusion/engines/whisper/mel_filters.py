"""Triangular filters on the Slaney mel scale with equal area, as librosa makes them."""

from __future__ import annotations

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.whisper.log_mel import FFT


def mel_filters(bands: int) -> Samples:
    """Float32 [bands, 201], for spectra at 16 kHz."""
    # linear below the knee, logarithmic above
    knee_hz, knee_mel, step = 1000.0, 15.0, np.log(6.4) / 27.0

    top_mel = knee_mel + np.log(MICROPHONE_RATE / 2 / knee_hz) / step
    mels = np.linspace(0.0, top_mel, bands + 2)
    hz = np.where(
        mels < knee_mel, mels * knee_hz / knee_mel, knee_hz * np.exp(step * (mels - knee_mel))
    )
    bins = np.arange(FFT // 2 + 1) * MICROPHONE_RATE / FFT
    rising = (bins - hz[:-2, None]) / np.diff(hz)[:-1, None]
    falling = (hz[2:, None] - bins) / np.diff(hz)[1:, None]
    areas = 2.0 / (hz[2:] - hz[:-2])
    filters: Samples = np.maximum(0, np.minimum(rising, falling)) * areas[:, None]
    return filters.astype(np.float32)
