"""Whisper by openai-whisper, the package of its makers, on PyTorch.

It decodes a call as `faster_whisper` does: the same short contexts, prompts, bounds and guards
against loops (`utterance`, `decode`), over its own arithmetic (`torch_whisper`). Whole files are
read by its own `transcribe`, with its schedule of temperatures, a stretch of at most 28 s at a
time, so that segments come as they are found and reading can be stopped. It needs PyTorch, which
nothing else of the server does on a CPU: so it lives in an interpreter of its own (`make whisper`).

It is there for comparison, and for GPUs that PyTorch knows and CTranslate2 does not: on a CPU it
computes in float32 and takes several times as long as faster-whisper's int8.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import checked, loudest
from whisperfusion.engines.protocols import ASROptions, Segment, Word
from whisperfusion.engines.whisper.decode import MIN_CONTEXT_S, SILENCE_RMS, ShortContext
from whisperfusion.engines.whisper.end_of_turn import head_of
from whisperfusion.engines.whisper.files import REPEATED_WITH
from whisperfusion.engines.whisper.prompt import tokens_before
from whisperfusion.engines.whisper.torch_whisper import ALIGNING, Torch, TorchWhisper
from whisperfusion.engines.whisper.utterance import WhisperUtterance, fitting, moved, quietest
from whisperfusion.errors import EngineError, ModelError, first_line
from whisperfusion.models import whisper_weights

LONGEST_S, SHORTEST_S = 28.0, 20.0  # a stretch of a file ends at the quietest place between
DETECT_S = 29  # seconds that tell the language
HALF = "float16"  # with CUDA; the CPU has no fast arithmetic for it
ADVICE = (
    "`make whisper` installs it in an interpreter of its own; another one that has it is named by "
    "ASR_OPTION=python=/path/to/bin/python"
)

log = logging.getLogger(__name__)


class OpenAIWhisper:
    """`model` is a folder with a Whisper model in CTranslate2 form, whose weights are converted as
    they are read (`models.whisper_weights`); a .pt file of OpenAI's; or a size by OpenAI's name
    ("large-v2"), which the package downloads into `download_root`.

    `device` is "auto", "cpu" or "cuda"; `compute_type` "auto" is float32 on the CPU and float16 on
    CUDA. `beam_size` concerns whole files. Final transcripts, interim ones and files have a model
    each over the same weights, so that none waits for another.
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
        download_root: str = "",
    ) -> None:
        torch, self._package = _libraries()
        self.beam_size, self.model = beam_size, Path(model).name.removesuffix(".pt")
        self.device = _device(torch, device)
        kinds = (HALF, "float32") if self.device == "cuda" else ("float32",)
        if compute_type not in ("auto", *kinds):
            raise EngineError(
                f"openai-whisper computes in {' or '.join(kinds)} on {self.device}, not in "
                f"{compute_type}: leave ASR_COMPUTE_TYPE at auto, or choose "
                "ASR_ENGINE=faster-whisper"
            )
        half = self.device == "cuda" and compute_type != "float32"
        torch.set_num_threads(threads)
        network = _network(torch, self._package, model, download_root).to(self.device).eval()
        final = TorchWhisper(network, half)
        interim, self._files = final.twin(), final.twin()
        head = head_of(Path(model)) if Path(model, "model.bin").is_file() else None
        self._short = ShortContext(final, min_context_s, head=head, library=Torch())
        self._behind = ShortContext(interim, min_context_s, careful=False, library=Torch())
        self._of_files = ShortContext(self._files, library=Torch())
        self._multilingual = final.is_multilingual
        self.languages: tuple[str, ...] = final.languages
        self._warm_up()

    def create_utterance(self, options: ASROptions) -> WhisperUtterance:
        return WhisperUtterance(self._short, self._fitting(options), self._behind)

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        pcm, options = checked(pcm), self._fitting(options)
        language = options.language
        for begin, end in stretches(pcm):
            piece = pcm[begin:end]
            if loudest(piece) < SILENCE_RMS:
                continue
            language = language or self.detect_language(piece)[0]
            for segment in self._read(piece, language, options):
                yield moved(segment, begin / MICROPHONE_RATE)

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        if not self._multilingual:
            return "en", 1.0
        piece = checked(pcm)[: DETECT_S * MICROPHONE_RATE]
        found = self._of_files.language_probabilities(self._of_files.encode(piece))
        return next(iter(found.items()))

    def _fitting(self, options: ASROptions) -> ASROptions:
        return fitting(options, self.languages, self._multilingual)

    def _read(self, piece: Samples, language: str, options: ASROptions) -> list[Segment]:
        """By the package's own `transcribe`."""
        tokenizer = self._of_files.tokenizer(language, options.task)
        # a character may have been cut
        before = tokenizer.decode(tokens_before(tokenizer, options)).strip("\ufffd ")
        with ExitStack() as held:
            if options.word_timestamps:
                held.enter_context(ALIGNING)
            held.enter_context(self._files.lock)
            found = self._package.transcribe(
                self._files.network,
                piece,
                language=language,
                task=options.task,
                temperature=options.temperature or REPEATED_WITH,
                beam_size=self.beam_size,
                condition_on_previous_text=False,
                initial_prompt=before or None,
                word_timestamps=options.word_timestamps,
                fp16=self._files.half,
            )
        segments = (_segment(one, len(piece) / MICROPHONE_RATE) for one in found["segments"])
        return [one for one in segments if one.text]

    def _warm_up(self) -> None:
        """Loads kernels, and compiles the alignment (numba: some seconds), before a call."""
        noise = np.random.default_rng(0).normal(0, 0.05, MICROPHONE_RATE).astype(np.float32)
        for short in (self._short, self._behind):
            encoded = short.encode(noise)
            short.decode(encoded, noise, "en", ASROptions("en"))
            tokenizer = short.tokenizer("en", "transcribe")
            tokens = tokenizer.encode(" one two three")
            short.library.token_starts(short.whisper, tokenizer, encoded, tokens, 1.0)


