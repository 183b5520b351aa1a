"""An engine that runs elsewhere, as its caller sees it: like any other, with every ability that it
has there. What differs is the way to it (`Way`): a child process with a pipe (`isolated/`) or
servers in a network (`ray/`). The other end of each call is `calls.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.engines.elsewhere.calls import KINDS
from whisperfusion.engines.protocols import (
    ASROptions,
    Calling,
    ChatHistory,
    Hypothesis,
    Progress,
    Segment,
    Thought,
    ToolCall,
    Truncated,
    Word,
)
from whisperfusion.errors import EngineError
from whisperfusion.tools import NO_TOOLS, Tools
from whisperfusion.wire import engine_pipe as wire

Value = TypeVar("Value")


class Way(Protocol):
    """How calls reach an engine. `attributes` are those of `calls.attributes_of`, lists as tuples.

    Both methods raise EngineError, or the kind of it that the engine raised.
    """

    attributes: dict[str, Any]

    def stream(
        self,
        method: str,
        arguments: dict[str, Any],
        of: Callable[[wire.Piece], Value],
        pulse: Value | None,
        pcm: Samples | None = None,
    ) -> Iterator[Value]:
        """The pieces of a call as `of` makes them, and `pulse` (unless it is None) ten times a
        second while there are none. To close it cancels the call.
        """

    def value(self, method: str, arguments: dict[str, Any], pcm: Samples | None = None) -> Any:
        """The result of a call without pieces; blocks."""

    def close(self) -> None: ...


class FarASR:
    """Recordings; `create_utterance` is of the way."""

    def __init__(self, way: Any) -> None:
        self._way: Any = way
        self.close = way.close
        self.model: str = way.attributes["model"]
        self.device: str = way.attributes["device"]
        self.languages: tuple[str, ...] = way.attributes["languages"]

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        yield from self._way.stream(
            "transcribe",
            {"options": asdict(options)},
            lambda piece: segment(piece.value),
            None,
            pcm,
        )


class FarLanguageDetectingASR(FarASR):
    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        language, probability = self._way.value("detect_language", {}, pcm)
        return language, probability


class FarLLM:
    def __init__(self, way: Way) -> None:
        self._way: Any = way
        self.close = way.close
        self.model: str = way.attributes["model"]
        self.device: str = way.attributes["device"]
        self.parallel: int = way.attributes["parallel"]

    def stream_chat(
        self, history: ChatHistory, *, max_tokens: int, temperature: float
    ) -> Iterator[str | ToolCall]:
        yield from self._stream_chat(history, max_tokens, temperature, NO_TOOLS)

    def prefill(self, history: ChatHistory) -> Iterator[str]:
        yield from self._prefill(history, NO_TOOLS)

    def _stream_chat(
        self, history: ChatHistory, max_tokens: int, temperature: float, tools: Tools
    ) -> Iterator[str | ToolCall]:
        asked = {
            "history": list(history),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "tools": offered(tools),
        }
        found: Iterator[str | ToolCall] = self._way.stream("stream_chat", asked, answer_piece, "")
        yield from found

    def _prefill(self, history: ChatHistory, tools: Tools) -> Iterator[str]:
        asked = {"history": list(history), "tools": offered(tools)}
        yield from self._way.stream("prefill", asked, lambda piece: "", "")


class FarToolLLM(FarLLM):
    accepts_tools = True

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Iterator[str | ToolCall]:
        yield from self._stream_chat(history, max_tokens, temperature, tools)

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]:
        yield from self._prefill(history, tools)


class FarConstrainedLLM(FarLLM):
    @property
    def small(self) -> bool:
        return bool(self._way.attributes["small"])

    def stream_json(
        self, history: ChatHistory, schema: Mapping[str, Any], *, max_tokens: int
    ) -> Iterator[str]:
        asked = {"history": list(history), "schema": dict(schema), "max_tokens": max_tokens}
        yield from self._way.stream(
            "stream_json", asked, lambda piece: str(answer_piece(piece)), ""
        )


class FarWarmLLM(FarLLM):
    def warm_up(self, history: ChatHistory) -> None:
        self._way.value("warm_up", {"history": list(history)})


class FarTTS:
    def __init__(self, way: Way) -> None:
        self._way: Any = way
        self.close = way.close
        self.model: str = way.attributes["model"]
        self.device: str = way.attributes["device"]
        self.sample_rate: int = way.attributes["sample_rate"]
        self.voices: tuple[str, ...] = way.attributes["voices"]
        self.language: str | None = way.attributes["language"]

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        asked = {"text": text, "voice": voice, "speed": speed}
        nothing_yet: Samples = np.zeros(0, np.float32)
        yield from self._way.stream("synthesize", asked, samples_in, nothing_yet)


class FarMultilingualTTS(FarTTS):
    @property
    def voice_languages(self) -> Mapping[str, str]:
        languages: Mapping[str, str] = self._way.attributes["voice_languages"]
        return languages


def able(base: type, abilities: Mapping[str, type], way: Way) -> Any:
    """An engine of `base` with those of `abilities` (by the names of `calls.ABILITIES`) that it has
    at the other end of `way`.
    """
    told = way.attributes["abilities"]
    there = tuple(one for name, one in abilities.items() if name in told)
    return (type(base.__name__, there, {}) if there else base)(way)


def told_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """As the protocols have them: JSON knows no tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in attributes.items()
    }


def engine_error(kind: str, text: str) -> EngineError:
    """The error of the engine at the other end; see `calls.kind_of`."""
    return KINDS.get(kind, EngineError)(text)


def offered(tools: Tools) -> dict[str, Any] | None:
    return tools.for_chat_completions() if tools else None


def answer_piece(piece: wire.Piece) -> str | ToolCall:
    """A piece of an answer as the engine gave it; see `calls.plain_piece`."""
    match piece.value:
        case str(text):
            return text
        case {"tool_call": call}:
            return ToolCall(**call)
        case {"nothing_yet": "thought"}:
            return Thought()
        case {"nothing_yet": "truncated"}:
            return Truncated()
        case {"nothing_yet": "calling"}:
            return Calling()
    return Progress()


def samples_in(piece: wire.Piece) -> Samples:
    assert piece.pcm is not None, piece
    return piece.pcm


def hypothesis(values: dict[str, Any]) -> Hypothesis:
    return Hypothesis(**{**values, "segments": tuple(segment(one) for one in values["segments"])})


def segment(values: dict[str, Any]) -> Segment:
    return Segment(**{**values, "words": tuple(Word(**word) for word in values["words"])})
