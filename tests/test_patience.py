"""How long a pause must be: the table, and that no witness ever works the wrong way round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.core.endpoint import SCORE_S
from fusion.core.patience import COMPLETE, DOUBTFUL, MOST_S, SILENCE_S, SURE, silence_needed, stretch
from fusion.core.witness import Ending, ending

TEXTS = {
    Ending.QUESTION: "What time is it?",
    Ending.REQUEST: "Turn on the lamp.",
    Ending.PLAIN: "I like trains.",
    Ending.SPELLING: "My number is five five five",
    Ending.OPEN: "What is the",
}
SCORES = {"sure": 0.98, "complete": 0.9, "doubtful": 0.3, "incomplete": 0.05}


@pytest.mark.parametrize("kind", Ending)
@pytest.mark.parametrize(("column", "score"), list(enumerate(SCORES.values())))
def test_each_cell_of_the_table(kind, column, score):
    assert ending(TEXTS[kind]) is kind
    assert silence_needed(score, TEXTS[kind]) == SILENCE_S[kind][column]


def test_the_bounds_of_the_scores():
    plain = SILENCE_S[Ending.PLAIN]
    assert [silence_needed(score, "I like trains.") for score in (1.0, SURE, COMPLETE, DOUBTFUL, 0.0)] == [*plain, plain[3]]


def test_what_is_not_known_yet_counts_as_doubtful():
    assert silence_needed(None, "What is the") == SILENCE_S[Ending.OPEN][2]
    assert silence_needed(0.9, None) == SILENCE_S[Ending.PLAIN][1]
    assert silence_needed(None, None) == SILENCE_S[Ending.PLAIN][2]


def test_the_rows_ask_for_more_the_less_the_words_sound_whole():
    """And no turn waits longer than the longest wait, so that nothing that was learned is overruled by it."""
    rows = [SILENCE_S[kind] for kind in (Ending.QUESTION, Ending.REQUEST, Ending.PLAIN, Ending.SPELLING, Ending.OPEN)]
    for column in zip(*rows, strict=True):
        assert list(column) == sorted(column)
    assert SCORE_S <= min(map(min, rows)) and max(map(max, rows)) <= MOST_S


def test_a_story_gets_longer_pauses_up_to_a_bound():
    waits = [silence_needed(0.9, "I like trains.", telling=signs) for signs in range(5)]
    assert waits == [pytest.approx(SILENCE_S[Ending.PLAIN][1] * factor) for factor in (1.0, 1.4, 1.8, 1.8, 1.8)]
    assert silence_needed(0.98, "What time is it?", telling=3) == SILENCE_S[Ending.QUESTION][0]  # a question ends a story, if it sounds so
    assert silence_needed(0.9, "What time is it?", telling=1) == pytest.approx(SILENCE_S[Ending.QUESTION][1] * 1.4)


def test_in_a_story_a_whole_sentence_is_no_sure_end():
    assert silence_needed(0.98, "I like trains.", telling=1) == silence_needed(0.9, "I like trains.", telling=1)


def test_words_that_begin_like_a_part_are_a_sign_of_a_story():
    assert silence_needed(0.9, "And so I like trains.") == silence_needed(0.9, "I like trains.", telling=1)
    assert silence_needed(0.9, "When she heard it,", "fr") == silence_needed(0.9, "I like trains.", telling=1)
    assert silence_needed(0.98, "Then turn on the lamp.") == silence_needed(0.98, "I like trains.", telling=1)
    assert silence_needed(0.9, "And I like trains.", "de") == silence_needed(0.9, "I like trains.")


def test_other_languages_than_english_have_only_their_marks():
    assert silence_needed(0.98, "Ich hätte gern den", "de") == SILENCE_S[Ending.PLAIN][0]
    assert silence_needed(0.98, "Ich hätte gern …", "de") == SILENCE_S[Ending.OPEN][0]
    assert silence_needed(0.98, "Wie spät ist es?", "de") == SILENCE_S[Ending.QUESTION][0]


def test_the_slider():
    assert [stretch(eagerness) for eagerness in (0.0, 0.5, 1.0)] == [2.0, 1.0, 0.5]
    assert silence_needed(0.9, "I like trains.", eagerness=0.0) == pytest.approx(2 * SILENCE_S[Ending.PLAIN][1])
    assert silence_needed(0.9, "What time is it?", eagerness=1.0) == SCORE_S  # the model is never overtaken


SCORE = st.one_of(st.none(), st.floats(0.0, 1.0))
TEXT = st.one_of(st.none(), st.sampled_from(("", *TEXTS.values())), st.text(max_size=30))
EAGERNESS, PAUSES = st.floats(0.0, 1.0), st.integers(0, 50)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), TEXT, EAGERNESS, PAUSES)
def test_a_better_score_never_waits_longer(a, b, text, eagerness, telling):
    worse, better = sorted((a, b))
    assert silence_needed(better, text, "en", eagerness, telling) <= silence_needed(worse, text, "en", eagerness, telling)


@given(SCORE, TEXT, EAGERNESS, EAGERNESS, PAUSES)
def test_an_eager_listener_never_waits_longer(score, text, a, b, telling):
    patient, eager = sorted((a, b))
    assert silence_needed(score, text, "en", eager, telling) <= silence_needed(score, text, "en", patient, telling)


@given(SCORE, TEXT, EAGERNESS, PAUSES, PAUSES)
def test_who_tells_a_story_never_waits_shorter(score, text, eagerness, a, b):
    fewer, more = sorted((a, b))
    assert silence_needed(score, text, "en", eagerness, fewer) <= silence_needed(score, text, "en", eagerness, more)


@given(SCORE, TEXT, EAGERNESS, PAUSES, st.sampled_from(("en", "de", "", "ja")))
def test_every_wait_is_bounded(score, text, eagerness, telling, language):
    """By the silence of the model's question below, and by the endpoint's own patience above (see `Caller`)."""
    assert SCORE_S <= silence_needed(score, text, language, eagerness, telling) <= max(SCORE_S, MOST_S * stretch(eagerness))
