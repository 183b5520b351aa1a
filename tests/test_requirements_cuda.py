"""What is installed for a GPU on top of requirements.txt, and when.

`make test-gpu-stack` solves the set with the package index; here nothing is asked.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from running import ROOT

from whisperfusion.engines import cuda

TEXT = (ROOT / "requirements-cuda.txt").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def test_the_set_is_that_of_the_cpu_and_two_libraries_of_one_toolkit() -> None:
    assert LINES[0] == "-r requirements.txt"
    assert [re.sub(r"(==12\.8)\..*", r"\1", line) for line in LINES[1:]] == [
        "nvidia-cublas-cu12==12.8",
        "nvidia-cuda-runtime-cu12==12.8",
    ]


def test_llama_cpp_keeps_the_version_of_the_cpu_set() -> None:
    """Its pin is read from requirements.txt wherever the CUDA build is installed."""
    pins = re.findall(r"^xllamacpp==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(pins) == 1 and not [line for line in LINES if "xllamacpp" in line]
    command = f'--index-url {cuda.LLAMA_INDEX} "$(grep ^xllamacpp== requirements.txt)"'
    assert command in TEXT


def planned(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", "--dry-run", "run", f"VENV={folder}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("present", [(), ("installed",)])
def test_make_run_installs_nothing_for_a_gpu_unless_it_is_asked(tmp_path, present) -> None:
    for name in present:
        (tmp_path / name).touch()
    plan = planned(tmp_path)
    assert "requirements-cuda" not in plan and cuda.LLAMA_INDEX not in plan
    asked = planned(tmp_path, "CUDA=1")
    first, second = asked.index("-r requirements-cuda.txt"), asked.index(cuda.LLAMA_INDEX)
    assert first < second < asked.index("main.py") and "--force-reinstall --no-deps" in asked


def test_make_run_remembers_the_gpu(tmp_path) -> None:
    """A newer pin of the CPU set would put the CPU build back: then both steps are done again."""
    (tmp_path / "installed").touch()
    (tmp_path / "installed-cuda").touch()
    assert "pip" not in planned(tmp_path)
    (tmp_path / "installed").unlink()
    assert cuda.LLAMA_INDEX in planned(tmp_path)
