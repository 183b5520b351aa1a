"""The chaos of the bench: how a turn's outcome is found, what a fault may hit, and a short run
against real processes.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from running import ROOT

sys.path.insert(0, str(ROOT))
from bench import chaos
from bench.faults import people
from bench.faults import plan as plans
from bench.faults.account import Account, Codes
from bench.faults.faults import Kill, KillService
from bench.faults.leaks import Snapshot, Use
from bench.faults.material import RECALL, Tones, echoes
from bench.faults.outcome import Lost, Turn, outcome_of
from bench.faults.topology import Front
from whisperfusion.audio import Samples
from whisperfusion.client import Closed, Event, Failed, ReplyDone, ReplyText, UserTurn
from whisperfusion.turns.announcements import INTERRUPTED
from whisperfusion.turns.reply import APOLOGY

LINE = "12345 alpha"
ACCEPTED = UserTurn(3, LINE)
SAID = ReplyText(3, 0, f"You said {LINE}.", True)


def outcome(*events, kept: int = 4, scripted: bool = True) -> str:
    return outcome_of(Turn(LINE), events, scripted, kept).outcome


def test_the_outcome_of_a_turn():
    assert outcome() == outcome(ACCEPTED, SAID) == ""
    assert outcome(ACCEPTED, SAID, ReplyDone(3)) == "answered"
    # the end of the answer before it, which was interrupted
    assert outcome(ReplyText(2, 0, "old", True), ReplyDone(2), ACCEPTED) == ""
    assert outcome(ACCEPTED, Failed("llm_failed", "it failed", 3)) == "told"
    assert outcome(ACCEPTED, ReplyText(3, 0, APOLOGY, True), ReplyDone(3)) == "told"
    assert outcome(ACCEPTED, Closed("stopped")) == "told"


def test_the_outcome_of_a_turn_whose_connection_was_lost():
    whole, pending = Lost(True, 4), Lost(True, 5, pending=True)
    assert outcome(whole) == "resumed"
    assert outcome(ACCEPTED, Lost(True, 3)) == "lost"
    assert outcome(ACCEPTED, Lost(False)) == "forgotten"
    assert outcome(ACCEPTED, Lost(False), kept=0) == "told"
    apology = (ReplyText(1, 0, INTERRUPTED.text, True), ReplyDone(1))
    answer = (ReplyText(2, 0, f"You said {LINE}.", True), ReplyDone(2))
    assert outcome(ACCEPTED, pending, *apology) == ""  # the answer is owed
    assert outcome(ACCEPTED, pending, *apology, *answer) == "answered"
    # an earlier turn was pending; the server did not get this one
    assert outcome(pending, *apology) == "resumed"
    assert outcome(ACCEPTED, pending, ReplyText(2, 0, "Something else.", True), ReplyDone(2)) == ""


def test_a_spoken_line_may_be_heard_in_part():
    part = "You said 12345 al. That is 2 words."
    assert echoes(LINE, part, spoken=True) and not echoes(LINE, part, spoken=False)
    assert not echoes(LINE, "You said 54321 al. That is 2 words.", spoken=True)
    assert echoes(RECALL, "I said: You said 12345 alpha.", spoken=False)


def test_whom_a_fault_may_hit():
    gateway, model = Kill("k", 0.0, "a", stage="gateway"), Kill("k", 0.0, "a", stage="llm")
    assert not gateway.hits("sockets", "a") and gateway.hits("page", "a")
    assert model.hits("sockets", "a") and model.hits("ws", "") and not model.hits("sockets", "b")
    assert not KillService("redis", noticed=False).hits("page", "a")


def test_an_order_has_all_kinds_in_each_round_and_comes_again_from_its_seed():
    kinds = ["a", "b", "c", "d"]
    first = plans.order(kinds, 10, random.Random(7))
    assert sorted(first[:4]) == sorted(first[4:8]) == kinds and len(first) == 10
    assert (
        first
        == plans.order(kinds, 10, random.Random(7))
        != plans.order(kinds, 10, random.Random(8))
    )


def test_what_has_grown_is_named():
    before = Snapshot({"a/asr": Use(100.0, 20, 8)})
    assert not Snapshot({"a/asr": Use(110.0, 24, 10)}).grown(before, {})
    after = Snapshot({"a/asr": Use(180.0, 40, 30), "a/others": Use(5.0, 4, 1, 9)})
    kinds = [line.split()[2] for line in after.grown(before, {})]
    assert kinds == ["descriptors,", "threads,", "MB,", "processes,"]


def test_an_engine_that_stands_in_is_no_leak():
    """One of them."""
    before = Snapshot({"a/asr": Use(100.0, 20, 8)})
    loaded = Snapshot({"a/asr": Use(290.0, 24, 20)})
    assert not loaded.grown(before, {"asr": 200.0})
    assert len(loaded.grown(before, {"llm": 200.0})) == 2
    twice = Snapshot({"a/asr": Use(490.0, 24, 30)})
    assert len(twice.grown(before, {"asr": 200.0})) == 2


class _Clock:
    """In the place of the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Said:
    """A call that says events, each at its time on the clock."""

    uid = "uid"

    def __init__(self, clock: _Clock, events: list[tuple[float, Event]]) -> None:
        self._clock, self._events = clock, events

    async def __aiter__(self) -> AsyncIterator[Event]:
        for at, event in self._events:
            self._clock.now = at
            yield event
            await asyncio.sleep(0.01)  # in which `until` sees the new time
        await asyncio.sleep(60)

    async def send_audio(self, pcm: Samples) -> None: ...


