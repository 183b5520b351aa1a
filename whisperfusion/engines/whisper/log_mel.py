"""The log-mel spectrogram that Whisper and smart-turn were trained on, made in the calling thread.

numpy hands a large matrix product to threads of its own, which wait for each other: beside other
work that made 50 ms out of 2. Products of 16 frames stay below OpenBLAS's limit for that (m * n * k
of 2**18). Only the audio itself is transformed: frames of nothing but zeros all have the floor's
value.
"""

from __future__ import annotations

import numpy as np

from whisperfusion.audio import Samples

FFT, HOP = 400, 160  # samples at 16 kHz: a frame, and from one to the next
TOGETHER = 16  # frames: 16 * 201 * 80 < 2**18
FLOOR, DECADES = 1e-10, 8.0  # of power: what counts as nothing, and the range below the loudest
WINDOW = np.hanning(FFT + 1)[:-1].astype(np.float32)


def log_mel(pcm: Samples, filters: Samples, frames: int) -> Samples:
    """Float32 [bands, frames] in Whisper's scale, of `pcm` (float32 [samples]) followed by silence,
    or cut.

    `filters` is float32 [bands, 201]. The same numbers as from faster-whisper's extractor to 1e-6.
    """
    pcm = pcm[: frames * HOP]
    count = min(frames, (len(pcm) + FFT // 2) // HOP + 1)
    silent = -count % TOGETHER  # to make whole products
    padded = np.pad(np.pad(pcm, (0, frames * HOP - len(pcm))), (FFT // 2, FFT // 2), mode="reflect")
    cut = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][:count]
    spectrum = np.fft.rfft(cut * WINDOW, axis=1)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
    power = np.pad(power, ((0, silent), (0, 0))).reshape(-1, TOGETHER, FFT // 2 + 1)
    mel = (power @ filters.T).reshape(-1, len(filters))[:count].T
    log = np.full((len(filters), frames), np.log10(FLOOR), np.float32)
    log[:, :count] = np.log10(np.maximum(mel, FLOOR))
    scaled: Samples = (np.maximum(log, log.max() - DECADES) + 4.0) / 4.0
    return scaled
