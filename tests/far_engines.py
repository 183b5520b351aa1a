"""Engines for tests of servers: they write what a test says, and wait until it lets them go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from whisperfusion.engines import ASROptions, EngineError, Hypothesis, ToolCall
from whisperfusion.engines.scripted import tone_speech

ALPHA = np.pad(tone_speech("alpha"), (0, 8000))
BETA = np.pad(tone_speech("beta"), (0, 8000))


class Reply:
    """A language model that writes `pieces`, an exception among them is raised, and stops at None
    until `go`.
    """

    model, device, parallel = "fixed", "cpu", 4

    def __init__(self, *pieces: Any) -> None:
        self.pieces, self.go = pieces, threading.Event()
        self.begun = self.open = self.made = self.most = 0

    def prefill(self, history: Any) -> Iterator[str]:
        yield ""

    def stream_chat(self, history: Any, *, max_tokens: int, temperature: float) -> Iterator[Any]:
        self.begun, self.open = self.begun + 1, self.open + 1
        self.most = max(self.most, self.open)
        try:
            for piece in self.pieces:
                while piece is None and not self.go.wait(0.02):
                    yield ""
                if isinstance(piece, Exception):
                    raise piece
                self.made += 1
                yield "" if piece is None else piece
        finally:
            self.open -= 1


class AbleReply(Reply):
    accepts_tools, small, warmed = True, True, 0

    def warm_up(self, history: Any) -> None:
        self.warmed = len(history)

    def prefill(self, history: Any, tools: Any = None) -> Iterator[str]:
        yield ""

    def stream_chat(self, history: Any, tools: Any = None, **limits: Any) -> Iterator[Any]:
        if tools:
            yield ToolCall("c1", tools.functions[0].name, tools.choice)
        yield from super().stream_chat(history, **limits)

    def stream_json(self, history: Any, schema: Any, *, max_tokens: int) -> Iterator[str]:
        yield f"{schema['type']} {max_tokens}"


class Slow:
    """A recognizer that waits for `go`, and gives the length of what it has been given."""

    model, device, languages = "slow", "cpu", ()

    def __init__(self) -> None:
        self.go, self.waiting = threading.Event(), threading.Semaphore(0)
        self.batches: list[int] = []
        self.created = 0

    def create_utterance(self, options: ASROptions) -> SlowUtterance:
        if options.task == "dance":
            raise EngineError("it does not dance")
        self.created += 1
        return SlowUtterance(self)

    def transcribe(self, pcm: Any, options: ASROptions) -> Iterator[Any]:
        yield from ()

    def decode_batch(self, jobs: Any) -> list[Hypothesis]:
        self.batches.append(len(jobs))
        return [utterance.accept_audio(pcm, final) for utterance, pcm, final in jobs]

    def transcribe_batch(self, recordings: Any, wanted: Any) -> Iterator[Any]:
        yield from ()


class SlowUtterance:
    def __init__(self, asr: Slow) -> None:
        self.asr, self.length = asr, 0

    def accept_audio(self, pcm: Any, final: bool = True) -> Hypothesis:
        self.length += len(pcm)
        self.asr.waiting.release()
        self.asr.go.wait(30)
        return Hypothesis(f"{self.length} {final}", "en")

    def finish(self) -> Hypothesis:
        return Hypothesis(f"{self.length} finished", "en")


def asked(llm: Any, text: str = "hi", **more: Any) -> Any:
    return llm.stream_chat((("user", text),), max_tokens=9, temperature=0.0, **more)


def told(pieces: Any) -> list[Any]:
    """Without the pulses."""
    return [piece for piece in pieces if piece or type(piece) is not str]


def said(tts: Any, text: str, **options: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *tts.synthesize(text, **options)])
