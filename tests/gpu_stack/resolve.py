"""Solves requirements-gpu.txt with uv where NVIDIA's index cannot be reached, and writes
constraints-gpu.txt.

A resolver reads metadata only. The six wheels that PyPI lacks are therefore replaced by empty ones
that carry the metadata of the real: what TensorRT-LLM 0.10.0 asks for is recorded in tests/data.
Everything else is asked of the configured package index. Run as a program it prints the pins.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS, CONSTRAINTS = ROOT / "requirements-gpu.txt", ROOT / "constraints-gpu.txt"
CPU_REQUIREMENTS, CUDA_REQUIREMENTS = ROOT / "requirements.txt", ROOT / "requirements-cuda.txt"
CUDA_PYTHON = "3.12"  # of docker/Dockerfile.cuda
SIGNATURES = ROOT / "tests" / "data" / "tensorrt_llm_0_10_signatures.json"
TENSORRT = ("10.0.1", "11.4.0")  # the second is what an unpinned tensorrt-cu12 is today
NOT_ON_PYPI = (
    "tensorrt-llm",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu12-bindings",
    "tensorrt-cu12-libs",
)
NEEDS_MPI = ("mpi4py",)  # has no wheel and compiles only beside Open MPI

HEADER = """\
# Every version of the GPU image: the solution of requirements-gpu.txt for Python 3.10 on Linux x86-64. Made anew with
#   uv pip compile --python-version 3.10 --python-platform x86_64-manylinux_2_28 --index-strategy unsafe-best-match \\
#     --no-annotate --no-header requirements-gpu.txt
# or, where NVIDIA's index cannot be reached, with `python tests/gpu_stack/resolve.py`. `make test-gpu-stack` solves it again and
# installs it, but for the tensorrt and mpi4py lines.
"""


def asked_by_tensorrt_llm() -> list[str]:
    """The requirements of the 0.10.0 wheel, without comments and index options."""
    lines = json.loads(SIGNATURES.read_text(encoding="utf-8"))["_requirements_0_10_0"]
    return [line.partition(" #")[0] for line in lines if not line.startswith("--")]


def stand_ins(folder: Path) -> None:
    """Wheels without contents for what only NVIDIA's index has.

    What the metapackages need is known from their setup.py.
    """
    write_wheel(folder, "tensorrt-llm", "0.10.0", asked_by_tensorrt_llm())
    write_wheel(folder, "tensorrt", "10.0.1", ["tensorrt-cu12"])
    for version in TENSORRT:
        write_wheel(
            folder,
            "tensorrt-cu12",
            version,
            [f"tensorrt-cu12-libs=={version}", f"tensorrt-cu12-bindings=={version}"],
        )
        write_wheel(folder, "tensorrt-cu12-libs", version, ["nvidia-cuda-runtime-cu12"])
        write_wheel(folder, "tensorrt-cu12-bindings", version, [])


def write_wheel(folder: Path, name: str, version: str, requires: Iterable[str]) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {line}" for line in requires),
    ]
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join([*metadata, ""]))
        wheel.writestr(
            f"{stem}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def lines_of(file: Path) -> list[str]:
    """The requirements in `file`, without comments and options."""
    stripped = (
        line.partition(" #")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()
    )
    return [line for line in stripped if line and not line.startswith(("#", "-"))]


def pins(lines: Iterable[str]) -> dict[str, str]:
    """name -> version of the lines that pin one."""
    return dict(
        line.replace(" ", "").split(";")[0].split("==", 1) for line in lines if "==" in line
    )  # type: ignore[misc]


def solve(
    requirements: Sequence[str],
    constraints: Sequence[str] = (),
    *,
    newest: bool = True,
    python: str = "3.10",
) -> tuple[dict[str, str], str]:
    """(name -> version, "") of the whole closure, or ({}, what uv says about why there is none).

    Where it does not matter which version is the newest, uv's cache is asked before the index,
    which may take ten seconds.
    """
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        stand_ins(folder)
        (folder / "in.txt").write_text("\n".join(requirements))
        (folder / "limits.txt").write_text("\n".join(constraints))
        command = [
            str(uv) if uv.exists() else "uv",
            "pip",
            "compile",
            "--quiet",
            "--python-version",
            python,
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--no-annotate",
            "--no-header",
            "--find-links",
            str(folder),
            "--constraint",
            str(folder / "limits.txt"),
            str(folder / "in.txt"),
        ]
        done = subprocess.run(
            [*command, *([] if newest else ["--offline"])],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if not newest and (
            done.returncode
            and "unsatisfiable" not in done.stderr
            or "network was disabled" in done.stderr
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return (pins(done.stdout.splitlines()), "") if done.returncode == 0 else ({}, done.stderr)


if __name__ == "__main__":
    found, why = solve(lines_of(REQUIREMENTS))
    if not found:
        sys.exit(why)
    print(HEADER, end="")
    print("\n".join(f"{name}=={version}" for name, version in found.items()))
