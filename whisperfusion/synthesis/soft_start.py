"""A quieter beginning of replies (SOFT_START_DB): a person who had not finished is startled less.

Loudness rises in equal steps of decibels, which the ear takes for a steady rise.
"""

from __future__ import annotations

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.output.chunks import Chunk

RISE_S = 0.2  # a syllable: by then it is clear who speaks


def softened(chunk: Chunk[Samples], quieter_db: float) -> Samples:
    """The audio of a chunk, float32 [samples]; a reply begins `quieter_db` decibels quieter."""
    rise = round(RISE_S * SPEECH_RATE)
    if not quieter_db or chunk.first >= rise:
        return chunk.audio
    left = 1.0 - (chunk.first + np.arange(len(chunk.audio))) / rise
    gain = 10 ** (-quieter_db * np.clip(left, 0.0, 1.0) / 20)
    softer: Samples = (chunk.audio * gain).astype(np.float32)
    return softer
