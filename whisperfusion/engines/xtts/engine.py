"""XTTS-v2 by coqui-tts, 24 kHz, on a CUDA GPU or the CPU.

A language model writes tokens of sound (21.5 a second) after the text and what was made of a
recording of the speaker, and a vocoder turns them into sound, twenty at a time. So the first second
of a sentence can be played while the rest is written, and after each token the work asks whether
it was cancelled. The model keeps the beginning of a sentence in itself: sentences take turns.

Its weights may not be used commercially, nor what they say: `models.terms`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.guard import guarded
from whisperfusion.engines.hibari import gap_after
from whisperfusion.engines.kokoro.engine import WARM_UP, said_of
from whisperfusion.engines.kokoro.phonemes import pieces_of
from whisperfusion.engines.pump import pieces
from whisperfusion.engines.xtts.loading import model_in, torch_of
from whisperfusion.engines.xtts.pauses import spaced
from whisperfusion.engines.xtts.recordings import Cloned
from whisperfusion.engines.xtts.voices import MARK, parted
from whisperfusion.errors import EngineError

CHUNK = 20  # tokens: 0.93 s of sound
LONGEST = 200  # characters of a sentence in a language of which the package knows no limit
# where text is divided, best first
CUTS = (".!?…。！？।", ";:—；：", ",、，،", " ")
KNOBS = ("temperature", "length_penalty", "repetition_penalty", "top_k", "top_p")

log = logging.getLogger("engine")


class _Closed(EngineError):
    """The work was cancelled. Raised inside the package, which lets it through."""


class XTTS:
    """`model` is a folder with config.json, model.pth, vocab.json and, for voices by name,
    speakers_xtts.pth.

    `voice` is the name of a voice, or a recording of one, which then is the first of `voices`,
    called as the file; the language that it speaks may stand behind it ("me.wav@es"), English
    otherwise. Every voice speaks that language, and the first one as "NAME@LANGUAGE" all others.
    `synthesize` takes any name with any language, and the path of a recording. `device` is "auto",
    "cpu" or "cuda"; `threads` 0 = as many as there are cores, at most four. `measure`: find out at
    the start how fast it is, which takes some seconds.
    """

    sample_rate = SPEECH_RATE
    clones = True
    voice_languages: dict[str, str]

    def __init__(
        self,
        *,
        model: str,
        voice: str | None = None,
        device: str = "auto",
        threads: int = 0,
        measure: bool = True,
    ) -> None:
        log.warning("XTTS speaks under a licence without commercial use: docs/licences.md")
        folder = Path(model).expanduser()
        self.model = folder.name
        self._torch, self.device = torch_of(device, threads)
        # one thread: so CUDA's memory and the state of the model have one owner
        self._pool = ThreadPoolExecutor(1, "xtts")
        self._xtts = self._pool.submit(model_in, self._torch, folder, self.device).result()
        config = self._xtts.config
        self._knobs = {name: config[name] for name in KNOBS}
        self._languages = [code.partition("-")[0] for code in config.languages]
        self._cloned = Cloned(self._latents)
        self._speakers = _speakers(self._xtts)
        first, language = parted(voice or "")
        self.language: str | None = language or self._languages[0]
        self._recordings: dict[str, Path] = {}
        if first and first not in self._speakers:
            recording = Path(first).expanduser()
            self._recordings[recording.stem] = recording
            first = recording.stem
        self._name_voices(first)
        self._pool.submit(self._speaker, self.voices[0]).result()
        if measure:
            self._log_speed()

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        name, language = parted(voice or self.voices[0])
        language = language or self.language or ""
        if language not in self._languages:
            raise EngineError(
                f"{self.model} does not speak {language!r}; allowed: {', '.join(self._languages)}"
            )
        longest = self._xtts.tokenizer.char_limits.get(language, LONGEST)
        # half surrogate pairs are no UTF-8
        text = " ".join(text.encode("utf-8", "replace").decode().split())
        texts = [one for one in pieces_of(text, longest, CUTS) if any(c.isalnum() for c in one)]
        if not texts:
            return
        closed = threading.Event()

        def work(give: Callable[[Samples], bool]) -> None:
            with contextlib.suppress(_Closed):
                speaker = self._speaker(name or self.voices[0])
                for one in texts:
                    sound = self._stream(one, language, speaker, speed, closed)
                    for pcm in spaced(sound, gap_after(one)):
                        give(pcm)

        nothing_yet: Samples = np.zeros(0, np.float32)
        yield from pieces(work, nothing_yet, stop=closed.set, pool=self._pool)

    def _name_voices(self, first: str) -> None:
        names = list(dict.fromkeys((first, *self._recordings, *self._speakers)))
        names = [name for name in names if name]
        if not names:
            raise EngineError(
                f"{self.model} has no voices of its own (speakers_xtts.pth); TTS_VOICE should name "
                "a recording of the voice to speak with"
            )
        own = dict.fromkeys(names, self.language or "")
        others = {f"{names[0]}{MARK}{code}": code for code in self._languages}
        self.voice_languages = {**own, **others}
        self.voices = tuple(self.voice_languages)

    # --- in the engine's thread ------------------------------------------------------------------

    def _speaker(self, name: str) -> tuple[Any, Any]:
        """The style and the embedding of a voice: float32 [1, 32, 1024] and [1, 512, 1] of XTTS-v2.
        Raises EngineError.
        """
        self._cloned.forget()
        if name in self._speakers:
            return self._speakers[name]
        recording = self._recordings.get(name) or Path(name)
        if name not in self._recordings and not recording.is_file():
            known = ", ".join((*self._recordings, *self._speakers))
            raise EngineError(f"{name!r} is neither a voice nor a recording; available: {known}")
        return self._cloned.of(recording)

    def _latents(self, pcm: Samples, rate: int) -> tuple[Any, Any]:
        """Of a recording, as the package's `get_conditioning_latents`, which reads files alone."""
        config = self._xtts.config
        with guarded("XTTS", "the recording of a voice"):
            from torchaudio.functional import resample

            audio = self._torch.from_numpy(pcm)[None].to(self.device)
            rate, audio = config.audio.sample_rate, resample(audio, rate, config.audio.sample_rate)
            audio = audio[:, : rate * config.max_ref_len]
            if config.sound_norm_refs:
                audio = audio / audio.abs().max() * 0.75
            style = self._xtts.get_gpt_cond_latents(
                audio, rate, config.gpt_cond_len, config.gpt_cond_chunk_len
            )
            return style, self._xtts.get_speaker_embedding(audio, rate)

    def _stream(
        self,
        text: str,
        language: str,
        speaker: tuple[Any, Any],
        speed: float,
        closed: threading.Event,
    ) -> Iterator[Samples]:
        """float32 [samples] in -1..1, about a second at a time."""

        def step(_: Any, scores: Any) -> Any:
            if closed.is_set():
                raise _Closed
            return scores

        with guarded("XTTS", text):
            for sound in self._xtts.inference_stream(
                text,
                language,
                *speaker,
                stream_chunk_size=CHUNK,
                speed=min(max(speed, 0.5), 2.0),
                logits_processor=[step],
                **self._knobs,
            ):
                pcm: Samples = sound.float().cpu().numpy()
                if not np.isfinite(pcm).all():
                    raise EngineError(f"XTTS made sound that is not a number of {text[:80]!r}")
                yield np.clip(pcm, -1.0, 1.0)

    def _log_speed(self) -> None:
        list(self.synthesize("Ready."))
        began = time.monotonic()
        seconds = sum(map(len, self.synthesize(WARM_UP))) / SPEECH_RATE
        factor = (time.monotonic() - began) / max(seconds, 0.01)
        log.log(*said_of(factor, self.device, "XTTS"))


def _speakers(xtts: Any) -> dict[str, tuple[Any, Any]]:
    """The voices that come with the model, by name; the package itself goes by the order of the two
    values of each.
    """
    manager = xtts.speaker_manager
    found: dict[str, tuple[Any, Any]] = {}
    for name, values in (manager.speakers if manager is not None else {}).items():
        style, embedding = values.values()
        found[name] = style, embedding
    return found
