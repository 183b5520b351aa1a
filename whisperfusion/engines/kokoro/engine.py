"""Kokoro 82M v1.0 by ONNX Runtime, 24 kHz, on the CPU or a CUDA GPU.

A voice is a table of 256 numbers for each count of tokens. The model makes a piece of speech as a
whole, so text goes in pieces that are short enough for the first sound to come soon. On two cores a
second of speech takes about as long as it lasts: what this machine needs is measured at the start,
and said where it is too slow.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.guard import guarded
from whisperfusion.engines.hibari import LEAD_S, gap_after, trimmed
from whisperfusion.engines.kokoro.phonemes import LONGEST, TOKENS, Phonemizer, pieces_of
from whisperfusion.engines.kokoro.voices import LETTERS, NAME
from whisperfusion.errors import EngineError

DEFAULT = "af_heart"
STYLE = 256  # numbers of a voice for each count of tokens
PIECE = 150  # tokens: some nine seconds; a longer piece would keep its listener waiting
SHORTEST = 15  # tokens: a word or two; half of it would not be spoken well
MOST_THREADS = 4  # more do not make it faster
CPU = "CPUExecutionProvider"
WARM_UP = "The measure of a voice is how soon it speaks."

log = logging.getLogger("engine")


class Kokoro:
    """`model` is a folder with an .onnx file and the voices' .bin files, there or in `voices/`; the
    names of voices are those of their files.

    `device` is "cpu" or "cuda"; `threads` 0 = as many as there are cores, at most four. `measure`:
    find out at the start how fast it is, which takes a few seconds. Safe in several threads.
    """

    sample_rate = SPEECH_RATE
    voice_languages: dict[str, str]

    def __init__(
        self,
        *,
        model: str,
        voice: str | None = None,
        device: str = "cpu",
        threads: int = 0,
        measure: bool = True,
    ) -> None:
        weights, self._files = files_in(Path(model).expanduser())
        first = voice or (DEFAULT if DEFAULT in self._files else next(iter(self._files)))
        if first not in self._files:
            raise EngineError(no_voice(first, self._files))
        self.voices = (first, *(name for name in self._files if name != first))
        self.voice_languages = {name: LETTERS[name[0]][0] for name in self.voices}
        self.language: str | None = self.voice_languages[first]
        self.model, self.device = weights.stem, device
        self._styles: dict[str, Samples] = {}
        self._phonemes = Phonemizer()
        self._session = session_of(weights, device, threads)
        self._token_input = self._session.get_inputs()[0].name  # "tokens", or "input_ids"
        self._loading = threading.Lock()
        self._style(first)
        try:
            self._phonemes(WARM_UP, first[0])
        except ImportError as error:
            raise EngineError(
                f"Kokoro's phonemes cannot be made ({error}); `make kokoro` installs "
                "requirements-kokoro.txt in an environment of its own"
            ) from error
        if measure:
            self._log_speed(first)

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        voice = voice or self.voices[0]
        if voice not in self._files:
            raise EngineError(no_voice(voice, self._files))
        # espeak-ng takes neither half surrogate pairs nor an end within
        text = text.encode("utf-8", "replace").decode().replace("\0", " ")
        if not any(c.isalnum() for c in text):
            return
        with guarded("Kokoro", text):
            found = self._phonemes(text, voice[0])
        for piece in pieces_of(found, PIECE):
            if not any(c.isalpha() for c in piece):
                continue
            with guarded("Kokoro", text):
                pcm = self._sound(piece, voice, min(max(speed, 0.5), 2.0))
            pcm = trimmed(pcm, LEAD_S, gap_after(piece))
            if len(pcm):
                yield pcm

    def _sound(self, phonemes: str, voice: str, speed: float) -> Samples:
        """float32 [samples] in -1..1. In int8 the model overflows now and then, and in a shorter
        piece mostly not: what does is divided, and what is left of it is silence.
        """
        pcm = self._run(phonemes, voice, speed)
        if np.isfinite(pcm).all():
            return np.clip(pcm, -1.0, 1.0)
        if len(phonemes) >= 2 * SHORTEST:
            halves = pieces_of(phonemes, (len(phonemes) + 1) // 2)
            return np.concatenate([self._sound(half, voice, speed) for half in halves])
        log.warning("Kokoro made sound that is not a number of %d phonemes", len(phonemes))
        return np.clip(np.nan_to_num(pcm, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)

    def _run(self, phonemes: str, voice: str, speed: float) -> Samples:
        """The model's output for at most `LONGEST` symbols: float32 [samples]."""
        tokens = [TOKENS[one] for one in phonemes]
        made: Any = self._session.run(
            None,
            {
                self._token_input: np.array([[0, *tokens, 0]], np.int64),
                "style": self._style(voice)[len(tokens) - 1],
                "speed": np.array([speed], np.float32),
            },
        )[0]
        pcm: Samples = np.asarray(made, np.float32).reshape(-1)
        return pcm

    def _style(self, voice: str) -> Samples:
        """Of a voice, for each count of tokens: float32 [510, 1, 256]."""
        with self._loading:
            if voice not in self._styles:
                numbers = np.fromfile(self._files[voice], np.float32)
                if len(numbers) != LONGEST * STYLE:
                    raise EngineError(
                        f"{self._files[voice]} is not a voice of Kokoro v1.0 ({LONGEST} times "
                        f"{STYLE} float32); delete it and start again"
                    )
                self._styles[voice] = numbers.reshape(LONGEST, 1, STYLE)
            return self._styles[voice]

    def _log_speed(self, voice: str) -> None:
        list(self.synthesize("Ready.", voice))
        began = time.monotonic()
        seconds = sum(map(len, self.synthesize(WARM_UP, voice))) / SPEECH_RATE
        factor = (time.monotonic() - began) / max(seconds, 0.01)
        log.log(*said_of(factor, self.device))


