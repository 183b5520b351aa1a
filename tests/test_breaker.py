"""The circuit breaker of a link, on a clock of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.engines.chain.breaker import FIRST_REST_S, LONGEST_REST_S, TRIAL_S, Breaker
from whisperfusion.engines.remote.http_stream import Refused


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_link_that_failed_is_left_alone_and_tried_by_one_job() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    assert breaker.admits() and breaker.admits() and breaker.closed
    rest_s = breaker.failed()
    assert FIRST_REST_S / 2 <= rest_s <= FIRST_REST_S
    clock.now += rest_s * 0.99
    assert not breaker.admits() and not breaker.closed
    clock.now += rest_s * 0.02
    assert breaker.admits() and not breaker.admits()
    clock.now += TRIAL_S  # the trial never said how it ended
    assert breaker.admits()
    assert breaker.succeeded() and not breaker.succeeded() and breaker.closed


@given(st.integers(1, 2000))
def test_rests_grow_up_to_a_bound(failures: int) -> None:
    breaker = Breaker(Clock())
    rests = [breaker.failed() for _ in range(failures)]
    for at, rest_s in enumerate(rests):
        longest = min(FIRST_REST_S * 2.0 ** min(at, 30), LONGEST_REST_S)
        assert longest / 2 <= rest_s <= longest


def test_what_the_server_says_of_itself_is_kept() -> None:
    breaker = Breaker(Clock())
    assert breaker.failed(Refused(429, None, "busy", 77.0)) == 77.0
    assert Breaker(Clock()).failed(Refused(402, None, "no credit left")) == LONGEST_REST_S
