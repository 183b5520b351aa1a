"""The language model process: chat history in, sentences out.

Keeps nothing between jobs but the engine's own cache.

A `Generate` is a job; a newer ticket of the same call makes it stale, and its generator is closed
at the next piece. Calls of the server's own tools are run within the job
(generation/tool_loop.py). What was written for nothing is counted. The engine is a chain of
language models (engines/chain/llm.py): where one fails, at the start or in a turn, the next one
answers instead, and every caller gets a notice.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

from whisperfusion import json_log
from whisperfusion.errors import EngineError, first_line
from whisperfusion.generation.answer import Answer
from whisperfusion.generation.answer_cache import AnswerCache, known_instructions
from whisperfusion.generation.instructions import with_clock, with_language, with_limits
from whisperfusion.generation.language_model import LanguageModel
from whisperfusion.generation.server_tools import ServerTools
from whisperfusion.generation.summaries import Summaries, beside
from whisperfusion.generation.waste import Waste
from whisperfusion.messages import (
    CallEnded,
    Cancel,
    ChatMessage,
    Commit,
    ExtractFacts,
    Failed,
    Generate,
    Heartbeat,
    Prefill,
    Ready,
    Sentence,
    Stage,
    Summarize,
    Ticket,
    ToolCalled,
    ToolStarted,
    UseServers,
)
from whisperfusion.runtime import process
from whisperfusion.runtime.event_loop import STALL_MONITOR
from whisperfusion.runtime.local_time import local_time
from whisperfusion.runtime.worker import Worker, queues
from whisperfusion.settings import Settings
from whisperfusion.wire.trace import log_ids

# on few cores final transcripts go before replies, but not far: with 5, replies to eight callers
# came 0.3 s later
NICE = 2

Job = Generate | Prefill | Summarize | ExtractFacts
log = logging.getLogger("llm")


class Service:
    """Messages to jobs, jobs to sentences."""

    def __init__(self, settings: Settings, outbox: Any) -> None:
        self._settings, self._outbox = settings, outbox
        self.waste = Waste()
        self.model = LanguageModel(settings, outbox.put)
        self._used_tools: set[Ticket] = set()
        self.tools = ServerTools(settings, self.model, self._post_from_tools)
        threads = self.model.chain.parallel
        self.worker: Worker[Job] = Worker(
            "llm", self._work, threads, failed=self._failed, probe=self.model.probe
        )
        self.summaries = Summaries(self.model, self.worker.put, outbox.put)
        self.cache = AnswerCache(settings.answer_cache, known_instructions(settings))

    def handle(self, message: Any) -> None:
        """What cannot be handled fails its turn at most."""
        try:
            self._handle(message)
        except Exception as error:
            log.exception("a %s could not be handled", type(message).__name__)
            if isinstance(message, Generate):
                self._outbox.put(
                    Failed(
                        message.ticket,
                        "llm",
                        f"the language model could not be asked: {first_line(error)}",
                    )
                )

    def _handle(self, message: Any) -> None:
        if isinstance(message, (Generate, Prefill)) and not message.tools:
            limited = with_limits(message.history, message.server_tools)
            message = replace(message, history=limited)
        if isinstance(message, (Generate, Prefill, Summarize)):
            message = replace(message, history=with_clock(message.history, self._now()))
        if isinstance(message, Generate):
            told = with_language(message.history, message.language, message.switched)
            message = replace(message, history=told)
        if isinstance(message, (Generate, Cancel)):
            self.waste.newer(message.ticket)
        if isinstance(message, (Generate, Prefill)):
            self.summaries.prompt_came()
        if isinstance(message, Generate):
            json_log.remember(message.ticket.call, log_ids(message.trace))
            self.worker.put(message.ticket, message, urgent=True)
        elif isinstance(message, Prefill):
            self.worker.put(message.ticket, message, replace="prefill")
        elif isinstance(message, Cancel):
            self.worker.raise_to(message.ticket)
        elif isinstance(message, Commit):
            self.tools.commits.add(message.ticket)
        elif isinstance(message, UseServers):
            self.tools.use_servers(message)
        elif isinstance(message, (Summarize, ExtractFacts)):
            self.summaries.want(message)
        elif isinstance(message, CallEnded):
            self.worker.forget(message.call)
            self.worker.forget(beside(Ticket(message.call, 0)).call)
            self.summaries.forget(message.call)
            self.waste.forget(message.call)
            self.tools.forget(message.call)
            json_log.forget(message.call)
        elif isinstance(message, Stage) and (message.name, message.state) == ("asr", "down"):
            self.worker.forget_all()  # every call lived there
            self.waste.forget()
            self.tools.forget_all()
            self.summaries.forget()
            json_log.forget_all()

    def _now(self) -> datetime:
        return local_time(self._settings.zone)

    def report_metrics(self) -> None:
        metrics = self.waste.metrics()
        self._outbox.put(
            replace(
                metrics,
                values=(
                    *metrics.values,
                    *self.cache.metrics(),
                    *queues((self.worker,)),
                    *process.process_metrics(),
                ),
                labelled=(*self.model.metrics(), *self.tools.metrics()),
            )
        )

    def summarize(self) -> None:
        """About once a second: perhaps there is time for that."""
        self.summaries.start(self.worker.busy_since() is not None or self.worker.waiting() > 0)

    def _work(self, ticket: Ticket, job: Job) -> None:
        if isinstance(job, Generate):
            self._answer(ticket, job)
            return
        if isinstance(job, (Summarize, ExtractFacts)):
            habit = self.model.habits.of(self.model.chain_of(job.chain).current)
            self.summaries.work(job, habit, lambda: self.worker.stale(ticket))
            return
        try:
            job = self.tools.prepared(job)
            with closing(self.model.prefill(job.history, job.tools, job.chain)) as pieces:
                for _ in pieces:
                    if self.worker.stale(ticket):  # the question itself goes on where this stops
                        return
        except EngineError as error:  # nothing is lost but time
            log.debug("the prompt of %s could not be prefilled: %s", ticket.call, error)

    def _failed(self, ticket: Ticket, job: Job, error: EngineError) -> None:
        if isinstance(job, Generate):
            self._outbox.put(Failed(ticket, "llm", str(error)))

    def _post_from_tools(self, message: Any) -> None:
        if isinstance(message, ToolStarted):
            self._used_tools.add(message.ticket)
        self._outbox.put(message)

    def _answer(self, ticket: Ticket, job: Generate) -> None:
        try:
            self._write_answer(ticket, job)
        finally:
            self._used_tools.discard(ticket)

    def _write_answer(self, ticket: Ticket, job: Generate) -> None:
        link = self.model.chain_of(job.chain).current
        key = self.cache.key(job, link.name)
        if key is not None and (kept := self.cache.get(key, ticket)):
            for sentence in kept:
                self._outbox.put(sentence)
            return
        told: list[Sentence | ToolCalled] = []

        def post(message: Sentence | ToolCalled) -> None:
            told.append(message)
            self._outbox.put(message)

        to = self._outbox.put if key is None else post
        answer = Answer(ticket, job.brief, self.model.habits.of(link), to, job.language)
        with closing(self.tools.stream_chat(job, answer)) as pieces:
            for piece in pieces:
                if piece:
                    self.waste.written()
                    answer.wrote()
                if self.worker.stale(ticket):
                    self.waste.given_up(answer.count)
                    return
                if answer.feed(piece):
                    self.waste.finished(ticket, answer.count)
                    return
        answer.end()
        self.waste.finished(ticket, answer.count)
        if key is not None and ticket not in self._used_tools:
            self.cache.put(key, told)


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    began = time.monotonic()
    os.nice(NICE)
    service = Service(settings, outbox)
    model, engine = service.model, service.model.active
    service.worker.start()
    service.tools.start()
    loaded_s = time.monotonic() - began
    ready = Ready("llm", model.engine_name, engine.model, engine.device, loaded_s)
    process.report_ready(outbox, ready)
    known = (ChatMessage("system", settings.instructions),)
    model.warm_up(with_clock(known, local_time(settings.zone)))
    STALL_MONITOR.start()
    beat_at = 0.0

    def tick() -> None:
        nonlocal beat_at
        if time.monotonic() - beat_at >= process.BEAT_S:
            beat_at = time.monotonic()
            outbox.put(Heartbeat("llm", service.worker.busy_since(), service.worker.served))
            service.report_metrics()
            service.summarize()

    process.read_inbox(inbox, service.handle, tick)
    service.worker.stop()
    service.tools.stop()
