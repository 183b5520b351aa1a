"""Whisper by faster-whisper: live utterances in short contexts, whole files in batches of full windows.

Live decoding is `whisper_utterance` (what may be repeated, and what is settled) over `whisper_decode` (a context as
short as the speech); files are `whisper_files`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fusion.engines import ASR_RATE, ASROptions, EngineError, Hypothesis, Segment
from fusion.engines.pcm import checked
from fusion.engines.whisper_decode import MIN_CONTEXT_S, ShortContext
from fusion.engines.whisper_files import WhisperFiles
from fusion.engines.whisper_utterance import Job, WhisperUtterance, fitting, hear_together
from fusion.machine import cores

COPIED_BYTES = 200_000_000  # base is smaller; a second copy of a larger model would cost more memory than it is worth
NICE = 10
DETECT_S = 29  # seconds that tell the language

log = logging.getLogger(__name__)


class FasterWhisper:
    """`model` is a folder with a Whisper model in CTranslate2 form (model.bin, config.json, tokenizer.json).

    `device` is "auto", "cpu" or "cuda"; `compute_type` "auto" is int8 on CPU and float16 on CUDA. `beam_size`
    concerns whole files; live decoding is greedy. One model serves all callers: their decodes take turns.

    On the CPU a second one (base: 105 MB) decodes what is not final, with a thread that yields to all others. On 2 cores, with
    three callers and a language model at work, final words came after 0.42 s instead of 0.95 s with one model, 0.77 s with
    two that are equal, and the language model wrote 20 tokens a second instead of 16 and 12 (another process had a core).
    """

    def __init__(self, *, model: str, device: str = "auto", compute_type: str = "auto", threads: int = 1, beam_size: int = 5,
                 min_context_s: float = MIN_CONTEXT_S) -> None:
        if not (Path(model) / "model.bin").is_file():
            raise EngineError(f"there is no Whisper model in {model} (model.bin is missing); choose another with ASR_MODEL")
        self.model, self.beam_size = Path(model).name, beam_size
        self.device, self._whisper = _load(model, device, compute_type, threads)
        self._short = ShortContext(self._whisper, min_context_s)
        behind = self._whisper
        if self.device == "cpu" and (Path(model) / "model.bin").stat().st_size <= COPIED_BYTES:
            with ThreadPoolExecutor(1, initializer=_yield_to_others) as pool:
                behind = pool.submit(_load, model, "cpu", compute_type, threads).result()[1]
        self._behind = ShortContext(behind, min_context_s)
        self._path, self._compute_type = model, compute_type
        self._files: WhisperFiles | None = None  # whole recordings; loaded when the first comes
        self._multilingual: bool = self._whisper.model.is_multilingual
        self.languages: tuple[str, ...] = tuple(self._whisper.supported_languages)

    def begin(self, options: ASROptions) -> WhisperUtterance:
        return WhisperUtterance(self._short, fitting(options, self.languages, self._multilingual), self._behind)

    def hear_together(self, jobs: Sequence[Job]) -> list[Hypothesis | EngineError]:
        return hear_together(jobs)

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Segment]:
        for _, segment in self.transcribe_together([(pcm, options)]):
            yield segment

    def transcribe_together(self, recordings: Sequence[tuple[np.ndarray, ASROptions]]) -> Iterator[tuple[int, Segment]]:
        """Several recordings, in batches. On the CPU by a copy of its own, loaded when first needed, whose threads yield to all others."""
        fitted = [(checked(pcm), fitting(options, self.languages, self._multilingual)) for pcm, options in recordings]
        if self._files is None:
            self._files = WhisperFiles(self._loaded(), self.beam_size)
        yield from self._files.read(fitted)

    def detect(self, pcm: np.ndarray) -> tuple[str, float]:
        """By the first half minute; and by the copy that yields to others, where there is one."""
        if not self._multilingual:
            return "en", 1.0
        return self._behind.language(self._behind.encode(checked(pcm)[: DETECT_S * ASR_RATE]))

    def _loaded(self) -> Any:
        if self.device != "cpu":
            return self._whisper
        with ThreadPoolExecutor(1, initializer=_yield_to_others) as pool:
            whisper: Any = pool.submit(_load, self._path, "cpu", self._compute_type, cores()).result()[1]
        return whisper


def _yield_to_others() -> None:
    """The calling thread, and those that it starts, work when nothing else wants the processor. Elsewhere than on Linux it would be all."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _load(model: str, device: str, compute_type: str, threads: int) -> tuple[str, Any]:
    """(device, WhisperModel). "auto" takes CUDA when it is there and works; a missing CUDA library shows only on first use."""
    import ctranslate2

    wanted = [device] if device != "auto" else ["cuda", "cpu"] if ctranslate2.get_cuda_device_count() else ["cpu"]
    for place in wanted:
        kind = compute_type if compute_type != "auto" else "int8" if place == "cpu" else "float16"
        try:
            return place, _build(model, place, kind, threads)
        except (RuntimeError, ValueError, OSError) as error:
            if place == wanted[-1]:
                raise EngineError(f"Whisper cannot be loaded from {model} on {place} with {kind}: {error}; "
                                  "check ASR_MODEL, ASR_DEVICE (cpu always works) and ASR_COMPUTE_TYPE") from error
            log.warning("Whisper does not run on %s (%s); trying %s. ASR_DEVICE=cpu silences this.", place, error, wanted[-1])
    raise AssertionError("unreachable: the last place returns or raises")


def _build(model: str, device: str, compute_type: str, threads: int) -> Any:
    from faster_whisper import WhisperModel

    whisper = WhisperModel(model, device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True)
    ShortContext(whisper).encode(np.zeros(ASR_RATE, np.float32))
    return whisper
