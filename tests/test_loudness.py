"""The loudness of voices: the meter against the signals and figures of EBU Tech 3341 (version 4,
table 1, one channel of each pair: 3.01 LU less), the gain of a voice, and the limit for peaks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.synthesis.leveling import CEILING, ENOUGH, INAUDIBLE_DB, TARGET, Leveler, Limiter
from whisperfusion.synthesis.loudness import block_powers, integrated, true_peaks

ONE_OF_TWO = 10 * np.log10(2)
Parts = list[tuple[float, float]]  # dBFS and seconds


def sine(dbfs: float, seconds: float, hz: float = 1000.0) -> Samples:
    at = np.arange(round(seconds * SPEECH_RATE)) / SPEECH_RATE
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * at)).astype(np.float32)


def lufs(*pieces: Samples) -> float:
    return integrated(block_powers(np.concatenate(pieces)))


def peak_db(pcm: Samples) -> float:
    return float(20 * np.log10(true_peaks(pcm).max()))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([(-23, 20)], -23, id="1"),
        pytest.param([(-33, 20)], -33, id="2"),
        pytest.param([(-36, 10), (-23, 60), (-36, 10)], -23, id="3"),
        pytest.param([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23, id="4"),
        pytest.param([(-26, 20), (-20, 20.1), (-26, 20)], -23, id="5"),
    ],
)
def test_integrated_loudness_is_that_of_the_standard(parts: Parts, expected: float) -> None:
    found = lufs(*(sine(*part) for part in parts))
    assert found + ONE_OF_TWO == pytest.approx(expected, abs=0.1)


# a low cut of second order at 38 Hz with a Q of 0.5, and a shelf of 4 dB above 1.7 kHz
@pytest.mark.parametrize(("hz", "db"), [(40, -5.6), (100, -1.2), (1000, 0.7), (8000, 4.0)])
def test_low_tones_count_less_and_high_ones_more(hz: float, db: float) -> None:
    found = lufs(sine(-20, 2, hz)) + ONE_OF_TWO
    assert found == pytest.approx(-20 + db - 0.691, abs=0.3)


@pytest.mark.parametrize("pcm", [np.zeros(SPEECH_RATE), sine(-75, 2), sine(-20, 0.39), np.zeros(0)])
def test_silence_has_no_loudness(pcm: Samples) -> None:
    assert lufs(pcm) == -np.inf


@pytest.mark.parametrize(
    ("divided", "degrees", "peak", "expected"),
    [
        pytest.param(4, 0, 0.5, -6, id="15"),
        pytest.param(4, 45, 0.5, -6, id="16"),
        pytest.param(6, 60, 0.5, -6, id="17"),
        pytest.param(8, 67.5, 0.5, -6, id="18"),
        pytest.param(4, 45, 1.41, 3, id="19"),
    ],
)
def test_peaks_between_samples_are_those_of_the_standard(
    divided: int, degrees: float, peak: float, expected: float
) -> None:
    at = np.arange(SPEECH_RATE) / divided
    pcm = (peak * np.sin(2 * np.pi * at + np.radians(degrees))).astype(np.float32)
    inner = true_peaks(pcm)[100:-100]  # the signals of the standard fade in and out
    assert -0.4 <= 20 * np.log10(inner.max()) - expected <= 0.2


# --- gains ---------------------------------------------------------------------------------------


def said(leveler: Leveler, *pieces: Samples, voice: str = "ann") -> list[Samples]:
    return list(leveler.leveled(voice, iter(pieces)))


def quiet(seconds: float, dbfs: float = -27.0) -> Samples:
    return sine(dbfs, seconds)


def test_a_known_voice_has_its_gain_from_the_first_sample_on() -> None:
    leveler = Leveler({"ann": 6.0, "bob": 0.0})
    pcm = quiet(0.05)
    assert np.allclose(said(leveler, pcm)[0], pcm * 10 ** (6 / 20))
    assert said(leveler, pcm, voice="bob")[0] is pcm
    for _ in range(30):  # and keeps it, whatever it is measured to be
        said(leveler, quiet(1, -40))
    assert np.allclose(said(leveler, pcm)[0], pcm * 10 ** (6 / 20))


def test_a_new_voice_goes_by_its_first_sentence_where_that_comes_as_a_whole() -> None:
    leveler = Leveler({})
    assert lufs(*said(leveler, quiet(2))) == pytest.approx(TARGET, abs=0.1)
    assert lufs(*said(leveler, quiet(2, -10), voice="bob")) == pytest.approx(TARGET, abs=0.1)


def test_a_new_voice_that_comes_in_short_pieces_is_measured_first() -> None:
    leveler, pieces = Leveler({}), [quiet(0.1)] * 20
    first = said(leveler, *pieces)
    assert all(np.array_equal(a, b) for a, b in zip(first, pieces, strict=True))
    assert lufs(*said(leveler, *pieces)) == pytest.approx(TARGET, abs=0.5)


def test_nothing_waits_and_no_gain_moves_within_a_sentence() -> None:
    leveler, given_ = Leveler({}), list[int]()

    def pieces() -> Iterator[Samples]:
        for number, dbfs in enumerate((-30.0, -24.0, -45.0, -27.0)):
            given_.append(number)
            yield np.zeros(0, np.float32)
            yield quiet(1.0, dbfs)

    sentence, gains = leveler.leveled("ann", pieces()), []
    for number, dbfs in enumerate((-30.0, -24.0, -45.0, -27.0)):
        assert len(next(sentence)) == 0
        made = next(sentence)
        assert given_[-1] == number  # each piece leaves before the next one is made
        gains.append(float(np.abs(made).max() / 10 ** (dbfs / 20)))
    assert np.ptp(gains) < 1e-3 and gains[0] > 1.5


def test_a_new_voice_keeps_the_gain_that_it_has_after_some_seconds() -> None:
    leveler = Leveler({})
    for _ in range(ENOUGH // 10):
        said(leveler, quiet(1.4))
    louder = said(leveler, quiet(2, -25))
    assert lufs(*louder) == pytest.approx(TARGET + 2, abs=0.1)
    for _ in range(ENOUGH // 10):
        said(leveler, quiet(1.4, -20))
    assert np.allclose(said(leveler, quiet(2, -25))[0], louder[0])


def test_what_was_said_of_a_broken_off_sentence_counts() -> None:
    leveler = Leveler({})
    sentence = leveler.leveled("ann", iter([quiet(0.1)] * 20))
    for _ in range(15):
        next(sentence)
    sentence.close()
    assert lufs(*said(leveler, *[quiet(0.1)] * 20)) == pytest.approx(TARGET, abs=0.5)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e30])
def test_what_is_no_sound_changes_nothing_of_what_follows(odd: float) -> None:
    leveler, broken = Leveler({}), quiet(1)
    broken[500] = odd
    said(leveler, broken)
    after = said(leveler, broken, np.zeros(SPEECH_RATE, np.float32), quiet(1))[-1]
    assert np.isfinite(after).all() and np.abs(after).max() > 0.04


# --- peaks ---------------------------------------------------------------------------------------


def bursts(peaks: list[float]) -> Samples:
    """Speech-like: noise of a few hundred hertz in bursts of 60 ms, so high."""
    noise = np.random.default_rng(1).standard_normal(SPEECH_RATE)
    low = np.convolve(noise, np.hanning(48), "same")
    shape = np.hanning(round(0.06 * SPEECH_RATE))
    parts = [
        peak * shape * (part := low[at : at + len(shape)]) / np.abs(part).max()
        for at, peak in enumerate(peaks)
    ]
    return np.concatenate(parts).astype(np.float32)


@given(
    st.lists(st.floats(0.01, 2.5), min_size=1, max_size=12),
    st.lists(st.integers(1, 4000), min_size=1, max_size=8),
)
def test_no_peak_is_above_the_limit_however_sound_is_cut(
    peaks: list[float], sizes: list[int]
) -> None:
    pcm, limiter = bursts(peaks), Limiter()
    pieces = [one for one in np.split(pcm, np.cumsum(sizes)) if len(one)]
    made = [limiter.limited(one) for one in pieces]
    assert [len(one) for one in made] == [len(one) for one in pieces]
    assert all(one.dtype == np.float32 for one in made)
    whole = np.concatenate(made)
    assert np.abs(whole).max() <= CEILING * 10 ** (INAUDIBLE_DB / 20) + 1e-6
    assert peak_db(whole) <= -0.8  # a peak between two pieces is seen by half
    cut_db = 20 * np.log10(np.maximum(np.abs(pcm), 1e-9) / np.maximum(np.abs(whole), 1e-9))
    assert cut_db.min() > -1e-3  # nothing is made louder


def test_sound_below_the_limit_is_not_touched() -> None:
    limiter = Limiter()
    for pcm in (bursts([0.2, 0.44]), bursts([0.8, 0.85]), np.zeros(0, np.float32)):
        assert limiter.limited(pcm) is pcm


def test_sound_is_turned_down_around_a_peak_alone_and_without_a_step() -> None:
    pcm = sine(-12, 2)
    pcm[SPEECH_RATE : SPEECH_RATE + 240] *= 8
    made = Limiter().limited(pcm)
    cut_db = 20 * np.log10(np.abs(pcm[6::24]) / np.abs(made[6::24]))  # at the crests, each ms
    assert 5.5 < cut_db.max() < 7.5
    assert np.abs(np.diff(cut_db)).max() <= 3.1
    assert cut_db[:995].max() < 1e-3 and cut_db[1200:].max() < 1e-3
    assert np.all(np.diff(cut_db[1011:1100]) < 0)  # slowly up again
