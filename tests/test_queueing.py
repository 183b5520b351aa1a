"""The capacity model: against queueing theory where that is exact, and against what must hold."""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as some
from running import ROOT

sys.path.insert(0, str(ROOT))
from bench import capacity, growth, levels, one_caller
from bench.common import BenchError, Recording
from bench.queueing.callers import simulate
from bench.queueing.language_model import LanguageModel, tokens
from bench.queueing.parameters import Engines, Fitted, Parameters, Sharing, Turn, from_json, to_json
from bench.queueing.prediction import LEVEL, predict, root, with_overhead, with_work
from bench.queueing.processor import Processor, shares, weight
from bench.queueing.station import Station

JOBS = 10_000
CHANCE = 0.05  # of a mean over so many jobs, which depend on each other

ENGINES = Engines(
    interim_fixed=0.09,
    interim_each=0.015,
    final_fixed=0.09,
    final_each=0.012,
    more=0.6,
    small=0.5,
    end_of_turn=0.047,
    step=0.018,
    token=0.004,
    prompt=0.0045,
    voice=0.018,
    character=0.0004,
    frames=0.02,
)
TURNS = tuple(
    Turn(f"{at}.flac", 0.2, 1.5 + at / 4, 0.6, wait, early, 5, reply)
    for at, (wait, early, reply) in enumerate(
        [
            (0.2, -0.05, "It is ten minutes to five."),
            (0.5, None, "I turned on the lamp in the kitchen, as you asked."),
            (0.9, None, "That is a nice sentence. Shall I go on?"),
            (1.4, None, "Who are they?"),
        ]
    )
)
MACHINE = Parameters(2, ENGINES, Sharing(0.9, 0.75), TURNS, 0.5, 15.0)


def arrivals(
    env: simpy.Environment, rate: float, arrive: Callable[[], object]
) -> Generator[simpy.Event, Any, None]:
    chance = random.Random(7)
    for _ in range(JOBS):
        yield env.timeout(chance.expovariate(rate))
        arrive()


# --- theory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["exponential", "fixed"])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_processor_sharing_of_one_core(load: float, kind: str) -> None:
    """M/G/1 with processor sharing: 1 / (mu - lambda), whatever the distribution of the work."""
    env, chance, took = simpy.Environment(), random.Random(3), []
    processor = Processor(env, 1)

    def job() -> Generator[simpy.Event, Any, None]:
        began = env.now
        yield processor.start(chance.expovariate(1.0) if kind == "exponential" else 1.0).done
        took.append(env.now - began)

    env.process(arrivals(env, load, lambda: env.process(job())))
    env.run()
    assert len(took) == JOBS
    assert statistics.mean(took) == pytest.approx(1 / (1 - load), rel=2 * CHANCE)


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_several_cores(cores: int) -> None:
    """As many jobs are there as in M/M/c, so by Little's law they take as long."""
    load, env, chance, took = 0.75 * cores, simpy.Environment(), random.Random(3), []
    processor = Processor(env, cores)

    def job() -> Generator[simpy.Event, Any, None]:
        began = env.now
        yield processor.start(chance.expovariate(1.0)).done
        took.append(env.now - began)

    env.process(arrivals(env, load, lambda: env.process(job())))
    env.run()
    expected = 1 + growth.erlang_c(cores, load) / (cores - load)
    assert statistics.mean(took) == pytest.approx(expected, rel=2 * CHANCE)
    # the work that was done is the time that was used, and the cores were as busy as theory says
    assert processor.used_s / env.now == pytest.approx(load, rel=CHANCE)


def test_one_engine_thread() -> None:
    """M/M/1, first come, first served: the mean wait is rho / (mu - lambda)."""
    env, chance, waited = simpy.Environment(), random.Random(3), []
    station = Station(env, Processor(env, 1))
    numbers = iter(range(JOBS))

    def put() -> None:
        seconds = chance.expovariate(1.0)
        station.put(str(next(numbers)), seconds, lambda all_s, own_s: waited.append(all_s - own_s))

    env.process(arrivals(env, 0.7, put))
    env.run()
    assert len(waited) == station.served == JOBS
    assert statistics.mean(waited) == pytest.approx(0.7 / 0.3, rel=2 * CHANCE)


