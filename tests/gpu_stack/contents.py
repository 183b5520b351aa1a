"""What run.sh installs and runs, read off the requirement files so that no version is written
twice.

    contents.py uv         the line that installs uv
    contents.py packages   requirement lines for uv: the GPU set without NVIDIA's wheels and mpi4py,
                           and the test tools
    contents.py xtts       those of coqui-tts, which lie beside: it wants another transformers
    contents.py tests      the project's test files that run with the versions of the image: those of
                           the GPU engines, of all processes with their sockets (`conformance`), and
                           of what reads settings and messages
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from resolve import (
    CONSTRAINTS,
    NEEDS_MPI,
    NOT_ON_PYPI,
    REQUIREMENTS,
    ROOT,
    asked_by_tensorrt_llm,
    lines_of,
    pins,
)

DEV = ROOT / "requirements-dev.txt"
WHISPER = ROOT / "requirements-whisper.txt"
XTTS = ROOT / "requirements-xtts.txt"
OF_XTTS = (
    "coqui-tts coqui-tts-trainer coqpit-config transformers tokenizers ko-speech-tools num2words docopt "
    "inflect jaraco-functools typeguard more-itertools anyascii librosa lazy-loader audioread soxr msgpack pooch platformdirs "
    "decorator scikit-learn threadpoolctl joblib pysbd monotonic-alignment-search pypinyin"
).split()
TOOLS = (
    "pytest",
    "pytest-asyncio",
    "hypothesis",
    "websocket-client",
    "loguru",
    "jiwer",
    "psutil",
    "soundfile",
)
TESTS = (
    "conformance",
    "engine_pipe",
    "gateway",
    "imports",
    "llm_service",
    "requirements_gpu",
    "settings",
    "tensorrt_llm",
    "whisperspeech",
    "wire",
    "worker",
)
NEEDS_A_MODEL = (
    "tests/test_llm_service.py::test_an_unreachable_server_at_the_start_is_told_on_every_screen",
)


def name_of(line: str) -> str:
    """The project that a requirement line is about, as PyPI spells it."""
    return re.split(r"[^\w.-]", line)[0].replace("_", "-").lower()


def packages() -> list[str]:
    left_out = {*NOT_ON_PYPI, *NEEDS_MPI}
    gpu, dev = pins(lines_of(CONSTRAINTS)), pins(lines_of(DEV))
    asked = [
        line
        for line in (*lines_of(REQUIREMENTS), *asked_by_tensorrt_llm())
        if name_of(line) not in left_out
    ]
    # A tool that the image has too comes in the image's version.
    limits = [
        f"{name}=={version}" for name, version in {**dev, **gpu}.items() if name not in left_out
    ]
    chosen = Path(sys.prefix) / "limits.txt"
    chosen.write_text("\n".join(limits) + "\n", encoding="utf-8")
    return [f"-c {chosen}", *asked, *TOOLS, *uv(), *openai_whisper()]


def openai_whisper() -> list[str]:
    """It runs with the image's torch too, and asks for nothing that the image pins."""
    return [f"openai-whisper=={pins(lines_of(WHISPER))['openai-whisper']}"]


def xtts() -> list[str]:
    """What the engine xtts imports and the image has not, or in another version."""
    return [f"{name}=={pins(lines_of(XTTS))[name]}" for name in OF_XTTS]


def uv() -> list[str]:
    found = pins(lines_of(DEV)).get("uv")
    return [f"uv=={found}" if found else "uv"]


def tests() -> list[str]:
    return [
        *(f"tests/test_{name}.py" for name in TESTS),
        *(f"--deselect={test}" for test in NEEDS_A_MODEL),
    ]


if __name__ == "__main__":
    print("\n".join({"uv": uv, "packages": packages, "tests": tests, "xtts": xtts}[sys.argv[1]]()))
