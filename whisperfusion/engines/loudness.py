"""Voice activity detection by loudness alone: what is left when the model for it fails.

Speech is what stands out of the background, whose level is followed: down at once, up slowly, so
that a noise that stays becomes background. Music and typing count as speech.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whisperfusion.audio import VAD_WINDOW, Samples
from whisperfusion.engines.pcm import checked
from whisperfusion.errors import EngineError

QUIETEST = 0.003  # root mean square; nothing below is speech, whatever the background
STANDS_OUT = 3.0  # times the background: 9.5 dB
RISE = 1.01  # of the background for each window of 32 ms: it doubles in 2 s
SPEECH, SILENCE = 0.95, 0.05  # probabilities


class Loudness:
    """Options are accepted as other detectors take them, and mean nothing here."""

    def __init__(self, **options: Any) -> None:
        self.model = "loudness"

    def create_stream(self) -> LoudnessStream:
        return LoudnessStream()


class LoudnessStream:
    def __init__(self) -> None:
        self._background = QUIETEST

    def probability(self, window: Samples) -> float:
        window = checked(window)
        if window.shape != (VAD_WINDOW,):
            raise EngineError(f"a window has {VAD_WINDOW} samples, not {len(window)}")
        level = float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
        speech = level > max(QUIETEST, STANDS_OUT * self._background)
        self._background = min(max(level, QUIETEST), self._background * RISE)
        return SPEECH if speech else SILENCE

    def reset(self) -> None:
        self._background = QUIETEST
