"""Speech probabilities to events, window by window; positions are samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fusion.core.endpoint import (
    LIKELY_S,
    PATIENCE_S,
    PRE_ROLL_S,
    SCORE_S,
    STOP_S,
    TAIL,
    WINDOW,
    Endpoint,
    SpeechStarted,
    SpeechStopped,
    TurnEnded,
    samples,
)


def feed(endpoint: Endpoint, probability: float, seconds: float) -> list:
    return [event for _ in range(samples(seconds) // WINDOW) for event in endpoint.feed(probability)]


def test_speech_starts_with_its_pre_roll_and_stops_where_the_silence_began():
    endpoint = Endpoint()
    assert feed(endpoint, 0.1, 1.0) == []
    (started,) = feed(endpoint, 0.9, 0.5)
    assert started == SpeechStarted(samples(1.0) // WINDOW * WINDOW - samples(PRE_ROLL_S))
    stopped_at = endpoint.position
    assert feed(endpoint, 0.1, STOP_S) == [SpeechStopped(stopped_at)]


def test_a_click_is_no_speech():
    endpoint = Endpoint()
    for _ in range(20):
        assert feed(endpoint, 0.9, 0.064) == [] and feed(endpoint, 0.1, 0.064) == []


def test_a_breath_inside_a_word_does_not_stop_it():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.5)
    assert feed(endpoint, 0.1, 0.128) == [] and feed(endpoint, 0.9, 0.5) == []


def test_the_model_is_asked_once_a_pause_and_ends_the_turn_when_it_is_sure():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.5)
    feed(endpoint, 0.1, SCORE_S - 0.04)
    assert not endpoint.score_due
    feed(endpoint, 0.1, 0.064)
    assert endpoint.score_due and endpoint.stopped_at is not None
    endpoint.score_due = False
    feed(endpoint, 0.1, 0.2)
    assert not endpoint.score_due
    assert endpoint.score(0.4, endpoint.stopped_at) == []
    assert endpoint.score(0.9, endpoint.stopped_at) == [TurnEnded(endpoint.position, sure=False)]


def test_a_score_that_comes_late_is_ignored():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.5)
    feed(endpoint, 0.1, 0.25)
    pause = endpoint.stopped_at
    feed(endpoint, 0.9, 0.3)
    assert endpoint.score(0.9, pause) == []
    feed(endpoint, 0.1, 0.25)
    assert endpoint.stopped_at != pause and endpoint.score(0.9, pause) == []


def test_silence_ends_the_turn_first_likely_then_surely():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.5)
    ended = [event for event in feed(endpoint, 0.1, 5.0) if isinstance(event, TurnEnded)]
    assert [event.sure for event in ended] == [False, True]
    stopped = samples(0.5) // WINDOW * WINDOW
    assert 0 <= ended[0].at - stopped - samples(LIKELY_S) < WINDOW
    assert 0 <= ended[1].at - stopped - samples(PATIENCE_S) < WINDOW


def test_speech_without_end_is_cut():
    endpoint = Endpoint(max_turn_s=10.0)
    events = feed(endpoint, 0.9, 40.0)
    assert TurnEnded in map(type, events)
    for stopped, ended in zip(events[1::3], events[2::3], strict=False):
        assert isinstance(stopped, SpeechStopped) and ended == TurnEnded(stopped.at + TAIL, sure=True)


def test_ending_by_hand():
    endpoint = Endpoint()
    assert endpoint.end_turn() == []
    feed(endpoint, 0.9, 0.5)
    assert [type(event) for event in endpoint.end_turn()] == [SpeechStopped, TurnEnded]
    assert endpoint.end_turn() == []


def test_a_turn_that_the_conversation_closed_brings_no_more_events():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.5)
    feed(endpoint, 0.1, 0.3)
    endpoint.close_turn()
    assert feed(endpoint, 0.1, 5.0) == [] and endpoint.score(0.9, samples(0.5)) == []


@given(st.lists(st.tuples(st.sampled_from((0.05, 0.4, 0.6, 0.95)), st.integers(1, 60)), max_size=40))
def test_events_alternate_and_positions_only_rise(pieces):
    endpoint = Endpoint(max_turn_s=5.0)
    events = []
    for probability, windows in pieces:
        for _ in range(windows):
            events += endpoint.feed(probability)
    speaking, last_stop = False, 0
    for event in events:
        if isinstance(event, SpeechStarted):
            assert not speaking
            speaking = True
        elif isinstance(event, SpeechStopped):
            assert speaking and event.at >= last_stop
            speaking, last_stop = False, event.at
        else:
            assert not speaking and event.at >= last_stop
    assert speaking == endpoint.speaking
