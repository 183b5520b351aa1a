"""hibari: small English voices of Apache-2.0, 24 kHz, a hundredth of real time on one core.

Texts come in words (whisperfusion/text/normalization.py), so its own normalization is left out: it
reads "no." as "number" wherever it stands. Its clips begin with 0.3 s and end with 0.45 s of
silence, which a user takes for slowness; both are cut to what a voice needs. Long sentences are
read in pieces, because a clip is played only when all of it is made.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.guard import guarded
from whisperfusion.errors import EngineError, Unsayable
from whisperfusion.paths import COMMAND

LEAD_S = 0.005  # silence left before a clip
# and after it: at the end of a sentence, of a clause, in the middle of one
SENTENCE_GAP_S, CLAUSE_GAP_S, BREATH_S = 0.25, 0.15, 0.05
QUIET = 0.001  # root mean square of 10 ms; below is silence (soft consonants have 0.002 and more)
LONGEST = 250  # characters in one clip
# read digit by digit: the package fails on numbers without a name
LONG_NUMBER = re.compile(r"\d{16,}")
CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")


class Hibari:
    """The voice "heart" comes with the package; `model` is the ONNX file of `voice` when that is
    another one.

    `voice_files` adds more voices (name to file). The first of `voices` is `voice`. Safe in several
    threads.
    """

    sample_rate, language = SPEECH_RATE, "en"

    def __init__(
        self,
        *,
        model: str | None = None,
        voice: str | None = None,
        voice_files: Mapping[str, str] | None = None,
    ) -> None:
        from hibari import Hibari as Voice
        from hibari.g2p import G2P
        from hibari.voices import DEFAULT, VOICES

        voice = voice or DEFAULT
        files: dict[str, str | None] = {voice: model or None, **(voice_files or {})}
        files.setdefault(DEFAULT, None)
        for name, file in files.items():
            if (
                name not in VOICES
                or (file is None and name != DEFAULT)
                or (file is not None and not Path(file).is_file())
            ):
                raise EngineError(
                    f"the voice {name!r} is not there; known: {', '.join(VOICES)}; all but "
                    f"{DEFAULT} need a file from the model store (`{COMMAND} models`)"
                )
        readers = {
            british: partial(G2P(british=british), normalize_text=False)
            for british in {VOICES[name]["british"] for name in files}
        }
        self._voices = {
            name: Voice(voice=name, model=file, g2p=readers[VOICES[name]["british"]])
            for name, file in files.items()
        }
        self.model, self.device, self.voices = "hibari", "cpu", tuple(self._voices)
        for made in self._voices.values():
            made("Ready.", seed=0)  # reads the dictionaries: 0.3 s that no caller should wait for

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        made = self._voices.get(voice or self.voices[0])
        if made is None:
            raise EngineError(f"no voice {voice!r}; available: {', '.join(self.voices)}")
        plain = LONG_NUMBER.sub(lambda digits: " ".join(digits[0]), text)
        for sentence in made.split_sentences(plain):
            for piece in short_pieces(sentence):
                if not any(c.isalnum() for c in piece):
                    continue  # punctuation alone would be a breath
                pcm = _made(made, piece, min(max(speed, 0.5), 2.0))
                if len(pcm):
                    yield pcm


def _made(voice: Any, piece: str, speed: float) -> Samples:
    """The sound of one piece; of one that the package fails on, with the letters of a keyboard
    instead of its own.
    """
    try:
        with guarded("hibari", piece):
            parts = list(voice.stream(piece, speed, seed=0))
            return (
                trimmed(np.concatenate(parts), LEAD_S, gap_after(piece))
                if parts
                else np.zeros(0, np.float32)
            )
    except Unsayable:
        simple = unicodedata.normalize("NFKD", piece).encode("ascii", "ignore").decode()
        if simple == piece or not any(c.isalnum() for c in simple):
            raise
        return _made(voice, simple, speed)


def short_pieces(sentence: str) -> Iterator[str]:
    """`sentence` in pieces of at most `LONGEST` characters, divided at clauses if that is
    enough, else between words.
    """
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
    if core.endswith((".", "!", "?", "…")):
        return SENTENCE_GAP_S
    return CLAUSE_GAP_S if core.endswith((",", ";", ":", "—", "–")) else BREATH_S


def trimmed(pcm: Samples, lead_s: float, tail_s: float, rate: int = SPEECH_RATE) -> Samples:
    """`pcm` with at most so much silence around its sound; empty for silence."""
    step = rate // 100
    levels = np.sqrt(np.mean(np.square(pcm[: len(pcm) // step * step].reshape(-1, step)), axis=1))
    loud = np.flatnonzero(levels > QUIET)
    if not len(loud):
        return np.zeros(0, np.float32)
    start = max(0, loud[0] * step - int(lead_s * rate))
    end = (loud[-1] + 1) * step + int(tail_s * rate)
    return np.pad(pcm[start:end], (0, max(0, end - len(pcm))))
