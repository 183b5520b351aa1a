"""The verification list of the GPU image: a line each, `ok` or `X` with advice, and `-` for what
was not checked.

Versions are read from the packages' metadata. Imports are tried in a process each: a native library
that does not fit can end it. `--build` is for the image build, which has no GPU, no open port and
no engine.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cuda_arch
import health
from installed import number, wrong_pins

SCRIPTS = Path(__file__).resolve().parent
PROJECT = SCRIPTS.parents[1]
PYTHON = os.environ.get("PYTHON") or sys.executable
# in the image it is root's, and stays as it was built
OURS = os.access(os.environ.get("VENV", ""), os.W_OK)
SETUP = (
    "run docker/scripts/setup-whisperfusion.sh"
    if OURS
    else "docker compose --profile gpu up --build --force-recreate"
)

# package, lowest, below, advice
VERSIONS = (
    ("torch", "2.2", "2.4", "2.2.2 is the only one that TensorRT-LLM 0.10.0 is built against"),
    ("torchaudio", "2.2", "2.4", "has to be torch's own version"),
    (
        "av",
        "12",
        "18",
        "10 and 11 have no wheels and do not compile with Cython 3; 18 needs Python 3.11",
    ),
    ("tensorrt", "10.0.1", "10.0.2", "from https://pypi.nvidia.com"),
    (
        "tensorrt-cu12",
        "10.0.1",
        "10.0.2",
        "unpinned it becomes 11, which cannot load these engines",
    ),
    ("tensorrt_llm", "0.10.0", "0.10.1", "from https://pypi.nvidia.com; PyPI has a stub only"),
    ("transformers", "4.40.2", "4.40.3", "a pin of TensorRT-LLM 0.10.0"),
    ("huggingface-hub", "0.34", "1", "transformers 4.40 ends below 1, `hf` exists since 0.34"),
    ("tokenizers", "0.19", "0.20", "transformers 4.40.2 takes no other"),
    ("faster-whisper", "1.0", "2", "older ones pin av 10"),
)
IMPORTS = (
    "import webdataset",
    "from whisperspeech.pipeline import Pipeline",
    "from cuda import cudart",
    "import av",
    "import torch",
    "import tokenizers",
)
PORTS = (("ASR_PORT", 6006), ("TTS_PORT", 8888), ("HTTP_PORT", 8000))
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)

Line = tuple[bool, str, str]  # right, what was found, advice


def set_up() -> Iterator[Line]:
    done = Path(os.environ["VENV"]) / "setup-done"
    yield done.is_file(), f"environment {done.parent} is complete", SETUP
    wanted = os.environ.get("VENV_PYTHON") or "3.10"
    yield (
        sys.version_info[:2] == number(wanted),
        f"Python {sys.version.split()[0]}",
        f"TensorRT-LLM 0.10.0 has wheels for {wanted}",
    )
    for tool, package in (
        ("uv", "docker/Dockerfile copies it"),
        ("gcc", "build-essential"),
        ("mpicc", "libopenmpi-dev"),
    ):
        yield (
            shutil.which(tool) is not None,
            f"{tool} at {shutil.which(tool) or 'no place in PATH'}",
            package,
        )
    hub = [tool for tool in ("hf", "huggingface-cli") if shutil.which(tool)]
    yield bool(hub), f"hub tool: {' and '.join(hub) or 'none'}", SETUP


def versions() -> Iterator[Line]:
    for name, low, below, advice in VERSIONS:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield False, f"{name} is not installed", SETUP
            continue
        yield (
            number(low) <= number(found) < number(below),
            f"{name} {found} (needed >={low},<{below})",
            advice,
        )
    wrong = wrong_pins(Path(os.environ.get("CONSTRAINTS") or PROJECT / "constraints-gpu.txt"))
    yield (
        not wrong,
        "versions as pinned in constraints-gpu.txt" if not wrong else "; ".join(wrong),
        SETUP,
    )


def imports() -> Iterator[Line]:
    yield from imported(IMPORTS)


def imported(statements: tuple[str, ...]) -> Iterator[Line]:
    for statement in statements:
        try:
            run = subprocess.run(
                [PYTHON, "-c", statement], capture_output=True, text=True, timeout=300, check=False
            )
            why = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]
            yield (
                run.returncode == 0,
                statement if run.returncode == 0 else f"{statement}: {why}",
                SETUP,
            )
        except subprocess.TimeoutExpired:
            yield False, f"{statement}: no end after 300 s", "is MPI or a driver hanging?"


def code() -> Iterator[Line]:
    marked = []
    for path in sorted(PROJECT.rglob("*")):
        parts = path.relative_to(PROJECT).parts
        if path.suffix in (".py", ".sh", ".yml", ".txt", ".html", ".js", ".css") and not any(
            part.startswith(".") for part in parts
        ):
            if CONFLICT.search(path.read_text(encoding="utf-8", errors="replace")):
                marked.append(str(path.relative_to(PROJECT)))
    yield (
        not marked,
        f"no merge-conflict markers{': but ' + ', '.join(marked) if marked else ''}",
        "take the files from a clean checkout",
    )


def gpu() -> Iterator[Line]:
    try:
        cuda_arch.check_machine(platform.machine())
        arch = cuda_arch.choose(os.environ.get("CUDA_ARCH") or "auto", cuda_arch.of_gpu())
        yield True, f"GPU architecture {arch}", ""
        yield from imported(("import tensorrt_llm",))  # it needs the driver
    except SystemExit as error:
        yield False, str(error), "see docs/gpu.md"


def ports() -> Iterator[Line]:
    served = health.main() == 0
    for variable, default in PORTS:
        port = int(os.environ.get(variable) or default)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
                free = True
            except OSError:
                free = False
        taken = "taken by something else, or WhisperFusion is not ready"
        state = "served by WhisperFusion" if served else taken
        state = "free" if free else state
        yield free or served, f"port {port}: {state}", f"end that program, or set {variable}"


def engines() -> Iterator[Line]:
    run = subprocess.run(
        [str(SCRIPTS / "build-models.sh"), "--check"], capture_output=True, text=True, check=False
    )
    for line in (run.stdout + run.stderr).strip().splitlines():
        print(f"      {line}")
    yield (
        run.returncode == 0,
        "engines and speech files that the settings ask for",
        "run docker/scripts/build-models.sh",
    )


def main(arguments: list[str]) -> int:
    parts = [set_up, versions, imports, code]
    build = arguments == ["--build"]
    if arguments and not build:
        raise SystemExit(f"verify.sh: {' '.join(arguments)} is not known; allowed: --build")
    if not build:
        parts += [gpu, ports, engines]
    wrong = 0
    for part in parts:
        for ok, what, advice in part():
            wrong += not ok
            print(f"  ok  {what}" if ok else f"   X  {what} -> {advice}")
    if build:
        print("   -  GPU, ports, engines: not checked (an image is being built)")
    print(
        f"{wrong} of the lines above need attention" if wrong else "all that was checked is right"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
