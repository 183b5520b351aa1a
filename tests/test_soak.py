"""The soak of the bench: what finds growth in a series, and a short run against real processes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from running import ROOT

sys.path.insert(0, str(ROOT))
from bench import soak
from bench.faults.account import Account, Codes
from bench.faults.slopes import LEAST, block_size, slope, theil_sen
from bench.faults.watch import Watch

EVERY_S, COUNT = 5.0, 720  # an hour
AT = np.arange(COUNT) * EVERY_S


def correlated(seed: int, memory: float = 0.9) -> np.ndarray:
    """As that of a process whose buffers fill and empty; 1 MB of deviation."""
    chance, values = np.random.default_rng(seed), np.zeros(COUNT)
    for at in range(1, COUNT):
        values[at] = memory * values[at - 1] + chance.normal(0, 0.45)
    return values


def test_a_leak_is_found_in_noise_and_its_size_is_right():
    for seed in range(8):
        found = slope(AT, 200 + correlated(seed) + AT / 3600 * 6.0)
        assert found.verdict(floor=2.0) == "grows" and found.low < 6.0 < found.high, seed
        assert found.per_hour == pytest.approx(6.0, abs=2.0)


def test_noise_is_not_reported_although_its_samples_are_correlated():
    verdicts = [slope(AT, 200 + correlated(seed)).verdict(floor=2.0) for seed in range(20)]
    assert verdicts == ["within noise"] * 20


def test_independent_samples_would_be_taken_for_a_trend():
    """The interval is wider where neighbours are alike."""
    alike, independent = correlated(1, 0.95), correlated(1, 0.0)
    assert block_size(alike) > block_size(independent)
    widths = [one.high - one.low for one in (slope(AT, alike), slope(AT, independent))]
    assert widths[0] / alike.std() > 3 * widths[1] / independent.std()


def test_outliers_do_not_move_the_slope():
    values = AT / 3600.0
    values[::50] += 1000.0
    assert slope(AT, values).per_hour == pytest.approx(1.0, abs=0.05)
    assert theil_sen(AT[:100], AT[:100] * 2) == pytest.approx(2.0)


def test_what_falls_or_is_short_is_said():
    assert slope(AT, 100 - AT / 100).verdict(floor=1.0) == "falls"
    assert slope(AT[: LEAST - 1], AT[: LEAST - 1]).verdict(floor=1.0) == "too few samples"
    flat = slope(AT, np.full(COUNT, 7.0))
    assert flat.verdict(floor=1.0) == "within noise" and flat.per_hour == 0.0


def test_the_code_of_another_caller_is_a_foreign_answer():
    account = Account(Codes(3))
    mine, other = account.codes.new(), account.codes.new()
    account.read("ws", mine, f"You said {mine} alpha. That is 2 words, and 99999999 more.")
    assert not account.foreign and account.repeated == 1
    account.read("ws", mine, f"You said {other} alpha.")
    assert other in account.foreign[0] and account.broken == [f"foreign: {account.foreign[0]}"]


def test_growth_of_one_process_is_named():
    watch = Watch(topology=None, every_s=EVERY_S)
    for at in AT:
        watch.series["a/asr", "memory, MB"].append((at, 100 + at / 100))
        watch.series["a/llm", "memory, MB"].append((at, 100.0))
    slopes = watch.slopes(warm_up_s=600.0)
    assert slopes["a/asr", "memory, MB"].verdict(2.0) == "grows"
    assert slopes["a/llm", "memory, MB"].verdict(2.0) == "within noise"
    assert slopes["a/asr", "memory, MB"].samples == COUNT - 120


@pytest.mark.sites
def test_a_short_soak_by_every_way_in(tmp_path):
    """Nothing foreign, wrong, lost, stuck or left; growth is not judged after 12 s."""
    plan = soak.Plan(hours=12 / 3600, every_s=0.5)
    found = soak.Soak(plan, tmp_path).run()
    report = soak.table(found, plan)
    assert not found.account.broken and not found.watch.restarts, report
    assert not [line for line in found.broken if line.startswith("left")], report
    interfaces = {interface for interface, outcome in found.account.count if outcome == "answered"}
    assert interfaces == set(soak.INTERFACES), report
    processes = {name for name, _ in found.watch.series}
    assert processes >= {f"a/{name}" for name in ("main", "asr", "llm", "tts", "gateway")}
    assert found.account.repeated >= found.account.total("answered"), report
    assert "own code in" in report and "a/asr" in report


@pytest.mark.parametrize(
    "arguments", [["--engines", "none"], ["--calls", "5", "--engines", "real"]]
)
def test_arguments_that_mean_nothing_are_refused(arguments):
    with pytest.raises(SystemExit):
        soak.main(arguments)
