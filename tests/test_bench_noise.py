"""bench/noise.py: the arithmetic around the networks, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from bench import deep_filter, noise
from bench.deep_filter import BANDS, FILTERED, HOP, RATE, features, filtered, sound_of, spectrum_of

WORDS = "the house is red"


def speech_like(seconds: float, rate: int):
    t = np.arange(round(seconds * rate)) / rate
    return (0.2 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def test_the_bands_are_those_of_the_networks():
    assert len(BANDS) == 32 and BANDS.sum() == 481
    assert BANDS[:13].tolist() == [2] * 13 and BANDS[13:16].tolist() == [5, 5, 7]


def test_a_spectrum_that_is_not_changed_is_the_sound_again():
    pcm = speech_like(0.3, RATE)[: 29 * HOP + 100]
    assert np.abs(sound_of(spectrum_of(pcm), len(pcm)) - pcm).max() < 1e-6


def test_a_filter_that_takes_the_frame_itself_changes_nothing():
    spectrum = spectrum_of(speech_like(0.2, RATE))
    taps = np.zeros((1, len(spectrum), FILTERED, 10), np.float32)
    taps[..., 4] = 1.0  # the real part of the third of five frames
    assert np.allclose(filtered(spectrum, taps), spectrum[:, :FILTERED])
    newest = np.roll(taps, 4, axis=3)  # two frames ahead
    assert np.allclose(filtered(spectrum, newest)[:-2], spectrum[2:, :FILTERED])


def test_what_the_networks_see_is_near_zero_once_a_level_has_lasted():
    hiss = np.random.default_rng(0).normal(0, 0.05, 6 * RATE).astype(np.float32)
    levels, units = features(spectrum_of(hiss), BANDS)
    assert levels[1].mean() > 0.25 and abs(levels[-100:].mean()) < 0.05
    assert np.isfinite(units).all() and units.shape == (len(levels), FILTERED)


def test_sound_goes_up_to_48_khz_and_back():
    pcm = speech_like(0.25, 16_000)
    up = deep_filter.resampled(pcm, 16_000, RATE)
    assert len(up) == 3 * len(pcm)
    assert np.abs(deep_filter.resampled(up, RATE, 16_000) - pcm).max() < 1e-5


def row(recording: str, noise_kind: str, way: str, text: str, voiced: str, turn: float):
    return {
        "recording": recording,
        "said": WORDS,
        "noise": noise_kind,
        "snr_db": 99 if noise_kind == noise.QUIET else 5,
        "way": way,
        "seconds": 2.0,
        "processor_s": 0.1,
        "text": text,
        "voiced": voiced,
        "turns": [turn],
    }


def test_ways_are_compared_with_the_quiet_recording_and_with_no_suppression():
    found = []
    for name in ("a", "b"):
        found += [
            row(name, noise.QUIET, noise.PLAIN, WORDS, "0110", 0.9),
            row(name, "household", noise.PLAIN, "the house is", "0111", 0.9),
            row(name, "household", noise.DEEP, "the mouse was", "0010", 0.2),
        ]
    result = noise.summary(found)
    assert result[noise.QUIET][noise.PLAIN]["wer"] == 0.0
    ways = result["household, 5 dB"]
    assert (ways[noise.PLAIN]["wer"], ways[noise.DEEP]["wer"]) == (0.25, 0.75)
    assert (ways[noise.PLAIN]["missed"], ways[noise.PLAIN]["false"]) == (0.0, 0.5)
    assert (ways[noise.DEEP]["missed"], ways[noise.DEEP]["false"]) == (0.5, 0.0)
    assert (ways[noise.PLAIN]["changed"], ways[noise.DEEP]["changed"]) == (0.0, 1.0)
    assert ways[noise.DEEP]["points"] == 50.0 and ways[noise.DEEP]["interval"] == [50.0, 50.0]
    assert result["processor_s of a second"] == pytest.approx(0.05)


def test_the_level_of_speech_is_that_of_its_louder_half():
    pcm = np.concatenate((np.zeros(3200), np.full(3200, 0.5)))
    assert noise.speech_level(pcm) == pytest.approx(0.5)
