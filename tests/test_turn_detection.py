"""How long a pause must be: the table, and that no evidence ever works the wrong way round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.text.end_of_turn import Ending, ending
from whisperfusion.turns.endpointing import TURN_DETECTION_S
from whisperfusion.turns.turn_detection import (
    ASKED_S,
    COMPLETE,
    DOUBTFUL,
    MOST_S,
    PLAIN_S,
    SILENCE_S,
    SURE,
    by_heads,
    combined,
    silence_needed,
    stretch,
)

TEXTS = {
    Ending.QUESTION: "What time is it?",
    Ending.REQUEST: "Turn on the lamp.",
    Ending.PLAIN: "I like trains.",
    Ending.DICTATION: "My number is five five five",
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
    assert [
        silence_needed(score, "I like trains.") for score in (1.0, SURE, COMPLETE, DOUBTFUL, 0.0)
    ] == [*plain, plain[3]]


def test_what_is_not_known_yet_counts_as_doubtful():
    assert silence_needed(None, "What is the") == SILENCE_S[Ending.OPEN][2]
    assert silence_needed(None, None) == SILENCE_S[Ending.PLAIN][2]


def test_a_model_that_is_sure_ends_no_turn_whose_words_are_not_known():
    """The recognizer may know better, and there is nothing to answer yet."""
    assert silence_needed(0.98, None) == SILENCE_S[Ending.PLAIN][2]
    assert silence_needed(0.05, None) == SILENCE_S[Ending.PLAIN][3]


# --- by the encoder -----------------------------------------------------------------------------


def test_where_the_encoder_says_something_it_decides():
    assert silence_needed(0.3, "I like trains.", end_of_turn=0.4) == by_heads(0.4, 0.5)
    assert silence_needed(None, "I like trains.", end_of_turn=0.8) == by_heads(0.8, 0.5)
    assert silence_needed(0.98, "I like trains.", narration=2, end_of_turn=0.8) == by_heads(
        0.8, 0.5
    )


def test_a_question_of_which_the_model_is_sure_does_not_wait_for_the_encoder():
    for text, row in (("What time is it?", Ending.QUESTION), ("Turn on the lamp.", Ending.REQUEST)):
        assert silence_needed(0.98, text, end_of_turn=0.1) == SILENCE_S[row][0]
        assert silence_needed(0.9, text, end_of_turn=0.1) == SILENCE_S[row][1] + ASKED_S
        assert silence_needed(0.3, text, end_of_turn=0.1) == SILENCE_S[row][2] + ASKED_S
    assert silence_needed(0.3, "What time is it?", narration=1, end_of_turn=0.1) == by_heads(
        0.1, 0.5
    )
    later = "Then turn on the lamp."
    assert silence_needed(0.98, later, end_of_turn=0.1) == by_heads(0.1, 0.5)


def test_a_whole_statement_waits_no_longer_than_by_the_table_but_in_a_story():
    most = SILENCE_S[Ending.PLAIN][1]
    assert silence_needed(0.98, "I like trains.", end_of_turn=0.1) == most
    assert silence_needed(0.9, "I like trains.", eagerness=0.0, end_of_turn=0.1) == 2 * most
    for score, text, narration in (
        (0.3, "I like trains.", 0),
        (0.9, "I like trains.", 1),
        (0.3, "I like trains.", 2),
        (0.9, "Sure.", 0),
    ):
        found = silence_needed(score, text, narration=narration, end_of_turn=0.2)
        assert most < found == PLAIN_S < by_heads(0.2, 0.5)
        found = silence_needed(score, text, narration=narration, end_of_turn=0.4)
        assert most < found == by_heads(0.4, 0.5) < PLAIN_S
    found = silence_needed(0.9, "And I like trains.", end_of_turn=0.1)
    assert found == by_heads(0.1, 0.5) > PLAIN_S


def test_words_that_ask_for_more_wait_for_the_table_and_the_encoder():
    table = SILENCE_S[Ending.OPEN][1]
    assert silence_needed(0.9, "What is the", end_of_turn=0.9) == table
    assert silence_needed(0.9, "What is the", end_of_turn=0.01) == by_heads(0.01, 0.5) > table


def test_the_encoder_says_nothing_of_other_languages_or_of_words_that_are_to_come():
    for text, language in (("Ich mag Züge.", "de"), (None, "en"), ("I like trains.", None)):
        assert silence_needed(0.9, text, language, end_of_turn=0.01) == silence_needed(
            0.9, text, language
        )


@given(
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from(sorted(TEXTS.values())),
)
def test_more_likely_or_more_eager_is_never_later(one, other, eagerness, text):
    less, more = sorted((one, other))
    assert silence_needed(0.9, text, end_of_turn=more) <= silence_needed(
        0.9, text, end_of_turn=less
    )
    eager = silence_needed(0.9, text, eagerness=more, end_of_turn=eagerness)
    patient = silence_needed(0.9, text, eagerness=less, end_of_turn=eagerness)
    assert TURN_DETECTION_S <= eager <= patient


def test_the_rows_ask_for_more_the_less_the_words_sound_whole():
    """And no turn waits longer than the longest wait, so that nothing that was learned is
    overruled by it.
    """
    rows = [
        SILENCE_S[kind]
        for kind in (Ending.QUESTION, Ending.REQUEST, Ending.PLAIN, Ending.DICTATION, Ending.OPEN)
    ]
    for column in zip(*rows, strict=True):
        assert list(column) == sorted(column)
    assert min(map(min, rows)) >= TURN_DETECTION_S and max(map(max, rows)) <= MOST_S


def test_a_story_gets_longer_pauses_up_to_a_bound():
    waits = [silence_needed(0.9, "I like trains.", narration=signs) for signs in range(5)]
    assert waits == [
        pytest.approx(SILENCE_S[Ending.PLAIN][1] * factor) for factor in (1.0, 1.4, 1.8, 1.8, 1.8)
    ]
    # a question ends a story, if it sounds so
    assert silence_needed(0.98, "What time is it?", narration=3) == SILENCE_S[Ending.QUESTION][0]
    assert silence_needed(0.9, "What time is it?", narration=1) == pytest.approx(
        SILENCE_S[Ending.QUESTION][1] * 1.4
    )


def test_in_a_story_a_whole_sentence_is_no_sure_end():
    assert silence_needed(0.98, "I like trains.", narration=1) == silence_needed(
        0.9, "I like trains.", narration=1
    )


def test_words_that_begin_like_a_part_are_a_sign_of_a_story():
    assert silence_needed(0.9, "And so I like trains.") == silence_needed(
        0.9, "I like trains.", narration=1
    )
    assert silence_needed(0.9, "When she heard it,", "fr") == silence_needed(
        0.9, "I like trains.", narration=1
    )
    assert silence_needed(0.98, "Then turn on the lamp.") == silence_needed(
        0.98, "I like trains.", narration=1
    )
    assert silence_needed(0.9, "And I like trains.", "de") == silence_needed(0.9, "I like trains.")


def test_languages_with_a_list_of_words_have_open_ends_and_others_only_their_marks():
    assert silence_needed(0.98, "Ich hätte gern den", "de") == SILENCE_S[Ending.OPEN][0]
    assert silence_needed(0.98, "Ik wil graag de", "nl") == SILENCE_S[Ending.PLAIN][0]
    assert silence_needed(0.98, "Ik wil graag …", "nl") == SILENCE_S[Ending.OPEN][0]
    assert silence_needed(0.98, "Ich hätte gern …", "de") == SILENCE_S[Ending.OPEN][0]
    assert silence_needed(0.98, "Wie spät ist es?", "de") == SILENCE_S[Ending.QUESTION][0]


def test_the_slider():
    assert [stretch(eagerness) for eagerness in (0.0, 0.5, 1.0)] == [2.0, 1.0, 0.5]
    assert silence_needed(0.9, "I like trains.", eagerness=0.0) == pytest.approx(
        2 * SILENCE_S[Ending.PLAIN][1]
    )
    # the model is never overtaken
    assert silence_needed(0.9, "What time is it?", eagerness=1.0) == TURN_DETECTION_S


SCORE = st.one_of(st.none(), st.floats(0.0, 1.0))
TEXT = st.one_of(st.none(), st.sampled_from(("", *TEXTS.values())), st.text(max_size=30))
EAGERNESS, PAUSES = st.floats(0.0, 1.0), st.integers(0, 50)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), TEXT, EAGERNESS, PAUSES)
def test_a_better_score_never_waits_longer(a, b, text, eagerness, narration):
    worse, better = sorted((a, b))
    assert silence_needed(better, text, "en", eagerness, narration) <= silence_needed(
        worse, text, "en", eagerness, narration
    )


@given(SCORE, TEXT, EAGERNESS, EAGERNESS, PAUSES)
def test_an_eager_listener_never_waits_longer(score, text, a, b, narration):
    patient, eager = sorted((a, b))
    assert silence_needed(score, text, "en", eager, narration) <= silence_needed(
        score, text, "en", patient, narration
    )


@given(SCORE, TEXT, EAGERNESS, PAUSES, PAUSES)
def test_who_tells_a_story_never_waits_shorter(score, text, eagerness, a, b):
    fewer, more = sorted((a, b))
    assert silence_needed(score, text, "en", eagerness, fewer) <= silence_needed(
        score, text, "en", eagerness, more
    )


@given(SCORE, TEXT, EAGERNESS, PAUSES, st.sampled_from(("en", "de", "", "ja")))
def test_every_wait_is_bounded(score, text, eagerness, narration, language):
    """By the silence of the model's question below, and by the endpointer's longest silence above
    (see `Caller`).
    """
    assert (
        TURN_DETECTION_S
        <= silence_needed(score, text, language, eagerness, narration)
        <= max(TURN_DETECTION_S, MOST_S * stretch(eagerness))
    )


# --- two heads ----------------------------------------------------------------------------------

PROBABILITIES = st.none() | st.floats(0.0, 1.0)


def test_two_heads_are_heard_together_and_one_alone():
    assert combined(None, None) is None
    assert combined(0.7, None) == 0.7
    assert combined(0.3, 0.7) == pytest.approx(0.5)  # which contradict each other
    assert combined(0.7, 0.7) > 0.7  # which agree
    assert combined(None, 0.7) > 0.7 > combined(None, 0.2) < 0.2


@given(PROBABILITIES, PROBABILITIES, PROBABILITIES, st.booleans())
def test_no_head_ever_works_the_wrong_way_round(one, other, beside, swapped):
    if one is None or other is None:
        return
    less, more = (
        combined(*((value, beside) if swapped else (beside, value)))
        for value in sorted((one, other))
    )
    assert 0.0 <= less <= more <= 1.0
