"""Speaks: sentences in, paced audio out on WebSocket 8888. Keeps nothing of a call but what is being said.

One engine thread makes audio and hands it to the event loop; there each call has a `Playout`, which
decides what may leave and when. A listener names its caller; the nameless WhisperFusion page is paired
with its call by address and order, and gets one message per reply. Speech never leaves this process
except through its socket.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from fusion import models, process
from fusion.core.playout import FILLER, Playout
from fusion.core.text import Clauses, speakable
from fusion.engines import TTS, EngineError, load
from fusion.messages import Cancel, Commit, Failed, Hangup, Hold, Joined, Ready, Resume, Sentence, Stage, Ticket
from fusion.settings import Settings, engine_options
from fusion.sockets import listen
from fusion.speech import Counts, Door, FillerJob, Fillers, Listener, SayJob, SpeakJob, Speech, pair, resampled
from fusion.wire import FrameError, WireError
from fusion.wire import tts_socket as wire
from fusion.wire.pcm import SPOKEN_RATE
from fusion.worker import Worker, queues

LEAD_S = 0.2  # how far ahead of real time a client may be: the longest that sound goes on after a Hold
UNPACED_S = 60.0  # the same for a client that takes replies as they are made: more would fill memory
PIECE = SPOKEN_RATE // 10  # samples in one frame
SAY_TEXTS = 100  # that may wait on one connection
FILLERS = Ticket("fillers", 0)  # they belong to no call

log = logging.getLogger("tts")


class Service:
    def __init__(self, settings: Settings, outbox: Any) -> None:
        self.settings, self._outbox = settings, outbox
        self.engine = load_engine(settings)
        self.calls: dict[str, Speech] = {}
        self.listeners: list[Listener] = []
        self.worker: Worker[SpeakJob | SayJob | FillerJob] = Worker("tts", self._work)
        self.fillers = Fillers(lambda job: self.worker.put(FILLERS, job))
        self.counts = Counts()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.worker.start()

    # --- the inbox ----------------------------------------------------------------------------------------

    def deliver(self, message: Any) -> None:
        handler = self._HANDLERS.get(type(message))
        if handler is not None:
            handler(self, message)

    def _joined(self, message: Joined) -> None:
        speech = self.calls.get(message.call)
        if speech is None:
            lead_s = None if message.whole_replies else LEAD_S if message.paced else UNPACED_S
            self.calls[message.call] = Speech(message, Playout(SPOKEN_RATE, lead_s))
            pair(self.calls.values(), self.listeners)
        else:
            speech.joined = message
        if self.settings.filler and not message.whole_replies:
            self.fillers.get(self._filler(message, self.settings.filler))

    def _sentence(self, message: Sentence) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is None or speech.stale(message.ticket):
            return
        if speech.waiting and speech.waiting[0].ticket < message.ticket:
            speech.waiting = []
        if message.index and speech.committed != message.ticket:
            speech.waiting.append(message)
        else:
            self._speak(speech, message)

    def _speak(self, speech: Speech, sentence: Sentence) -> None:
        """What somebody waits for goes before all else: the first clause of a reply, once that is committed."""
        silent = speech.listener is None or not speakable(sentence.text)
        job = SpeakJob(sentence, speech.joined.voice, speech.joined.speed, silent)
        first, committed = sentence.index == 0, speech.committed == sentence.ticket
        if first and not committed:
            speech.guess = job
        self.worker.put(sentence.ticket, job, urgent=first and committed)

    def _commit(self, message: Commit) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is None or speech.stale(message.ticket):
            return
        speech.committed = message.ticket
        if speech.guess is not None and speech.guess.sentence.ticket == message.ticket:
            self.worker.put(message.ticket, speech.guess, urgent=True)
        speech.playout.commit(message.ticket)
        speech.guess, waiting, speech.waiting = None, speech.waiting, []
        for sentence in waiting:
            if sentence.ticket == message.ticket:
                self._speak(speech, sentence)
        self._pump(speech)
        if message.filler and speech.listener is not None and not speech.joined.whole_replies:
            self.fillers.get(self._filler(speech.joined, message.filler))
            speech.filler_timer = self._loop.call_later(message.filler_in_s, self._fill, speech, message)

    def _filler(self, joined: Joined, text: str) -> FillerJob:
        return FillerJob(text, self._voice(joined.voice), joined.speed)

    def _fill(self, speech: Speech, commit: Commit) -> None:
        """The reply is late: if nothing of it can be heard yet, say the filler, at once or when it has been made."""
        speech.overdue = None
        if not speech.playout.awaited(commit.ticket):
            return
        pcm = self.fillers.get(self._filler(speech.joined, commit.filler))
        if pcm is None:
            speech.overdue = commit
        elif len(pcm):
            speech.playout.put(commit.ticket, FILLER, pcm)
            speech.playout.end(commit.ticket, FILLER, False)
            self._pump(speech)

    def _hold(self, message: Hold) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is not None and not speech.joined.whole_replies:
            speech.playout.hold(message.ticket, self._loop.time())
            speech.event(wire.hold())
            self._pump(speech)

    def _resume(self, message: Resume) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is not None and not speech.joined.whole_replies:
            speech.playout.resume(message.ticket, self._loop.time())
            speech.event(wire.resume())
            self._pump(speech)

    def _cancel(self, message: Cancel) -> None:
        self.worker.raise_to(message.ticket)
        speech = self.calls.get(message.ticket.call)
        if speech is None:
            return
        speech.waiting = []
        if speech.started is not None and speech.started < message.ticket:
            speech.event(wire.clear(speech.started.turn))
            speech.started = None
        speech.playout.cancel(message.ticket, self._loop.time())
        self._pump(speech)

    def _hangup(self, message: Hangup) -> None:
        self.worker.forget(message.call)
        speech = self.calls.pop(message.call, None)
        if speech is not None:
            speech.stop_timers()
            speech.playout.close()
            self.counts.gone += speech.playout.tally

    def _stage(self, message: Stage) -> None:
        if (message.name, message.state) == ("asr", "down"):  # every call lived there
            for call in list(self.calls):
                self._hangup(Hangup(call))
            for listener in self.listeners:
                if listener.name.uid:
                    listener.out.close(1012, "the listening process is being restarted; connect again")

    _HANDLERS = {Joined: _joined, Sentence: _sentence, Commit: _commit, Hold: _hold, Resume: _resume, Cancel: _cancel,
                 Hangup: _hangup, Stage: _stage}

    # --- the engine thread --------------------------------------------------------------------------------

    def _work(self, ticket: Ticket, job: SpeakJob | SayJob | FillerJob) -> None:
        if isinstance(job, FillerJob):
            self._make_filler(job)
            return
        if isinstance(job, SpeakJob) and not job.once.acquire(blocking=False):
            return  # its more urgent copy was made
        text = job.parts[0] if isinstance(job, SayJob) else "" if job.silent else job.sentence.text
        try:
            for pcm in self.engine.speak(speakable(text), self._voice(job.voice), job.speed) if text else ():
                if self.worker.stale(ticket):
                    self._loop.call_soon_threadsafe(self._lose, len(pcm) * SPOKEN_RATE // self.engine.sample_rate)
                    return
                if len(pcm):  # else it only asks whether somebody listens
                    self._loop.call_soon_threadsafe(self._made, ticket, job, resampled(pcm, self.engine.sample_rate))
        except EngineError as error:
            self._loop.call_soon_threadsafe(self._broke, ticket, job, str(error))
            return
        self._loop.call_soon_threadsafe(self._ended, ticket, job)

    def _make_filler(self, job: FillerJob) -> None:
        try:
            parts = [resampled(pcm, self.engine.sample_rate) for pcm in self.engine.speak(speakable(job.text), job.voice, job.speed)]
        except EngineError as error:  # the reply itself will come
            log.warning("the filler %r could not be said: %s", job.text, error)
            parts = []
        self._loop.call_soon_threadsafe(self._filler_made, job, np.concatenate([np.zeros(0, np.float32), *parts]))

    def _filler_made(self, job: FillerJob, pcm: np.ndarray) -> None:
        self.fillers.keep(job, pcm)
        for speech in self.calls.values():
            if speech.overdue is not None:
                self._fill(speech, speech.overdue)

    def _voice(self, voice: str) -> str:
        return voice if voice in self.engine.voices else self.engine.voices[0]

    def _made(self, ticket: Ticket, job: SpeakJob | SayJob, pcm: np.ndarray) -> None:
        if isinstance(job, SayJob):
            job.listener.said += len(pcm)
            self.counts.said += len(pcm)
            for start in range(0, len(pcm), PIECE):
                job.listener.audio(pcm[start : start + PIECE])
            return
        speech = self.calls.get(ticket.call)
        if speech is None:
            self._lose(len(pcm))
        else:
            speech.playout.put(ticket, job.sentence.index, pcm)
            self._pump(speech)

    def _lose(self, samples: int) -> None:
        self.counts.lost += samples

    def _ended(self, ticket: Ticket, job: SpeakJob | SayJob) -> None:
        if isinstance(job, SayJob):
            if len(job.parts) > 1:
                self.worker.put(ticket, replace(job, parts=job.parts[1:]))
            else:
                job.listener.out.send(wire.said(job.id, job.listener.said / SPOKEN_RATE))
                job.listener.said = 0
                self._next_text(job.listener)
            return
        speech = self.calls.get(ticket.call)
        if speech is not None:
            speech.playout.end(ticket, job.sentence.index, job.sentence.last)
            self._pump(speech)

    def _broke(self, ticket: Ticket, job: SpeakJob | SayJob, reason: str) -> None:
        log.warning("%s could not be said: %s", ticket.call, reason)
        if isinstance(job, SayJob):
            job.listener.said = 0
            job.listener.out.send(wire.error(job.id, "tts_failed", reason))
            self._next_text(job.listener)
        else:
            self._outbox.put(Failed(ticket, "tts", reason))

    def _pump(self, speech: Speech) -> None:
        speech.pump(self._loop, self._outbox.put)

    def beat(self) -> float | None:
        """Once a second: tells what was counted; when the job at hand last made progress."""
        metrics = self.counts.metrics(self.calls.values())
        self._outbox.put(replace(metrics, values=(*metrics.values, *queues((self.worker,)), *process.vitals())))
        return self.worker.busy_since()

    # --- listeners ----------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Raises WireError when the caller already has a listener."""
        name = listener.name
        if name.uid and any(other is not listener and other.name.uid == name.uid for other in self.listeners):
            raise WireError("this uid has a listener already; a caller is heard by one connection", name.uid)
        if listener not in self.listeners:
            self.listeners.append(listener)
        pair(self.calls.values(), self.listeners)

    def leave(self, listener: Listener) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)
        self.worker.forget(listener.id)
        for speech in self.calls.values():
            if speech.listener is listener:
                speech.listener = None

    def say(self, listener: Listener, request: wire.Say) -> None:
        voice = request.voice or self.settings.tts_voice
        if request.voice and request.voice not in self.engine.voices:
            raise FrameError("unknown_voice", f"voice {request.voice!r} is not known; allowed: {', '.join(self.engine.voices)}", request.id)
        clauses = Clauses()
        parts = tuple(part for part in (*clauses.feed(request.text), clauses.flush()) if part)
        if len(listener.texts) >= SAY_TEXTS:
            raise FrameError("busy", f"{SAY_TEXTS} texts are waiting to be said; send more when some are done", request.id)
        listener.texts.append(SayJob(listener, request.id, parts, voice, request.speed or self.settings.tts_speed))
        if len(listener.texts) == 1:
            self.worker.put(Ticket(listener.id, 0), listener.texts[0])

    def _next_text(self, listener: Listener) -> None:
        listener.texts.popleft()
        if listener.texts:
            self.worker.put(Ticket(listener.id, 0), listener.texts[0])