def test_erlang() -> None:
    """M/M/1 waits with probability rho; values of published tables for more."""
    assert growth.erlang_c(1, 0.3) == pytest.approx(0.3)
    assert growth.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert growth.erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)
    assert growth.erlang_c(3, 3.0) == 1.0


@given(some.floats(0.01, 500), some.floats(0.01, 5))
def test_replicas_keep_their_promise(load: float, service_s: float) -> None:
    count = growth.replicas(load, service_s)

    def late(servers: int) -> float:
        wait = math.exp(-(servers - load) * growth.WAIT_S / service_s)
        return growth.erlang_c(servers, load) * wait

    assert load / count <= growth.FULL and late(count) <= growth.LATE
    fewer = count - 1
    assert fewer == 0 or load / fewer > growth.FULL or late(fewer) > growth.LATE


# --- cores and threads --------------------------------------------------------------------------


@given(
    some.lists(some.tuples(some.integers(1, 8), some.floats(0.01, 10)), max_size=8),
    some.floats(0.1, 16),
)
def test_cores_are_divided_and_none_is_left(works: list[tuple[int, float]], cores: float) -> None:
    found = shares(works, cores)
    threads = sum(count for count, _ in works)
    given_out = sum(share * count for share, (count, _) in zip(found, works, strict=True))
    assert all(0 <= share <= 1 + 1e-9 for share in found)
    assert given_out == pytest.approx(min(cores, threads), abs=1e-6)
    for (_, one), a in zip(works, found, strict=True):
        for (_, other), b in zip(works, found, strict=True):
            assert one <= other or a >= b - 1e-9  # who weighs more gets no less


def test_a_nice_thread_gets_less() -> None:
    env = simpy.Environment()
    processor = Processor(env, 1)
    first, nice = processor.start(1.0), processor.start(1.0, nice=10)
    env.run(first.done)
    assert env.now == pytest.approx(1 + weight(10))
    env.run(nice.done)
    assert env.now == pytest.approx(2.0)


def test_threads_that_wait_for_each_other_lose_where_they_share() -> None:
    env = simpy.Environment()
    processor = Processor(env, 2, together=0.9, barrier=0.8)
    env.run(processor.start(0.9, threads=2).done)
    assert env.now == pytest.approx(1.0)  # both cores are busy
    began = env.now
    processor.start(100.0)
    env.run(processor.start(0.9, threads=2).done)
    assert env.now - began == pytest.approx(1.0 / (2 / 3) / 0.8)


def test_cancelled_work_uses_no_more() -> None:
    env = simpy.Environment()
    processor = Processor(env, 1)
    work, other = processor.start(5.0), processor.start(1.0)
    env.run(env.timeout(1.0))
    processor.cancel(work)
    env.run(other.done)
    assert env.now == pytest.approx(1.5) and processor.used_s == pytest.approx(1.5)
    assert not work.done.triggered


# --- stages -------------------------------------------------------------------------------------


def test_a_batch_takes_less_than_one_after_the_other_and_urgent_jobs_go_first() -> None:
    env, order = simpy.Environment(), []
    station = Station(env, Processor(env, 1), together=2, more=0.5)
    for name, urgent in (("a", False), ("b", False), ("c", True), ("d", False)):
        station.put(
            name, 1.0, lambda all_s, own_s, n=name: order.append((n, env.now)), urgent=urgent
        )
    env.run()
    assert [name for name, _ in order] == ["c", "a", "b", "d"]
    assert [at for _, at in order] == [1.5, 1.5, 3.0, 3.0]


def test_a_newer_job_of_a_caller_replaces_one_and_unwanted_ones_are_left_out() -> None:
    env, done = simpy.Environment(), []
    station = Station(env, Processor(env, 1))
    station.put("a", 1.0, lambda all_s, own_s: done.append("first"))
    env.run(env.timeout(0.5))
    for name in ("old", "new"):
        station.put("a", 1.0, lambda all_s, own_s, n=name: done.append(n), replace="words")
    station.put("b", 1.0, lambda all_s, own_s: done.append("unwanted"), wanted=lambda: False)
    env.run()
    assert done == ["first", "new"]
    assert env.now == pytest.approx(2.0)


def replies(count: int, at_once: int = 8) -> tuple[float, list[str]]:
    env, written = simpy.Environment(), []
    model = LanguageModel(env, Processor(env, 2), ENGINES, threads=2, slots=16, at_once=at_once)
    for _ in range(count):
        model.write(12, tokens("One two three."), lambda piece, last: written.append(piece))
    env.run()
    return env.now, written


