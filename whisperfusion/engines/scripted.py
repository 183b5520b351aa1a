"""Fakes for tests and demonstrations: deterministic, instant, and nothing but
recordings to clone is read from disk.

They speak a made-up language of tones: every character is one pure tone of 40 ms (`ALPHABET`, 50 Hz
apart, from 400 Hz, inside the telephone band), so any plain English text can be sent as audio by
`tone_speech` and is read back exactly by `ScriptedASR` or `read_tones`; `ScriptedTTS` speaks it
too, so a test can tell whose reply it plays. A few words make things go wrong on purpose:

| who | word | what happens |
| --- | --- | --- |
| ASR | garble | `EngineError` |
| ASR | babel | its language cannot be detected |
| ASR | spanish, french, german … | where languages are detected: it is in that one |
| VAD | a window louder than 0.8 | `EngineError` |
| turn | um, at the end | not finished (0.1), otherwise finished (0.9) |
| turn | riddle | `EngineError` |
| LLM | explode | `EngineError` at once |
| LLM | halfway | `EngineError` after the first sentence |
| LLM | forever | pieces without end, until closed |
| LLM | recall | the reply lists what the assistant said before |
| LLM | use | the first tool is called, with {"text": what was asked}; a result is told |
| TTS | unspeakable | `EngineError` |
| all three | shatter | `ValueError`, as a library raises it for data that it does not expect |
| all three | lose the gpu | `RuntimeError` with the words of CUDA |
"""

from __future__ import annotations

import json
import re
import time
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, VAD_WINDOW, Samples
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import (
    ASROptions,
    ChatHistory,
    Hypothesis,
    Prediction,
    Segment,
    ToolCall,
    Word,
)
from whisperfusion.errors import EngineError
from whisperfusion.tools import NO_TOOLS, Tools
from whisperfusion.wire.languages import code_of

ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789'-.,?!"
LOWEST_HZ, STEP_HZ = 400.0, 50.0
TONE_S = 0.04
LOUD = 0.01  # root mean square (and smallest amplitude) above which a sound is speech
SHRILL = 0.8  # and at which the detector fails
NEW_WORD_S, NEW_SEGMENT_S = 0.04, 0.3  # silences that divide


def tone_speech(text: str, rate: int = MICROPHONE_RATE, level: float = 0.3) -> Samples:
    """`text` in tones, float32 [samples] at `rate`; what the alphabet lacks becomes a space.

    Add silence yourself.
    """
    plain = " ".join("".join(c if c in ALPHABET else " " for c in text.lower()).split())
    tones: Samples = _tones(rate, level)[[ALPHABET.index(c) for c in plain]].reshape(-1)
    return tones


@lru_cache(maxsize=16)
def _tones(rate: int, level: float) -> Samples:
    """The tone of each character, [characters, samples]."""
    turns = 2 * np.pi * np.arange(int(TONE_S * rate)) / rate
    hertz = LOWEST_HZ + STEP_HZ * np.arange(len(ALPHABET))
    return (level * np.sin(np.outer(hertz, turns))).astype(np.float32)


def read_tones(pcm: Samples, rate: int = MICROPHONE_RATE) -> str:
    """The text that `tone_speech` or `ScriptedTTS` (at speed 1) put into `pcm`."""
    return " ".join(word.text for word in _words(pcm, rate, ended=True))


def _words(pcm: Samples, rate: int, ended: bool) -> list[Word]:
    """The words in `pcm`; one that still lacks its end (a space or a silence) counts only when
    `ended`.
    """
    loud = np.flatnonzero(np.abs(pcm) > LOUD)
    if not len(loud):
        return []
    gaps = np.flatnonzero(np.diff(loud) > NEW_WORD_S / 2 * rate)
    starts, ends = (
        loud[np.concatenate(([0], gaps + 1))],
        loud[np.concatenate((gaps, [len(loud) - 1]))] + 1,
    )
    words: list[Word] = []
    for start, end in zip(starts, ends, strict=True):
        closed = ended or len(pcm) - end > NEW_WORD_S / 2 * rate
        words += _words_of_run(pcm[start:end], start, rate, closed)
    return words


