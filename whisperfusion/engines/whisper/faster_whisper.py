"""Whisper by faster-whisper: live utterances in short contexts, whole files in batches of full
windows.

Live decoding is `utterance` (what may be repeated, and what is settled) over
`decode` (a context as short as the speech); files are `files`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import cuda
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import ASROptions, Hypothesis, Segment
from whisperfusion.engines.whisper.decode import MIN_CONTEXT_S, ShortContext
from whisperfusion.engines.whisper.end_of_turn import head_of
from whisperfusion.engines.whisper.files import WhisperFiles
from whisperfusion.engines.whisper.utterance import (
    Job,
    WhisperUtterance,
    decode_batch,
    fitting,
    known_languages,
)
from whisperfusion.engines.whisper.yielding import CALLERS, Yielding
from whisperfusion.errors import EngineError
from whisperfusion.models.cards import cards, driver_lacks
from whisperfusion.models.machine import cores

# base is smaller; a second copy of a larger model would cost more memory than it is worth
COPIED_BYTES = 200_000_000
NICE = 10
DETECT_S = 29  # seconds that tell the language
LOAD_ERRORS = (RuntimeError, ValueError, OSError)  # of CTranslate2

log = logging.getLogger(__name__)


class FasterWhisper:
    """`model` is a folder with a Whisper model in CTranslate2 form (model.bin, config.json,
    tokenizer.json).

    `device` is "auto", "cpu" or "cuda"; `compute_type` "auto" is int8 on CPU, and on CUDA the
    fastest that the GPU has: float16 from Volta on.
    `beam_size` concerns whole files; live decoding is greedy. One model serves all callers: their
    decodes take turns.

    On the CPU a second one (base: 105 MB) decodes what is not final, with a thread that yields to
    all others. On 2 cores, with three callers and a language model at work, final words came after
    0.42 s instead of 0.95 s with one model, 0.77 s with two that are equal, and the language model
    wrote 20 tokens a second instead of 16 and 12 (another process had a core).
    """

    def __init__(
        self,
        *,
        model: str,
        device: str = "auto",
        compute_type: str = "auto",
        threads: int = 1,
        beam_size: int = 5,
        min_context_s: float = MIN_CONTEXT_S,
    ) -> None:
        if not (Path(model) / "model.bin").is_file():
            raise EngineError(
                f"there is no Whisper model in {model} (model.bin is missing); choose another with "
                "ASR_MODEL"
            )
        self.model, self.beam_size = Path(model).name, beam_size
        self.device, self._whisper = _load(model, device, compute_type, threads)
        self._short = ShortContext(self._whisper, min_context_s, head=head_of(Path(model)))
        behind = self._whisper
        if self.device == "cpu" and (Path(model) / "model.bin").stat().st_size <= COPIED_BYTES:
            with ThreadPoolExecutor(1, initializer=_yield_to_others) as pool:
                behind = pool.submit(_load, model, "cpu", compute_type, threads).result()[1]
        self._behind = ShortContext(behind, min_context_s, careful=False)
        self._multilingual: bool = self._whisper.model.is_multilingual
        self.languages = known_languages(self._whisper.hf_tokenizer.token_to_id, self._multilingual)
        self._yielding: Yielding | None = None
        if self.device == "cpu":
            self._yielding = Yielding(
                lambda: _load(model, "cpu", compute_type, cores())[1], before=self._forget
            )
        self._files = WhisperFiles(
            self._yielding.model if self._yielding else lambda: self._whisper, self.beam_size
        )

    def _forget(self) -> None:
        self._files.forget()

    def create_utterance(self, options: ASROptions) -> WhisperUtterance:
        CALLERS.spoke()
        return WhisperUtterance(
            self._short, fitting(options, self.languages, self._multilingual), self._behind
        )

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        CALLERS.spoke()
        return decode_batch(jobs)

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        for _, segment in self.transcribe_batch([(pcm, options)]):
            yield segment

    def transcribe_batch(
        self,
        recordings: Sequence[tuple[Samples, ASROptions]],
        wanted: Callable[[int], bool] = lambda at: True,
    ) -> Iterator[tuple[int, Segment]]:
        """Several recordings, in batches.

        On the CPU by a copy of its own, loaded when first needed, whose threads yield to callers.
        """
        fitted = [
            (checked(pcm), fitting(options, self.languages, self._multilingual))
            for pcm, options in recordings
        ]
        yield from self._files.read(fitted, wanted)

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        """By the first half minute; and by the copy that yields to callers, where there is one."""
        if not self._multilingual:
            return "en", 1.0
        return self._files.language(checked(pcm)[: DETECT_S * MICROPHONE_RATE])


def _yield_to_others() -> None:
    """The calling thread, and those that it starts, work when nothing else wants the processor.

    Elsewhere than on Linux it would be all.
    """
    if sys.platform == "linux":
        nicer = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nicer)


def _load(model: str, device: str, compute_type: str, threads: int) -> tuple[str, Any]:
    """(device, WhisperModel).

    "auto" takes CUDA when it is there and works, and says why where a GPU is there and does not.
    """
    # threads that spin at barriers take 2 of 3 cycles beside other programs
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if device == "cpu":
        return "cpu", _on_cpu(model, compute_type, threads)
    found = cards()
    lacks = driver_lacks("asr", found) or cuda.whisper_lacks()
    if not lacks:
        try:
            return "cuda", _on_gpu(model, compute_type, threads)
        except LOAD_ERRORS as error:
            lacks = str(error)
    if device == "cuda":
        raise EngineError(
            f"Whisper cannot be loaded from {model} on the GPU: {lacks}; check ASR_MODEL and "
            "ASR_COMPUTE_TYPE, or set ASR_DEVICE=cpu, which always works"
        )
    if found:
        log.warning(
            "%s is there, but Whisper runs on the CPU: %s. ASR_DEVICE=cpu silences this.",
            found[0].name,
            lacks,
        )
    return "cpu", _on_cpu(model, compute_type, threads)


def _on_cpu(model: str, compute_type: str, threads: int) -> Any:
    kind = "int8" if compute_type == "auto" else compute_type
    try:
        whisper = _build(model, "cpu", kind, threads)
        ShortContext(whisper).encode(np.zeros(MICROPHONE_RATE, np.float32))
        return whisper
    except LOAD_ERRORS as error:
        raise EngineError(
            f"Whisper cannot be loaded from {model} on the CPU with {kind}: {error}; check "
            "ASR_MODEL and ASR_COMPUTE_TYPE"
        ) from error


def _on_gpu(model: str, compute_type: str, threads: int) -> Any:
    """Encodes and decodes once: what is not compiled for this GPU yet is compiled now, and not
    under the first caller's words.
    """
    with cuda.wait_told("Whisper"):
        kind = cuda.compute_type() if compute_type == "auto" else compute_type
        whisper = _build(model, "cuda", kind, threads)
        _decode_noise(ShortContext(whisper))
        return whisper


def _decode_noise(short: ShortContext) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, MICROPHONE_RATE).astype(np.float32)
    short.decode(short.encode(noise), noise, "en", ASROptions("en"))


def _build(model: str, device: str, compute_type: str, threads: int) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(
        model, device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
    )
