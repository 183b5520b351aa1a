"""What the model predicts, and how it is fitted.

Two figures are fitted, each to one measurement: the overhead to the calibration's single caller,
and, if asked for, the factor on all work to one level of load. All other levels are predictions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.levels import PASSES, deck
from bench.queueing.callers import Answered, Outcome, simulate
from bench.queueing.parameters import Parameters
from bench.verdicts import percentile

RUNS = 12  # of the same turns, with other pauses between them
FIT_RUNS, STEPS, ROUNDS = 4, 8, 2
OVERHEAD_S = (0.0, 0.3)  # where the fit looks for it
WORK = (0.5, 2.5)
LEVEL = 8  # callers at once, to which `work` is fitted


@dataclass(frozen=True)
class Predicted:
    """Seconds and rates, over all runs. `cores`: busy on average."""

    callers: int
    n: int
    p50: float
    p95: float
    words: float
    decided: float
    turns_a_minute: float
    cores: float
    sent_away: float
    level: float


def predict(
    parameters: Parameters,
    callers: int,
    passes: int = 0,
    runs: int = RUNS,
    admits: bool = True,
    seed: int | None = None,
) -> Predicted:
    """`passes`: how often each recording is said; 0 = as in the measurement."""
    names = sorted({turn.recording for turn in parameters.turns})
    hands = deck(names, passes or PASSES[callers], callers, callers if seed is None else seed)
    outcomes = [simulate(parameters, hands, run, admits) for run in range(runs)]
    return summary(callers, outcomes)


def summary(callers: int, outcomes: Sequence[Outcome]) -> Predicted:
    answered = [one for outcome in outcomes for one in outcome.answered]

    def middle(value: Callable[[Answered], float], share: float = 0.5) -> float:
        return percentile(sorted(value(one) for one in answered), share)

    return Predicted(
        callers,
        len(answered),
        middle(lambda one: one.heard_s),
        middle(lambda one: one.heard_s, 0.95),
        middle(lambda one: one.words_s),
        middle(lambda one: one.decided_s),
        statistics.mean(60 * len(one.answered) / one.over for one in outcomes),
        statistics.mean(one.used_s / one.over for one in outcomes),
        statistics.mean(one.sent_away for one in outcomes),
        statistics.mean(level for one in outcomes for level in one.levels),
    )


def with_overhead(parameters: Parameters, median_s: float) -> Parameters:
    """The overhead with which one caller's median is `median_s`, the calibration's."""

    def off(overhead_s: float) -> float:
        tried = replace(parameters, fitted=replace(parameters.fitted, overhead_s=overhead_s))
        return predict(tried, 1, runs=FIT_RUNS).p50 - median_s

    found = root(off, *OVERHEAD_S)
    return replace(parameters, fitted=replace(parameters.fitted, overhead_s=found))


def with_work(parameters: Parameters, one_s: float, level_s: float) -> Parameters:
    """The factor on all work with which `LEVEL` callers wait `level_s`, while one caller waits
    `one_s`: the two are found in turns.
    """
    found = parameters

    def off(work: float) -> float:
        fitted = replace(found.fitted, work=work)
        return predict(replace(found, fitted=fitted), LEVEL, runs=FIT_RUNS).p50 - level_s

    for _ in range(ROUNDS):
        fitted = replace(found.fitted, work=root(off, *WORK))
        found = with_overhead(replace(found, fitted=fitted), one_s)
    return found


def root(off: Callable[[float], float], low: float, high: float) -> float:
    """Where `off`, which rises, is 0; the nearer end if it is nowhere in between."""
    if off(low) >= 0:
        return low
    if off(high) <= 0:
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return (low + high) / 2
