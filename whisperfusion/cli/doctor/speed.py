"""How fast the chosen models would run: a prediction from two short measurements.

The measurements are scaled by what they gave on the machine where the speeds in `REFERENCE` were
taken; no model is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.models import cards
from whisperfusion.models import store as models
from whisperfusion.models.catalog import Model
from whisperfusion.settings import Settings


@dataclass(frozen=True)
class Reference:
    """Speeds on 2 cores of an AMD EPYC with AVX-512 and nothing else running."""

    gflops: float = 210.0  # of `_gflops`
    gigabytes_s: float = 24.7  # of `_gigabytes_s`
    # Seconds of work for each second of speech. Computing bounds these.
    asr_rtf: float = 0.047  # Whisper base, 280 ms for a sentence of 6 s
    asr_bytes: int = 147_882_941
    openai_whisper: float = 4.0  # times as long: float32 instead of int8
    hibari_rtf: float = 0.012
    piper_rtf: float = 0.05
    kokoro_rtf: float = 0.55
    # Reading the weights bounds this one: tokens a second and the size of the model that gave it.
    tokens_s: float = 26.0  # with one decoding thread, as the engine has on two cores
    llm_bytes: int = 491_400_064


REFERENCE = Reference()


def check_speed(settings: Settings) -> Iterator[Finding]:
    """Predicted seconds of work for each second of speech (real-time factor), and words a
    second.
    """
    compute, reading = _gflops() / REFERENCE.gflops, _gigabytes_s() / REFERENCE.gigabytes_s
    yield good(
        f"computing {compute:.2f} times, memory {reading:.2f} times the reference machine; what "
        "follows is a prediction"
    )
    chosen = {model.kind: model for model in _needed_or_none(settings)}
    for stage in ("asr", "llm"):
        if stage in chosen and cards.card_of(stage, settings):
            yield good(f"{chosen.pop(stage).id}: on the GPU, of whose speed nothing is predicted")
    if "asr" in chosen and chosen["asr"].bytes:
        factor = REFERENCE.asr_rtf * chosen["asr"].bytes / REFERENCE.asr_bytes / compute
        if settings.asr_engine == "whisper":
            factor *= REFERENCE.openai_whisper
        yield _paced(
            f"speech to text ({chosen['asr'].id}): real-time factor about {factor:.2f} on the CPU",
            factor,
            0.3,
            "a smaller ASR_MODEL",
        )
    if "llm" in chosen and chosen["llm"].bytes:
        tokens = (
            REFERENCE.tokens_s * REFERENCE.llm_bytes / chosen["llm"].bytes * min(compute, reading)
        )
        # People speak 2.5 words a second, which is about 4 tokens.
        text = f"language model ({chosen['llm'].id}): about {tokens:.0f} tokens a second on the CPU"
        yield _paced(text, 4 / tokens, 0.5, "a smaller LLM_MODEL")
    voices = {
        "hibari": REFERENCE.hibari_rtf,
        "piper": REFERENCE.piper_rtf,
        "kokoro": REFERENCE.kokoro_rtf,
    }
    if settings.tts_engine in voices:
        factor = voices[settings.tts_engine] / compute
        yield _paced(
            f"text to speech ({settings.tts_engine}): real-time factor about {factor:.3f}",
            factor,
            0.5,
            "TTS_ENGINE=hibari",
        )


def _paced(text: str, factor: float, limit: float, advice: str) -> Finding:
    return (
        good(text)
        if factor < limit
        else Finding("note", f"{text}: slow", f"try {advice}, or close other programs")
    )


def _needed_or_none(settings: Settings) -> list[Model]:
    try:
        return models.needed(settings)
    except models.ModelError:  # check_models says it
        return []


def _best_s(work: Callable[[], object], budget_s: float) -> float:
    """The fastest run of `work` within the budget: other programs only ever make it slower."""
    best, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _gflops() -> float:
    import numpy as np

    side = 768
    matrix = np.ones((side, side), np.float32)
    return float(2 * side**3 / _best_s(lambda: matrix @ matrix, 0.3) / 1e9)


def _gigabytes_s() -> float:
    import numpy as np

    block = np.ones(16_000_000, np.float32)  # 64 MB, more than the caches hold
    return float(block.nbytes / _best_s(block.sum, 0.2) / 1e9)
