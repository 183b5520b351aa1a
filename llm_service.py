"""Thinks: lines of dialogue in, sentences out. Keeps nothing between jobs but the engine's own cache.

A `Generate` is a job; a newer ticket of the same call makes it stale, and its generator is closed at the
next piece. If the chosen server cannot be reached, at the start or in a turn, the embedded model answers
instead, and everybody is told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from fusion import models, process, trt_engines
from fusion.core.text import Clauses
from fusion.engines import LLM, EngineError, load
from fusion.messages import Beat, Cancel, Failed, Generate, Hangup, Notice, Prepare, Ready, Sentence, Stage, Ticket
from fusion.settings import Settings, engine_options
from fusion.worker import Worker

EMBEDDED, TENSORRT = "llama.cpp", "tensorrt-llm"
LOCAL = (EMBEDDED, TENSORRT, "scripted")  # these fail for reasons that a smaller model does not cure: no fall-back
RETRY_S = 30.0  # after a failure, how long the server is left alone before it is asked again

log = logging.getLogger("llm")


def load_embedded(settings: Settings) -> LLM:
    model = models.fallback_llm(settings) if settings.llm_engine != EMBEDDED else models.resolve(settings.llm_model, "llm", settings)
    try:
        path = models.fetch(model, settings.cache, settings.sources)
    except (models.ModelError, OSError) as error:  # in a turn, it ends that turn and not the process
        raise EngineError(f"the embedded model cannot be had: {error}") from error
    options = engine_options(settings.llm_option) if settings.llm_engine == EMBEDDED else {}
    return load("llm", EMBEDDED, model=str(path), threads=models.cores(), **options)


class Thinker:
    """The chosen engine, and the embedded one behind it where the chosen one is a server."""

    def __init__(self, settings: Settings, tell: Any) -> None:
        self._settings, self._tell = settings, tell
        self._embedded: LLM | None = None
        self._loading = threading.Lock()  # several replies may fail at once; the model is loaded once
        self._asleep_until, self._fell_back = 0.0, False
        self.chosen: LLM | None = None
        if settings.llm_engine == EMBEDDED:
            self.chosen = load_embedded(settings)
            return
        options = engine_options(settings.llm_option)
        if settings.llm_engine == TENSORRT:
            self.chosen = load("llm", TENSORRT, model=str(trt_engines.folder("llm", settings)), **options)
            return
        try:
            model = "" if settings.llm_model == "auto" else settings.llm_model
            self.chosen = load("llm", settings.llm_engine, model=model, url=settings.llm_url, key=settings.llm_key, **options)
        except EngineError as error:
            self._fall_back(f"{settings.llm_engine} is not usable ({error})")

    @property
    def active(self) -> LLM:
        if self.chosen is not None and time.monotonic() >= self._asleep_until:
            return self.chosen
        with self._loading:
            if self._embedded is None:
                self._embedded = load_embedded(self._settings)
            return self._embedded

    def reply(self, lines: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Pieces of the answer. A server that fails before its first piece is replaced within the turn."""
        engine = self.active
        try:
            started = False
            for piece in self._ask(engine, lines):
                started = started or bool(piece)  # an empty piece only says that the engine is alive
                yield piece
            if started:
                self._back(engine)
                return
            raise EngineError("the model gave an empty answer")
        except EngineError as error:
            if started or engine is not self.chosen or self._settings.llm_engine in LOCAL:
                raise
            self._fall_back(f"{self._settings.llm_engine} failed ({error})")
        yield from self._ask(self.active, lines)

    def prepare(self, lines: Sequence[tuple[str, str]]) -> None:
        self.active.prepare(lines)

    def _ask(self, engine: LLM, lines: Sequence[tuple[str, str]]) -> Iterator[str]:
        return engine.reply(lines, max_tokens=self._settings.llm_max_tokens, temperature=self._settings.llm_temperature)

    def _back(self, engine: LLM) -> None:
        if self._fell_back and engine is self.chosen:
            self._fell_back = False
            log.info("%s answers again", self._settings.llm_engine)
            self._tell(Notice("llm", f"{self._settings.llm_engine} answers again"))

    def _fall_back(self, why: str) -> None:
        self._asleep_until, self._fell_back = time.monotonic() + RETRY_S, True
        text = f"{why}; the embedded model answers instead"
        log.warning(text)
        self._tell(Notice("llm", text))


class Service:
    """Messages to jobs, jobs to sentences."""

    def __init__(self, settings: Settings, outbox: Any) -> None:
        self._outbox = outbox
        self.thinker = Thinker(settings, outbox.put)
        threads = self.thinker.active.parallel
        self.worker: Worker[Generate | Prepare] = Worker("llm", self._work, threads, together=True)

    def handle(self, message: Any) -> None:
        if isinstance(message, Generate):
            self.worker.put(message.ticket, message, urgent=True)
        elif isinstance(message, Prepare):
            self.worker.put(message.ticket, message, replace="prepare")
        elif isinstance(message, Cancel):
            self.worker.raise_to(message.ticket)
        elif isinstance(message, Hangup):
            self.worker.forget(message.call)
        elif isinstance(message, Stage) and (message.name, message.state) == ("asr", "down"):
            self.worker.forget_all()  # every call lived there

    def _work(self, ticket: Ticket, job: Generate | Prepare) -> None:
        try:
            if isinstance(job, Generate):
                self._answer(ticket, job.lines)
                return
            try:
                self.thinker.prepare(job.lines)
            except EngineError as error:  # nothing is lost but time
                log.debug("the prompt of %s could not be prepared: %s", ticket.call, error)
        except EngineError as error:
            log.warning("turn %d of %s failed: %s", ticket.turn, ticket.call, error)
            self._outbox.put(Failed(ticket, "llm", str(error)))

    def _answer(self, ticket: Ticket, lines: Sequence[tuple[str, str]]) -> None:
        began, first_token_s = time.monotonic(), 0.0
        clauses, index = Clauses(), 0
        pieces = self.thinker.reply(lines)
        for piece in pieces:
            if self.worker.stale(ticket):
                pieces.close()  # type: ignore[attr-defined]
                return
            if piece:
                first_token_s = first_token_s or time.monotonic() - began
            for clause in clauses.feed(piece):
                self._outbox.put(Sentence(ticket, index, clause, first_token_s=first_token_s))
                index += 1
        self._outbox.put(Sentence(ticket, index, clauses.flush(), last=True, first_token_s=first_token_s))


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    began = time.monotonic()
    service = Service(settings, outbox)
    engine = service.thinker.active
    name = settings.llm_engine if engine is service.thinker.chosen else EMBEDDED
    service.worker.start()
    outbox.put(Ready("llm", name, engine.model, engine.device, time.monotonic() - began))
    beat_at = 0.0

    def tick() -> None:
        nonlocal beat_at
        if time.monotonic() - beat_at >= 1.0:
            beat_at = time.monotonic()
            outbox.put(Beat("llm", service.worker.busy_since()))

    process.read_inbox(inbox, service.handle, tick)
    service.worker.stop()
