"""An engine in another interpreter, for libraries whose dependencies cannot live in one environment
with the rest.

The other interpreter is a child process with this repository on its path and libraries of its own;
see `wire/engine_pipe.py` for what travels, `child.py` for its side, `keeper.py` for its life.
Services see an engine like any other, with every ability that it has there: the child tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from queue import Empty
from typing import Any

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.engines.isolated.keeper import Keeper
from whisperfusion.engines.isolated.process import Call, Child, engine_error
from whisperfusion.engines.protocols import (
    ASROptions,
    Calling,
    ChatHistory,
    Hypothesis,
    Job,
    Progress,
    Recording,
    Segment,
    Thought,
    ToolCall,
    Truncated,
    Word,
)
from whisperfusion.errors import EngineError
from whisperfusion.tools import NO_TOOLS, Tools
from whisperfusion.wire import engine_pipe as wire

BEGIN_S = 0.25  # `create_utterance` is called by an event loop


class IsolatedASR:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.close = keeper, keeper.close
        self.model: str = keeper.attributes["model"]
        self.device: str = keeper.attributes["device"]
        self.languages: tuple[str, ...] = keeper.attributes["languages"]

    def create_utterance(self, options: ASROptions) -> IsolatedUtterance:
        return IsolatedUtterance(self._keeper, options)

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        yield from self._keeper.stream(
            "transcribe",
            {"options": asdict(options)},
            lambda piece: segment(piece.value),
            None,
            pcm,
        )


class IsolatedLanguageDetectingASR(IsolatedASR):
    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        language, probability = self._keeper.child_now().ask("detect_language", {}, pcm).result()
        return language, probability


class IsolatedBatchASR(IsolatedASR):
    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        """Those whose utterances live in the child at hand go together, if their audio can be
        joined; the others one by one.
        """
        child = self._keeper.child_now()
        results: dict[int, Hypothesis | Exception] = {}
        together: list[int] = []
        for at, (utterance, pcm, final) in enumerate(jobs):
            if pcm.ndim == 1 and pcm.dtype == np.float32 and utterance.lives_in(child):
                together.append(at)
                continue
            try:
                results[at] = utterance.accept_audio(pcm, final)
            except Exception as error:  # of this utterance; the others go on
                results[at] = error
        if together:
            told = self._decode_together(child, [jobs[at] for at in together])
            results.update(zip(together, told, strict=True))
        return [results[at] for at in range(len(jobs))]

    def _decode_together(
        self, child: Child, jobs: Sequence[Job]
    ) -> Sequence[Hypothesis | Exception]:
        asked = [[utterance.id, len(pcm), final] for utterance, pcm, final in jobs]
        joined = np.concatenate([pcm for _, pcm, _ in jobs])
        try:
            values = child.ask("decode_batch", {"jobs": asked}, joined).result()
        except EngineError as error:
            return [error for _ in jobs]
        return [
            engine_error(one["kind"], one["failed"]) if "failed" in one else hypothesis(one)
            for one in values
        ]

    def transcribe_batch(
        self, recordings: Sequence[Recording], wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, Segment]]:
        asked = [[len(pcm), asdict(options)] for pcm, options in recordings]
        pcm = np.concatenate([np.zeros(0, np.float32), *(pcm for pcm, _ in recordings)])
        dropped: set[int] = set()

        def unwanted() -> list[int]:
            new = [at for at in range(len(recordings)) if at not in dropped and not wanted(at)]
            dropped.update(new)
            return new

        for found in self._keeper.stream(
            "transcribe_batch",
            {"recordings": asked},
            lambda piece: (piece.value["at"], segment(piece.value["segment"])),
            None,
            pcm,
            unwanted,
        ):
            if found[0] not in dropped:
                yield found


class IsolatedUtterance:
    """Belongs to one child: when that is gone, so is its audio."""

    def __init__(self, keeper: Keeper, options: ASROptions) -> None:
        self._child: Child | None = None
        self._keeper, self._options = keeper, options
        child = keeper.child(0)
        if child is not None:
            self._begin(child)
            # it is busy: what it thinks of the options comes with the first `accept_audio`
            with suppress(Empty):
                self._settle(BEGIN_S)

    def __del__(self) -> None:
        if self._child is not None:
            self._child.dropped.append(self.id)

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        return self._ask("accept_audio", {"final": final}, pcm)

    def finish(self) -> Hypothesis:
        return self._ask("finish", {})

    def lives_in(self, child: Child) -> bool:
        """Whether it can be decoded there, together with others."""
        try:
            self._start()
        except EngineError:
            return False  # asked alone, it says why
        return self._child is child

    def _start(self) -> Child:
        if self._child is None:
            self._begin(self._keeper.child_now())
        self._settle(None)
        assert self._child is not None
        return self._child

    def _ask(
        self, method: str, arguments: dict[str, Any], pcm: Samples | None = None
    ) -> Hypothesis:
        child = self._start()
        return hypothesis(child.ask(method, {"utterance": self.id, **arguments}, pcm).result())

    def _begin(self, child: Child) -> None:
        drop = [child.dropped.popleft() for _ in range(len(child.dropped))]
        self._begun: Call | None = child.ask(
            "create_utterance", {"options": asdict(self._options), "drop": drop}
        )
        self._child, self.id = child, self._begun.id

    def _settle(self, timeout_s: float | None) -> None:
        """The answer to `create_utterance`, if it has not come yet."""
        if self._begun is None:
            return
        try:
            self._begun.result(timeout_s)
        except EngineError:
            self._child = None  # asked again, it says so again
            raise
        self._begun = None


class IsolatedLLM:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.close = keeper, keeper.close
        self.model: str = keeper.attributes["model"]
        self.device: str = keeper.attributes["device"]
        self.parallel: int = keeper.attributes["parallel"]

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
        found: Iterator[str | ToolCall] = self._keeper.stream(
            "stream_chat", asked, answer_piece, ""
        )
        yield from found

    def _prefill(self, history: ChatHistory, tools: Tools) -> Iterator[str]:
        asked = {"history": list(history), "tools": offered(tools)}
        yield from self._keeper.stream("prefill", asked, lambda piece: "", "")


class IsolatedToolLLM(IsolatedLLM):
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


class IsolatedConstrainedLLM(IsolatedLLM):
    @property
    def small(self) -> bool:
        return bool(self._keeper.attributes["small"])

    def stream_json(
        self, history: ChatHistory, schema: Mapping[str, Any], *, max_tokens: int
    ) -> Iterator[str]:
        asked = {"history": list(history), "schema": dict(schema), "max_tokens": max_tokens}
        yield from self._keeper.stream(
            "stream_json", asked, lambda piece: str(answer_piece(piece)), ""
        )


class IsolatedWarmLLM(IsolatedLLM):
    def warm_up(self, history: ChatHistory) -> None:
        asked = {"history": list(history)}
        # the cache of a later child is empty, and whoever asked for this does not know
        self._keeper.again = lambda child: child.ask("warm_up", asked)
        self._keeper.child_now().ask("warm_up", asked).result()


class IsolatedTTS:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.close = keeper, keeper.close
        self.model: str = keeper.attributes["model"]
        self.device: str = keeper.attributes["device"]
        self.sample_rate: int = keeper.attributes["sample_rate"]
        self.voices: tuple[str, ...] = keeper.attributes["voices"]
        self.language: str | None = keeper.attributes["language"]

    @property
    def up(self) -> bool:
        return self._keeper.child(0) is not None

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        asked = {"text": text, "voice": voice, "speed": speed}
        nothing_yet: Samples = np.zeros(0, np.float32)
        yield from self._keeper.stream("synthesize", asked, samples_in, nothing_yet)


class IsolatedMultilingualTTS(IsolatedTTS):
    @property
    def voice_languages(self) -> Mapping[str, str]:
        languages: Mapping[str, str] = self._keeper.attributes["voice_languages"]
        return languages


class IsolatedCloningTTS(IsolatedTTS):
    """The path of a recording goes to the other interpreter as it is: it runs on this machine."""

    clones = True


BASES: dict[str, type] = {"asr": IsolatedASR, "llm": IsolatedLLM, "tts": IsolatedTTS}
# of the names in `child.ABILITIES`
ABILITIES: dict[str, type] = {
    "BatchASR": IsolatedBatchASR,
    "LanguageDetectingASR": IsolatedLanguageDetectingASR,
    "CloningTTS": IsolatedCloningTTS,
    "MultilingualTTS": IsolatedMultilingualTTS,
    "ConstrainedLLM": IsolatedConstrainedLLM,
    "ToolLLM": IsolatedToolLLM,
    "WarmLLM": IsolatedWarmLLM,
}


def isolated(
    kind: str, name: str, python: str, options: dict[str, Any], again: dict[str, Any]
) -> Any:
    """The engine `name` of `kind`, in the interpreter `python`; `again` are its options when it has
    to be started again.
    """
    if kind not in BASES:
        raise EngineError(
            f"a {kind} engine cannot run in another interpreter; only {', '.join(BASES)} engines "
            "take python="
        )
    keeper = Keeper(kind, name, python, options, again)
    able = tuple(ABILITIES[ability] for ability in keeper.attributes["abilities"])
    base = BASES[kind]
    return (type(base.__name__, able, {}) if able else base)(keeper)


def offered(tools: Tools) -> dict[str, Any] | None:
    return tools.for_chat_completions() if tools else None


def answer_piece(piece: wire.Piece) -> str | ToolCall:
    """A piece of an answer as the child's engine gave it; see `child.plain_piece`."""
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
