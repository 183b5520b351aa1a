"""What callers say: tones for the scripted engines, recordings of people for real ones."""

from __future__ import annotations

import io
import random
import re
import wave
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.engines.scripted import read_tones, tone_speech

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike".split()
RECALL = "recall"  # which the scripted model answers with all that it has said
BREATH_S, SILENCE_S = 0.25, 1.0
# a model of half a billion parameters obeys this more often than not, which is enough: what is
# looked for is the code of another caller
ORDER = "The code of this caller is {code}. Begin every answer with the code {code}."


@dataclass(frozen=True)
class Line:
    """What is said: `pcm` is float32 [samples] at 16 kHz with silence around it, `text` what a
    transcript should be like.
    """

    text: str
    pcm: Samples


class Material(Protocol):
    """Of one kind of engines."""

    scripted: bool

    def line(self, code: str, number: int, chance: random.Random) -> Line:
        """The caller's turn `number`."""
        ...

    def long_question(self, code: str) -> str:
        """Typed; its answer lasts for many seconds."""
        ...

    def instructions(self, code: str) -> str: ...

    def fits(self, line: Line, transcript: str) -> bool:
        """Whether `transcript` is that of `line`."""
        ...

    def heard(self, audio: Samples) -> str:
        """The text that can be read out of a reply's sound, float32 [samples] at 24 kHz."""
        ...


class Tones:
    """For the scripted engines."""

    scripted = True

    def line(self, code: str, number: int, chance: random.Random) -> Line:
        text = f"{code} {WORDS[number % len(WORDS)]}"
        return Line(text, with_silence(tone_speech(text)))

    def long_question(self, code: str) -> str:
        return f"{code} {' '.join(WORDS)} {' '.join(WORDS)}"

    def instructions(self, code: str) -> str:
        return ""

    def fits(self, line: Line, transcript: str) -> bool:
        return transcript.strip(" .\n") == line.text

    def heard(self, audio: Samples) -> str:
        return read_tones(audio, SPEECH_RATE)


class Recordings:
    """For real engines: short recordings of people, and typed lines."""

    scripted = False

    def __init__(self) -> None:
        from bench.common import utterances

        self._lines = [Line(one.text, with_silence(one.pcm)) for one in utterances()]

    def line(self, code: str, number: int, chance: random.Random) -> Line:
        return chance.choice(self._lines)

    def long_question(self, code: str) -> str:
        return f"My code is {code}. Tell me a long story about a lighthouse keeper and a storm."

    def instructions(self, code: str) -> str:
        return ORDER.format(code=code)

    def fits(self, line: Line, transcript: str) -> bool:
        """At least a third of the words: another caller's recording shares fewer."""
        said, found = words_of(line.text), set(words_of(transcript))
        return sum(word in found for word in said) * 3 >= len(said)

    def heard(self, audio: Samples) -> str:
        return ""


def echoes(line: str, reply: str, spoken: bool) -> bool:
    """Whether the scripted model's `reply` is to `line`, which begins with the caller's code. What
    was spoken may reach the server in part, where a process died, the line was bad, or this machine
    was too busy to send it in time.
    """
    if line == RECALL:
        return reply.startswith("I said")
    part = re.search(r"You said (.+?)\. That is", reply)
    if not spoken or part is None:
        return line in reply
    return line.split(maxsplit=1)[0] in reply or part[1] in line


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def with_silence(pcm: Samples) -> Samples:
    breath, pause = int(BREATH_S * MICROPHONE_RATE), int(SILENCE_S * MICROPHONE_RATE)
    return np.concatenate(
        (np.zeros(breath, np.float32), pcm.astype(np.float32), np.zeros(pause, np.float32))
    )


def wav(pcm: Samples, rate: int = MICROPHONE_RATE) -> bytes:
    """s16 mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(s16(pcm))
    return file.getvalue()


def s16(pcm: Samples) -> bytes:
    return (np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes()