async def _waited(clock: _Clock, count: int, *events: tuple[float, Event]) -> list[str]:
    """For so many events. What is stuck."""
    clock.now = 0.0
    account, front = Account(Codes(1)), Front("ws://[::1]:9", "ws://[::1]:9", "http://[::1]:9")
    person = people.Person("12345", "page", front, account, Tones(), random.Random(1), "uid")
    talk = people.Talk(person, _Said(clock, list(events)))
    assert await talk.until(lambda: len(talk.events) == count, "an answer") == (not account.stuck)
    await talk.stop()
    return account.stuck


def test_an_answer_that_goes_on_is_not_stuck_and_a_silent_one_is(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(people, "time", clock)
    monkeypatch.setattr(people, "STUCK_S", 0.004)  # less than between two events
    said = [(0.003 * at, replace(SAID, index=at)) for at in range(5)]
    assert not asyncio.run(_waited(clock, 5, *said))
    silent = [(0.0, SAID), (0.003, ACCEPTED), (0.006, ACCEPTED)]
    (stuck,) = asyncio.run(_waited(clock, 4, *silent))
    assert "page uid: an answer did not come in 0 s" in stuck and "UserTurn" in stuck


@pytest.mark.sites
def test_a_short_chaos_breaks_nothing(tmp_path):
    """Seven faults in an order that its seed gives. Times are in the report, not judged."""
    plan = replace(
        chaos.Plan(),
        faults=7,
        seed=4,
        gap_s=(0.1, 0.5),
        longest_s=1.0,
        settle_s=2.0,
        ready_s=chaos.BACK_S,
        only=(
            "kill asr",
            "kill tts",
            "kill gateway",
            "kill decoder",
            "locked store",
            "model server: fails",
            "slow lines",
        ),
    )
    found = chaos.Chaos(plan, tmp_path).run()
    report = chaos.table(found)
    assert not found.broken, report
    assert {row.kind for row in found.rows} == set(plan.only), report
    assert found.account.total("answered") > 8 and found.account.repeated > 8, report
    assert found.account.total("resumed") + found.account.total("told") > 0, report


@pytest.mark.parametrize("arguments", [["--topology", "none"], ["--faults", "x"]])
def test_arguments_that_mean_nothing_are_refused(arguments):
    with pytest.raises(SystemExit):
        chaos.main(arguments)
