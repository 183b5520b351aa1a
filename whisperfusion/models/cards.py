"""The NVIDIA GPUs of this machine, and which models they carry.

nvidia-smi names them; whether an engine's library can use one is asked in a process of its own.
Both take a second, so the answers are kept for as long as the environment stays the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from whisperfusion.settings import Settings, engine_options

QUERY = ("name", "uuid", "memory.total", "driver_version", "compute_cap")
ASK_S, PROBE_S = 10.0, 120.0  # a driver may wake its GPUs first; libraries come from a slow disk
MIB = 1 << 20
DRIVER = 570  # of CUDA 12.8, with which the libraries are built
ROOT = Path(__file__).resolve().parents[2]

# Of one GPU that both engines share. Whisper large-v3-turbo in float16 takes 1.6 GB, Qwen3 4B 2.5,
# its cache 1.2; working memory, two CUDA contexts and a desktop 2.
ASR, ASR_MEMORY = "whisper-large-v3-turbo", 7_500_000_000
LLM, LLM_MEMORY = "qwen3-4b-instruct-2507", 6_000_000_000


@dataclass(frozen=True)
class Card:
    """`capability` is the compute capability, such as (8, 9); (0, 0) where the driver hides it."""

    name: str
    memory_bytes: int
    driver: str
    capability: tuple[int, int]

    @property
    def driver_is_old(self) -> bool:
        major = self.driver.partition(".")[0]
        return major.isdigit() and int(major) < DRIVER

    def is_known_to(self, stage: str) -> bool:
        """Whether the library of `stage` has machine code for it; else the driver compiles it."""
        if stage == "asr":
            return self.capability < (9, 0)
        return (8, 6) <= self.capability < (9, 0) or self.capability == (12, 0)


def cards(chosen: str = "") -> tuple[Card, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves, or the `chosen` one; none where nvidia-smi is
    missing or fails.
    """
    return ask(chosen)[0]


def ask(chosen: str = "") -> tuple[tuple[Card, ...], str]:
    """The GPUs, and why nvidia-smi names none; both empty where there is no nvidia-smi."""
    program = shutil.which("nvidia-smi")
    visible = chosen or os.environ.get("CUDA_VISIBLE_DEVICES")
    return _ask(program, visible) if program else ((), "")


@lru_cache(maxsize=8)
def _ask(program: str, visible: str | None) -> tuple[tuple[Card, ...], str]:
    command = [program, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (), "nvidia-smi does not respond"
    rows = [[cell.strip() for cell in line.split(",")] for line in asked.stdout.splitlines()]
    found = [row for row in rows if len(row) == len(QUERY)]
    if asked.returncode or not found:
        told = " ".join((asked.stdout + asked.stderr).split())
        return (), f"nvidia-smi finds no GPU: {told[:200]}"
    return tuple(_card(row) for at, row in enumerate(found) if _visible(visible, at, row[1])), ""


def _card(row: list[str]) -> Card:
    name, _, memory, driver, capability = row
    major, _, minor = capability.partition(".")
    known = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
    return Card(name, int(memory) * MIB if memory.isdigit() else 0, driver, known)


def _visible(wanted: str | None, at: int, uuid: str) -> bool:
    names = [one.strip() for one in (wanted or "").split(",") if one.strip()]
    return wanted is None or any(
        name == str(at) or (not name.isdigit() and uuid.startswith(name)) for name in names
    )


def wants_gpu(stage: str, settings: Settings) -> bool:
    """Whether the engine of `stage` ("asr" or "llm") is one that takes a GPU where it can."""
    if stage == "asr":
        engine, options = settings.asr_engine == "faster-whisper", settings.asr_option
        engine = engine and settings.asr_device != "cpu"
    else:
        engine, options = settings.llm_engine == "llama.cpp", settings.llm_option
        engine = engine and engine_options(options).get("gpu_layers", -1) != 0
    # nothing is known of the libraries of another interpreter
    return engine and "python" not in engine_options(options)


def driver_lacks(stage: str, found: tuple[Card, ...]) -> str:
    """Why the driver does not let the library of `stage` use the GPUs; empty = it does."""
    for card in found:
        if card.driver_is_old and not card.is_known_to(stage):
            return (
                f"driver {card.driver} cannot compile code for {card.name}, which needs {DRIVER} "
                "or newer: update NVIDIA's driver"
            )
    return ""


def lacks(stage: str, found: tuple[Card, ...]) -> str:
    """Why the library of `stage` cannot use the GPUs; empty = it can."""
    return driver_lacks(stage, found) or _library_lacks(stage)


def _library_lacks(stage: str) -> str:
    return _lacks(python_path(), os.environ.get("CUDA_VISIBLE_DEVICES"))[stage]


def python_path() -> str:
    """PYTHONPATH for a child that imports this package."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


@lru_cache(maxsize=8)
def _lacks(python_path: str, visible: str | None) -> dict[str, str]:
    command = [sys.executable, "-m", "whisperfusion.engines.cuda"]
    try:
        asked = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=True,
            env={**os.environ, "PYTHONPATH": python_path},
        )
        answer: dict[str, str] = json.loads(asked.stdout.splitlines()[-1])
        return answer
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        why = f"asking the libraries failed ({' '.join(str(error).split())[:200]})"
        return {"asr": why, "llm": why}


def card_of(stage: str, settings: Settings) -> Card | None:
    """The GPU that the engine of `stage` will use; of several the one with the least memory."""
    found = cards(settings.asr_gpu if stage == "asr" else settings.llm_gpu)
    if not found or not wants_gpu(stage, settings) or lacks(stage, found):
        return None
    return min(found, key=lambda card: card.memory_bytes)


def model_for(stage: str, settings: Settings) -> tuple[str, str] | None:
    """The model that the GPU carries and the CPU does not, and the reason as a sentence for the
    log; None where the CPU's choice holds. It comes from the hub.
    """
    model, memory = (ASR, ASR_MEMORY) if stage == "asr" else (LLM, LLM_MEMORY)
    card = card_of(stage, settings) if "hub" in settings.sources else None
    if card is None or card.memory_bytes < memory:
        return None
    have = f"{card.name} with {card.memory_bytes / 1e9:.1f} GB of memory"
    return model, f"{model} was chosen: {have} carries it."
