"""The time to first audio that is predicted for more callers, against queues of known capacity."""

from __future__ import annotations

import pytest

from whisperfusion.turns.latency_prediction import FEWEST, RECENT_S, LatencyPrediction

ALONE_S, SERVICE_S = 0.5, 0.4


def measured(callers: int, capacity: float, replies: int = 20, now: float = 0.0):
    """A station that serves up to `capacity` callers, measured alone and then with `callers`."""
    prediction = LatencyPrediction()
    prediction.reply_took(ALONE_S, SERVICE_S, 1, 1, now)
    for number in range(replies):
        took = truth(callers, capacity)
        prediction.reply_took(took, SERVICE_S, callers, callers, now + RECENT_S + number / 10)
    return prediction, now + RECENT_S + replies / 10


def truth(callers: int, capacity: float) -> float:
    """M/M/1."""
    used = callers / capacity
    return ALONE_S + SERVICE_S * used / (1 - used)


@pytest.mark.parametrize("capacity", [9.0, 20.0, 100.0])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_the_wait_of_one_more_caller_follows_from_that_of_those_who_are_there(capacity, share):
    callers = int(share * capacity)
    prediction, now = measured(callers, capacity)
    expected = truth(callers + 1, capacity)
    assert prediction.first_audio_s(callers + 1, now) == pytest.approx(expected, rel=0.01)


def test_beyond_the_capacity_it_is_infinite():
    prediction, now = measured(8, 9.0)
    assert prediction.first_audio_s(9, now) == float("inf")


def test_callers_who_left_are_not_waited_for():
    prediction, now = measured(8, 10.0)
    assert prediction.first_audio_s(3, now) == pytest.approx(truth(3, 10.0), rel=0.01)


def test_without_waiting_more_callers_are_expected_to_wait_no_longer():
    prediction, now = measured(8, 1e9)
    assert prediction.first_audio_s(100, now) == pytest.approx(ALONE_S, rel=0.01)


def test_a_few_replies_that_a_slow_tool_held_up_do_not_count():
    prediction, now = measured(8, 1e9)
    for _ in range(9):  # of thirty
        prediction.reply_took(30.0, 29.5, 8, 8, now)
    assert prediction.first_audio_s(9, now) == pytest.approx(ALONE_S, rel=0.01)


def test_a_server_that_was_never_alone_takes_the_shortest_wait_for_that():
    prediction = LatencyPrediction()
    for number in range(20):
        prediction.reply_took(0.5 + 0.1 * (number % 5), 0.4, 8, 8, number / 10)
    assert prediction.alone_s(2.0) == 0.5
    assert 0.7 < prediction.first_audio_s(9, 2.0) < 0.8


def test_nothing_is_predicted_from_little_or_from_long_ago():
    prediction, now = measured(8, 10.0, FEWEST - 1)
    assert prediction.first_audio_s(9, now) is None
    prediction, now = measured(8, 10.0)
    assert prediction.first_audio_s(9, now + RECENT_S) is None
