"""The chaos of the bench: how a turn's outcome is found, what a fault may hit, and a short run
against real processes.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import pytest
from running import ROOT

sys.path.insert(0, str(ROOT))
from bench import chaos
from bench.faults import plan as plans
from bench.faults.faults import Kill, KillService
from bench.faults.leaks import Snapshot, Use
from bench.faults.material import RECALL, echoes
from bench.faults.people import Lost, Turn, outcome_of
from whisperfusion.client import Closed, Failed, ReplyDone, ReplyText, UserTurn
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
    assert not Snapshot({"a/asr": Use(110.0, 24, 10)}).grown(before)
    after = Snapshot({"a/asr": Use(180.0, 40, 30), "a/others": Use(5.0, 4, 1, 9)})
    kinds = [line.split()[2] for line in after.grown(before)]
    assert kinds == ["descriptors,", "threads,", "MB,", "processes,"]


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
