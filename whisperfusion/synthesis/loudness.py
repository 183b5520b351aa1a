"""How loud speech is, and how high its peaks are between the samples: ITU-R BS.1770-5, one channel
at 24 kHz.

Loudness is the mean power behind the K filter, in blocks of 0.4 s that overlap by three quarters.
Blocks below -70 LUFS are silence; blocks 10 LU below the loudness of the others are pauses. The
filter is the one of the standard at 48 kHz, as its response at each frequency, so it is exact at
half that rate, too. pyloudnorm needs SciPy for the same, and the filter `ebur128` of FFmpeg reports
by frame metadata, which PyAV does not pass on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

SILENCE, PAUSE = -70.0, -10.0  # LUFS; LU under the loudness of what is louder than silence
STEP, STEPS_OF_BLOCK = SPEECH_RATE // 10, 4
OFFSET_DB = -0.691  # of the standard, so that a sine of 1 kHz is as loud as its power
FILTER_RATE = 48_000
# the effect of the head, and the low cut: b0 b1 b2 a1 a2 of each
FILTERS = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621),
)
RING = SPEECH_RATE // 4  # samples that the low cut still rings behind the sound: to -80 dB
FAST = 4096  # sizes that the FFT is fast at are multiples of it
REACH = 8  # samples each side that the interpolation reads


def block_powers(pcm: Samples) -> Floats:
    """K-weighted mean power of each block of `pcm`, float32 [samples]: float64 [blocks]; empty for
    less than one block.
    """
    size = -(-(len(pcm) + RING) // FAST) * FAST
    spectrum = np.fft.rfft(pcm, size)
    weighted = np.fft.irfft(spectrum * _response(size), size)[: len(pcm)]
    steps = np.square(weighted[: len(pcm) // STEP * STEP]).reshape(-1, STEP).mean(axis=1)
    if len(steps) < STEPS_OF_BLOCK:
        return np.zeros(0)
    return np.convolve(steps, np.full(STEPS_OF_BLOCK, 1 / STEPS_OF_BLOCK), "valid")


def integrated(powers: Floats) -> float:
    """Loudness in LUFS of blocks, of one or several pieces of sound; -inf when all are silent."""
    sounding = above(powers, SILENCE)
    return _loudness(above(sounding, _loudness(sounding) + PAUSE))


def above(powers: Floats, loudness: float) -> Floats:
    """The blocks that are louder."""
    return powers[powers > 10 ** ((loudness - OFFSET_DB) / 10)]


def _loudness(powers: Floats) -> float:
    power = float(powers.mean()) if len(powers) else 0.0
    return OFFSET_DB + 10 * math.log10(power) if power else -math.inf


def true_peaks(pcm: Samples) -> Samples:
    """The highest amplitude at each sample and up to its neighbours, four times oversampled:
    float32 [samples].
    """
    padded = np.pad(pcm, REACH, mode="edge")
    peaks = np.abs(pcm)
    for taps in INTERPOLATORS:
        between = np.abs(np.convolve(padded, taps, "valid"))  # before each sample, and behind all
        np.maximum(peaks, between[:-1], out=peaks)
        np.maximum(peaks, between[1:], out=peaks)
    return peaks


def _response(size: int) -> Any:
    """Of the K filter at the frequencies of a spectrum of `size` samples: complex [bins]."""
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(size, 1 / SPEECH_RATE) / FILTER_RATE)
    response: Any = 1.0
    for b0, b1, b2, a1, a2 in FILTERS:
        response = response * (b0 + b1 * delay + b2 * delay**2) / (1 + a1 * delay + a2 * delay**2)
    return response


def _interpolator(at: float) -> Floats:
    """Taps of a windowed sinc for the value `at` (0 to 1) of the way from a sample to the next."""
    away = np.arange(1 - REACH, REACH + 1) - at
    taps = np.sinc(away) * (0.5 + 0.5 * np.cos(np.pi * away / (REACH + 0.5)))
    scaled: Floats = taps[::-1] / taps.sum()
    return scaled


INTERPOLATORS = tuple(_interpolator(at) for at in (0.25, 0.5, 0.75))