def files_in(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The model and the voices by name."""
    if folder.suffix == ".onnx":
        weights, folder = [folder] if folder.is_file() else [], folder.parent
    else:
        weights = sorted(folder.glob("*.onnx"))
    found = sorted((*folder.glob("*.bin"), *folder.glob("voices/*.bin")))
    voices = {file.stem: file for file in found if NAME.fullmatch(file.stem)}
    if not weights or not voices:
        raise EngineError(
            f"{folder} has no model of Kokoro: an .onnx file and voices such as {DEFAULT}.bin are "
            "needed; leave TTS_MODEL empty for those of the model store"
        )
    return weights[0], voices


def said_of(factor: float, device: str, engine: str = "Kokoro") -> tuple[int, str]:
    """Level and text of what the log says of a speed: seconds of work for one of speech."""
    text = f"{engine} on {device} takes {factor:.2f} s for a second of speech"
    if factor < 1:
        return logging.INFO, text
    return logging.WARNING, (
        f"{text}: slower than speech, so callers hear gaps; close other programs, use a GPU "
        "(TTS_OPTION=device=cuda), or TTS_ENGINE=hibari"
    )


def no_voice(name: str, known: dict[str, Path]) -> str:
    return f"no voice {name!r}; available: {', '.join(known)}"


def session_of(weights: Path, device: str, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"Kokoro needs ONNX Runtime ({error}); `make kokoro` installs it in an environment of "
            "its own"
        ) from error
    providers = {"cpu": CPU, "cuda": "CUDAExecutionProvider"}
    if providers.get(device) not in onnxruntime.get_available_providers():
        raise EngineError(
            f"Kokoro cannot run on {device!r} here; allowed: cpu, and cuda where onnxruntime-gpu "
            "is installed in its environment in place of onnxruntime"
        )
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or min(os.cpu_count() or 1, MOST_THREADS)
    # spinning threads would slow the other engines
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(weights), options, providers=list(dict.fromkeys([providers[device], CPU]))
        )
    except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
        raise EngineError(
            f"the model {weights} cannot be loaded: {error}; delete it and start again"
        ) from error