def test_the_language_model_writes_each_token_once_and_batches_pay() -> None:
    alone_s, written = replies(1)
    assert written == ["One", " two", " three", "."]
    # the prompt's step has the first token
    steps = ENGINES.step + 12 * ENGINES.prompt + 3 * (ENGINES.step + ENGINES.token)
    assert alone_s == pytest.approx(steps)
    four_s, written = replies(4)
    assert len(written) == 16 and alone_s < four_s < 4 * alone_s


def test_beginnings_are_written_a_few_at_a_time() -> None:
    """As whisperfusion/engines/llama/pace.py has it: the third begins when one of two has begun."""
    env = simpy.Environment()
    model = LanguageModel(env, Processor(env, 2), ENGINES, threads=2, slots=16, at_once=2)
    first: dict[int, float] = {}
    for at in range(3):
        model.write(
            6, tokens("a b c d e f"), lambda piece, last, n=at: first.setdefault(n, env.now)
        )
    env.run()
    assert first[0] == first[1] < first[2]


def test_a_cancelled_reply_stops_at_its_next_token() -> None:
    env, written = simpy.Environment(), []
    model = LanguageModel(env, Processor(env, 2), ENGINES, threads=2, slots=1, at_once=2)
    reply = model.write(6, ["x"] * 100, lambda piece, last: written.append(piece))
    other = []
    model.write(6, ["y"], lambda piece, last: other.append(piece))
    env.run(env.timeout(0.3))
    reply.cancel()
    env.run()
    assert 0 < len(written) < 20 and other == ["y"]


# --- callers ------------------------------------------------------------------------------------


def median(parameters: Parameters, callers: int, **given: Any) -> float:
    return predict(parameters, callers, passes=6, runs=2, **given).p50


def test_every_turn_is_answered_once() -> None:
    hands = levels.deck([turn.recording for turn in TURNS], 6, 4, seed=1)
    outcome = simulate(MACHINE, hands)
    asked = sorted(name for hand in hands for name in hand)
    assert sorted(one.recording for one in outcome.answered) == asked
    assert not outcome.failed
    for one in outcome.answered:
        assert 0 < one.words_s <= one.decided_s <= one.heard_s and one.clause_s < one.heard_s
    assert outcome.used_s < 2 * outcome.over  # two cores


def test_a_lone_caller_waits_for_silence_and_work() -> None:
    """The reply of a turn that has to wait 1.4 s is made meanwhile; then it is only sent."""
    turn = TURNS[3]
    outcome = simulate(replace(MACHINE, turns=(turn,)), [[turn.recording] * 5])
    assert {round(one.heard_s, 3) for one in outcome.answered} == {1.415}


def test_the_same_seed_gives_the_same() -> None:
    assert predict(MACHINE, 4, runs=1) == predict(MACHINE, 4, runs=1)


def test_more_callers_wait_longer_and_more_cores_help() -> None:
    waits = [median(MACHINE, callers, admits=False) for callers in (1, 8, 16, 32)]
    assert waits == sorted(waits) and waits[-1] > 2 * waits[0]
    assert median(MACHINE.on(8), 16, admits=False) < waits[2]
    assert median(replace(MACHINE, fitted=Fitted(work=1.5)), 8) > waits[1]


def test_admission_keeps_the_waits_of_those_who_are_in() -> None:
    crowd = predict(MACHINE, 24, passes=12, runs=2, admits=False)
    admitted = predict(MACHINE, 24, passes=12, runs=2)
    assert not crowd.sent_away and admitted.sent_away >= 10
    assert admitted.p50 < crowd.p50
    assert admitted.n == crowd.n  # they came back


def test_load_shedding_is_the_servers_own() -> None:
    assert predict(MACHINE, 1, passes=6, runs=1).level == 0
    slow = replace(MACHINE, fitted=Fitted(work=2.5))
    assert predict(slow, 8, passes=6, runs=1).level > 0


# --- fits ---------------------------------------------------------------------------------------


def test_the_overhead_is_found() -> None:
    one_s = predict(replace(MACHINE, fitted=Fitted(overhead_s=0.08)), 1, runs=4).p50
    assert with_overhead(MACHINE, one_s).fitted.overhead_s == pytest.approx(0.08, abs=0.01)


