"""DeepFilterNet 3 over a whole recording: noise suppression at 48 kHz (Schröter and others, 2023).

The three networks are upstream's own ONNX files (DeepFilterNet3_onnx.tar.gz), run by ONNX Runtime;
what surrounds them is NumPy, after upstream's libDF: the spectrum, its features, the mask over 32
ERB bands and, below 4.8 kHz, a filter of five frames for each frequency.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisperfusion.audio import MICROPHONE_RATE, Samples

RATE, WINDOW, HOP = 48_000, 960, 480
BINS = WINDOW // 2 + 1
ERB_BANDS, LEAST_BINS = 32, 2  # of an ERB band
FILTERED = 96  # the lowest bins, which get a filter instead of a gain
ORDER, AHEAD = 5, 2  # frames of the filter; of these, and of what the networks see, to come
KEEP = 0.99  # of the running means, a frame: exp(-hop / 1 s), rounded as upstream does
_RISE = np.sin(0.5 * np.pi * (np.arange(WINDOW) + 0.5) / HOP)
SHAPE = np.sin(0.5 * np.pi * _RISE**2).astype(np.float32)  # Vorbis' window
LEVELS_DB, UNITS = (-60.0, -90.0), (1e-3, 1e-4)  # the running means at the start, low to high

Spectrum = NDArray[np.complex64]


class DeepFilter:
    """`archive` is DeepFilterNet3_onnx.tar.gz. One thread."""

    def __init__(self, archive: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.log_severity_level = 3
        with tarfile.open(archive) as files:
            graphs = {Path(one.name).stem: files.extractfile(one) for one in files if one.isfile()}
            self._encoder, self._mask, self._filter = (
                onnxruntime.InferenceSession(
                    graphs[name].read(),  # type: ignore[union-attr]
                    options,
                    providers=["CPUExecutionProvider"],
                )
                for name in ("enc", "erb_dec", "df_dec")
            )

    def clean(self, pcm: Samples, limit_db: float | None = None) -> Samples:
        """Float32 at 16 kHz, as long as `pcm`. `limit_db`: noise is lowered by so much at most, by
        mixing the recording into the result.
        """
        heard = resampled(pcm, MICROPHONE_RATE, RATE)
        spectrum = spectrum_of(heard)
        result = self.suppressed(spectrum)
        if limit_db is not None:
            share = np.float32(10 ** (-limit_db / 20))
            result = share * spectrum + (1 - share) * result
        return fitted(resampled(sound_of(result, len(heard)), RATE, MICROPHONE_RATE), len(pcm))

    def suppressed(self, spectrum: Spectrum) -> Spectrum:
        """Complex64 [frames, 481], of the same shape."""
        levels, units = features(spectrum, BANDS)
        ahead = ((0, AHEAD), (0, 0))
        levels = np.pad(levels, ahead)[AHEAD:][None, None]
        units = np.pad(units, ahead)[AHEAD:]
        parts = np.stack((units.real, units.imag))[None]
        e0, e1, e2, e3, embedding, c0, _ = self._encoder.run(
            None, {"feat_erb": levels, "feat_spec": parts}
        )
        skipped = {"e3": e3, "e2": e2, "e1": e1, "e0": e0}
        (mask,) = self._mask.run(["m"], {"emb": embedding, **skipped})
        (taps,) = self._filter.run(["coefs"], {"emb": embedding, "c0": c0})
        result: Spectrum = spectrum * np.repeat(mask[0, 0], BANDS, axis=1)
        result[:, :FILTERED] = filtered(spectrum, taps)
        return result


def spectrum_of(pcm: Samples) -> Spectrum:
    """Of sound at 48 kHz: complex64 [frames, 481], a frame every 10 ms, the first one half before
    the sound.
    """
    frames = -(-len(pcm) // HOP) + 1
    padded = np.pad(pcm, (HOP, frames * HOP - len(pcm)))
    cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    return (np.fft.rfft(cut * SHAPE) / WINDOW).astype(np.complex64)


def sound_of(spectrum: Spectrum, count: int) -> Samples:
    windows = np.fft.irfft(spectrum * WINDOW, WINDOW).astype(np.float32) * SHAPE
    halves: Samples = windows[:-1, HOP:] + windows[1:, :HOP]
    return halves.reshape(-1)[:count]


def erb_bands() -> NDArray[np.int64]:
    """How many bins each band has, by equivalent rectangular bandwidth; 2 at least."""
    highest = 9.265 * np.log1p(RATE / 2 / (24.7 * 9.265))
    edges = 24.7 * 9.265 * (np.exp(highest * np.arange(1, ERB_BANDS + 1) / ERB_BANDS / 9.265) - 1)
    bands, before, borrowed = [], 0, 0
    for edge in np.round(edges * WINDOW / RATE).astype(int):
        count = int(edge) - before - borrowed
        borrowed = max(0, LEAST_BINS - count)
        bands.append(max(LEAST_BINS, count))
        before = int(edge)
    bands[-1] += BINS - sum(bands)
    return np.array(bands)


BANDS = erb_bands()


def features(spectrum: Spectrum, bands: Any) -> tuple[Samples, Spectrum]:
    """What the networks see: levels of the bands, float32 [frames, 32], and the lowest bins, each
    against its running mean.
    """
    power = np.add.reduceat(np.abs(spectrum) ** 2, np.cumsum(bands) - bands, axis=1) / bands
    levels = 10 * np.log10(power + 1e-10)
    units = spectrum[:, :FILTERED]
    level = np.linspace(*LEVELS_DB, ERB_BANDS)
    unit = np.linspace(*UNITS, FILTERED)
    levels = (levels - running(levels, level)) / 40
    return levels.astype(np.float32), units / np.sqrt(running(np.abs(units), unit))


def running(values: Any, state: Any) -> Samples:
    found = np.empty(values.shape, np.float32)
    for at, value in enumerate(values):
        state = KEEP * state + (1 - KEEP) * value
        found[at] = state
    return found


def filtered(spectrum: Spectrum, taps: Any) -> Spectrum:
    """`taps`: float32 [1, frames, 96, 10], of frames from the oldest to the newest."""
    weights = taps[0].reshape(len(spectrum), FILTERED, ORDER, 2)
    weights = weights[..., 0] + 1j * weights[..., 1]
    padded = np.pad(spectrum[:, :FILTERED], ((ORDER - 1 - AHEAD, AHEAD), (0, 0)))
    result: Spectrum = np.zeros((len(spectrum), FILTERED), np.complex64)
    for at in range(ORDER):
        result += padded[at : at + len(spectrum)] * weights[:, :, at]
    return result


def resampled(pcm: Samples, rate: int, wanted: int) -> Samples:
    """The whole recording by its spectrum, nothing folded or mirrored."""
    count = round(len(pcm) * wanted / rate)
    bins = min(len(pcm), count) // 2 + 1
    found = np.fft.irfft(np.fft.rfft(pcm)[:bins], count) * count / len(pcm)
    return found.astype(np.float32)


def fitted(pcm: Samples, count: int) -> Samples:
    return np.pad(pcm, (0, max(0, count - len(pcm))))[:count]
