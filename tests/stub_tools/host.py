"""A scratch host for docker/scripts: a copy of the project, an environment, engines and models
under one temporary folder.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(__file__).resolve().parent / "tool.py"
HANGS_S = 300.0  # some seconds of processor time, of which a busy machine gives a small part
PROGRAMS = ("uv", "curl", "sha256sum", "nvidia-smi", "apt-get", "gcc", "mpicc", "df", "uname")


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project, self.venv = folder / "project", folder / "venv"
        self.engines, self.models, self.log = (
            folder / "engines",
            folder / "models",
            folder / "calls.txt",
        )
        self.scripts = self.project / "docker" / "scripts"
        self.log.touch()
        self.started: list[subprocess.Popen[str]] = []
        for program in PROGRAMS:
            self.stand_in(folder / "bin" / program, program)
        self.environment = {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "VENV": str(self.venv),
            "STUB_LOG": str(self.log),
            "ENGINES_DIR": str(self.engines),
            "MODEL_CACHE_DIR": str(self.models),
            "HF_HOME": str(self.models / "huggingface"),
            "TORCH_HOME": str(self.models / "torch"),
            "EXAMPLES_DIR": str(folder / "tensorrt-llm"),
            "RETRY_WAIT_S": "0",
            "VENV_PYTHON": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "ASR_ENGINE": "tensorrt-whisper",
            "ASR_MODEL": "small.en",
            "LLM_ENGINE": "tensorrt-llm",
            "MODEL": "phi-3-mini-4k-instruct",
            "TTS_ENGINE": "whisperspeech",
        }

    @staticmethod
    def stand_in(path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"#!/bin/sh\nexec '{sys.executable}' -S '{TOOL}' {name} \"$@\"\n", encoding="utf-8"
        )
        path.chmod(0o755)

    def copy(self, *names: str) -> None:
        """Files and folders of the project, under the same names."""
        for name in names:
            source, target = ROOT / name, self.project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                # with what Python has compiled of it
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)

    def furnish(self) -> Host:
        """As after a finished setup: the environment without having run it."""
        self.copy("docker/scripts", "requirements-gpu.txt", "constraints-gpu.txt", "main.py")
        # no copy: what Python compiles of it once is kept for all houses
        (self.project / "whisperfusion").symlink_to(ROOT / "whisperfusion")
        self.stand_in(self.venv / "bin" / "python", "python")
        for program in ("hf", "huggingface-cli", "trtllm-build"):
            self.stand_in(self.venv / "bin" / program, program)
        self.package("tensorrt_llm", "0.10.0")
        (self.venv / "site" / "tensorrt_llm.py").write_text("")
        return self

    def package(self, name: str, version: str) -> None:
        for old in (self.venv / "site").glob(f"{name}-*.dist-info"):
            shutil.rmtree(old)
        folder = self.venv / "site" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(self.scripts / script), *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """What a failed test left running, and what that had started."""
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()

    def run(self, script: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit status and everything that was printed."""
        process = self.start(script, *arguments, **environment)
        try:
            printed = process.communicate(timeout=HANGS_S)[0]
        except subprocess.TimeoutExpired:
            process.terminate()
            raise AssertionError(
                f"{script} did not end:\n{process.communicate(timeout=HANGS_S)[0]}"
            ) from None
        return process.returncode, printed

    def calls(self, *tools: str) -> list[dict[str, Any]]:
        """What was called since the last `forget`, in order; of `tools` only, when given.

        Our own small scripts and tried imports are left out.
        """
        found = list(map(ast.literal_eval, self.log.read_text(encoding="utf-8").split("\n")[:-1]))
        helpers = {
            f"{self.scripts}/{name}.py"
            for name in ("installed", "cuda_arch", "which_engines", "verify", "health")
        }
        own = helpers | {"-c"}
        return [
            call
            for call in found
            if (not tools or call["tool"] in tools) and not own & set(call["args"][:1])
        ]

    def forget(self) -> None:
        self.log.write_text("")

    def litter(self) -> list[str]:
        """Whatever lies in the engines' folder and is neither a lock nor a finished engine."""
        if not self.engines.is_dir():
            return []
        return sorted(
            path.name
            for path in self.engines.iterdir()
            if path.name[:6] != ".lock-" and not (path / "built.txt").is_file()
        )


def wait_until_hanging(process: subprocess.Popen[str]) -> str:
    """Read until a stand-in says that it hangs; the end of the output before that is a failure."""
    assert process.stdout
    printed = ""
    for line in process.stdout:
        printed += line
        if line.strip() == "HANGING":
            return printed
    raise AssertionError(f"ended with {process.wait()} before anything hung:\n{printed}")


def built(folder: Path) -> dict[str, str]:
    return dict(
        line.split("=", 1)
        for line in (folder / "built.txt").read_text(encoding="utf-8").splitlines()
    )
