"""tests/same_commands.py finds a changed core, and what it compares is not trivial."""

from __future__ import annotations

import shutil
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest
from running import ROOT
from same_commands import HERE, shown
from world_dump.neutral import COMMANDS

PACKAGE = next(name for name in ("whisperfusion", "fusion") if (ROOT / name).is_dir())
CHANGED = "CUT_OFF_S = 1.25", "CUT_OFF_S = 1.5"  # one line of the core


def compared(old: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tests/same_commands.py", str(old), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.fixture
def copy(tmp_path) -> Path:
    """A checkout with the code and the world of this one."""
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE)
    shutil.copytree(HERE / "recorded", tmp_path / "tests" / "recorded")
    for path in HERE.glob("*.py"):
        shutil.copy(path, tmp_path / "tests")
    return tmp_path


def test_the_same_code_commands_the_same(copy):
    run = compared(copy, "--dialogues", "24", "--seeds", "4,5")
    assert (
        run.returncode == 0
        and "the same: 24 dialogues (seeds 4,5) and 7 recorded calls" in run.stdout
    ), run


def test_one_changed_line_of_the_core_is_found_and_shown(copy):
    found = [
        path
        for path in (copy / PACKAGE).rglob("*.py")
        if CHANGED[0] in path.read_text(encoding="utf-8")
    ]
    assert len(found) == 1
    found[0].write_text(found[0].read_text(encoding="utf-8").replace(*CHANGED), encoding="utf-8")
    run = compared(copy, "--dialogues", "400", "--seeds", "7")
    assert run.returncode == 1, run
    assert all(
        part in run.stdout for part in ("is the first that differs", "\n  old (", "\n  new (")
    )


def test_a_side_that_cannot_be_run_is_no_success(tmp_path):
    run = compared(tmp_path, "--dialogues", "1")
    assert (
        run.returncode == 1
        and "a side ended early" in run.stdout
        and "has neither package" in run.stderr
    ), run


def test_every_command_is_among_those_compared():
    lines = shown(HERE / "world_dump", ROOT, *(f"7/{number}" for number in range(160)))
    assert {literal_eval(line)[1][0] for line in lines} == set(COMMANDS)
