"""Which calls may come in, and which are told to come back later."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from whisperfusion.call.admission import (
    ACTIVE_PER_CORE,
    ACTIVE_S,
    FEW,
    FULL_LEVEL,
    LONGEST_WAIT_MIN,
    NEARLY,
    WAIT_MIN,
    Admission,
)
from whisperfusion.messages import Stage
from whisperfusion.turns.commands import Latency
from whisperfusion.turns.latency_prediction import RECENT_S
from whisperfusion.turns.load_shedding import REPLY_S, SETTLE_S, Load
from whisperfusion.turns.states import State

OWN = Stage("llm", "ready", "llama.cpp", "qwen", "cpu")
CORES = 2
MOST = ACTIVE_PER_CORE * CORES


def member(call: str, state: State) -> SimpleNamespace:
    return SimpleNamespace(call=call, conversation=SimpleNamespace(state=state))


def full_house(llm: Stage = OWN) -> Admission:
    admission = Admission(Load(), {"llm": llm}, CORES)
    for number in range(MOST):
        assert not admission.wait_min(0.0)
        admission.started(str(number), 0.0)
    return admission


def test_more_conversations_than_the_machine_answers_in_time_wait_outside():
    admission = full_house()
    assert admission.wait_min(1.0) == WAIT_MIN
    admission.ended("3", 2.0)
    assert not admission.wait_min(2.0)


def test_calls_in_which_no_user_speaks_do_not_count():
    admission = full_house()
    quiet = [member(str(number), State.IDLE) for number in range(MOST)]
    admission.update(quiet, 1.0)
    assert admission.wait_min(1.0)
    admission.update(quiet, 1.0 + ACTIVE_S)
    assert not admission.wait_min(1.0 + ACTIVE_S)
    speaking = [member(str(number), State.USER_SPEAKING) for number in range(MOST)]
    admission.update(speaking, 2.0 + ACTIVE_S)
    assert admission.wait_min(2.0 + ACTIVE_S)


@pytest.mark.parametrize(
    "llm",
    [
        Stage("llm", "ready", "ollama", "large", ""),
        Stage("llm", "ready", "llama.cpp", "qwen", "cuda0"),
    ],
)
def test_where_the_processor_writes_no_replies_only_late_ones_count(llm):
    assert not full_house(llm).wait_min(1.0)


def overloaded() -> Load:
    load, now = Load(), 0.0
    for _ in range(FULL_LEVEL):
        now += SETTLE_S
        for _ in range(2):
            load.reply_took(3 * REPLY_S, 2, now)
    assert load.level(now) == FULL_LEVEL
    return load


def test_no_further_call_is_admitted_while_replies_are_late_in_spite_of_load_shedding():
    admission = Admission(overloaded(), {}, CORES)
    for number in range(FEW):
        assert not admission.wait_min(FULL_LEVEL * SETTLE_S)
        admission.started(str(number), FULL_LEVEL * SETTLE_S)
    assert admission.wait_min(FULL_LEVEL * SETTLE_S)
    admission.ended(
        "0", FULL_LEVEL * SETTLE_S
    )  # what made the replies late is gone, although the level stays for a while
    assert not admission.wait_min(FULL_LEVEL * SETTLE_S)


def test_without_load_any_number_is_admitted_where_replies_are_written_elsewhere():
    admission = Admission(Load(), {}, CORES)
    for number in range(5 * MOST):
        assert not admission.wait_min(0.0)
        admission.started(str(number), 0.0)


def latency(first_sound_s: float) -> Latency:
    """Of a reply whose final transcript takes 0.2 s, and whose user is waited for 0.1 s more."""
    return Latency(1, 0.1, 0.2, 0.3, 0.4, 0.5, first_sound_s, False)


def busy(
    first_sound_s: float, calls: int, most_calls: int = 0, level: int = 1
) -> tuple[Admission, float]:
    """A server whose engines run elsewhere. Alone, a caller waits 0.5 s."""
    load = SimpleNamespace(level=lambda now: level, reply_limit_s=REPLY_S)
    admission, now = Admission(load, {}, CORES, most_calls), 0.0
    admission.replied(latency(0.5), 1, now)
    for number in range(calls):
        admission.started(str(number), now)
    admission.update([member(str(number), State.USER_SPEAKING) for number in range(calls)], now)
    for _ in range(20):
        now += 0.1
        admission.replied(latency(first_sound_s), calls, now)
    return admission, now


def test_a_call_that_would_make_replies_late_is_refused_before_they_are():
    served, now = busy(0.7, 20)
    assert not served.wait_min(now) and 0.1 < served.load(now) < 0.3
    nearly, now = busy(1.45, 20)
    assert REPLY_S > 1.45 and nearly.wait_min(now) == WAIT_MIN and nearly.load(now) == 1.0
    few, now = busy(1.45, FEW - 1)
    assert not few.wait_min(now) and few.load(now) < 1.0
    unhurt, now = busy(1.45, 20, level=0)  # load shedding has not begun
    assert not unhurt.wait_min(now) and unhurt.load(now) == NEARLY
    later = now + RECENT_S  # no turn was measured since
    assert not nearly.wait_min(later) and nearly.load(later) == 0.0


def test_clients_that_only_connect_make_nobody_late():
    admission, now = busy(1.0, 20)
    load = admission.load(now)
    assert not admission.wait_min(now) and load > 0.4
    for number in range(50):
        admission.started(f"new {number}", now)
    assert not admission.wait_min(now) and admission.load(now) == load
    admission.update([member(f"new {number}", State.USER_SPEAKING) for number in range(50)], now)
    assert admission.wait_min(now)


def test_the_load_grows_with_every_limit_that_is_near():
    admission = Admission(Load(), {"llm": OWN}, CORES)
    assert admission.load(0.0) == 0.0
    admission.started("0", 0.0)
    assert admission.load(0.0) == pytest.approx(1 / MOST)
    assert full_house().load(0.0) == 1.0
    admission, now = busy(0.5, 3, most_calls=4)
    assert admission.load(now) == 0.75
    admission.started("3", now)
    assert admission.load(now) == 1.0
    assert dict(admission.metrics(now))["admission_wait_seconds"] > 0


def test_who_is_turned_away_waits_for_those_who_were_before():
    admission = full_house()
    for number in range(MOST // 2):  # calls of eight minutes
        admission.ended(str(number), 480.0)
        admission.started(f"{number} again", 480.0)
    for number in range(MOST // 2, MOST):
        admission.started(f"{number} again", 480.0)
    waits = []
    for _ in range(10):
        waits.append(admission.wait_min(481.0))
        admission.turned_away(481.0)
    assert waits[0] == pytest.approx(1.0) and waits == sorted(waits)
    assert waits[2] == pytest.approx(3.0) and waits[-1] == LONGEST_WAIT_MIN
    counted = dict(admission.metrics(481.0))
    assert (counted["calls_total"], counted["calls_refused_total"]) == (2 * MOST, 10)


def test_a_server_that_drains_admits_no_call():
    admission = Admission(Load(), {}, CORES)
    admission.draining = True
    assert admission.wait_min(0.0) == WAIT_MIN and admission.load(0.0) == 1.0
    assert dict(admission.metrics(0.0))["draining"] == 1.0
