"""WhisperSpeech 0.8.9: text to semantic tokens, those to acoustic tokens, those to sound at 24 kHz,
on a GPU.

A sentence can be played only when all of it is made, so text goes in short pieces, and after every
token the work asks whether it was cancelled. One thread builds the models, warms them up and runs
them: what torch.compile records as CUDA graphs belongs to the thread that recorded it, and the
key-value caches hold one sentence at a time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.hibari import LEAD_S, SENTENCE_GAP_S, trimmed
from whisperfusion.engines.pump import pieces
from whisperfusion.errors import EngineError, Unsayable, first_line, gpu_is_lost, lost_for_good

T2S = "collabora/whisperspeech:t2s-small-en+pl.model"
S2A = "collabora/whisperspeech:s2a-q4-tiny-en+pl.model"
BUILT_IN = "default"  # the voice whose embedding comes with the package
# characters per second: normal, and the most that the model distinguishes
PACE, FASTEST = 15.0, 20.0
LONGEST_S = 20.0  # of speech in one piece; the models end after 30
WARM_UPS = 3
MOST_CLONES = 64  # recordings whose speakers are kept, 1 KB each
WARM_UP_TEXT = "Hello, I am a voice that is warming up before the first caller comes."
# where text is divided, best first
CUTS = (re.compile(r"[.!?…][\"'”’)]*\s"), re.compile(r"[,;:—]\s"), re.compile(r"\s"))

log = logging.getLogger(__name__)


class _Closed(Exception):
    """The work was cancelled. Raised inside the package, which lets it through."""


class WhisperSpeech:
    """`model` is the S2A model and `t2s` the T2S model: `repo:file` on the hub, or a local file;
    empty = small and fast.

    `voice` is empty (the built-in one) or a recording of ten to thirty seconds of one person, whose
    voice is then the first of `voices`, called as the file. `language` is a Whisper code; the
    published models know en and pl. `torch_compile` makes speech faster and the start slower, and
    needs a C compiler. Sentences take turns.
    """

    sample_rate = SPEECH_RATE
    clones = True

    def __init__(
        self,
        *,
        model: str | None = None,
        voice: str | None = None,
        t2s: str = T2S,
        language: str = "en",
        device: str = "cuda",
        torch_compile: bool = True,
    ) -> None:
        if voice and voice != BUILT_IN and not Path(voice).expanduser().is_file():
            raise EngineError(
                f"found no recording at {voice!r}; TTS_VOICE is a sound file of the voice to "
                "speak with, or empty for the built-in voice"
            )
        refs = {"t2s": t2s, "s2a": model or S2A}
        self.model, self.device, self.language = (
            Path(refs["s2a"].rpartition(":")[2]).stem,
            device,
            language,
        )
        self._pool = ThreadPoolExecutor(1, "whisperspeech")
        self._pipe, self._speakers = self._pool.submit(
            self._build, refs, voice, torch_compile
        ).result()
        self.voices = tuple(self._speakers)
        self._cloned: dict[str, Any] = {}  # speakers by the paths of their recordings

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        """`speed` above 1.33 is 1.33: the model was trained up to 20 characters per second."""
        name = voice or self.voices[0]
        if name not in self._speakers and not Path(name).is_file():
            raise EngineError(f"no voice {voice!r}; available: {', '.join(self.voices)}")
        pace = min(PACE * speed, FASTEST)
        texts = list(short_pieces(text, min(int(LONGEST_S * pace), self._pipe.t2s.ttoks_len - 1)))
        closed = threading.Event()

        def step() -> None:
            if closed.is_set():
                raise _Closed

        def work(give: Callable[[Samples], bool]) -> None:
            with contextlib.suppress(_Closed):
                speaker = self._speaker(name)
                for piece in texts:
                    give(self._say(self._pipe, piece, speaker, pace, step))

        nothing_yet: Samples = np.zeros(0, np.float32)
        if texts:
            yield from pieces(work, nothing_yet, stop=closed.set, pool=self._pool)

    # --- in the engine's thread ------------------------------------------------------------------

    def _build(
        self, refs: dict[str, str], voice: str | None, torch_compile: bool
    ) -> tuple[Any, dict[str, Any]]:
        """The pipeline, warm, and the speaker of each voice: float tensors [192]."""
        pipe = _load(refs, self.device, self.language, torch_compile)
        speakers = {BUILT_IN: pipe.default_speaker}
        if voice and voice != BUILT_IN:
            path = Path(voice).expanduser()
            speakers = {path.stem: _cloned(pipe, path), **speakers}
        if torch_compile:
            self._warm_up(pipe, next(iter(speakers.values())))
        return pipe, speakers

    def _speaker(self, voice: str) -> Any:
        """That of a voice, or of the recording at this path."""
        for path in [path for path in self._cloned if not Path(path).is_file()]:
            del self._cloned[path]
        if voice in self._speakers:
            return self._speakers[voice]
        found = self._cloned.pop(voice, None)
        if found is None:
            found = _cloned(self._pipe, Path(voice))
        self._cloned[voice] = found  # the last that was used is the last
        if len(self._cloned) > MOST_CLONES:
            del self._cloned[next(iter(self._cloned))]
        return found

    def _warm_up(self, pipe: Any, speaker: Any) -> None:
        """Compiling happens in the first sentences: minutes that no caller should wait for."""
        from tqdm import tqdm

        log.info("Warming up torch compile model")
        # A log file gets a line every ten seconds, a person a moving bar.
        pace = 0.1 if sys.stderr.isatty() else 10
        try:
            for _ in tqdm(range(WARM_UPS), desc="WhisperSpeech", mininterval=pace, file=sys.stderr):
                self._say(pipe, WARM_UP_TEXT, speaker, PACE, lambda: None)
        except Exception as error:  # the compilers that torch calls raise classes of their own
            # three models load at once: it says itself what to do
            if "out of memory" in str(error).lower():
                raise
            raise EngineError(
                f"WhisperSpeech could not be warmed up ({_brief(error)}); torch.compile needs a C "
                "compiler and Python's "
                "headers (the devel image has both); TTS_OPTION=torch_compile=false does without"
            ) from error
        log.info("Warmed up Whisper Speech")

    def _say(
        self, pipe: Any, text: str, speaker: Any, pace: float, step: Callable[[], None]
    ) -> Samples:
        """The sound of one piece: float32 in -1..1, [samples]; empty when the model made only
        silence.
        """
        try:
            # What Pipeline.generate does, but for its two progress bars, which nothing turns off
            # there.
            stoks = pipe.t2s.generate(
                text, cps=pace, lang=self.language, step=step, show_progress_bar=False
            )[0]
            atoks = pipe.s2a.generate(
                stoks, speaker.unsqueeze(0), step=step, show_progress_bar=False
            )
            pcm = pipe.vocoder.decode(atoks)[0].cpu().numpy()
        except RuntimeError as error:  # CUDA's own among them, out of memory too
            if gpu_is_lost(error):
                raise
            raise EngineError(
                f"WhisperSpeech could not say {text!r} ({_brief(error)}); if the GPU has no "
                "memory left, give the other engines less, or set TTS_ENGINE=hibari"
            ) from error
        except _Closed:
            raise
        except Exception as error:  # of the tokenizer or a model, at an odd text
            if lost_for_good(error):
                raise
            raise Unsayable(
                f"WhisperSpeech cannot say {text[:80]!r} ({first_line(error)}); write it in other "
                "words"
            ) from error
        if not np.isfinite(pcm).all():
            raise EngineError(
                f"WhisperSpeech made no sound of {text!r}: its half precision overflowed"
            )
        return trimmed(np.clip(pcm, -1.0, 1.0), LEAD_S, SENTENCE_GAP_S, SPEECH_RATE)


def _cloned(pipe: Any, recording: Path) -> Any:
    """The speaker of a recording: float tensor [192]. Raises EngineError."""
    try:
        return pipe.extract_spk_emb(str(recording))
    # the hub, the sound file and the network that recognizes speakers can each fail
    except Exception as error:
        if gpu_is_lost(error):
            raise
        raise EngineError(
            f"no voice can be made of {recording} ({_brief(error)}); it should be a WAV or FLAC "
            "file of one person, and the speaker model speechbrain/spkrec-ecapa-voxceleb is needed "
            "once"
        ) from error


def _load(refs: dict[str, str], device: str, language: str, torch_compile: bool) -> Any:
    """The package's Pipeline, which prints why a model could not be loaded and goes on without
    it.
    """
    try:
        import torch
        from whisperspeech import languages
        from whisperspeech.pipeline import Pipeline
    except ImportError as error:
        raise EngineError(
            f"WhisperSpeech is not installed ({error}); it is part of the GPU image "
            "(requirements-gpu.txt), or set TTS_ENGINE=hibari"
        ) from error
    try:
        languages.to_id(language)
    except ValueError as error:
        raise EngineError(
            f"WhisperSpeech knows no language {language!r}; TTS_OPTION=language=en or language=pl"
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(
            "WhisperSpeech needs an NVIDIA GPU and none can be used here; check nvidia-smi and "
            "the container's GPU reservation, or set TTS_ENGINE=hibari"
        )
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            pipe = Pipeline(
                t2s_ref=refs["t2s"], s2a_ref=refs["s2a"], torch_compile=torch_compile, device=device
            )
    # the vocoder's files: the hub, the disk and torch each have their own errors
    except Exception as error:
        raise EngineError(
            f"the vocoder of WhisperSpeech cannot be loaded ({_brief(error)}); it needs "
            "charactr/vocos-encodec-24khz "
            "and EnCodec's weights, from the network once and then from HF_HOME and TORCH_HOME"
        ) from error
    # A model that loads and then fails to be optimized is there, and cannot speak: what was printed
    # tells.
    failures = printed.getvalue().split("Failed to load the ")[1:]
    if failures or not all(hasattr(pipe, part) for part in refs):
        log.error("WhisperSpeech: %s", printed.getvalue().strip())
        reasons = "; ".join(failure.strip().splitlines()[-1] for failure in failures)
        raise EngineError(
            f"WhisperSpeech cannot load {' and '.join(refs.values())} ({reasons}); TTS_MODEL is a "
            "file, or repo:file on the hub, which has to be reachable once (HF_HOME keeps what "
            "came; a broken file there has to be deleted)"
        )
    return pipe


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def short_pieces(text: str, limit: int) -> Iterator[str]:
    """`text` on one line, in pieces of at most `limit` bytes of UTF-8, which is what the model
    counts; only what can be spoken.

    Longer text would be cropped without a word, and text without letters or digits would become a
    sound all the same.
    """
    # half surrogate pairs are no UTF-8
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    while text:
        end = len(text)
        if len(text.encode()) > limit:
            head = text.encode()[:limit].decode("utf-8", "ignore")
            end = next(
                (found[-1].end() for cut in CUTS if (found := list(cut.finditer(head)))), len(head)
            )
        piece, text = text[:end].strip(), text[end:].strip()
        if any(c.isalnum() for c in piece):
            yield piece
