"""Speech to text by a chain: the first link that can transcribes, and the next one when it fails.

A link may fail or stall in the middle of an utterance. So the audio of an utterance is kept while
it lasts, and the next link gets all of it: no word is lost, and the caller notices the delay. Each
utterance begins with the first link whose circuit breaker admits it. What the engines behind the
links can do is passed on: batches, one stream for both passes, language detection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import batching
from whisperfusion.engines.chain.recovery import Links
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import (
    ASR,
    ASROptions,
    BatchASR,
    Hypothesis,
    Job,
    Recording,
    Segment,
    Utterance,
)
from whisperfusion.engines.whisper.utterance import moved
from whisperfusion.errors import EngineError, GaveWay, lost_for_good

T = TypeVar("T")


class ASRChain:
    """`links` of recognizers. Raises EngineError where none of them can be loaded."""

    def __init__(self, links: Links[ASR]) -> None:
        self.links = links
        links.load()
        first = links.engine(links.loaded()[0])
        self.model, self.device = ", ".join(links.names), first.device
        known = [links.engine(at).languages for at in links.loaded()]
        self.languages: tuple[str, ...] = ()  # any
        if all(known):
            self.languages = tuple(dict.fromkeys(code for one in known for code in one))
        # a local engine has one job at a time, as it has without a chain
        self._gates = {
            (at, final): nullcontext() if links.remote(at) else threading.Lock()
            for at in range(len(links.names))
            for final in (True, False)
        }

    def create_utterance(self, options: ASROptions) -> ChainUtterance:
        return ChainUtterance(_Shared(self, options), 1)

    def create_utterances(self, options: ASROptions) -> tuple[ChainUtterance, ChainUtterance]:
        shared = _Shared(self, options)
        return ChainUtterance(shared, 0), ChainUtterance(shared, 1)

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        """Those that the same local engine has are read together."""
        found: list[Hypothesis | Exception | None] = []
        groups: dict[int, list[int]] = {}
        for at, (utterance, pcm, _) in enumerate(jobs):
            try:
                utterance.extend(pcm)
                groups.setdefault(utterance.link, []).append(at)
                found.append(None)
            except Exception as error:
                found.append(error)
        for link, members in groups.items():
            engine = self.links.engine(link)
            if len(members) > 1 and isinstance(engine, BatchASR):
                asked = [(jobs[at][0].inner, jobs[at][0].audio(), jobs[at][2]) for at in members]
                with self.gate(link, any(final for *_, final in asked)):
                    results = engine.decode_batch(asked)
                for at, result in zip(members, results, strict=True):
                    found[at] = batching_result(jobs[at][0].settle, result, jobs[at][2])
            else:
                for at in members:
                    found[at] = batching_result(jobs[at][0].ask, jobs[at][2])
        return [one for one in found if one is not None]

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        for _, segment in self.transcribe_batch([(pcm, options)]):
            yield segment

    def transcribe_batch(
        self,
        recordings: Sequence[Recording],
        wanted: Callable[[int], bool] = lambda at: True,
    ) -> Iterator[tuple[int, Segment]]:
        """A link that fails is followed by the next one from where each recording was."""
        ends = [0.0] * len(recordings)
        tried: list[int] = []
        recordings = [(checked(pcm), options) for pcm, options in recordings]
        while True:
            link = self.links.choose(tried)
            rest = [
                (pcm[int(end_s * MICROPHONE_RATE) :], options)
                for (pcm, options), end_s in zip(recordings, ends, strict=True)
            ]
            begins = list(ends)
            try:
                for at, segment in batching.transcribe_batch(self.links.engine(link), rest, wanted):
                    there = moved(segment, begins[at])
                    ends[at] = max(ends[at], there.end_s)
                    yield at, there
                self.links.succeeded(link)
                return
            except Exception as error:
                tried.append(link)
                self.links.failed(link, error, tried)

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        pcm = checked(pcm)
        return self.asked(lambda link: batching.detect_language(self.links.engine(link), pcm))

    def asked(self, work: Callable[[int], T]) -> T:
        """What `work` returns of the first link that can. Raises EngineError."""
        tried: list[int] = []
        while True:
            link = self.links.choose(tried)
            try:
                found = work(link)
                self.links.succeeded(link)
                return found
            except Exception as error:
                tried.append(link)
                self.links.failed(link, error, tried)

    def gate(self, link: int, final: bool) -> AbstractContextManager[Any]:
        return self._gates[link, final]


def batching_result(work: Callable[..., Hypothesis], *arguments: Any) -> Hypothesis | Exception:
    try:
        return work(*arguments)
    except Exception as error:  # of this utterance, which the caller has to know
        return error


class ChainUtterance:
    """One pass over an utterance. `which`: 0 = interim, 1 = final."""

    def __init__(self, shared: _Shared, which: int) -> None:
        self._shared, self._which = shared, which
        self._given = self._fed = 0  # samples: of the caller, and those that the engine has
        self._generation = 0
        self.inner: Utterance = shared.passes[which]
        self.link = shared.link

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        self.extend(pcm)
        return self.ask(final)

    def finish(self) -> Hypothesis:
        self.ask(True)
        while True:
            try:
                return self.inner.finish()
            except Exception as error:
                self._failed(error)
                self.ask(True)

    # --- for `decode_batch` ---------------------------------------------------------------------

    def extend(self, pcm: Samples) -> None:
        """Keep more audio, and follow the other pass to its link."""
        self._given = self._shared.extend(self._given, checked(pcm))
        self._follow()

    def audio(self) -> Samples:
        """What the engine of the present link has not been given yet."""
        return self._shared.audio(self._fed, self._given)

    def ask(self, final: bool) -> Hypothesis:
        """Raises EngineError when no link is left."""
        while True:
            self._follow()
            try:
                with self._shared.chain.gate(self.link, final):
                    found = self.inner.accept_audio(self.audio(), final)
            except Exception as error:
                self._failed(error)
            else:
                return self._accepted(found, final)

    def settle(self, found: Hypothesis | Exception, final: bool) -> Hypothesis:
        """What the engine made of `audio()`; raises as `ask` does."""
        if isinstance(found, Exception):
            self._failed(found)
            return self.ask(final)
        return self._accepted(found, final)

    # ---------------------------------------------------------------------------------------------

    def _accepted(self, found: Hypothesis, final: bool) -> Hypothesis:
        self._fed = self._given
        if final:  # an interim one of a server may be what it knew before it failed
            self._shared.chain.links.succeeded(self.link)
        return found

    def _follow(self) -> None:
        generation, link, passes = self._shared.present()
        if generation != self._generation:
            self._generation, self._fed = generation, 0
            self.link, self.inner = link, passes[self._which]

    def _failed(self, error: Exception) -> None:
        if isinstance(error, GaveWay):
            self._fed = self._given  # it has that audio
            raise error
        self._shared.failed(self._generation, error)


class _Shared:
    """What both passes over an utterance have in common: its audio, and the link it is with."""

    def __init__(self, chain: ASRChain, options: ASROptions) -> None:
        self.chain, self._options = chain, options
        self._lock = threading.Lock()
        self._parts: list[Samples] = []
        self._taken = self._generation = 0
        self._tried: list[int] = []
        self.link, self.passes = self._begun()

    def extend(self, start: int, pcm: Samples) -> int:
        """`pcm` begins at sample `start`; returns where it ends."""
        with self._lock:
            end = start + len(pcm)
            if end > self._taken:
                self._parts.append(pcm[self._taken - start :])
                self._taken = end
            return end

    def audio(self, start: int, end: int) -> Samples:
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [np.concatenate(self._parts)]
            return self._parts[0][start:end] if self._parts else np.zeros(0, np.float32)

    def present(self) -> tuple[int, int, tuple[Utterance, Utterance]]:
        with self._lock:
            return self._generation, self.link, self.passes

    def failed(self, generation: int, error: Exception) -> None:
        """On to the next link, unless the other pass has seen it before. Raises `error` where there
        is none.
        """
        with self._lock:
            if generation != self._generation:
                return
            self._tried.append(self.link)
            self.chain.links.failed(self.link, error, self._tried)
            self.link, self.passes = self._begun()
            self._generation += 1

    def _begun(self) -> tuple[int, tuple[Utterance, Utterance]]:
        """On the first link that can do what is asked for."""
        refused: EngineError | None = None
        while True:
            try:
                link = self.chain.links.choose(self._tried)
            except EngineError as error:
                raise refused or error from None
            try:
                engine = self.chain.links.engine(link)
                return link, batching.create_utterances(engine, self._options)
            except EngineError as error:  # a language or task that it does not know
                refused = refused or error
                self._tried.append(link)
            except Exception as error:
                if lost_for_good(error):
                    raise
                self._tried.append(link)
                self.chain.links.failed(link, error, self._tried)
