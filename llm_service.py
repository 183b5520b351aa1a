"""Thinks: lines of dialogue in, sentences out. Keeps nothing between jobs but the engine's own cache.

A `Generate` is a job; a newer ticket of the same call makes it stale, and its generator is closed at the
next piece. What was written for nothing is counted. If the chosen server cannot be reached, at the start
or in a turn, the embedded model answers instead, and everybody is told.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fusion import models, process, trt_engines
from fusion.core.text import Clauses
from fusion.engines import LLM, EngineError, ToolCall, load
from fusion.engines.chat import spoken
from fusion.messages import Beat, Called, Cancel, Failed, Generate, Hangup, Metrics, Notice, Prepare, Ready, Sentence, Stage, Ticket
from fusion.settings import Settings, engine_options
from fusion.worker import Worker, queues

EMBEDDED, TENSORRT = "llama.cpp", "tensorrt-llm"
LOCAL = (EMBEDDED, TENSORRT, "scripted")  # these fail for reasons that a smaller model does not cure: no fall-back
BRIEF_PIECES = 40  # tokens, mostly: then a brief answer ends with its sentence, and at twice as many wherever it is
NICE = 2  # on few cores somebody's last words go before another's answer, but not far: with 5, answers of eight callers came 0.3 s later
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

    def longest(self, job: Generate) -> int:
        """Tokens that the answer may have."""
        most = min(self._settings.llm_max_tokens, job.max_tokens or self._settings.llm_max_tokens)
        return min(most, 2 * BRIEF_PIECES) if job.brief and not job.tools else most

    def reply(self, job: Generate) -> Iterator[str | ToolCall]:
        """Pieces of the answer. A server that fails before its first piece is replaced within the turn."""
        engine = self.active
        try:
            started = False
            for piece in self._ask(engine, job):
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
        yield from self._ask(self.active, job)

    def prepare(self, lines: Sequence[tuple[str, str]], tools: str = "") -> None:
        engine: Any = self.active
        able = getattr(engine, "tools", False)
        engine.prepare(lines if able else spoken(lines), **({"tools": tools} if tools and able else {}))

    def _ask(self, engine: LLM, job: Generate) -> Iterator[str | ToolCall]:
        able = getattr(engine, "tools", False)
        options: dict[str, Any] = {"max_tokens": self.longest(job), "temperature": self._settings.llm_temperature}
        if job.tools and able:
            options["tools"] = job.tools
        return engine.reply(job.lines if able else spoken(job.lines), **options)

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


class Waste:
    """Counts the pieces that the engine wrote, and those of replies that nobody will hear: given up, or a wrong guess. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written = self._wasted = 0
        self._finished: dict[str, tuple[Ticket, int]] = {}  # the last reply of each call, until the turn is past

    def written(self, pieces: int = 1) -> None:
        with self._lock:
            self._written += pieces

    def given_up(self, pieces: int) -> None:
        with self._lock:
            self._wasted += pieces

    def finished(self, ticket: Ticket, pieces: int) -> None:
        with self._lock:
            self._finished[ticket.call] = ticket, pieces

    def newer(self, ticket: Ticket) -> None:
        """`ticket` was asked for. In the same turn as the reply before, it says that the words had been guessed wrong."""
        with self._lock:
            before = self._finished.get(ticket.call)
            if before is not None and before[0] < ticket:
                del self._finished[ticket.call]
                self._wasted += before[1] if before[0].turn == ticket.turn else 0

    def forget(self, call: str | None = None) -> None:
        """The call is over; None: all are."""
        with self._lock:
            for name in [call] if call is not None else list(self._finished):
                self._finished.pop(name, None)

    def metrics(self) -> Metrics:
        with self._lock:
            return Metrics("llm", (("llm_pieces_total", self._written), ("llm_pieces_wasted_total", self._wasted)))


