"""Which of several replies may write: those that begin first, then those whose voice would run
dry.
"""

from __future__ import annotations

import threading

import pytest

from whisperfusion.engines.llama.pace import AHEAD_S, BEGINNING, CHARACTERS_PER_S, Pace, Writing


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def begun(pace: Pace) -> Writing:
    reply = pace.start()
    for piece in (LONG, *[" "] * (BEGINNING - 1)):
        assert not reply.must_wait
        reply.wrote(piece)
    return reply


LONG = "x" * int(CHARACTERS_PER_S * (AHEAD_S + 2))  # two seconds more than it must be ahead


def test_a_reply_that_is_far_ahead_waits_while_another_begins_and_goes_on_then():
    pace = Pace(1, Clock())
    ahead = begun(pace)
    assert not ahead.must_wait  # alone
    other = pace.start()
    assert ahead.must_wait and not other.must_wait
    other.end()
    other.end()  # a second end is none
    assert not ahead.must_wait
    pace.start()
    assert ahead.must_wait


@pytest.mark.parametrize("at_once", [1, 2])
def test_those_who_begin_go_one_after_the_other(at_once):
    pace = Pace(at_once, Clock())
    replies = [pace.start() for _ in range(4)]
    order = []
    while waiting := [reply for reply in replies if reply not in order]:
        going = [reply for reply in waiting if not reply.must_wait]
        assert going == waiting[:at_once]
        order.append(going[-1])
        for _ in range(BEGINNING):
            going[-1].wrote("word ")
    assert sorted(map(replies.index, order)) == [0, 1, 2, 3]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_long_prompt_is_read_while_no_short_one_waits(at_once):
    pace = Pace(at_once, Clock())
    long, later = pace.start(long=True), pace.start(long=True)
    assert not long.must_wait and later.must_wait
    short = pace.start()
    assert long.must_wait and not short.must_wait
    short.end()
    assert not long.must_wait
    long.end()
    assert not later.must_wait


@pytest.mark.parametrize(
    ("pieces", "over"),
    [
        (["Yes", ",", " it", " is"], False),
        (["Go", " on", " now", "."], True),
        (["a "] * BEGINNING, True),
    ],
)
def test_a_reply_begins_until_its_first_clause_is_there(pieces, over):
    pace = Pace(1, Clock())
    first, second = pace.start(), pace.start()
    for piece in pieces:
        assert second.must_wait
        first.wrote(piece)
    assert second.must_wait is not over


def test_whoever_would_run_dry_goes_on():
    clock = Clock()
    pace = Pace(1, clock)
    ahead = begun(pace)
    pace.start()
    assert ahead.must_wait
    clock.now += 3.0
    assert not ahead.must_wait


def test_pieces_without_text_are_none():
    pace = Pace(1, Clock())
    reply, other = pace.start(), pace.start()
    for _ in range(BEGINNING + 1):
        reply.wrote("")
    assert other.must_wait and reply.pieces == 0


def test_waiting_ends_when_one_of_them_has_begun():
    pace = Pace(1)
    first, second = pace.start(), pace.start()
    threading.Timer(0.05, first.end).start()
    pace.wait(30.0)
    assert not second.must_wait
