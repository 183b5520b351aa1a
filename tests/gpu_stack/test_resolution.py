"""The set of the GPU image can be solved, has exactly one solution with its pins, and the breaks
that were met still break.

Needs the package index. What only NVIDIA's index has takes part by its metadata alone (resolve.py).
"""

from __future__ import annotations

import importlib.metadata
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from contents import name_of
from resolve import (
    CONSTRAINTS,
    CPU_REQUIREMENTS,
    CUDA_PYTHON,
    CUDA_REQUIREMENTS,
    NEEDS_MPI,
    NOT_ON_PYPI,
    REQUIREMENTS,
    asked_by_tensorrt_llm,
    lines_of,
    pins,
    solve,
)

ASKED = lines_of(REQUIREMENTS)
PINS = pins(lines_of(CONSTRAINTS))
PINNED = lines_of(CONSTRAINTS)

# What a person might want beside TensorRT-LLM 0.10.0, and what uv has to blame.
CONFLICTS = {
    "torch 2.3.1: the release ends at 2.3.0a0": ("torch==2.3.1", "torch"),
    "torch 2.4.0": ("torch==2.4.0", "torch"),
    "transformers newer than the release asks for": ("transformers==4.41.0", "transformers"),
    "numpy 2": ("numpy==2.2.6", "numpy"),
    "huggingface-hub 1": ("huggingface-hub==1.0.0", "huggingface-hub"),
    "tokenizers 0.20": ("tokenizers==0.20.0", "tokenizers"),
    "faster-whisper 0.10: tokenizers 0.15 at most, av 10": (
        "faster-whisper==0.10.1",
        "faster-whisper",
    ),
    "h5py newer than the release asks for": ("h5py==3.11.0", "h5py"),
    "TensorRT 10.1": ("tensorrt==10.1.0", "tensorrt"),
}

# Limits that no metadata has: from these lines alone something comes that cannot run. package ->
# what must not be lost
DRIFTS = {
    ("tensorrt-llm==0.10.0", "datasets>=2.14.6,<2.15"): {
        "tensorrt-cu12": "10.0.1",
        "cuda-python": "12.",
        "pynvml": "11.",
        "pyarrow": "20.",
    },
    ("whisperspeech==0.8.9", "torch==2.2.2"): {"torchaudio": "2.2.2", "fastprogress": "1.0."},
}


@pytest.fixture(scope="module")
def solutions() -> dict[object, tuple[dict[str, str], str]]:
    """Every question of this file, several at once: one alone spends its time waiting for the
    index.
    """
    # first: what it reads is in uv's cache for the others
    pinned = solve(ASKED, PINNED, newest=False)
    conflicts = {
        case: ["tensorrt-llm==0.10.0", instead] for case, (instead, _) in CONFLICTS.items()
    }
    with ThreadPoolExecutor(4) as pool:
        drifting = pool.map(solve, DRIFTS)
        conflicting = pool.map(lambda lines: solve(lines, newest=False), conflicts.values())
        return {
            "pinned": pinned,
            **dict(zip(DRIFTS, drifting, strict=True)),
            **dict(zip(conflicts, conflicting, strict=True)),
        }


def test_the_set_has_exactly_the_pinned_solution(solutions) -> None:
    found, why = solutions["pinned"]
    assert found == PINS, why


@pytest.mark.parametrize("case", CONFLICTS)
def test_a_known_conflict_is_one(solutions, case: str) -> None:
    found, why = solutions[case]
    assert not found and CONFLICTS[case][1] in why and "unsatisfiable" in why


@pytest.mark.parametrize(
    ("lines", "package", "wanted"),
    [(key, *one) for key, kept in DRIFTS.items() for one in kept.items()],
)
def test_a_limit_of_ours_is_still_needed(
    solutions, lines: tuple[str, ...], package: str, wanted: str
) -> None:
    found, why = solutions[lines]
    assert package in found, why
    assert not found[package].startswith(wanted), (
        f"{package} {found[package]} comes without being told: our limit can go"
    )


def test_the_set_of_the_cuda_image_has_one_solution() -> None:
    """The pins of the CPU and the two libraries, for its Python, and nothing else."""
    asked = [*lines_of(CPU_REQUIREMENTS), *lines_of(CUDA_REQUIREMENTS)]
    found, why = solve(asked, python=CUDA_PYTHON)
    missing = {one for one in pins(asked) if one not in found}
    assert found and found.items() <= pins(asked).items(), why
    # those for other systems and for older Pythons
    assert missing <= {name_of(line) for line in asked if ";" in line}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_installed_here_is_what_is_pinned() -> None:
    """All but what needs NVIDIA's index or MPI; so the other tests of this folder speak about
    the image.
    """
    installed = {
        canonical(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()
    }
    expected = {
        name: version for name, version in PINS.items() if name not in (*NOT_ON_PYPI, *NEEDS_MPI)
    }
    assert {name: installed.get(name) for name in expected} == expected
    assert not set(NOT_ON_PYPI) & set(installed)


def test_what_tensorrt_llm_asks_for_is_pinned() -> None:
    assert {name_of(line) for line in asked_by_tensorrt_llm()} <= set(PINS)
