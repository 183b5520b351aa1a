"""Hears: WebSocket 6006, speech to text, and one Conversation per call.

The event loop owns sockets, callers and detectors; one engine thread recognises, another scores ends of
turns; both take jobs from mailboxes and answer through `call_soon_threadsafe`. Microphone audio never
leaves this process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion import models, process, trt_engines
from fusion.call.caller import Caller
from fusion.call.ear import Hearing
from fusion.call.files import Reading
from fusion.call.rations import Rations
from fusion.core.turns import Latency
from fusion.door import Door
from fusion.engines import ASR, ASROptions, EngineError, Hypothesis, Utterance, VADStream, hear_together, load
from fusion.messages import Called, Failed, Notice, Ready, Sentence, Spoken, Stage, Ticket, TurnLost
from fusion.settings import Settings, engine_options
from fusion.sockets import listen
from fusion.wire.pcm import SPOKEN_RATE
from fusion.worker import Worker, queues

TOGETHER = 4  # callers whose words are read at once; more would make the first of them wait

log = logging.getLogger("asr")


@dataclass(frozen=True)
class WordsJob:
    caller: Caller
    hearing: Hearing
    final: bool  # somebody may have finished
    asked_at: float  # on the clock of the event loop, which is the monotonic one


class Service:
    """The engines, the callers and the way to the other processes."""

    sample_rate = SPOKEN_RATE

    def __init__(self, settings: Settings, outbox: Any) -> None:
        self.settings, self._outbox = settings, outbox
        self.stages: dict[str, Stage] = {}
        self.callers: dict[str, Caller] = {}
        path = ""
        if settings.asr_engine == "tensorrt-whisper":
            path = str(trt_engines.folder("asr", settings))
        elif settings.asr_engine != "scripted":
            path = str(models.fetch(models.resolve(settings.asr_model, "asr", settings), settings.cache, settings.sources))
        self._threads = 1 if models.cores() <= 2 else min(4, models.cores() // 2)
        self.asr = load("asr", settings.asr_engine, model=path, device=settings.asr_device, compute_type=settings.asr_compute_type,
                        threads=self._threads, **engine_options(settings.asr_option))
        self.languages = self.asr.languages or None
        self._small: ASR | None = None  # listens when too many people talk; see load_small
        self._vad = load("vad", settings.vad_engine)
        self._turn = None
        if settings.turn_engine != "none":
            path = ""
            if settings.turn_engine == "smart-turn":
                path = str(models.fetch(models.resolve("smart-turn", "turn", settings), settings.cache, settings.sources))
            self._turn = load("turn", settings.turn_engine, model=path)
        self.scored = self._turn is not None
        self.rations = Rations(self.callers.values())
        self.counts = self.rations.counts
        # Two threads, two mailboxes: words that may be a turn's last never wait for a pass on the way, not even the same caller's.
        self.words = {final: Worker[WordsJob]("asr" if final else "partial", self._recognise) for final in (True, False)}
        self.scores: Worker[tuple[Caller, np.ndarray, int]] = Worker("turn", self._score)
        self.reading = Reading(self.asr)
        self.files = 0  # connections that send whole recordings

    @property
    def workers(self) -> tuple[Worker[Any], ...]:
        return (*self._live, self.reading.worker)

    @property
    def _live(self) -> tuple[Worker[Any], ...]:
        """Without the recordings, of which a batch may take minutes on a slow machine, and nobody minds."""
        return (*self.words.values(), self.scores)

    def start(self) -> None:
        """From inside the event loop."""
        self._loop = asyncio.get_running_loop()
        for worker in self.workers:
            worker.start()

    def load_small(self) -> None:
        """In a thread of its own, when the process is ready: a model that is not there is no reason to wait or to fail."""
        path = models.fetch_small_asr(self.settings)
        if path is not None:
            try:
                self._small = load("asr", self.settings.asr_engine, model=str(path), device=self.asr.device,
                                   compute_type=self.settings.asr_compute_type, threads=self._threads)
                self.rations.load.smaller = True
            except EngineError as error:
                log.warning("there is no smaller recognizer for overload: %s", error)

    # --- for callers --------------------------------------------------------------------------------------

    def post(self, message: object) -> None:
        self._outbox.put(message)

    def begin(self, options: ASROptions) -> Utterance:
        english = options.language == "en" and options.task == "transcribe"
        if self._small is not None and english and self.rations.small(self._loop.time()):
            return self._small.begin(options)
        return self.asr.begin(options)

    def detector(self) -> VADStream:
        return self._vad.begin()

    def ask_words(self, caller: Caller, hearing: Hearing, final: bool, live: bool) -> None:
        """People who are speaking now (`live`) go before files."""
        job = WordsJob(caller, hearing, final, self._loop.time())
        if final:
            hearing.asked_at = job.asked_at
        self.words[final].put(Ticket(caller.call, 0), job, replace="words", urgent=live)

    def ask_score(self, caller: Caller, audio: np.ndarray, stopped_at: int) -> None:
        self.scores.put(Ticket(caller.call, 0), (caller, audio, stopped_at), replace="score", urgent=True)

    def answered(self, latency: Latency) -> None:
        self.rations.answered(latency, self._loop.time())

    def lost(self, news: TurnLost) -> None:
        self.rations.lost(news.stage)
        self._outbox.put(news)

    def share_out(self) -> None:
        """With the heartbeat: what everybody may ask of the machine, and what was counted."""
        now = self._loop.time()
        said = self.rations.share_out(sum(worker.waiting() for worker in self.words.values()), now)
        for caller in self.callers.values() if said else ():
            caller.view.notice(said)
        metrics = self.rations.metrics(now)
        self._outbox.put(replace(metrics, values=(*metrics.values, *queues(self._live), *process.vitals())))

    # --- engine threads -----------------------------------------------------------------------------------

    def _recognise(self, ticket: Ticket, job: WordsJob) -> None:
        """This job, and those that wait with it: several callers are heard in less time than one after the other."""
        began = time.monotonic()
        jobs = [job, *(other for _, other in self.words[job.final].more(TOGETHER - 1))]
        # A partial pass is of no use once final words were asked for: better ones are on their way.
        taken = [(one, one.hearing.take(one.final)) for one in jobs if one.asked_at >= one.hearing.asked_at]
        full = [(one, *what) for one, what in taken if what is not None]
        heard = hear_together(self.asr, [(utterance, audio, one.final) for one, utterance, audio, _ in full])
        each_s = (time.monotonic() - began) / max(1, len(full))
        for (one, _, _, upto), found in zip(full, heard, strict=True):
            if isinstance(found, EngineError):
                self._loop.call_soon_threadsafe(one.caller.message, Failed(one.caller.conversation.dialogue.ticket, "asr", str(found)))
            else:
                self._loop.call_soon_threadsafe(self._came, one, each_s, found, upto)

    def _came(self, job: WordsJob, decode_s: float, hypothesis: Hypothesis, upto: int) -> None:
        now = self._loop.time()
        self.rations.words_came(now - job.asked_at, decode_s, job.final, now)
        job.caller.words(job.hearing, hypothesis, upto)

    def _score(self, ticket: Ticket, job: tuple[Caller, np.ndarray, int]) -> None:
        caller, audio, stopped_at = job
        try:
            probability = self._turn.score(audio) if self._turn else 0.0
        except EngineError as error:
            log.warning("the end of a turn of %s could not be judged (%s); silence decides", ticket.call, error)
            probability = 0.0
        self._loop.call_soon_threadsafe(caller.score, probability, stopped_at)

    # --- the inbox ----------------------------------------------------------------------------------------

    def deliver(self, message: Any) -> None:
        if isinstance(message, (Sentence, Called, Spoken, Failed)):
            caller = self.callers.get(message.ticket.call)
            if caller is not None:  # else it hung up meanwhile
                caller.message(message)
        elif isinstance(message, Notice):
            for caller in self.callers.values():
                caller.view.notice(message.text)
        elif isinstance(message, Stage):
            self.stages[message.name] = message
            for caller in self.callers.values():
                caller.stage(message)

    def beat(self) -> float | None:
        """Once a second: when the oldest unfinished job began."""
        self.share_out()
        return min((since for worker in self._live if (since := worker.busy_since()) is not None), default=None)


async def main(settings: Settings, inbox: Any, outbox: Any, began: float) -> None:
    service = Service(settings, outbox)
    service.start()
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        process.read_inbox(inbox, lambda message: loop.call_soon_threadsafe(service.deliver, message))
        loop.call_soon_threadsafe(stopping.set)

    door = Door(service)
    async with listen(settings, settings.asr_port, door.serve) as server:
        threading.Thread(target=read, name="inbox", daemon=True).start()
        outbox.put(Ready("asr", settings.asr_engine, service.asr.model, service.asr.device, time.monotonic() - began))
        threading.Thread(target=service.load_small, name="small", daemon=True).start()
        await process.beat("asr", outbox, service.beat, stopping)
        for worker in service.workers:
            worker.stop()
        server.close()


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    asyncio.run(main(settings, inbox, outbox, time.monotonic()))
