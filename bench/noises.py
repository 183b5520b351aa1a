"""A recording under other conditions: level, noise, a room, a telephone line. Seeded."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples, to_samples

LEVEL_DB = (-36.0, -16.0)  # mean square, of full scale
NOISE_DB = (12.0, 40.0)  # below the recording
LINE_HZ = (200.0, 3400.0)  # a telephone's band
ROOM_S = 0.25
MU = 255  # of G.711's companding


def changed(pcm: Samples, random: Any) -> Samples:
    """Float32 [samples], as long as `pcm`."""
    sound = pcm
    if random.random() < 0.5:
        sound = telephone(sound)
    if random.random() < 0.3:
        sound = in_room(sound, random)
    level = 10 ** (random.uniform(*LEVEL_DB) / 20)
    sound = sound * (level / (np.sqrt(np.square(sound).mean()) + 1e-9))
    noise = coloured(len(sound), random) * level * 10 ** (-random.uniform(*NOISE_DB) / 20)
    found: Samples = np.clip(sound + noise, -1.0, 1.0).astype(np.float32)
    return found


def telephone(pcm: Samples) -> Samples:
    """Through a telephone's band and its eight bits."""
    spectrum = np.fft.rfft(pcm)
    hz = np.fft.rfftfreq(len(pcm), 1 / MICROPHONE_RATE)
    spectrum[(hz < LINE_HZ[0]) | (hz > LINE_HZ[1])] = 0.0
    sound = np.fft.irfft(spectrum, len(pcm))
    most = np.abs(sound).max() + 1e-9
    companded = np.sign(sound) * np.log1p(MU * np.abs(sound) / most) / np.log1p(MU)
    stepped = np.round(companded * 127) / 127
    expanded = np.sign(stepped) * np.expm1(np.abs(stepped) * np.log1p(MU)) / MU * most
    found: Samples = expanded.astype(np.float32)
    return found


def in_room(pcm: Samples, random: Any) -> Samples:
    """With the tail of a small room: noise that dies away under the direct sound."""
    count = to_samples(ROOM_S)
    decay_s = random.uniform(0.03, 0.07)
    tail = random.standard_normal(count) * np.exp(-np.arange(count) / (MICROPHONE_RATE * decay_s))
    tail[0] = 6.0
    tail /= np.sqrt(np.square(tail).sum())
    size = len(pcm) + count
    found: Samples = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)[
        : len(pcm)
    ].astype(np.float32)
    return found


def coloured(count: int, random: Any) -> Samples:
    """Noise of mean square 1 between white and 1/f²."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    hz = np.maximum(np.fft.rfftfreq(count, 1 / MICROPHONE_RATE), 50.0)
    noise = np.fft.irfft(spectrum * hz ** -random.uniform(0.0, 1.0), count)
    found: Samples = (noise / (np.sqrt(np.square(noise).mean()) + 1e-9)).astype(np.float32)
    return found
