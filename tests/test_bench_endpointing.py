"""bench/endpointing.py: when policies end turns, and how recordings become pauses."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from engine_checks import SECOND
from hypothesis import given
from hypothesis import strategies as st
from running import ROOT

from whisperfusion.engines.scripted import ScriptedVAD, tone_speech

sys.path.insert(0, str(ROOT))

from bench import noises, pauses, policies
from bench.endpointing import with_probabilities
from bench.policies import Evidence, Point, Spoken

PAUSE = Evidence(1.0, 0.6, "I like trains.", 0.9, None, 0)
END = Evidence(3.0, None, "I like trains a lot.", 0.9, None, 0)
TURN = Spoken("a.flac", "ann", (), 2.9, (PAUSE, END))


def test_a_turn_is_cut_off_by_a_silence_that_fits_into_one_of_its_pauses():
    assert policies.outcome(TURN, policies.fixed, 0.6) == (True, pytest.approx(0.7))
    assert policies.outcome(TURN, policies.fixed, 0.7) == (False, pytest.approx(0.8))


def test_nothing_ends_a_turn_before_its_transcript():
    assert policies.outcome(TURN, policies.fixed, 0.1) == (
        True,
        pytest.approx(0.1 + policies.TRANSCRIPT_S),
    )


def test_ours_decides_as_the_product_and_without_a_signal_as_it_does_then():
    unlikely = Evidence(1.0, 0.9, "I like trains.", 0.9, 0.01, 1)
    assert policies.ours(unlikely, 0.5) > policies.without_encoder(unlikely, 0.5)
    both = replace(unlikely, end_of_turn=0.6, by_states=0.3)
    assert policies.ours(both, 0.5) > policies.without_model(both, 0.5)
    assert policies.ours(both, 0.5) < policies.without_encoder(both, 0.5)
    assert policies.without_heads(both, 0.5) == policies.without_heads(unlikely, 0.5)
    sure = Evidence(1.0, 0.9, "What time is it?", 0.98, 0.1, 0)
    assert policies.ours(sure, 0.5) < policies.without_model(sure, 0.5)
    assert policies.ours(sure, 0.5) < policies.without_words(sure, 0.5)


def test_heads_that_never_met_a_speaker_take_the_place_of_the_products():
    met = replace(TURN, pauses=(replace(PAUSE, end_of_turn=0.9, by_states=0.9), END))
    (found,) = with_probabilities([met], {"a.flac@1000": 0.2, "a.flac@3000": 0.7}, {"b@1": 0.1})
    assert [(p.end_of_turn, p.by_states) for p in found.pauses] == [(0.2, None), (0.7, None)]


def test_curves_are_compared_at_the_same_wait():
    points = [Point(0, 0.4, 0.5, 0.5), Point(1, 0.2, 0.9, 0.9), Point(2, 0.04, 1.5, 1.5)]
    assert policies.cut_at(points, 0.7) == pytest.approx(0.3)
    assert policies.cut_at(points, 0.9) == pytest.approx(0.2)
    assert policies.cut_at(points, 2.0) is None
    assert policies.wait_at(points, 0.2) == 0.9 and policies.wait_at(points, 0.01) is None


def test_an_interval_draws_speakers_not_turns():
    """One of two speakers is always cut off: a draw may have both turns of either."""
    turns = [TURN] * 4 + [Spoken("b.flac", "bob", (), 2.9, (END,))] * 4
    curve = [policies.outcomes(turns, policies.fixed, setting) for setting in (0.5, 0.7)]
    assert curve[0].point().cut == 0.5 and curve[1].point().cut == 0.0
    assert policies.interval(turns, curve, 0.65) == pytest.approx((0.0, 0.75))


@pytest.mark.parametrize(
    ("text", "tags", "kind"),
    [
        ("What time is it?", (), "questions"),
        ("Turn on the lamp.", (), "requests"),
        ("I like trains a lot.", (), "statements"),
        ("My number is five five five", (), "spelled or dictated"),
        ("Yes.", (), "short answers"),
        ("I like, um, trains.", ("hesitation",), "hesitation"),
    ],
)
def test_kinds_of_turns(text, tags, kind):
    last = Evidence(3.0, None, text, 0.9, None, 0)
    assert kind in policies.kinds(Spoken("a.flac", "ann", tags, 2.9, (last,)))


def spoken(*seconds: float) -> np.ndarray:
    """Speech and silence in turns, beginning with silence."""
    parts = []
    for at, length in enumerate(seconds):
        if at % 2:
            tone = tone_speech("alpha beta gamma delta")
            parts.append(np.resize(tone, round(length * SECOND)))
        else:
            parts.append(np.zeros(round(length * SECOND), np.float32))
    return np.concatenate(parts)


def test_a_recording_becomes_pauses():
    pcm = pauses.with_room(spoken(0.5, 1.0, 0.7, 1.0, 0.5))
    start, found = pauses.pauses_of(pcm, ScriptedVAD())
    near = 0.05
    assert start / SECOND == pytest.approx(0.5, abs=near)
    first, last = found[0], found[-1]
    assert first.at / SECOND == pytest.approx(1.5, abs=near)
    assert first.length_s == pytest.approx(0.7, abs=near)
    assert last.length_s is None and last.at / SECOND == pytest.approx(3.2, abs=near)


@given(st.integers(0, 50))
def test_a_changed_recording_has_its_length_and_stays_within_bounds(seed):
    pcm = spoken(0.2, 0.5, 0.2)
    found = noises.changed(pcm, np.random.default_rng(seed))
    assert found.shape == pcm.shape and found.dtype == np.float32
    assert np.isfinite(found).all() and np.abs(found).max() <= 1.0
