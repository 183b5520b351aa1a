"""Fakes for tests and demonstrations: deterministic, instant, and nothing is read from disk.

They speak a made-up language of tones: every character is one pure tone of 40 ms (`ALPHABET`, 50 Hz
apart, from 400 Hz, inside the telephone band), so any plain English text can be sent as audio by
`tone_speech` and is read back exactly by `ScriptedASR` or `read_tones`; `ScriptedTTS` speaks it too,
so a test can tell whose reply it hears. A few words make things go wrong on purpose:

| who | word | what happens |
| --- | --- | --- |
| ASR | garble | `EngineError` |
| turn | um, at the end | not finished (0.1), otherwise finished (0.9) |
| LLM | explode | `EngineError` at once |
| LLM | halfway | `EngineError` after the first sentence |
| LLM | forever | pieces without end, until closed |
| LLM | recall | the reply lists what the assistant said before |
| LLM | use | the first of the tools is called, with {"text": what was asked}; with a result as the last line, the reply tells it |
| TTS | unspeakable | `EngineError` |
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion.engines import ASR_RATE, ASROptions, EngineError, Hypothesis, Segment, ToolCall, Word
from fusion.engines.pcm import checked

ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789'-.,?!"
LOWEST_HZ, STEP_HZ = 400.0, 50.0
TONE_S = 0.04
LOUD = 0.01  # root mean square (and smallest amplitude) above which a sound is speech
NEW_WORD_S, NEW_SEGMENT_S = 0.04, 0.3  # silences that divide


def tone_speech(text: str, rate: int = ASR_RATE, level: float = 0.3) -> np.ndarray:
    """`text` in tones, float32 [samples] at `rate`; what the alphabet lacks becomes a space. Add silence yourself."""
    plain = " ".join("".join(c if c in ALPHABET else " " for c in text.lower()).split())
    frequencies = [LOWEST_HZ + STEP_HZ * ALPHABET.index(c) for c in plain]
    turns = 2 * np.pi * np.arange(int(TONE_S * rate)) / rate
    tones = [level * np.sin(turns * hz) for hz in frequencies]
    return np.concatenate(tones).astype(np.float32) if tones else np.zeros(0, np.float32)


def read_tones(pcm: np.ndarray, rate: int = ASR_RATE) -> str:
    """The text that `tone_speech` or `ScriptedTTS` (at speed 1) put into `pcm`."""
    return " ".join(word.text for word in _words(pcm, rate, ended=True))


def _words(pcm: np.ndarray, rate: int, ended: bool) -> list[Word]:
    """The words in `pcm`; one that still lacks its end (a space or a silence) counts only when `ended`."""
    loud = np.flatnonzero(np.abs(pcm) > LOUD)
    if not len(loud):
        return []
    gaps = np.flatnonzero(np.diff(loud) > NEW_WORD_S / 2 * rate)
    starts, ends = loud[np.concatenate(([0], gaps + 1))], loud[np.concatenate((gaps, [len(loud) - 1]))] + 1
    words: list[Word] = []
    for start, end in zip(starts, ends, strict=True):
        closed = ended or len(pcm) - end > NEW_WORD_S / 2 * rate
        words += _words_of_run(pcm[start:end], start, rate, closed)
    return words


def _words_of_run(run: np.ndarray, offset: int, rate: int, closed: bool) -> list[Word]:
    slot = int(TONE_S * rate)
    count = (len(run) + slot // 4) // slot
    slots = np.pad(run, (0, max(0, count * slot - len(run))))[: count * slot].reshape(count, slot)
    inner = slots[:, slot // 8 : -slot // 8]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(inner.shape[1]), n=rate // 10, axis=1))
    symbols = np.round((spectrum.argmax(axis=1) * 10 - LOWEST_HZ) / STEP_HZ).astype(int)
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


@dataclass
class ScriptedUtterance:
    options: ASROptions
    pcm: np.ndarray

    def hear(self, pcm: np.ndarray, final: bool = True) -> Hypothesis:
        self.pcm = np.concatenate((self.pcm, checked(pcm)))
        return self._hypothesis(ended=False)

    def finish(self) -> Hypothesis:
        return self._hypothesis(ended=True)

    def _hypothesis(self, ended: bool) -> Hypothesis:
        segments = tuple(_segments(self.pcm, self.options, ended))
        return Hypothesis(" ".join(s.text for s in segments), self.options.language or "en", 1.0, segments)


def _segments(pcm: np.ndarray, options: ASROptions, ended: bool) -> Iterator[Segment]:
    group: list[Word] = []
    for word in [*_words(pcm, ASR_RATE, ended), None]:
        if group and (word is None or word.start_s - group[-1].end_s > NEW_SEGMENT_S):
            words = tuple(group) if options.word_timestamps else ()
            yield Segment(group[0].start_s, group[-1].end_s, " ".join(w.text for w in group), words)
            group = []
        if word is not None:
            group.append(word)
            if word.text.startswith("garble"):
                raise EngineError("the scripted recogniser was told to fail")


class ScriptedASR:
    """Reads tones. Options are accepted as the real engines take them, and mean nothing here."""

    languages = ()

    def __init__(self, *, model: str = "tones", device: str = "cpu", **options: Any) -> None:
        self.model, self.device = model or "tones", "cpu"

    def begin(self, options: ASROptions) -> ScriptedUtterance:
        return ScriptedUtterance(options, np.zeros(0, np.float32))

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Segment]:
        yield from _segments(checked(pcm), options, ended=True)


class ScriptedVADStream:
    def probability(self, window: np.ndarray) -> float:
        window = checked(window)
        if len(window) != 512:
            raise EngineError(f"a window has 512 samples, not {len(window)}")
        return 0.99 if float(np.sqrt(np.mean(np.square(window, dtype=np.float64)))) > LOUD else 0.01

    def reset(self) -> None:
        """Nothing is kept between windows."""


class ScriptedVAD:
    """Speech is whatever is louder than `LOUD`."""

    def __init__(self, **options: Any) -> None:
        self.model = "loudness"

    def begin(self) -> ScriptedVADStream:
        return ScriptedVADStream()


class ScriptedTurn:
    """Finished, unless the last word is "um"."""

    def __init__(self, **options: Any) -> None:
        self.model = "um"

    def score(self, pcm: np.ndarray) -> float:
        words = read_tones(checked(pcm)).split()
        return 0.1 if words and words[-1].strip(".,?!") == "um" else 0.9


class ScriptedLLM:
    """Answers "alpha beta" with "You said alpha beta. That is 2 words.", a word at a time, `delay_s` before each."""

    def __init__(self, *, model: str = "echo", device: str = "cpu", parallel: int = 8, delay_s: float = 0.0, **options: Any) -> None:
        self.model, self.device, self.parallel, self.delay_s = model or "echo", "cpu", parallel, delay_s

    tools = True

    def prepare(self, lines: Sequence[tuple[str, str]], tools: str = "") -> None:
        """There is no cache to fill."""

    def reply(self, lines: Sequence[tuple[str, str]], *, max_tokens: int, temperature: float, tools: str = "") -> Iterator[str | ToolCall]:
        if lines and lines[-1][0] == "result":
            yield f"The result is {json.loads(lines[-1][1])['output']}."
            return
        asked = next((text for role, text in reversed(lines) if role == "user"), "")
        if "explode" in asked:
            raise EngineError("the scripted language model was told to fail")
        if tools and ("use" in asked.split() or json.loads(tools)["tool_choice"] == "required"):
            name = json.loads(tools)["tools"][0]["function"]["name"]
            yield ToolCall(f"call_{sum(role == 'call' for role, _ in lines) + 1}", name, json.dumps({"text": asked}))
            return
        if "forever" in asked:
            while True:
                time.sleep(max(self.delay_s, 0.01))  # a stream without end must not fill memory
                yield "And on it goes. "
        for index, piece in enumerate(self._answer(asked, lines).split(" ")[:max_tokens]):
            time.sleep(self.delay_s)
            yield piece if index == 0 else " " + piece
            if "halfway" in asked and piece.endswith("."):
                raise EngineError("the scripted language model was told to stop halfway")

    def _answer(self, asked: str, lines: Sequence[tuple[str, str]]) -> str:
        if "recall" in asked:
            return "I said: " + " ".join(text for role, text in lines if role == "assistant")
        words = asked.strip(" .,?!").split()
        return f"You said {' '.join(words) or 'nothing'}. That is {len(words)} word{'' if len(words) == 1 else 's'}."


class ScriptedTTS:
    """Speaks in tones, 0.2 s a piece; the voice "soft" is quieter. At another speed than 1 nobody can read it back."""

    sample_rate = 24_000

    def __init__(self, *, model: str = "tones", device: str = "cpu", voice: str = "", **options: Any) -> None:
        self.model, self.device = model or "tones", "cpu"
        self.voices = ("soft", "tone") if voice == "soft" else ("tone", "soft")

    def speak(self, text: str, voice: str, speed: float) -> Iterator[np.ndarray]:
        voice = voice or self.voices[0]
        if voice not in self.voices:
            raise EngineError(f"there is no voice {voice!r}; available: {', '.join(self.voices)}")
        if "unspeakable" in text:
            raise EngineError("the scripted voice was told to fail")
        pcm = tone_speech(text, self.sample_rate, 0.1 if voice == "soft" else 0.3)
        if speed != 1.0:
            length = int(len(pcm) / speed)
            pcm = np.interp(np.arange(length) * speed, np.arange(len(pcm)), pcm).astype(np.float32)
        piece = self.sample_rate // 5
        for at in range(0, len(pcm), piece):
            yield pcm[at : at + piece]