def _words_of_run(run: Samples, offset: int, rate: int, closed: bool) -> list[Word]:
    slot = int(TONE_S * rate)
    count = (len(run) + slot // 4) // slot
    slots = np.pad(run, (0, max(0, count * slot - len(run))))[: count * slot].reshape(count, slot)
    length = round(rate / STEP_HZ)  # of the middle half: its bins are the tones of the alphabet
    inner = slots[:, slot // 4 : slot // 4 + length]
    spectrum = np.abs(np.fft.rfft(inner * _bell(length), axis=1))
    symbols = np.round((spectrum.argmax(axis=1) * rate / length - LOWEST_HZ) / STEP_HZ).astype(int)
    text = "".join(ALPHABET[s] if 0 <= s < len(ALPHABET) else " " for s in symbols)
    if not closed:
        text = text[: text.rfind(" ") + 1]
    words, at = [], 0
    for part in text.split(" "):
        if part:
            start_s = float(offset) / rate + at * TONE_S
            words.append(Word(round(start_s, 3), round(start_s + len(part) * TONE_S, 3), part, 1.0))
        at += len(part) + 1
    return words


@lru_cache
def _bell(length: int) -> Samples:
    return np.hanning(length).astype(np.float32)


def _break(text: str) -> None:
    if "shatter" in text:
        raise ValueError("the scripted library met what it does not know")
    if "lose the gpu" in text:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


@dataclass
class ScriptedUtterance:
    options: ASROptions
    pcm: Samples

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        self.pcm = np.concatenate((self.pcm, checked(pcm)))
        return self._hypothesis(ended=False)

    def finish(self) -> Hypothesis:
        return self._hypothesis(ended=True)

    def _hypothesis(self, ended: bool) -> Hypothesis:
        segments = tuple(_segments(self.pcm, self.options, ended))
        text, language = " ".join(s.text for s in segments), self.options.language
        assumed = not language and "babel" in text
        language = language or _named(text, self.options)
        return Hypothesis(text, language, 1.0, segments, language_assumed=assumed)


def _named(text: str, options: ASROptions) -> str:
    """The language that the text names, of those that may be spoken; else the expected one."""
    named = [code_of(word) for word in text.strip(" .,?!").split()]
    known = [code for code in named if code and code in (options.languages or ("es", "fr", "de"))]
    return known[0] if known else options.expected or "en"


def _segments(pcm: Samples, options: ASROptions, ended: bool) -> Iterator[Segment]:
    group: list[Word] = []
    for word in [*_words(pcm, MICROPHONE_RATE, ended), None]:
        if group and (word is None or word.start_s - group[-1].end_s > NEW_SEGMENT_S):
            words = tuple(group) if options.word_timestamps else ()
            yield Segment(group[0].start_s, group[-1].end_s, " ".join(w.text for w in group), words)
            group = []
        if word is not None:
            group.append(word)
            if word.text.startswith("garble"):
                raise EngineError("the scripted recogniser was told to fail")
            _break(" ".join(w.text for w in group))


class ScriptedASR:
    """Reads tones. Options are accepted as the real engines take them, and mean nothing here."""

    languages = ()

    def __init__(self, *, model: str = "tones", device: str = "cpu", **options: Any) -> None:
        self.model, self.device = model or "tones", "cpu"

    def create_utterance(self, options: ASROptions) -> ScriptedUtterance:
        return ScriptedUtterance(options, np.zeros(0, np.float32))

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        yield from _segments(checked(pcm), options, ended=True)


class ScriptedVADStream:
    def probability(self, window: Samples) -> float:
        window = checked(window)
        if len(window) != VAD_WINDOW:
            raise EngineError(f"a window has {VAD_WINDOW} samples, not {len(window)}")
        level = sqrt(float(window.dot(window)) / VAD_WINDOW)
        if level > SHRILL:
            raise EngineError("the scripted detector was told to fail")
        return 0.99 if level > LOUD else 0.01

    def reset(self) -> None:
        """Nothing is kept between windows."""


class ScriptedVAD:
    """Speech is whatever is louder than `LOUD`."""

    def __init__(self, **options: Any) -> None:
        self.model = "loudness"

    def create_stream(self) -> ScriptedVADStream:
        return ScriptedVADStream()


class ScriptedTurn:
    """Finished, unless the last word is "um"."""

    def __init__(self, **options: Any) -> None:
        self.model = "um"

    def predict_end_of_turn(self, pcm: Samples) -> Prediction:
        words = read_tones(checked(pcm)).split()
        if "riddle" in words:
            raise EngineError("the scripted end-of-turn model was told to fail")
        return Prediction(0.1 if words and words[-1].strip(".,?!") == "um" else 0.9)


class ScriptedSpeaker:
    """Speakers are told apart by their loudest sample, in tenths."""

    same_speaker = 0.5

    def __init__(self, **options: Any) -> None:
        self.model = "peaks"

    def embed(self, clips: Sequence[Samples]) -> Samples:
        found = np.zeros((len(clips), 16), np.float32)
        for row, clip in zip(found, clips, strict=True):
            row[min(15, round(float(np.abs(checked(clip)).max(initial=0.0)) * 10))] = 1.0
        return found


# of the language to answer in, beside the words
NOTES = ("Answer in ", "Responde en ", "Réponds en ", "Antworte auf ")
ORDER = re.compile(r"use (\w+) (\{.*\})")


class ScriptedLLM:
    """Answers "alpha beta" with "You said alpha beta.

    That is 2 words.", a word at a time, `delay_s` before each. "use NAME {…}" calls the function of
    this name with these arguments, another "use" the first.
    """

    accepts_tools = True

    def __init__(
        self,
        *,
        model: str = "echo",
        device: str = "cpu",
        parallel: int = 8,
        delay_s: float = 0.0,
        **options: Any,
    ) -> None:
        self.model, self.device, self.parallel, self.delay_s = (
            model or "echo",
            "cpu",
            parallel,
            delay_s,
        )

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]:
        """Nothing: it has no cache."""
        yield from ()

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Iterator[str | ToolCall]:
        if history and history[-1][0] == "result":
            yield f"The result is {json.loads(history[-1][1])['output']}."
            return
        asked = next((text for role, text in reversed(history) if role == "user"), "")
        if "explode" in asked:
            raise EngineError("the scripted language model was told to fail")
        _break(asked)
        ordered = ORDER.search(asked)
        if ordered and any(one.name == ordered[1] for one in tools.functions):
            yield ToolCall("call_0", ordered[1], ordered[2])
            return
        if tools and ("use" in asked.split() or tools.choice == "required"):
            yield ToolCall(
                f"call_{sum(role == 'call' for role, _ in history) + 1}",
                tools.functions[0].name,
                json.dumps({"text": asked}),
            )
            return
        if "forever" in asked:
            while True:
                time.sleep(max(self.delay_s, 0.01))  # a stream without end must not fill memory
                yield "And on it goes. "
        for index, piece in enumerate(self._answer(asked, history).split(" ")[:max_tokens]):
            if self.delay_s:
                time.sleep(self.delay_s)
            yield piece if index == 0 else " " + piece
            if "halfway" in asked and piece.endswith("."):
                raise EngineError("the scripted language model was told to stop halfway")

    def _answer(self, asked: str, history: ChatHistory) -> str:
        if "recall" in asked:
            return "I said: " + " ".join(text for role, text in history if role == "assistant")
        if "instructions" in asked:
            return "Mine are: " + " ".join(text for role, text in history if role == "system")
        said, _, note = asked.rpartition(" (")
        told = f" I was told: {note.strip(').')}." if note.startswith(NOTES) else ""
        words = (said if told else asked).strip(" .,?!").split()
        return (
            f"You said {' '.join(words) or 'nothing'}. That is {len(words)} "
            f"word{'' if len(words) == 1 else 's'}.{told}"
        )


def _loudest(recording: str) -> float:
    with wave.open(recording) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return float(np.abs(samples.astype(np.float32)).max(initial=0.0)) / 32_768


class ScriptedTTS:
    """Speaks in tones, 0.2 s a piece; the voice "soft" is quieter.

    It clones by loudness: a voice that is the path of a WAV file is as loud as that.
    At another speed than 1 it cannot be read back. Takes `load_s` seconds to load,
    and `delay_s` before each piece. `languages` gives each voice one: "tone:en/soft:es".
    """

    voice_languages: dict[str, str]

    sample_rate = SPEECH_RATE
    clones = True

    def __init__(
        self,
        *,
        model: str = "tones",
        device: str = "cpu",
        voice: str | None = None,
        load_s: float = 0.0,
        delay_s: float = 0.0,
        languages: str = "",
        **options: Any,
    ) -> None:
        time.sleep(load_s)
        self.delay_s = delay_s
        self.model, self.device = model or "tones", "cpu"
        self.language: str | None = None
        self.voices = ("soft", "tone") if voice == "soft" else ("tone", "soft")
        if languages:
            self.voice_languages = dict(pair.split(":") for pair in languages.split("/"))
            self.language = self.voice_languages[self.voices[0]]

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        voice = voice or self.voices[0]
        if voice not in self.voices and not Path(voice).is_file():
            raise EngineError(f"no voice {voice!r}; available: {', '.join(self.voices)}")
        level = {"tone": 0.3, "soft": 0.1}.get(voice) or _loudest(voice)
        if "unspeakable" in text:
            raise EngineError("the scripted voice was told to fail")
        _break(text)
        pcm = tone_speech(text, self.sample_rate, level)
        if speed != 1.0 and len(pcm):
            length = int(len(pcm) / speed)
            pcm = np.interp(np.arange(length) * speed, np.arange(len(pcm)), pcm).astype(np.float32)
        piece = self.sample_rate // 5
        for at in range(0, len(pcm), piece):
            if self.delay_s:
                time.sleep(self.delay_s)
            yield pcm[at : at + piece]
