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
import uuid
from dataclasses import replace
from typing import Any

import numpy as np

from fusion import models, process
from fusion.core.playout import Playout
from fusion.core.text import Clauses, speakable
from fusion.engines import TTS, EngineError, load
from fusion.messages import Cancel, Commit, Failed, Hangup, Hold, Joined, Ready, Resume, Sentence, Stage, Ticket
from fusion.settings import Settings, engine_options
from fusion.sockets import Outgoing, address_of, listen
from fusion.speech import Listener, SayJob, SpeakJob, Speech, pair, resampled
from fusion.wire import FrameError, WireError
from fusion.wire import tts_socket as wire
from fusion.wire.pcm import SPOKEN_RATE
from fusion.worker import Worker

LEAD_S = 0.2  # how far ahead of real time a client may be: the longest that sound goes on after a Hold
PIECE = SPOKEN_RATE // 10  # samples in one frame
SAY_LIMIT = 64 * 1024 * 1024  # bytes that may wait for a client that asked for a text: it comes as fast as it is made
SAY_TEXTS = 100  # that may wait on one connection

log = logging.getLogger("tts")


class Service:
    def __init__(self, settings: Settings, outbox: Any) -> None:
        self.settings, self._outbox = settings, outbox
        self.engine = load_engine(settings)
        self.calls: dict[str, Speech] = {}
        self.listeners: list[Listener] = []
        self.worker: Worker[SpeakJob | SayJob] = Worker("tts", self._work)

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
            self.calls[message.call] = Speech(message, Playout(SPOKEN_RATE, None if message.whole_replies else LEAD_S))
            pair(self.calls.values(), self.listeners)
        else:
            speech.joined = message

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
        silent = speech.listener is None or not speakable(sentence.text)
        self.worker.put(sentence.ticket, SpeakJob(sentence, speech.joined.voice, speech.joined.speed, silent))

    def _commit(self, message: Commit) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is None or speech.stale(message.ticket):
            return
        speech.committed = message.ticket
        speech.playout.commit(message.ticket)
        waiting, speech.waiting = speech.waiting, []
        for sentence in waiting:
            if sentence.ticket == message.ticket:
                self._speak(speech, sentence)
        self._pump(speech)

    def _hold(self, message: Hold) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is not None and not speech.joined.whole_replies:
            speech.playout.hold(message.ticket, self._loop.time())
            self._event(speech, wire.hold())
            self._pump(speech)

    def _resume(self, message: Resume) -> None:
        speech = self.calls.get(message.ticket.call)
        if speech is not None and not speech.joined.whole_replies:
            speech.playout.resume(message.ticket, self._loop.time())
            self._event(speech, wire.resume())
            self._pump(speech)

    def _cancel(self, message: Cancel) -> None:
        self.worker.raise_to(message.ticket)
        speech = self.calls.get(message.ticket.call)
        if speech is None:
            return
        speech.waiting = []
        if speech.started is not None and speech.started < message.ticket:
            self._event(speech, wire.clear(speech.started.turn))
            speech.started = None
        speech.playout.cancel(message.ticket, self._loop.time())
        self._pump(speech)

    def _hangup(self, message: Hangup) -> None:
        self.worker.forget(message.call)
        speech = self.calls.pop(message.call, None)
        if speech is not None and speech.timer:
            speech.timer.cancel()

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

    def _work(self, ticket: Ticket, job: SpeakJob | SayJob) -> None:
        say = isinstance(job, SayJob)
        text = job.parts[0] if isinstance(job, SayJob) else job.sentence.text
        try:
            for pcm in () if not say and job.silent else self.engine.speak(speakable(text), self._voice(job.voice), job.speed):
                if self.worker.stale(ticket):
                    return
                if len(pcm):  # else it only asks whether somebody listens
                    self._loop.call_soon_threadsafe(self._made, ticket, job, resampled(pcm, self.engine.sample_rate))
        except EngineError as error:
            self._loop.call_soon_threadsafe(self._broke, ticket, job, str(error))
            return
        self._loop.call_soon_threadsafe(self._ended, ticket, job)

    def _voice(self, voice: str) -> str:
        return voice if voice in self.engine.voices else self.engine.voices[0]

    def _made(self, ticket: Ticket, job: SpeakJob | SayJob, pcm: np.ndarray) -> None:
        if isinstance(job, SayJob):
            job.listener.said += len(pcm)
            for start in range(0, len(pcm), PIECE):
                job.listener.audio(pcm[start : start + PIECE])
            return
        speech = self.calls.get(ticket.call)
        if speech is not None:
            speech.playout.put(ticket, job.sentence.index, pcm)
            self._pump(speech)

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

    # --- pacing -------------------------------------------------------------------------------------------

    def _pump(self, speech: Speech) -> None:
        """Let out what may leave now, tell what was played, and come back when there is more."""
        now = self._loop.time()
        chunks = speech.playout.release(now)
        if chunks:
            self._start(speech, chunks[0].ticket)
        if speech.listener is not None:
            parts = [chunk.audio for chunk in chunks]
            for part in [np.concatenate(parts)] if parts and speech.joined.whole_replies else parts:
                speech.listener.audio(part)
        for spoken in speech.playout.spoken(now):
            self._outbox.put(spoken)
            if spoken.last:
                self._event(speech, wire.end(spoken.ticket.turn))
                speech.started = None
        if speech.timer:
            speech.timer.cancel()
        wake_at = speech.playout.wake_at(now)
        speech.timer = self._loop.call_at(wake_at, self._pump, speech) if wake_at is not None else None

    def _start(self, speech: Speech, ticket: Ticket) -> None:
        if speech.started != ticket:
            speech.started = ticket
            self._event(speech, wire.start(ticket.turn))

    def _event(self, speech: Speech, text: str) -> None:
        if speech.listener is not None:
            speech.listener.event(text)

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
    return engine


class Door:
    """What a connection on 8888 goes through."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        out = Outgoing(connection, SAY_LIMIT)
        listener = Listener(f"say-{uuid.uuid4().hex[:8]}", out, wire.Name(), address_of(connection))
        try:
            listener.name = wire.parse_address(connection.request.path)
            self._service.listen(listener)
            async for frame in connection:
                if isinstance(frame, str):
                    self._frame(listener, frame)
        except ConnectionClosed:
            pass
        except WireError as problem:
            out.send(wire.error(None, "refused", problem.message))
            out.close(1008, "see the message before")
        finally:
            self._service.leave(listener)
        if not out.closed:
            out.close()
        await out.finished()

    def _frame(self, listener: Listener, frame: str) -> None:
        try:
            request = wire.parse_frame(frame)
            if isinstance(request, wire.Name):
                listener.name = request
                self._service.listen(listener)
            elif isinstance(request, wire.Say):
                self._service.say(listener, request)
        except FrameError as problem:
            listener.out.send(wire.error(problem.id, problem.code, problem.message))


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
        await process.beat("tts", outbox, service.worker.busy_since, stopping)
        service.worker.stop()
        server.close()


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    asyncio.run(main(settings, inbox, outbox, time.monotonic()))