def stretches(pcm: Samples) -> Iterator[tuple[int, int]]:
    """(first sample, one past the last) of stretches that fit the window of the model, cut where
    it is quietest.
    """
    begin, longest = 0, int(LONGEST_S * MICROPHONE_RATE)
    while len(pcm) - begin > longest:
        rest = pcm[begin : begin + longest]
        end = begin + int(quietest(rest, SHORTEST_S, LONGEST_S) * MICROPHONE_RATE)
        yield begin, end
        begin = end
    if begin < len(pcm):
        yield begin, len(pcm)


def _segment(one: dict[str, Any], duration: float) -> Segment:
    """A segment of the package as ours; it may end in the silence that was added."""
    start, end = (min(max(0.0, float(one[name])), duration) for name in ("start", "end"))
    words = tuple(
        Word(
            min(float(word["start"]), duration),
            min(float(word["end"]), duration),
            word["word"].strip(),
            float(word["probability"]),
        )
        for word in one.get("words", ())
        if word["word"].strip()
    )
    return Segment(
        start, end, one["text"].strip(), words, one["avg_logprob"], one["no_speech_prob"]
    )


# --- loading -------------------------------------------------------------------------------------


def _libraries() -> tuple[Any, Any]:
    # numba's parallel loop in the alignment raises OpenMP's number of threads for torch, too, and
    # those spin: a decode took 2.7 s of processor time after it, instead of 0.5 s
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch
        import whisper
        import whisper.timing
    except (ImportError, OSError) as error:
        raise EngineError(
            f"openai-whisper cannot be imported in {sys.executable} ({error}): {ADVICE}"
        ) from error
    return torch, whisper


def _device(torch: Any, device: str) -> str:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise EngineError(
            "PyTorch finds no GPU that it can use (nvidia-smi, and the driver that torch "
            f"{torch.__version__} asks for); set ASR_DEVICE=cpu, which always works"
        )
    return "cuda" if there and device != "cpu" else "cpu"


def _network(torch: Any, package: Any, model: str, download_root: str) -> Any:
    """A `whisper.model.Whisper` on the CPU."""
    path = Path(model)
    if (path / "model.bin").is_file():
        return _converted(torch, package, path)
    if not path.is_file() and model not in package.available_models():
        raise EngineError(
            f"there is no Whisper model in {model}: neither a folder with model.bin, nor a .pt "
            f"file, nor one of {', '.join(package.available_models())}; choose another with "
            "ASR_MODEL"
        )
    try:  # `weights_only` inside: no code of the file runs
        return package.load_model(model, "cpu", download_root or None)
    # of urllib, of its own check of sums, of torch's unpickler
    except Exception as error:
        raise EngineError(
            f"the weights {model} cannot be loaded ({first_line(error)}); where neither the hub "
            "nor OpenAI's address is reachable, ASR_MODEL=whisper-base comes from the packages"
        ) from error


def _converted(torch: Any, package: Any, folder: Path) -> Any:
    try:
        dimensions, state = whisper_weights.state_of(folder)
        network = package.model.Whisper(package.model.ModelDimensions(**asdict(dimensions)))
        network.load_state_dict(
            {name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()}
        )
    except (ModelError, RuntimeError) as error:  # a size that does not fit
        raise EngineError(f"Whisper cannot be loaded from {folder}: {error}") from error
    if heads := whisper_weights.alignment_heads(folder):
        mask = torch.zeros(dimensions.n_text_layer, dimensions.n_text_head, dtype=torch.bool)
        for layer, head in heads:
            mask[layer, head] = True
        network.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return network
