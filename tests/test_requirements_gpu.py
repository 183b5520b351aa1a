"""requirements-gpu.txt and constraints-gpu.txt: what no resolver knows.

Each rule is a break that was met, and its reason.

Whether the set can be solved and installed is for `make test-gpu-stack`, which needs the package
index.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = (ROOT / "requirements-gpu.txt").read_text(encoding="utf-8")


def requirement_lines(text: str) -> list[str]:
    stripped = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("-")]


def pins(file: str) -> dict[str, str]:
    lines = requirement_lines((ROOT / file).read_text(encoding="utf-8"))
    assert all("==" in line for line in lines), f"{file} has a line without a version"
    return {
        line.split("==")[0].strip(): line.split("==")[1].split(";")[0].strip() for line in lines
    }


def name(line: str) -> str:
    return re.split(r"[^\w.-]", line)[0]


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


GPU, CPU = pins("constraints-gpu.txt"), pins("requirements.txt")
DIRECT = [name(line) for line in requirement_lines(REQUIREMENTS)]

ASKED_FOR = (
    "tensorrt-llm",
    "torch",
    "faster-whisper",
    "av",
    "whisperspeech",
    "websockets",
    "webdataset",
    "huggingface-hub",
)

# package, from, below (None = no end), reason
LIMITS: tuple[tuple[str, str, str | None, str], ...] = (
    (
        "tensorrt-llm",
        "0.10.0",
        "0.10.1",
        "the release that the engines and the scripts are written for",
    ),
    (
        "torch",
        "2.2.2",
        "2.2.3",
        (
            "the bindings of TensorRT-LLM 0.10.0 are linked against 2.2.2; 2.3.1 and 2.4 give "
            "undefined symbols"
        ),
    ),
    ("torchaudio", "2.2.2", "2.2.3", "has to be torch's own version, which it does not declare"),
    ("numpy", "1.26", "2", "TensorRT-LLM 0.10.0 and torch 2.2 are built against numpy 1"),
    (
        "transformers",
        "4.40.2",
        "4.40.3",
        "TensorRT-LLM 0.10.0 asks for this one; newer ones break Phi-3's own model file",
    ),
    ("tokenizers", "0.19", "0.20", "transformers 4.40 asks for it"),
    (
        "huggingface-hub",
        "0.34",
        "1",
        "transformers 4.40 ends before 1; `hf` exists from 0.34 and `huggingface-cli` up to 0.36",
    ),
    ("cuda-python", "12.4", "13", "13 removed cuda.cudart, which tensorrt_llm imports"),
    (
        "pynvml",
        "11.5",
        "12",
        "tensorrt_llm.profiler reads pynvml.__version__, which 12 and 13 do not have",
    ),
    ("pyarrow", "12", "21", "21 removed PyExtensionType, which datasets 2.14 uses on import"),
    (
        "datasets",
        "2.14.6",
        "2.15",
        (
            "2.14 is what the examples ask for; before .6 it accepts an fsspec whose caches it "
            "cannot read"
        ),
    ),
    ("setuptools", "60", "81", "81 cannot build mpi4py 3.1: no dry_run in distutils"),
    ("mpi4py", "3.1", "4", "never tried with 4"),
    ("av", "12", None, "10 and 11 have no wheels any more and do not compile with Cython 3"),
    (
        "ctranslate2",
        "4.6.3",
        None,
        "needs no cuDNN; 4.5.0 to 4.6.2 load cuDNN 9 and torch 2.2 brings 8.9",
    ),
    ("faster-whisper", "1", None, "before 1.0 it pins av 10 and tokenizers 0.14"),
    ("onnxruntime", "1.19", "1.24", "1.24 has no wheel for Python 3.10"),
    ("fastprogress", "1", "1.1", "1.1 brings a web framework"),
    (
        "webdataset",
        "0.2",
        "0.3",
        "what WhisperSpeech 0.8.9, which imports it undeclared, was written with",
    ),
    ("protobuf", "4", "6", "onnx 1.16 was made with protoc of version 3 to 5"),
    ("whisperspeech", "0.8.9", "0.8.10", "the version whose internals the engine calls"),
)

# In both images, and not the same version, because TensorRT-LLM 0.10.0 wants an older one.
DIFFERENT = {"huggingface-hub", "numpy", "protobuf", "tokenizers", "fsspec"}


@pytest.mark.parametrize(
    ("package", "least", "below"),
    [case[:3] for case in LIMITS],
    ids=[f"{c[0]}: {c[3]}" for c in LIMITS],
)
def test_a_pin_is_within_its_limits(package: str, least: str, below: str | None) -> None:
    pin = number(GPU[package])
    assert number(least) <= pin, f"{package} {GPU[package]} is older than {least}"
    assert below is None or pin < number(below), f"{package} {GPU[package]} is not below {below}"


def test_every_direct_requirement_is_there_once_and_has_a_pin() -> None:
    assert set(ASKED_FOR) <= set(DIRECT)
    assert len(DIRECT) == len(set(DIRECT))
    assert set(DIRECT) <= set(GPU)


def test_what_the_cpu_server_needs_is_in_the_gpu_image_too() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert listed, "pyproject.toml no longer lists its dependencies"
    direct = re.findall(r'^    "([\w-]+)', listed[1], re.MULTILINE)
    assert len(direct) > 20 and set(direct) <= set(DIRECT)


def test_both_images_have_the_same_version_of_what_they_share() -> None:
    differing = {package for package in set(CPU) & set(GPU) if CPU[package] != GPU[package]}
    assert differing == DIFFERENT & set(CPU)


def test_faster_whisper_is_the_last_line() -> None:
    """Then nothing that comes after can be pulled down by it, and the comment before says so."""
    assert DIRECT[-1] == "faster-whisper"
    comment = REQUIREMENTS.split("faster-whisper>")[0].rstrip().splitlines()[-2:]
    assert all(line.startswith("#") for line in comment) and "Last" in comment[0]


def test_the_four_tensorrt_packages_are_one_version() -> None:
    """tensorrt 10.0.1 asks for tensorrt-cu12 without a version: 11 comes, and loads no engine of
    10.0.1.
    """
    names = ("tensorrt", "tensorrt-cu12", "tensorrt-cu12-bindings", "tensorrt-cu12-libs")
    assert {GPU[package] for package in names} == {"10.0.1"}
    assert {
        line for line in requirement_lines(REQUIREMENTS) if name(line).startswith("tensorrt")
    } == {"tensorrt-llm==0.10.0", *(f"{package}==10.0.1" for package in names)}


def test_nvidias_index_is_added_and_pypi_kept() -> None:
    assert "--extra-index-url https://pypi.nvidia.com" in REQUIREMENTS.splitlines()
    assert not re.search(r"^(--index-url|-i)\b", REQUIREMENTS, re.MULTILINE)


def test_the_documented_command_builds_with_the_pinned_setuptools_too() -> None:
    """mpi4py has no wheel, and the isolated build would take the newest setuptools: -c does not
    reach it, -b does.
    """
    command = next(line for line in REQUIREMENTS.splitlines() if "uv pip install" in line)
    assert (
        "-b constraints-gpu.txt -c constraints-gpu.txt -r requirements-gpu.txt" in command
        and "unsafe-best-match" in command
    )


def test_torch_is_only_in_the_gpu_image() -> None:
    heavy = {"torch", "torchaudio", "transformers", "tensorrt-llm", "whisperspeech"}
    assert heavy <= set(GPU) and not heavy & set(CPU)
    assert not [package for package in CPU if package.startswith("nvidia-")]


def test_the_files_that_make_test_gpu_stack_runs_are_there():
    contents = (ROOT / "tests" / "gpu_stack" / "contents.py").read_text(encoding="utf-8")
    names = re.findall(r'"(\w+)"', contents.partition("\nTESTS = (")[2].partition("\n)")[0])
    assert len(names) > 10
    assert [one for one in names if not (ROOT / "tests" / f"test_{one}.py").is_file()] == []
