"""Rates, windows and durations of sound, and the type of samples: their only home.

Positions and lengths are counted in samples; seconds are for settings, messages and people. What
listens (port 6006, the recognizer, the VAD, turn detection) takes 16 kHz; what speaks (port 8888)
gives 24 kHz, whatever the rate of the engine behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MICROPHONE_RATE = 16_000  # samples per second of all that listens
SPEECH_RATE = 24_000  # samples per second of synthesized speech
VAD_WINDOW = 512  # samples of microphone audio that the VAD classifies at once: 32 ms

# float32 in -1..1, mono, shape [samples]. A string, so that importing this needs no numpy.
Samples: TypeAlias = "NDArray[np.float32]"


def to_samples(seconds: float, rate: int = MICROPHONE_RATE) -> int:
    """The number of samples in `seconds`, to the nearest one."""
    return round(seconds * rate)


def to_seconds(samples: int, rate: int = MICROPHONE_RATE) -> float:
    """The duration of so many samples."""
    return samples / rate
