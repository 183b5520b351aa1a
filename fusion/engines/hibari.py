"""hibari: small English voices of Apache-2.0, 24 kHz, a hundredth of real time on one core.

Its clips begin with 0.3 s and end with 0.45 s of silence, which a listener takes for slowness; both are cut
to what a voice needs. Long sentences are read in pieces, because a clip is only heard when all of it is made.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from fusion.engines import EngineError

RATE = 24_000
LEAD_S = 0.005  # silence left before a clip
SENTENCE_GAP_S, CLAUSE_GAP_S, BREATH_S = 0.25, 0.15, 0.05  # and after it: at the end of a sentence, of a clause, in the middle of one
QUIET = 0.001  # root mean square of 10 ms; below is silence (soft consonants have 0.002 and more)
LONGEST = 250  # characters in one clip
LONG_NUMBER = re.compile(r"\d{16,}")  # read digit by digit: the package fails on numbers without a name
CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")


class Hibari:
    """The voice "heart" comes with the package; `model` is the ONNX file of `voice` when that is another one.

    `voice_files` adds more voices (name to file). The first of `voices` is `voice`. Safe in several threads.
    """

    sample_rate = RATE

    def __init__(self, *, model: str = "", voice: str = "", voice_files: Mapping[str, str] | None = None) -> None:
        from hibari import Hibari as Voice
        from hibari.voices import DEFAULT, VOICES

        voice = voice or DEFAULT
        files: dict[str, str | None] = {voice: model or None, **(voice_files or {})}
        files.setdefault(DEFAULT, None)
        for name, file in files.items():
            if name not in VOICES or (file is None and name != DEFAULT) or (file is not None and not Path(file).is_file()):
                raise EngineError(f"the voice {name!r} is not there; known: {', '.join(VOICES)}; all but {DEFAULT} need a file "
                                  "from the model store (`main.py models`)")
        self._voices = {name: Voice(voice=name, model=file) for name, file in files.items()}
        self.model, self.device, self.voices = "hibari", "cpu", tuple(self._voices)
        for made in self._voices.values():
            made("Ready.", seed=0)  # reads the dictionaries: 0.3 s that no caller shall wait for

    def speak(self, text: str, voice: str, speed: float) -> Iterator[np.ndarray]:
        made = self._voices.get(voice or self.voices[0])
        if made is None:
            raise EngineError(f"there is no voice {voice!r}; available: {', '.join(self.voices)}")
        plain = LONG_NUMBER.sub(lambda digits: " ".join(digits[0]), text)
        for sentence in made.split_sentences(plain):
            for piece in short_pieces(sentence):
                if not any(c.isalnum() for c in piece):
                    continue  # punctuation alone would be a breath
                try:
                    parts = list(made.stream(piece, min(max(speed, 0.5), 2.0), seed=0))
                except (LookupError, ValueError, RuntimeError) as error:
                    raise EngineError(f"hibari cannot read {piece!r} ({type(error).__name__}: {error})") from error
                pcm = trimmed(np.concatenate(parts), LEAD_S, gap_after(piece)) if parts else np.zeros(0, np.float32)
                if len(pcm):
                    yield pcm


def short_pieces(sentence: str) -> Iterator[str]:
    """`sentence` in pieces of at most `LONGEST` characters, divided at clauses if that is enough, else between words."""
    if len(sentence) <= LONGEST:
        yield sentence
        return
    held = ""
    for clause in CLAUSE_END.split(sentence):
        if held and len(held) + len(clause) >= LONGEST:
            yield held
            held = ""
        held = f"{held} {clause}".strip()
        if len(held) > LONGEST:
            *whole, held = textwrap.wrap(held, LONGEST, break_on_hyphens=False)
            yield from whole
    yield held


def gap_after(piece: str) -> float:
    """Seconds of silence that belong after `piece`."""
    core = piece.rstrip("\"'”’») ")
    return SENTENCE_GAP_S if core.endswith((".", "!", "?", "…")) else CLAUSE_GAP_S if core.endswith((",", ";", ":", "—", "–")) else BREATH_S


def trimmed(pcm: np.ndarray, lead_s: float, tail_s: float, rate: int = RATE) -> np.ndarray:
    """`pcm` with at most so much silence around its sound; empty when there is no sound."""
    step = rate // 100
    levels = np.sqrt(np.mean(np.square(pcm[: len(pcm) // step * step].reshape(-1, step)), axis=1))
    loud = np.flatnonzero(levels > QUIET)
    if not len(loud):
        return np.zeros(0, np.float32)
    start = max(0, loud[0] * step - int(lead_s * rate))
    end = (loud[-1] + 1) * step + int(tail_s * rate)
    return np.pad(pcm[start:end], (0, max(0, end - len(pcm))))
