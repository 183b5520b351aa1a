"""An engine in another interpreter, for libraries whose dependencies cannot live in one environment
with the rest.

The other interpreter is a child process with this repository on its path and libraries of its own;
see `wire/engine_pipe.py` for what travels, `child.py` for its side, `keeper.py` for its life.
Services see an engine like any other, with every ability that it has there: the child tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from queue import Empty
from typing import Any

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.engines.elsewhere.adapters import (
    FarASR,
    FarConstrainedLLM,
    FarLanguageDetectingASR,
    FarLLM,
    FarMultilingualTTS,
    FarToolLLM,
    FarTTS,
    FarWarmLLM,
    able,
    engine_error,
    hypothesis,
    segment,
)
from whisperfusion.engines.isolated.keeper import Keeper
from whisperfusion.engines.isolated.process import Call, Child
from whisperfusion.engines.protocols import (
    ASROptions,
    ChatHistory,
    Hypothesis,
    Job,
    Recording,
    Segment,
)
from whisperfusion.errors import EngineError

BEGIN_S = 0.25  # `create_utterance` is called by an event loop


class IsolatedASR(FarASR):
    def create_utterance(self, options: ASROptions) -> IsolatedUtterance:
        return IsolatedUtterance(self._way, options)


class IsolatedLanguageDetectingASR(IsolatedASR, FarLanguageDetectingASR):
    pass


class IsolatedBatchASR(IsolatedASR):
    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        """Those whose utterances live in the child at hand go together, if their audio can be
        joined; the others one by one.
        """
        child = self._way.child_now()
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

        for found in self._way.stream(
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
            self._create(child)
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
            self._create(self._keeper.child_now())
        self._settle(None)
        assert self._child is not None
        return self._child

    def _ask(
        self, method: str, arguments: dict[str, Any], pcm: Samples | None = None
    ) -> Hypothesis:
        child = self._start()
        return hypothesis(child.ask(method, {"utterance": self.id, **arguments}, pcm).result())

    def _create(self, child: Child) -> None:
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


class IsolatedWarmLLM(FarWarmLLM):
    def warm_up(self, history: ChatHistory) -> None:
        asked = {"history": list(history)}
        # the cache of a later child is empty, and whoever asked for this does not know
        self._way.again = lambda child: child.ask("warm_up", asked)
        super().warm_up(history)


class IsolatedTTS(FarTTS):
    @property
    def up(self) -> bool:
        return self._way.child(0) is not None


class IsolatedMultilingualTTS(IsolatedTTS, FarMultilingualTTS):
    pass


class IsolatedCloningTTS(IsolatedTTS):
    """The path of a recording goes to the other interpreter as it is: it runs on this machine."""

    clones = True


BASES: dict[str, type] = {"asr": IsolatedASR, "llm": FarLLM, "tts": IsolatedTTS}
ABILITIES: dict[str, type] = {
    "BatchASR": IsolatedBatchASR,
    "LanguageDetectingASR": IsolatedLanguageDetectingASR,
    "CloningTTS": IsolatedCloningTTS,
    "MultilingualTTS": IsolatedMultilingualTTS,
    "ConstrainedLLM": FarConstrainedLLM,
    "ToolLLM": FarToolLLM,
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
    return able(BASES[kind], ABILITIES, Keeper(kind, name, python, options, again))
