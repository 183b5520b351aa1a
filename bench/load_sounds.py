"""What a caller of `bench/load.py` says, as frames that are ready to be sent, and whether an answer
belongs to it.

The words are tones that the scripted recognizer reads (whisperfusion/engines/scripted.py). Each
caller has a word of its own in its sentence, its mark; the scripted language model repeats it, and
the scripted voice says it. So whose answer it is can be read off its text and its sound. Frames are
serialized and masked once, by websockets: what is left for each of them is one `write`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from websockets.frames import Frame, Opcode

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.engines.scripted import (
    ALPHABET,
    LOWEST_HZ,
    STEP_HZ,
    TONE_S,
    read_tones,
    tone_speech,
)

# no English word has the form of a mark: three syllables of these, closed by an x
CONSONANTS, VOWELS = "bdfgklmnprtvz", "aou"
MARK = re.compile(f"\\b(?:[{CONSONANTS}][{VOWELS}]){{3}}x\\b")
SYLLABLES = tuple(c + v for c in CONSONANTS for v in VOWELS)
MOST_MARKS = len(SYLLABLES) ** 3
ANSWER = "you said "  # how the scripted language model begins
BEGINNING = "can you say "
# then as many of these as the sentence is long
MORE = "in a word or two that my old aunt would like to hear from a good friend like you"
SLOT = int(TONE_S * SPEECH_RATE)  # samples of one character of an answer


def mark_of(number: int) -> str:
    """The mark of caller `number`, 0 to MOST_MARKS - 1."""
    syllables = []
    for _ in range(3):
        number, last = divmod(number, len(SYLLABLES))
        syllables.append(SYLLABLES[last])
    return "".join(reversed(syllables)) + "x"


def sentence_of(mark: str, seconds: float) -> str:
    """A question of about this length, with the mark in it."""
    text = f"{BEGINNING}{mark}"
    for word in MORE.split():
        if (len(text) + 1) * TONE_S >= seconds:
            break
        text += f" {word}"
    return f"{text}?"


@dataclass(frozen=True)
class Voice:
    """A caller's sentence: `words` as they are read back, `frames` as they go to the socket."""

    mark: str
    words: str
    frames: tuple[bytes, ...]


def voice_of(number: int, seconds: float, frame_ms: int) -> Voice:
    """int16 at 16 kHz, as the page sends it, in frames of `frame_ms`."""
    mark = mark_of(number)
    words = sentence_of(mark, seconds)
    pcm = _int16(tone_speech(words))
    size = MICROPHONE_RATE * frame_ms // 1000
    pcm = np.pad(pcm, (0, -len(pcm) % size))
    frames = tuple(serialized(pcm[at : at + size].tobytes()) for at in range(0, len(pcm), size))
    return Voice(mark, words, frames)


def silence(frame_ms: int) -> bytes:
    return serialized(bytes(2 * MICROPHONE_RATE * frame_ms // 1000))


def serialized(payload: bytes) -> bytes:
    """A binary frame of a client."""
    return Frame(Opcode.BINARY, payload).serialize(mask=True)


def _int16(pcm: Samples) -> Samples:
    return np.round(pcm * 32767).astype("<i2")


def heard_mark(audio: bytes, mark: str) -> bool:
    """Does an answer (int16 at 24 kHz) say `mark`? Its own place is read, else all of it."""
    pcm = np.frombuffer(audio, "<i2", len(audio) // 2).astype(np.float32)
    pcm /= np.float32(32768)
    begin = len(ANSWER + BEGINNING) * SLOT
    slots = pcm[begin : begin + len(mark) * SLOT]
    if len(slots) == len(mark) * SLOT and _read(slots.reshape(-1, SLOT)) == mark:
        return True
    return mark in read_tones(pcm, SPEECH_RATE)


def _read(slots: Samples) -> str:
    """One character for each row."""
    inner = slots[:, SLOT // 8 : -SLOT // 8]
    spectrum = np.abs(np.fft.rfft(inner, n=SPEECH_RATE // 10, axis=1))
    symbols = np.round((spectrum.argmax(axis=1) * 10 - LOWEST_HZ) / STEP_HZ).astype(int)
    return "".join(ALPHABET[s] if 0 <= s < len(ALPHABET) else " " for s in symbols)


def other_mark(text: str, mark: str) -> str:
    """The mark of another caller in `text`; "" = there is none."""
    return next((found for found in MARK.findall(text.lower()) if found != mark), "")