def test_the_fit_to_one_level_gives_that_level_and_keeps_the_lone_caller() -> None:
    truth = replace(MACHINE, fitted=Fitted(0.03, 1.6))
    one_s, level_s = (predict(truth, count, runs=4).p50 for count in (1, LEVEL))
    found = with_work(MACHINE, one_s, level_s)
    assert found.fitted.work == pytest.approx(1.6, rel=0.15)
    assert predict(found, LEVEL, runs=4).p50 == pytest.approx(level_s, rel=0.05)
    assert predict(found, 1, runs=4).p50 == pytest.approx(one_s, rel=0.05)


def test_root() -> None:
    assert root(lambda x: x - 1.3, 0, 4) == pytest.approx(1.3, abs=0.02)
    assert root(lambda x: 1.0, 2, 3) == 2 and root(lambda x: -1.0, 2, 3) == 3


@settings(max_examples=50)
@given(some.integers(1, 20), some.integers(1, 20), some.integers(0, 9))
def test_every_recording_is_said_equally_often(passes: int, callers: int, seed: int) -> None:
    names = ["a", "b", "c", "d", "e"]
    hands = levels.deck(names, passes, callers, seed)
    said = [name for hand in hands for name in hand]
    assert {name: said.count(name) for name in names} == dict.fromkeys(names, passes)
    assert max(map(len, hands)) - min(map(len, hands)) <= 1


def test_parameters_are_read_as_they_were_written() -> None:
    assert from_json(to_json(MACHINE)) == MACHINE


def test_bits_of_a_call() -> None:
    """16 kHz up all the time, 24 kHz down while the reply speaks, two bytes a sample."""
    turns = growth.turns_of(MACHINE)
    assert growth.bits_a_second(turns, 60 / turns.reply) == (256_000, 384_000)
    assert growth.bits_a_second(turns, 30 / turns.reply) == (256_000, pytest.approx(192_000))


def test_growth_is_linear_for_whole_servers_and_less_for_shared_engines() -> None:
    needs = [growth.replicas(load, 0.3) / load for load in (1, 10, 100, 1000)]
    assert needs == sorted(needs, reverse=True) and needs[-1] < 1.5


def measured(**server: float) -> dict[str, Any]:
    """A turn as bench/turns.py measures it, in milliseconds."""
    stages = {"words": 220.0, "decided": 230.0, "first_token": 400.0, **server}
    return {"cut off": False, "first sound": 600.0, "turns": 1, "reply": "Yes.", "server": stages}


RECORDING = Recording("a.flac", "Is it on?", (), np.zeros(48_000, np.float32), 8000, 32_000, ())


def test_a_measured_turn_says_what_it_waited_for() -> None:
    turn = one_caller.turn_of(RECORDING, measured())
    assert turn == Turn("a.flac", 0.5, 1.5, 1.5, 0.2, None, 3, "Yes.")
    waited = one_caller.turn_of(RECORDING, measured(decided=900.0, first_token=150.0))
    assert waited is not None and waited.wait_s == 0.9
    assert waited.early_s == pytest.approx(0.15 - one_caller.ALONE_S)


@pytest.mark.parametrize("broken", [{"turns": 2}, {"cut off": True}, {"first sound": None}])
def test_a_turn_without_figures_says_nothing(broken: dict[str, Any]) -> None:
    assert one_caller.turn_of(RECORDING, {**measured(), **broken}) is None


def test_a_table_is_put_between_its_marks() -> None:
    text = "a <!-- x -->old<!-- end of x --> b"
    assert capacity.put(text, "x", "new") == "a <!-- x -->\nnew\n<!-- end of x --> b"
    with pytest.raises(BenchError, match="no marks <!-- y -->"):
        capacity.put(text, "y", "new")


def test_the_interval_of_a_median_holds_it() -> None:
    values = [0.6 + 0.01 * (at - 28) for at in range(57)]
    low, high = levels.interval(values)
    assert low < statistics.median(values) < high and high - low < 0.4


def test_the_kept_parameters_are_those_of_the_model() -> None:
    """A first look at a machine needs no calibration: bench/capacity.json is there."""
    parameters = capacity.Kept(capacity.FILE).parameters
    assert len(parameters.turns) >= 15
    assert 0.2 < predict(parameters, 1, runs=1).p50 < 2.0
