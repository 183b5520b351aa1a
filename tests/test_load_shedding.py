"""When the level rises and falls: literal times for the stories, invented ones for what must
always hold.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.turns.load_shedding import (
    IDLE_S,
    OVER,
    RELAPSE_S,
    RISE,
    SHARE,
    STAY_S,
    TOP,
    Load,
    interim_every_s,
)

MANY = 8


def rush(load: Load, start: float, seconds: float, waits: float) -> None:
    """Urgent words that take `waits` seconds, twice a second."""
    for i in range(int(seconds * 2)):
        load.transcript_took(waits, MANY, start + i / 2)


# --- stories ------------------------------------------------------------------------------------


def test_two_long_waits_within_seconds_raise_the_level_and_one_does_not() -> None:
    load = Load()
    load.transcript_took(0.9, MANY, 10.0)
    assert load.level(10.0) == 0
    load.transcript_took(0.3, MANY, 11.0)
    load.transcript_took(0.9, MANY, 15.9)
    assert load.level(15.9) == 1


def test_two_long_waits_far_apart_are_two_accidents() -> None:
    load = Load()
    load.transcript_took(5.0, MANY, 10.0)
    load.transcript_took(5.0, MANY, 16.1)
    assert load.level(16.1) == 0


def test_late_answers_count_as_late_words_do() -> None:
    load = Load()
    load.reply_took(1.6, MANY, 1.0)
    load.transcript_took(0.7, MANY, 2.0)
    assert load.level(2.0) == 1


def test_jobs_that_wait_are_felt_before_their_results_come() -> None:
    load = Load()
    load.decode_took(0.2)
    load.jobs_wait(4, MANY, 1.0)
    load.jobs_wait(4, MANY, 2.0)
    assert load.level(2.0) == 1
    calm = Load()
    calm.jobs_wait(2, MANY, 1.0)
    calm.jobs_wait(2, MANY, 2.0)
    assert calm.level(2.0) == 0


def test_each_step_needs_more_strain_and_what_came_after_the_one_before_had_time_to_help() -> None:
    load = Load()
    for now in (1.0, 1.1):
        load.transcript_took(9.0, MANY, now)
    for now in (1.2, 1.5, 2.0):  # were asked for before the change
        load.transcript_took(9.0, MANY, now)
    assert load.level(2.0) == 1
    for now in (2.2, 2.3):
        load.transcript_took(0.85, MANY, now)
    assert load.level(2.3) == 1
    load.transcript_took(0.95, MANY, 2.4)
    assert load.level(2.4) == 1
    load.transcript_took(0.95, MANY, 2.5)
    assert load.level(2.5) == 2
    for now in (3.6, 3.7):
        load.transcript_took(1.3, MANY, now)
    assert load.level(3.7) == 3


def test_it_falls_step_by_step_when_waits_are_short_again() -> None:
    load = Load()
    rush(load, 0.0, 10.0, 3.0)
    assert load.level(10.0) == 3
    for second in range(10, 60):
        load.transcript_took(0.2, MANY, float(second))
    # the last strained pair was at 9.5
    assert [
        load.level(60.0),
        replay(19.4),
        replay(19.6),
        replay(29.4),
        replay(29.6),
        replay(39.6),
    ] == [0, 3, 2, 2, 1, 0]


def replay(until: float) -> int:
    load = Load()
    rush(load, 0.0, 10.0, 3.0)
    for second in range(10, int(until) + 1):
        load.transcript_took(0.2, MANY, float(second))
    return load.level(until)


def test_a_border_case_neither_rises_nor_falls() -> None:
    load = Load()
    rush(load, 0.0, 1.0, 0.7)
    rush(load, 2.0, 120.0, 0.5)  # below what led here, above what lets go
    assert load.level(122.0) == 1


def test_a_fall_that_had_to_be_taken_back_makes_the_next_one_wait_twice_as_long() -> None:
    """A step that helps so well that it seems not to be needed."""
    load = Load()
    falls, before = [], 0
    for tenth in range(4000):
        now = tenth / 10
        load.transcript_took(0.9 if load.level(now) == 0 else 0.2, MANY, now)
        if load.level(now) < before:
            falls.append(now)
        before = load.level(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(falls)]
    assert gaps == pytest.approx([21.1, 41.1, 81.1, 161.1], abs=0.5)


def test_where_nobody_speaks_for_a_while_there_is_nobody_to_protect() -> None:
    load = Load()
    for start in (0.0, 12.0, 34.0):  # two relapses: the stay is 40 s
        rush(load, start, 1.0, 0.9)
    assert load.level(34.5 + IDLE_S - 0.1) == 1 and load.level(34.5 + IDLE_S + 0.1) == 0


def test_a_new_rush_long_after_the_last_is_short_again() -> None:
    load = Load()
    for start in (0.0, 12.0, 34.0):
        rush(load, start, 1.0, 0.9)
    rush(load, 35.0, 165.0, 0.2)
    rush(load, 200.0, 1.0, 0.9)  # up at 200.5
    rush(load, 201.0, 9.5, 0.2)
    assert load.level(210.4) == 1 and load.level(210.6) == 0


def test_a_relapse_counts_once_however_high_it_leads() -> None:
    load = Load()
    rush(load, 0.0, 1.0, 0.9)  # up at 0.5, down at 10.5
    rush(load, 12.0, 4.0, 9.0)
    assert load.level(16.0) == 3
    for second in range(16, 120):
        load.transcript_took(0.2, MANY, float(second))
    assert load.level(119.0) == 0  # three stays of 20 s, not of 40 or 80


def test_a_lone_caller_is_no_rush_however_slow_the_machine() -> None:
    load = Load()
    for second in range(30):
        load.transcript_took(2.0, 1, float(second))
        load.reply_took(5.0, 1, float(second))
    assert load.level(30.0) == 0


def test_a_lone_callers_queue_is_no_usual_wait() -> None:
    load = Load()
    for second in range(30):
        load.jobs_wait(9, 1, float(second))
    rush(load, 30.0, 1.0, 0.7)
    assert load.level(31.0) == 1


def test_what_a_lone_caller_waits_is_no_strain_for_two() -> None:
    load = Load()
    for second in range(30):
        load.transcript_took(0.5, 1, float(second))
        load.reply_took(1.4, 1, float(second))
    for second in range(30, 60):
        load.transcript_took(0.9, 2, float(second))
        load.reply_took(2.7, 2, float(second))
    assert load.level(60.0) == 0
    load.transcript_took(1.1, 2, 60.0)
    load.transcript_took(1.1, 2, 60.1)
    assert load.level(60.1) == 1


def test_callers_are_told_once_on_the_way_up_and_once_when_it_is_over() -> None:
    load = Load()
    assert load.changed(0.0) is None
    rush(load, 0.0, 1.0, 0.7)
    assert load.changed(0.5) == "many people are talking at once: captions come less often"
    assert load.changed(0.6) is None
    rush(load, 2.0, 1.0, 1.0)
    assert (
        load.changed(2.5) == "many people are talking at once: a smaller recognizer listens for now"
    )
    assert load.changed(13.0) is None and load.level(13.0) == 1  # a step down is not worth a word
    rush(load, 14.0, 1.0, 1.0)
    assert load.level(14.5) == 2 and load.changed(14.5) is None  # known already
    assert load.changed(100.0) == OVER
    assert load.changed(100.1) is None


def test_steps_taken_between_two_questions_are_told_together() -> None:
    load = Load()
    rush(load, 0.0, 10.0, 3.0)
    told = load.changed(10.0)
    assert told is not None and "captions" in told and "recognizer" in told and "short" in told


def test_a_smaller_recognizer_that_is_not_there_is_not_promised() -> None:
    load = Load(smaller=False)
    rush(load, 0.0, 1.0, 0.7)
    load.changed(0.5)
    rush(load, 2.0, 1.0, 1.0)
    assert load.level(2.5) == 2 and load.changed(2.5) is None
    rush(load, 4.0, 1.0, 3.0)
    assert load.changed(4.5) == "many people are talking at once: answers are kept short for now"
    assert load.changed(200.0) == OVER


@pytest.mark.parametrize(
    ("speaking", "decode_s", "level", "every_s"),
    [
        (0, 0.2, 0, 2 / 7),
        (1, 0.2, 0, 2 / 7),
        (2, 0.2, 0, 4 / 7),
        (1, 0.2, 1, 0.8),
        (4, 0.2, 0, 8 / 7),
        (1, 0.05, 0, 0.2),
        (16, 0.2, 0, 2.0),
    ],
)
def test_the_time_between_two_partial_transcripts(
    speaking: int, decode_s: float, level: int, every_s: float
) -> None:
    assert interim_every_s(speaking, decode_s, level) == pytest.approx(every_s)


# --- what always holds --------------------------------------------------------------------------

waits = st.floats(0, 20)
observations = st.lists(
    st.tuples(
        st.floats(0, 20), st.sampled_from(["words", "answer", "jobs"]), waits, st.integers(0, 40)
    ),
    max_size=80,
)


def play(
    load: Load, story: list[tuple[float, str, float, int]], now: float = 0.0, ask_every: float = 0.0
) -> tuple[float, list[int]]:
    """Observations, each so many seconds after the one before.

    The end, and the level after each.
    """
    levels = []
    for gap, kind, value, callers in story:
        while ask_every and gap > ask_every:
            gap, now = gap - ask_every, now + ask_every
            load.level(now)
        now += gap
        if kind == "words":
            load.transcript_took(value, callers, now)
        elif kind == "answer":
            load.reply_took(value, callers, now)
        else:
            load.jobs_wait(int(value), callers, now)
        levels.append(load.level(now))
    return now, levels


@given(observations)
def test_the_level_is_bounded_moves_by_one_upward_and_comes_back_to_nothing(
    story: list[tuple[float, str, float, int]],
) -> None:
    load = Load()
    end, levels = play(load, story)
    assert all(0 <= level <= TOP for level in levels)
    assert all(later - earlier <= 1 for earlier, later in zip([0, *levels], levels, strict=False))
    assert load.level(end + IDLE_S + 2 * STAY_S) == 0
    assert load.changed(end + 1000) in (None, OVER) and load.changed(end + 1000) is None


@given(observations)
def test_it_never_falls_twice_within_the_shortest_stay_nor_soon_after_a_rise(
    story: list[tuple[float, str, float, int]],
) -> None:
    load, now, before, changed_at = Load(), 0.0, 0, -STAY_S
    for gap, kind, value, callers in [*story, (100.0, "words", 0.0, 2)]:
        for tick in range(int(gap * 4)):
            at = now + tick / 4
            level = load.level(at)
            if level < before:
                # both are seen up to a tick late
                assert before - level == 1 and at - changed_at > STAY_S - 0.5
                changed_at = at
            before = level
        now, _ = play(load, [(gap, kind, value, callers)], now)
        if load.level(now) != before:
            before, changed_at = load.level(now), now


@given(observations, st.floats(0.1, 5))
def test_asking_more_often_changes_nothing(
    story: list[tuple[float, str, float, int]], every: float
) -> None:
    # sums of eighths are exact
    rounded = [(round(gap * 8) / 8, kind, value, callers) for gap, kind, value, callers in story]
    assert play(Load(), rounded)[1] == play(Load(), rounded, ask_every=round(every * 8 + 1) / 8)[1]


@given(waits, waits, st.floats(0.1, 3), st.integers(2, 40))
def test_who_always_waits_longer_is_never_on_a_lower_level(
    one: float, other: float, every: float, callers: int
) -> None:
    short, long = sorted((one, other))
    levels = [play(Load(), [(every, "words", wait, callers)] * 60)[1][-1] for wait in (short, long)]
    assert levels[0] <= levels[1] == sum(long / 0.6 >= rise for rise in RISE)


@given(
    st.integers(0, 12),
    st.integers(0, 12),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(0, TOP),
    st.integers(0, TOP),
)
def test_more_callers_slower_decodes_and_higher_levels_never_bring_partials_sooner(
    few: int, many: int, quick: float, slow: float, low: int, high: int
) -> None:
    few, many, (quick, slow), (low, high) = (
        min(few, many),
        max(few, many),
        sorted((quick, slow)),
        sorted((low, high)),
    )
    steps = [(few, quick, low), (many, quick, low), (many, slow, low), (many, slow, high)]
    every = [interim_every_s(*step) for step in steps]
    assert every == sorted(every) and every[0] >= 0.2 and every[-1] <= 2.0


@given(st.integers(1, 100), st.floats(0.01, 5), st.integers(0, TOP))
def test_partials_of_all_take_their_share_of_a_core_where_the_slowest_pace_allows(
    speaking: int, decode_s: float, level: int
) -> None:
    every = interim_every_s(speaking, decode_s, level)
    assert every == 2.0 or speaking * decode_s / every <= SHARE[level] + 1e-9


def test_the_memory_of_a_relapse_is_longer_than_the_shortest_stay() -> None:
    """Else a step down would be forgotten before it can prove wrong."""
    assert RELAPSE_S > STAY_S
