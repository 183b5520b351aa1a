"""Which of several replies may write: those that begin first, then those whose voice would run dry."""

from __future__ import annotations

import threading

from fusion.engines.llama_pace import AHEAD_S, BEGINNING, CHARACTERS_PER_S, Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


LONG = "x" * int(CHARACTERS_PER_S * (AHEAD_S + 2))  # two seconds more than it must be ahead


def test_a_reply_that_is_far_ahead_waits_while_another_begins_and_goes_on_then():
    pace = Pace(Clock())
    ahead = pace.begin()
    for _ in range(BEGINNING):
        assert not ahead.must_wait  # it begins itself
        ahead.wrote(LONG)
    assert not ahead.must_wait  # alone
    other = pace.begin()
    assert ahead.must_wait and not other.must_wait
    other.end()
    assert not ahead.must_wait
    pace.begin().end()
    other.end()  # a second end is none
    assert not pace.somebody_begins


def test_whoever_would_run_dry_goes_on():
    clock = Clock()
    pace = Pace(clock)
    ahead = pace.begin()
    ahead.wrote(LONG)
    for _ in range(BEGINNING):
        ahead.wrote(" ")
    pace.begin()
    assert ahead.must_wait
    clock.now += 3.0
    assert not ahead.must_wait


def test_pieces_without_text_are_none():
    pace = Pace(Clock())
    reply = pace.begin()
    for _ in range(BEGINNING + 1):
        reply.wrote("")
    assert pace.somebody_begins and reply.pieces == 0


def test_waiting_ends_when_nobody_begins_any_more():
    pace = Pace()
    first = pace.begin()
    threading.Timer(0.05, first.end).start()
    pace.wait(30.0)
    assert not pace.somebody_begins
