"""Which calls may come in, and which are told to come back later."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from whisperfusion.call.admission import (
    ACTIVE_PER_CORE,
    ACTIVE_S,
    FEW,
    FULL_LEVEL,
    WAIT_MIN,
    Admission,
)
from whisperfusion.messages import Stage
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
    admission.ended("3")
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
    admission.ended("0")  # what made the replies late is gone, although the level stays for a while
    assert not admission.wait_min(FULL_LEVEL * SETTLE_S)


def test_without_load_any_number_is_admitted_where_replies_are_written_elsewhere():
    admission = Admission(Load(), {}, CORES)
    for number in range(5 * MOST):
        assert not admission.wait_min(0.0)
        admission.started(str(number), 0.0)
