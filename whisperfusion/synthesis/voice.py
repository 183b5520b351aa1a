"""An engine and its texts: divided into parts, written as they are spoken, without what the voice
cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines import TTS, CloningTTS, MultilingualTTS
from whisperfusion.errors import Unsayable
from whisperfusion.synthesis.leveling import Leveler
from whisperfusion.text.normalization import spoken
from whisperfusion.text.reply_pieces import pieces_of
from whisperfusion.text.scripts import has_words, sayable
from whisperfusion.wire.voices import UnknownVoice, in_language, voice_named


def _none(name: str) -> Path | None:
    return None


class Voice:
    """`gains_db` are of those of its voices whose loudness is known. `sample` gives the recording
    of a custom voice by its id, None = there is none. `default` is the custom voice that speaks
    where none is asked for, "" = the engine's first.
    """

    def __init__(
        self,
        engine: TTS,
        gains_db: Mapping[str, float] = MappingProxyType({}),
        sample: Callable[[str], Path | None] = _none,
        default: str = "",
    ) -> None:
        self.engine, self._leveler = engine, Leveler(gains_db)
        self._sample, self._default = sample, default
        self.clones = isinstance(engine, CloningTTS)
        # loads its library: no caller should wait for that
        resampled(np.zeros(engine.sample_rate // 10, np.float32), engine.sample_rate)

    def language_of(self, name: str | None) -> str | None:
        """ISO code of what the voice `name` speaks; None = the engine reads any."""
        if isinstance(self.engine, MultilingualTTS):
            named = self.named(name)
            spoken = self.engine.voice_languages.get(named) or in_language(named)[1]
            return spoken or self.engine.language
        return self.engine.language

    @property
    def names(self) -> tuple[str, ...]:
        """The first is the default."""
        return (*filter(None, (self._default,)), *self.engine.voices)

    def named(self, name: str | None) -> str:
        """A voice that speaks here: the first one instead of one that is not known."""
        if self.clone(name) is not None:
            return name or self._default
        known = None
        with suppress(UnknownVoice):
            known = voice_named(name, self.engine.voices)
        if known is None and self.clone(None) is not None:
            return self._default
        return known or self.engine.voices[0]

    def check(self, name: str) -> str | None:
        """The voice that is meant, None = the default one. Raises UnknownVoice."""
        return name if self.clone(name) is not None else voice_named(name, self.names)

    def clone(self, name: str | None) -> Path | None:
        """The recording that the voice `name` is made of, None: the default one; None = of none, or
        of one that was deleted.
        """
        asked = in_language(name or self._default)[0]
        return self._sample(asked) if self.clones and asked else None

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        """float32 [samples] at 24 kHz, as loud as all voices; an empty piece says "nothing yet".
        Raises EngineError.
        """
        name, rate = self.named(voice), self.engine.sample_rate
        recording, said_by = self.clone(name), name
        if recording is not None:
            said_by = f"{recording}{name.removeprefix(recording.stem)}"  # the language stays
        made = self.engine.synthesize(text, said_by, speed)
        yield from self._leveler.leveled(name, (resampled(pcm, rate) for pcm in made))

    def parts(self, text: str, voice: str | None) -> tuple[str, ...]:
        """The parts of a text that are synthesized, one by one.

        Raises Unsayable when it has words and the voice knows none of them.
        """
        parts = tuple(piece.spoken for piece in pieces_of(text) if piece.spoken) or ("",)
        if text.isascii():
            return parts
        found = [self.readable(part, voice) for part in parts]
        lost = next((lost for _, lost in found if lost), "")
        if lost and not any(has_words(one) for one, _ in found):
            raise Unsayable(self.cannot(voice, lost))
        return parts

    def readable(self, text: str, voice: str | None) -> tuple[str, str]:
        """A text as the engine gets it, and an example of what the voice cannot say."""
        language = self.language_of(voice)
        return sayable(spoken(text, language), language)

    def cannot(self, voice: str | None, text: str) -> str:
        """Why `text` is left out, for the user."""
        speaks = self.language_of(voice) or "another language"
        return (
            f"the voice {self.named(voice)} cannot say this text ({text}): it speaks {speaks}; "
            "choose another voice"
        )


def languages_of(engine: TTS) -> Mapping[str, str]:
    """ISO code of each voice of an engine whose voices speak several languages; else empty."""
    return engine.voice_languages if isinstance(engine, MultilingualTTS) else {}


def resampled(pcm: Samples, rate: int) -> Samples:
    """float32 [samples] at `rate`, a whole piece of speech, as [samples] at 24 kHz."""
    if rate == SPEECH_RATE or not len(pcm):
        return pcm
    from av import AudioFrame

    from whisperfusion.runtime.resampling import Converter

    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(pcm[np.newaxis], np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate = rate
    converter = Converter("fltp", SPEECH_RATE)
    return np.concatenate(
        [part.to_ndarray()[0] for part in (*converter.feed(frame), *converter.feed(None))]
    )
