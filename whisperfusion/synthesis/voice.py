"""An engine and its texts: divided into parts, written as they are spoken, without what the voice
cannot say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines import TTS, MultilingualTTS
from whisperfusion.errors import Unsayable
from whisperfusion.synthesis.leveling import Leveler
from whisperfusion.text.normalization import spoken
from whisperfusion.text.reply_pieces import pieces_of
from whisperfusion.text.scripts import has_words, sayable
from whisperfusion.wire.voices import UnknownVoice, in_language, voice_named


class Voice:
    """`gains_db` are of those of its voices whose loudness is known."""

    def __init__(self, engine: TTS, gains_db: Mapping[str, float] = MappingProxyType({})) -> None:
        self.engine, self._leveler = engine, Leveler(gains_db)
        # loads its library: no caller should wait for that
        resampled(np.zeros(engine.sample_rate // 10, np.float32), engine.sample_rate)

    def language_of(self, name: str | None) -> str | None:
        """ISO code of what the voice `name` speaks; None = the engine reads any."""
        if isinstance(self.engine, MultilingualTTS):
            named = self.named(name)
            spoken = self.engine.voice_languages.get(named) or in_language(named)[1]
            return spoken or self.engine.language
        return self.engine.language

    def named(self, name: str | None) -> str:
        """A voice that the engine has: its first one instead of one that is not known."""
        known = None
        with suppress(UnknownVoice):
            known = voice_named(name, self.engine.voices)
        return known or self.engine.voices[0]

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        """float32 [samples] at 24 kHz, as loud as all voices; an empty piece says "nothing yet".
        Raises EngineError.
        """
        name, rate = self.named(voice), self.engine.sample_rate
        made = self.engine.synthesize(text, name, speed)
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