def load_engine(settings: Settings) -> TTS:
    path = settings.tts_model if settings.tts_engine == "whisperspeech" else ""  # it knows its own names and files
    for model in models.needed(settings):
        if model.kind == "tts":
            path = str(models.fetch(model, settings.cache, settings.sources))
    engine: TTS = load("tts", settings.tts_engine, model=path, voice=settings.tts_voice, **engine_options(settings.tts_option))
    resampled(np.zeros(engine.sample_rate // 10, np.float32), engine.sample_rate)  # loads its library: no caller shall wait for that
    return engine


async def main(settings: Settings, inbox: Any, outbox: Any, began: float) -> None:
    service = Service(settings, outbox)
    service.start()
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        process.read_inbox(inbox, lambda message: loop.call_soon_threadsafe(service.deliver, message))
        loop.call_soon_threadsafe(stopping.set)

    async with listen(settings, settings.tts_port, Door(service).serve) as server:
        threading.Thread(target=read, name="inbox", daemon=True).start()
        engine = service.engine
        outbox.put(Ready("tts", settings.tts_engine, engine.model, engine.device, time.monotonic() - began, engine.voices))
        await process.beat("tts", outbox, service.beat, stopping)
        service.worker.stop()
        server.close()


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    asyncio.run(main(settings, inbox, outbox, time.monotonic()))
