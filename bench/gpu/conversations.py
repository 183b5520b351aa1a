"""Voice to voice through the four processes, with the bench's own callers."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from bench import turns
from bench.common import OUT, ROOT, server
from bench.gpu import card
from bench.gpu.recognizer import Parts
from bench.gpu.setup import ASR_MODEL, Setup

LLM_MODEL = "smollm2-135m"
WORD_TIMES = "reference-words-whisper-base.json"  # carried: making them would cost card time
TURNS = {1: 8, 8: 2}  # of each caller


def flags(setup: Setup) -> list[str]:
    return [
        "--asr-engine=faster-whisper",
        f"--asr-model={ASR_MODEL}",
        f"--asr-device={setup.device}",
        "--llm-engine=llama.cpp",
        f"--llm-model={LLM_MODEL}",
        "--tts-engine=hibari",
    ]


def voice(setup: Setup, callers: int, data: Path | None) -> Parts:
    """Which device each stage took is in the first part: the language model is on the card only
    with the CUDA build of xllamacpp.
    """
    if data is not None and (data / WORD_TIMES).is_file() and not (OUT / WORD_TIMES).is_file():
        OUT.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / WORD_TIMES, OUT / WORD_TIMES)
    log = f"server-gpu-{callers}.log"
    with server(ROOT, flags(setup), log=log) as running:
        lines = (OUT / log).read_text(encoding="utf-8", errors="replace").splitlines()
        ready = [line.partition(" ready: ")[2] for line in lines if " ready: " in line]
        yield "start", {"seconds": running.start_s, "ready": "; ".join(ready)}
        each = 1 if setup.dry else TURNS[callers]
        found = asyncio.run(turns.measure(running, {callers: each}, 1))
        used = card.used_mb()
    cold = found["cold"]
    yield "first turn of all", {"first sound": cold.get("first sound"), "error": cold.get("error")}
    figures = found[str(callers)]
    yield (
        f"{callers} at once",
        {
            "first sound, ms": figures["first sound"],
            "final transcript, ms": figures["final"],
            "stages": figures["stages"],
            "asked": figures["asked"],
            "failures": figures["failures"],
            "turns": figures["turns"],
            "memory of the card in use, MB": used,
        },
    )
