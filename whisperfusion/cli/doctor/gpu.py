"""The NVIDIA GPUs, and which engine would use one; why not, where it would not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.engines import cuda
from whisperfusion.models import cards
from whisperfusion.settings import Settings

NAMES = {"asr": "faster-whisper", "llm": "llama.cpp"}
SERVERS = ("openai", "ollama", "ray")


def check_gpu(settings: Settings) -> Iterator[Finding]:
    found, trouble = cards.ask()
    if not found:
        yield _without(settings, trouble)
        return
    for card in found:
        yield from _check_card(card)
    for stage in ("asr", "llm"):
        yield _check_stage(stage, settings, found)
    yield _check_voice(settings)


def _without(settings: Settings, trouble: str) -> Finding:
    if settings.asr_device == "cuda":
        why = trouble or "no NVIDIA GPU was found"
        return Finding("bad", f"ASR_DEVICE=cuda, but {why}", "set ASR_DEVICE=auto")
    if trouble:
        return Finding("note", trouble, "check NVIDIA's driver; restarting the machine often helps")
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return Finding(
            "note",
            "there is a GPU device but no nvidia-smi",
            "install the driver's tools, or start the container with --gpus",
        )
    return good("no NVIDIA GPU: everything runs on the CPU")


def _check_card(card: cards.Card) -> Iterator[Finding]:
    capability = ".".join(map(str, card.capability))
    yield good(
        f"{card.name}, {card.memory_bytes / 1e9:.1f} GB, driver {card.driver}, compute capability "
        f"{capability}"
    )
    if card.driver_is_old:
        yield Finding(
            "note",
            f"driver {card.driver} is older than {cards.DRIVER}, that of CUDA 12.8",
            "update NVIDIA's driver",
        )
    compiled = [NAMES[stage] for stage in NAMES if not card.is_known_to(stage)]
    if compiled:
        yield good(
            f"the first start compiles the code of {' and '.join(compiled)} for it, which can take "
            f"minutes; the result is kept in {cuda.code_cache()}"
        )


def _check_stage(stage: str, settings: Settings, found: tuple[cards.Card, ...]) -> Finding:
    engine = settings.asr_engine if stage == "asr" else settings.llm_engine
    if not cards.wants_gpu(stage, settings):
        return good(f"{stage}: {_elsewhere(stage, engine, settings)}")
    lacks = cards.lacks(stage, found)
    if not lacks:
        return good(f"{stage}: {engine} uses the GPU")
    if stage == "asr" and settings.asr_device == "cuda":
        return Finding("bad", f"asr: ASR_DEVICE=cuda, but {lacks}", "install it: docs/gpu.md")
    return Finding(
        "note",
        f"{stage}: a GPU is there, but {engine} will use the CPU: {lacks}",
        "make run CUDA=1 installs all that is missing, and docs/gpu.md says it step by step",
    )


def _elsewhere(stage: str, engine: str, settings: Settings) -> str:
    """Where an engine runs that does not look for a GPU of this interpreter."""
    if engine.startswith("tensorrt-"):
        return f"{engine} runs on the GPU, in its image"
    if engine == NAMES[stage]:
        return f"{engine} does not look for the GPU, by its settings"
    return _not_here(engine)


def _not_here(engine: str) -> str:
    if engine in SERVERS:
        return f"{engine} asks a server, which has its own way to a GPU"
    return f"{engine} does not use a GPU"


def _check_voice(settings: Settings) -> Finding:
    if settings.tts_engine == "whisperspeech":
        return good("tts: whisperspeech runs on the GPU, in its image")
    return good(f"tts: {_not_here(settings.tts_engine)}")