class Service:
    """Messages to jobs, jobs to sentences."""

    def __init__(self, settings: Settings, outbox: Any) -> None:
        self._outbox = outbox
        self.waste = Waste()
        self.thinker = Thinker(settings, outbox.put)
        threads = self.thinker.active.parallel
        self.worker: Worker[Generate | Prepare] = Worker("llm", self._work, threads)

    def handle(self, message: Any) -> None:
        if isinstance(message, (Generate, Cancel)):
            self.waste.newer(message.ticket)
        if isinstance(message, Generate):
            self.worker.put(message.ticket, message, urgent=True)
        elif isinstance(message, Prepare):
            self.worker.put(message.ticket, message, replace="prepare")
        elif isinstance(message, Cancel):
            self.worker.raise_to(message.ticket)
        elif isinstance(message, Hangup):
            self.worker.forget(message.call)
            self.waste.forget(message.call)
        elif isinstance(message, Stage) and (message.name, message.state) == ("asr", "down"):
            self.worker.forget_all()  # every call lived there
            self.waste.forget()

    def tell_metrics(self) -> None:
        metrics = self.waste.metrics()
        self._outbox.put(replace(metrics, values=(*metrics.values, *queues((self.worker,)), *process.vitals())))

    def _work(self, ticket: Ticket, job: Generate | Prepare) -> None:
        try:
            if isinstance(job, Generate):
                self._answer(ticket, job)
                return
            try:
                self.thinker.prepare(job.lines, job.tools)
            except EngineError as error:  # nothing is lost but time
                log.debug("the prompt of %s could not be prepared: %s", ticket.call, error)
        except EngineError as error:
            log.warning("turn %d of %s failed: %s", ticket.turn, ticket.call, error)
            self._outbox.put(Failed(ticket, "llm", str(error)))

    def _answer(self, ticket: Ticket, job: Generate) -> None:
        began, first_token_s, count = time.monotonic(), 0.0, 0
        clauses, index = Clauses(), 0
        pieces = self.thinker.reply(job)
        for piece in pieces:
            if piece:
                first_token_s = first_token_s or time.monotonic() - began
                count += 1
                self.waste.written()
            if self.worker.stale(ticket):
                pieces.close()  # type: ignore[attr-defined]
                self.waste.given_up(count)
                return
            if isinstance(piece, ToolCall):
                self._outbox.put(Called(ticket, piece.id, piece.name, piece.arguments))
                continue
            for clause in clauses.feed(piece):
                enough = job.brief and count >= BRIEF_PIECES and clause.rstrip("\"'”’)*").endswith((".", "!", "?"))
                self._outbox.put(Sentence(ticket, index, clause, last=enough, first_token_s=first_token_s))
                if enough:
                    pieces.close()  # type: ignore[attr-defined]
                    self.waste.finished(ticket, count)
                    return
                index += 1
        cut = count >= self.thinker.longest(job)  # an engine gives a token or a little more at a time
        self._outbox.put(Sentence(ticket, index, clauses.flush(), last=True, first_token_s=first_token_s, cut=cut))
        self.waste.finished(ticket, count)


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    began = time.monotonic()
    os.nice(NICE)
    service = Service(settings, outbox)
    engine = service.thinker.active
    name = settings.llm_engine if engine is service.thinker.chosen else EMBEDDED
    service.worker.start()
    outbox.put(Ready("llm", name, engine.model, engine.device, time.monotonic() - began))
    if hasattr(engine, "warm"):
        threading.Thread(target=engine.warm, args=((("system", settings.instructions),),), name="warm", daemon=True).start()
    beat_at = 0.0

    def tick() -> None:
        nonlocal beat_at
        if time.monotonic() - beat_at >= process.BEAT_S:
            beat_at = time.monotonic()
            outbox.put(Beat("llm", service.worker.busy_since()))
            service.tell_metrics()

    process.read_inbox(inbox, service.handle, tick)
    service.worker.stop()
