"""The pure parts of the measurements on a card: pieces that are split and joined, the steps and
their budget, what was done, and the figures as a table.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import ROOT

from bench.gpu import card, measure, setup, steps
from bench.gpu.failures import attempt
from whisperfusion.errors import EngineError

CARRY = ROOT / "bench" / "gpu" / "carry.sh"
MB = card.MB
STEPS = [steps.Step(name, most_s, name) for name, most_s in (("a", 10), ("b", 20), ("c", 5))]


def carry(*arguments: Any, check: bool = True, **environment: str) -> Any:
    return subprocess.run(
        [CARRY, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=check,
    )


@pytest.fixture
def pieces(tmp_path) -> list[Path]:
    """The folders of a file of 2,500 bytes in pieces of at most 1,000; `tmp_path/whole` is it."""
    (tmp_path / "whole").write_bytes(os.urandom(2500))
    carry("split", tmp_path / "whole", tmp_path / "out", "it", PIECE_BYTES="1000")
    return [tmp_path / "out" / f"it-{number}" for number in (1, 2, 3)]


# --- carry.sh -----------------------------------------------------------------------------------


def test_pieces_are_small_and_join_in_whatever_order_they_come(tmp_path, pieces):
    assert [(piece / f"it.{at}-of-3").stat().st_size for at, piece in enumerate(pieces, 1)] == [
        1000,
        1000,
        500,
    ]
    there = tmp_path / "there"
    told = carry("take", pieces[2], pieces[0], there).stdout.decode()
    assert told == "it: still missing 2\n"
    refused = carry("join", there, "it", check=False)
    assert refused.returncode == 1 and b"missing: 2" in refused.stderr and not refused.stdout
    assert carry("take", pieces[1], there).stdout == b"it: complete\n"
    assert carry("join", there, "it").stdout == (tmp_path / "whole").read_bytes()


def test_a_damaged_piece_is_refused_when_it_comes(tmp_path, pieces):
    (pieces[1] / "it.2-of-3").write_bytes(b"x" * 1000)
    refused = carry("take", *pieces, tmp_path / "there", check=False)
    assert refused.returncode == 1 and b"damaged on its way" in refused.stderr
    assert not (tmp_path / "there" / "pieces" / "it.2-of-3").exists()


def test_pieces_of_another_whole_are_not_joined(tmp_path, pieces):
    there = tmp_path / "there"
    carry("take", *pieces, there)
    (there / "pieces" / "it.2-of-3").write_bytes(b"x" * 1000)
    refused = carry("join", there, "it", check=False)
    assert refused.returncode == 1 and b"another sum" in refused.stderr and not refused.stdout


def test_unpacking_wants_all_of_it(tmp_path):
    refused = carry("unpack", tmp_path, check=False)
    assert refused.returncode == 1 and b"no pieces in" in refused.stderr
    (tmp_path / "whole").write_bytes(os.urandom(2500))
    carry("split", tmp_path / "whole", tmp_path / "out", "base", PIECE_BYTES="1000")
    carry("take", tmp_path / "out" / "base-2", tmp_path / "there")
    refused = carry("unpack", tmp_path / "there", check=False)
    assert refused.stderr == b"carry.sh: pieces of base are missing: 1 3\n"


def test_the_script_has_no_fault_that_shellcheck_knows():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, CARRY], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_carried_set_has_what_counts_word_errors():
    """`carry.sh` installs without looking for dependencies: each must be in one of the lists."""
    wanted = {"jiwer", "whisper-normalizer", "rapidfuzz", "indic-numtowords", "more-itertools"}
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    assert wanted | {"regex"} <= {line.partition("==")[0] for line in lines}


# --- steps --------------------------------------------------------------------------------------


def test_all_steps_fit_into_the_time_of_a_card():
    visits = steps.visits(steps.STEPS)
    assert [step for visit in visits for step in visit] == list(steps.STEPS)
    took = [steps.START_S + sum(step.most_s for step in visit) for visit in visits]
    assert max(took) <= steps.CALL_S and sum(took) <= steps.WHOLE_S
    assert tuple(measure.work_of(None)) == steps.NAMES


def test_a_visit_makes_what_surely_ends_in_it_in_order():
    def names(budget_s: float) -> tuple[str, str]:
        now, later = steps.fitting(STEPS, budget_s)
        return "".join(step.name for step in now), "".join(step.name for step in later)

    assert names(100) == ("abc", "")
    assert names(steps.START_S + 30) == ("ab", "c")
    assert names(steps.START_S + 29) == ("a", "bc")  # c would fit; the order stays
    assert names(3) == ("", "abc")
    with pytest.raises(ValueError, match="b alone"):
        steps.visits(STEPS, steps.START_S + 15)


def test_what_is_done_is_not_made_again(tmp_path):
    results = tmp_path / "results.jsonl"
    assert steps.read(results) == []
    steps.append(results, {"step": "first", "part": "load", "figures": {}})
    steps.append(results, {"step": "first", "end": True})
    steps.append(results, {"step": "latency", "part": "error", "failed": "x"})
    with results.open("a") as lines:
        lines.write('{"step": "batches", "en')  # broken off
    finished = steps.done(steps.read(results))
    assert finished == {"first"}
    left = [step.name for step in steps.chosen([], finished, again=False)]
    assert left == [name for name in steps.NAMES if name != "first"]
    assert [step.name for step in steps.chosen(["words", "first"], finished, again=True)] == [
        "first",
        "words",
    ]


def test_the_table_has_the_latest_figures_and_says_what_was_dry_or_failed():
    def record(part: str, **more: Any) -> dict[str, Any]:
        return {"step": "latency", "part": part, **more}

    shown = steps.table(
        [
            record("2 s", figures={"ms": {"p50": 1.0}}),
            record("2 s", figures={"ms": {"p50": 12.345, "n": 30}, "on": ["CPU"], "turns": [{}]}),
            record("4 s", dry=True, figures={"ms": 7}),
            record("error", failed="a crash"),
            record("", end=True),
            record("error", failed="no memory"),
        ]
    )
    assert shown.splitlines()[2:] == [
        "| latency | 2 s | ms p50 12.35, ms n 30, on: CPU |",
        "| latency (dry) | 4 s | ms 7 |",
        "| latency | error | no memory |",
    ]


# --- a step -------------------------------------------------------------------------------------


def test_a_step_that_fails_leaves_its_figures_and_the_reason(tmp_path):
    def breaks(chosen: setup.Setup) -> Any:
        yield "one", {"ms": 1.0}
        raise EngineError("CUDA failed with error out of memory")

    results = tmp_path / "results.jsonl"
    assert measure.make("first", breaks, setup.Setup(dry=True), results) == 1
    one, error = steps.read(results)
    assert one["figures"] == {"ms": 1.0} and one["dry"]
    assert "out of memory" in error["failed"] and steps.done([one, error]) == set()


def test_what_a_full_card_does_is_told_in_the_words_of_the_library():
    def full() -> None:
        try:
            raise RuntimeError("CUDA failed with error out of memory")
        except RuntimeError as error:
            raise EngineError("the GPU has no memory left for this") from error

    def lost() -> None:
        raise RuntimeError("CUDA failed with error an illegal memory access was encountered")

    told = attempt(full)
    assert told["of the library"] == "RuntimeError: CUDA failed with error out of memory"
    assert told["ends a turn"] and not told["ends the process"]
    assert attempt(lost)["ends the process"] and not attempt(lost)["ends a turn"]
    assert attempt(lambda: None) == {"error": "none"}


def test_without_a_card_nothing_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with card.filled(24) as taken:
        assert (taken, card.told(), card.used_mb()) == (0, {}, None)


class Driver:
    """CUDA's interface to a card with `free_mb`, in pieces of at most `piece_mb`."""

    def __init__(self, free_mb: int, piece_mb: int) -> None:
        self.free, self.piece, self.blocks, self.contexts = free_mb * MB, piece_mb * MB, {}, 0

    def cuInit(self, flags: int) -> int:
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:
        self.contexts += 1
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: Any) -> int:
        self.contexts -= 1
        return 0

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        free._obj.value = self.free
        return 0

    def cuMemAlloc_v2(self, block: Any, size: Any) -> int:
        if size.value > min(self.free, self.piece):
            return 2
        block._obj.value = len(self.blocks) + 1
        self.blocks[block._obj.value] = size.value
        self.free -= size.value
        return 0

    def cuMemFree_v2(self, block: Any) -> int:
        self.free += self.blocks.pop(block.value)
        return 0


@pytest.mark.parametrize("piece_mb", [100_000, 300])
def test_all_memory_but_a_little_is_taken_and_given_back(piece_mb):
    driver = Driver(5000, piece_mb)
    with card.filled(24, driver) as taken:
        assert 24 <= driver.free // MB < 24 + card.SMALLEST_MB and taken == 5000 - driver.free // MB
        assert driver.contexts == 1
    assert (driver.free, driver.blocks, driver.contexts) == (5000 * MB, {}, 0)


def test_the_carried_folder_is_what_the_processes_use(tmp_path):
    assert setup.environment(None) == dict(os.environ)
    (tmp_path / "cuda13").mkdir()
    (tmp_path / "cuda13" / "libcublas.so.13").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcublas.so.12").symlink_to(tmp_path / "cuda13" / "libcublas.so.13")
    found = setup.environment(tmp_path)
    assert found["MODEL_CACHE_DIR"] == str(tmp_path / "models")
    folders = found["LD_LIBRARY_PATH"].split(":")
    assert folders[:2] == [str(tmp_path / "lib"), str(tmp_path / "cuda13")]
