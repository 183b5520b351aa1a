"""Speech probabilities and the silence that is needed to events, window by window; positions are samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.core.endpoint import (
    PRE_ROLL_S,
    SCORE_S,
    STOP_S,
    TAIL,
    WINDOW,
    Endpoint,
    ScoreDue,
    SpeechStarted,
    SpeechStopped,
    TurnEnded,
    samples,
)

PATIENCE_S = 2.6


def feed(endpoint: Endpoint, probability: float, seconds: float) -> list:
    return [event for _ in range(samples(seconds) // WINDOW) for event in endpoint.feed(probability)]


def paused(seconds: float = 0.0, patience_s: float = PATIENCE_S) -> Endpoint:
    """Half a second of speech, then the pause up to SpeechStopped and `seconds` more."""
    endpoint = Endpoint(patience_s)
    feed(endpoint, 0.9, 0.5)
    feed(endpoint, 0.1, STOP_S + seconds)
    assert endpoint.stopped_at == samples(0.5) // WINDOW * WINDOW
    return endpoint


def test_speech_starts_with_its_pre_roll_and_stops_where_the_silence_began():
    endpoint = Endpoint(PATIENCE_S)
    assert feed(endpoint, 0.1, 1.0) == []
    (started,) = feed(endpoint, 0.9, 0.5)
    assert started == SpeechStarted(samples(1.0) // WINDOW * WINDOW - samples(PRE_ROLL_S))
    stopped_at = endpoint.position
    assert feed(endpoint, 0.1, STOP_S) == [SpeechStopped(stopped_at)]


def test_a_click_is_no_speech():
    endpoint = Endpoint(PATIENCE_S)
    for _ in range(20):
        assert feed(endpoint, 0.9, 0.064) == [] and feed(endpoint, 0.1, 0.064) == []


def test_a_breath_inside_a_word_does_not_stop_it():
    endpoint = Endpoint(PATIENCE_S)
    feed(endpoint, 0.9, 0.5)
    assert feed(endpoint, 0.1, 0.128) == [] and feed(endpoint, 0.9, 0.5) == []


def test_how_long_a_stop_takes_can_be_chosen():
    endpoint = Endpoint(PATIENCE_S, stop_s=0.4)
    feed(endpoint, 0.9, 0.5)
    assert feed(endpoint, 0.1, 0.38) == [] and [type(event) for event in feed(endpoint, 0.1, 0.064)] == [SpeechStopped]


def test_the_model_is_asked_once_in_each_pause():
    endpoint = Endpoint(PATIENCE_S)
    for _ in range(2):
        feed(endpoint, 0.9, 0.5)
        assert [type(event) for event in feed(endpoint, 0.1, SCORE_S)] == [SpeechStopped]
        assert feed(endpoint, 0.1, 0.032) == [ScoreDue(endpoint.stopped_at)]
        assert feed(endpoint, 0.1, 1.0) == []


def test_a_long_enough_silence_ends_the_turn_once():
    endpoint = paused()
    assert endpoint.judge(0.6) == []
    ended = feed(endpoint, 0.1, 2.0)
    assert [type(event) for event in ended] == [ScoreDue, TurnEnded] and not ended[1].sure
    assert 0 <= ended[1].at - endpoint.stopped_at - samples(0.6) < WINDOW


def test_what_is_learned_late_may_end_the_turn_at_once_or_later():
    endpoint = paused(0.5)
    assert endpoint.judge(1.0) == []
    assert endpoint.judge(0.4) == [TurnEnded(endpoint.position, sure=False)]
    assert endpoint.judge(0.5) == [TurnEnded(endpoint.position, sure=False)]  # more is known: the conversation may think again
    assert endpoint.judge(None) == [] and feed(endpoint, 0.1, 1.0) == []


def test_a_turn_does_not_end_while_sound_may_just_be_beginning():
    for after, event in ((0.1, TurnEnded), (0.9, SpeechStarted)):
        endpoint = paused(0.3)
        assert feed(endpoint, 0.9, 0.032) == [] == endpoint.judge(0.2)
        assert [type(found) for found in feed(endpoint, after, 0.064)] == [event]


def test_patience_ends_every_turn():
    endpoint = paused()
    endpoint.judge(9.0)
    (score, ended) = feed(endpoint, 0.1, 5.0)
    assert ended.sure and 0 <= ended.at - samples(0.5) // WINDOW * WINDOW - samples(PATIENCE_S) < WINDOW
    assert endpoint.stopped_at is None and endpoint.judge(0.1) == []


def test_a_judgement_is_of_one_pause():
    endpoint = paused()
    endpoint.judge(0.6)
    feed(endpoint, 0.9, 0.3)
    assert [type(event) for event in feed(endpoint, 0.1, 1.5)] == [SpeechStopped, ScoreDue]


@pytest.mark.parametrize("state", ["before", "speaking"])
def test_without_a_pause_nothing_is_judged(state):
    endpoint = Endpoint(PATIENCE_S)
    if state == "speaking":
        feed(endpoint, 0.9, 0.5)
    assert endpoint.judge(0.0) == [] and endpoint.stopped_at is None


def test_speech_without_end_is_cut():
    endpoint = Endpoint(PATIENCE_S, max_turn_s=10.0)
    events = feed(endpoint, 0.9, 40.0)
    assert TurnEnded in map(type, events)
    for stopped, ended in zip(events[1::3], events[2::3], strict=False):
        assert isinstance(stopped, SpeechStopped) and ended == TurnEnded(stopped.at + TAIL, sure=True)


def test_speech_that_is_too_long_is_cut_at_its_next_dip():
    endpoint = Endpoint(PATIENCE_S, max_turn_s=10.0)
    feed(endpoint, 0.9, 11.0)
    assert [type(event) for event in endpoint.feed(0.2)] == [SpeechStopped, TurnEnded]


def test_ending_by_hand():
    endpoint = Endpoint(PATIENCE_S)
    assert endpoint.end_turn() == []
    feed(endpoint, 0.9, 0.5)
    assert [type(event) for event in endpoint.end_turn()] == [SpeechStopped, TurnEnded]
    assert endpoint.end_turn() == []
    assert [type(event) for event in paused().end_turn()] == [TurnEnded]


def test_a_turn_that_the_conversation_closed_brings_no_more_events():
    endpoint = paused()
    endpoint.close_turn()
    assert feed(endpoint, 0.1, 5.0) == [] and endpoint.judge(0.1) == []
    feed(endpoint, 0.9, 0.5)
    endpoint.close_turn()  # somebody speaks: that is another turn
    assert endpoint.speaking and [type(event) for event in feed(endpoint, 0.1, STOP_S)] == [SpeechStopped]


def test_a_pre_roll_never_reaches_into_the_turn_before():
    endpoint = paused()
    stopped_at = endpoint.stopped_at
    endpoint.close_turn()
    (started,) = feed(endpoint, 0.9, 0.2)
    assert started == SpeechStarted(stopped_at)


PIECES = st.tuples(st.sampled_from((0.05, 0.4, 0.6, 0.95)), st.integers(1, 60), st.sampled_from((None, 0.2, 0.7, 3.0)))


@given(st.lists(PIECES, max_size=40))
def test_events_alternate_and_positions_only_rise(pieces):
    endpoint = Endpoint(PATIENCE_S, max_turn_s=5.0)
    events = []
    for probability, windows, needed in pieces:
        for _ in range(windows):
            events += endpoint.feed(probability)
        events += endpoint.judge(needed)
    speaking, last_stop, scored = False, 0, False
    for event in events:
        if isinstance(event, SpeechStarted):
            assert not speaking
            speaking = True
        elif isinstance(event, SpeechStopped):
            assert speaking and event.at >= last_stop
            speaking, last_stop, scored = False, event.at, False
        elif isinstance(event, ScoreDue):
            assert not speaking and not scored and event.stopped_at == last_stop
            scored = True
        else:
            assert not speaking and event.at >= last_stop
    assert speaking == endpoint.speaking
