"""Whisper by faster-whisper: live utterances in short contexts, whole files by its own long-form decoding.

A live utterance is decoded again and again from its beginning, because Whisper has no streaming
state. What keeps that affordable is `whisper_decode` (a context as short as the speech) and a
bounded buffer: when it is full, the text of its older part is settled and that audio is let go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.engines import ASR_RATE, ASROptions, EngineError, Hypothesis, Segment, Word
from fusion.engines.pcm import checked
from fusion.engines.whisper_decode import MIN_CONTEXT_S, Decoded, ShortContext

BUFFER_S = 20.0  # more is decoded in pieces
CUT_FROM_S = 8.0  # the first place to cut a full buffer
CUT_MARGIN_S = 1.0  # the end of a full buffer may be in the middle of a word
SURE = ((2.0, 0.9), (5.0, 0.5))  # a language is kept from this much audio (s) and this probability on
TASKS = ("transcribe", "translate")

log = logging.getLogger(__name__)


class FasterWhisper:
    """`model` is a folder with a Whisper model in CTranslate2 form (model.bin, config.json, tokenizer.json).

    `device` is "auto", "cpu" or "cuda"; `compute_type` "auto" is int8 on CPU and float16 on CUDA. `beam_size`
    concerns whole files; live decoding is greedy. One model serves all callers: their decodes take turns.
    """

    def __init__(self, *, model: str, device: str = "auto", compute_type: str = "auto", threads: int = 1, beam_size: int = 5,
                 min_context_s: float = MIN_CONTEXT_S) -> None:
        if not (Path(model) / "model.bin").is_file():
            raise EngineError(f"there is no Whisper model in {model} (model.bin is missing); choose another with ASR_MODEL")
        self.model, self.beam_size = Path(model).name, beam_size
        self.device, self._whisper = _load(model, device, compute_type, threads)
        self._short = ShortContext(self._whisper, min_context_s)
        self.languages: tuple[str, ...] = tuple(self._whisper.supported_languages)

    def begin(self, options: ASROptions) -> WhisperUtterance:
        return WhisperUtterance(self._short, self._fitting(options))

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Segment]:
        options, pcm = self._fitting(options), checked(pcm)
        if not len(pcm):
            return
        segments, _ = self._whisper.transcribe(
            pcm, language=options.language, task=options.task, beam_size=self.beam_size, vad_filter=True,
            initial_prompt=options.initial_prompt or None, hotwords=options.hotwords or None,
            word_timestamps=options.word_timestamps,
        )
        for s in segments:
            words = tuple(Word(w.start, w.end, w.word.strip(), w.probability) for w in s.words or ())
            yield Segment(s.start, s.end, s.text.strip(), words, s.avg_logprob, s.no_speech_prob)

    def _fitting(self, options: ASROptions) -> ASROptions:
        """`options` as this model can follow them; `EngineError` for a language or task that Whisper does not have."""
        if options.task not in TASKS:
            raise EngineError(f"task {options.task!r} is not known; allowed: {', '.join(TASKS)}")
        if not self._whisper.model.is_multilingual:
            return replace(options, language="en", task="transcribe")
        language = options.language.lower() if options.language else None
        if language is not None and language not in self.languages:
            raise EngineError(f"language {options.language!r} is not known; allowed: {', '.join(sorted(self.languages))}")
        return replace(options, language=language)


class WhisperUtterance:
    """One utterance of any length. `hear` costs one decode of at most `BUFFER_S`, and one more when the buffer is full."""

    def __init__(self, short: ShortContext, options: ASROptions) -> None:
        self._short, self._options = short, options
        self._buffer = np.zeros(0, np.float32)
        self._buffer_start_s = 0.0
        self._settled: list[Segment] = []
        self._language, self._probability = options.language or "", 1.0 if options.language else 0.0
        self._language_kept = options.language is not None
        self._last = Hypothesis("", self._language, self._probability)

    def hear(self, pcm: np.ndarray) -> Hypothesis:
        pcm = checked(pcm)
        if len(pcm):
            self._buffer = np.concatenate((self._buffer, pcm))
            while len(self._buffer) > BUFFER_S * ASR_RATE:
                self._settle()
            self._last = self._hypothesis(self._decode(self._buffer))
        return self._last

    def finish(self) -> Hypothesis:
        return self._last

    def _decode(self, pcm: np.ndarray) -> Decoded:
        encoded = self._short.encode(pcm)
        if not self._language_kept:
            self._language, self._probability = self._short.language(encoded)
            self._language_kept = any(len(pcm) >= s * ASR_RATE and self._probability >= p for s, p in SURE)
        return self._short.decode(encoded, pcm, self._language, self._options)

    def _settle(self) -> None:
        """Fix the text of the buffer's older part and let its audio go; at a silence if the model names none."""
        full = self._buffer[: int(BUFFER_S * ASR_RATE)]
        decoded = self._decode(full)
        ends = [s.end_s for s in decoded.segments[: decoded.closed] if CUT_FROM_S <= s.end_s <= BUFFER_S - CUT_MARGIN_S]
        if ends:
            cut_s = ends[-1]
            kept = [s for s in decoded.segments if s.end_s <= cut_s]
        else:
            cut_s = quietest(full, CUT_FROM_S, BUFFER_S - CUT_MARGIN_S)
            kept = list(self._decode(full[: int(cut_s * ASR_RATE)]).segments)
        self._settled += [moved(s, self._buffer_start_s) for s in kept]
        self._buffer = self._buffer[int(cut_s * ASR_RATE) :]
        self._buffer_start_s += cut_s

    def _hypothesis(self, decoded: Decoded) -> Hypothesis:
        segments = (*self._settled, *(moved(s, self._buffer_start_s) for s in decoded.segments))
        text = " ".join(s.text for s in segments if s.text)
        return Hypothesis(text, self._language, self._probability, tuple(s for s in segments if s.text))


def quietest(pcm: np.ndarray, from_s: float, to_s: float) -> float:
    """The middle, in seconds, of the quietest 0.2 s of `pcm` between two times."""
    step = ASR_RATE // 50
    part = np.square(pcm[int(from_s * ASR_RATE) : int(to_s * ASR_RATE)])
    energy = part[: len(part) // step * step].reshape(-1, step).sum(axis=1)
    smooth = np.convolve(energy, np.ones(10), mode="valid")
    return from_s + (int(smooth.argmin()) + 5) * 0.02


def moved(segment: Segment, by_s: float) -> Segment:
    words = tuple(replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s) for w in segment.words)
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)


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
