"""Text to speech: sentences in, paced audio out on WebSocket 8888.

For each call a `ReplyPlayer` decides what is synthesized, what leaves when, and what is reported;
this process makes the audio (one engine thread) and moves the bytes. Messages of other processes
and what the engine thread made come in by one method, `deliver`, on the event loop. Clients of 8888
name their caller, or are paired with it by address and order; they may also have texts of their own
made into audio. Audio never leaves this process except through that socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from whisperfusion import json_log
from whisperfusion.agents import Agents
from whisperfusion.audio import Samples
from whisperfusion.engines import TTS
from whisperfusion.messages import (
    CallEnded,
    CallNotice,
    CallStarted,
    Cancel,
    Commit,
    Failed,
    Pause,
    Ready,
    Resume,
    Sentence,
    SpeechOmitted,
    Stage,
    call_of,
)
from whisperfusion.output.events import (
    Action,
    AudioMade,
    Event,
    FillerMade,
    ListenerChanged,
    NotifyClient,
    Prioritize,
    SendAudio,
    SentenceMade,
    SentenceRestarted,
    SynthesisFailed,
    Synthesize,
    SynthesizeFiller,
    Wake,
)
from whisperfusion.runtime import event_loop as loop
from whisperfusion.runtime import process, tracing
from whisperfusion.runtime.incoming import TEXT_BYTES
from whisperfusion.runtime.sockets import listen
from whisperfusion.runtime.worker import queues
from whisperfusion.settings import Settings
from whisperfusion.synthesis.calls import Call, Counts
from whisperfusion.synthesis.connection import serve
from whisperfusion.synthesis.fillers import FillerJob, Fillers
from whisperfusion.synthesis.language_voices import Choice, LanguageVoices
from whisperfusion.synthesis.listeners import Listeners
from whisperfusion.synthesis.soft_start import softened
from whisperfusion.synthesis.spans import SynthesisSpans
from whisperfusion.synthesis.synthesizer import AudioLost, FillerEnded, Synthesizer
from whisperfusion.synthesis.texts import TextAudio, TextFailed, TextPartEnded, Texts
from whisperfusion.synthesis.voices import Voices
from whisperfusion.wire.trace import log_ids
from whisperfusion.wire.tts_events import Rejected

MISTAKE = "the server made a mistake; its log tells more. Please try again"

log = logging.getLogger("tts")


class Service:
    def __init__(self, settings: Settings, outbox: Any, began: float = 0.0) -> None:
        self.settings, self._outbox = settings, outbox
        self.calls: dict[str, Call] = {}
        self.counts = Counts()
        self.voices = Voices(settings.with_default_voice, outbox.put)
        self.languages = LanguageVoices(settings, self.voices)
        for agent in Agents(settings.agents).all().values():
            self.languages.of_agent(agent.voices)
        self.synthesizer = Synthesizer(self.voices, self._made, settings.answer_cache)
        self.fillers = Fillers(self.synthesizer.put_filler)
        self.listeners = Listeners(
            self.calls, self.synthesizer.worker.forget, self._listener_changed
        )
        self.texts = Texts(settings, self.languages, self.listeners, self.synthesizer.put_text)
        self._began, self._load_s = began, 0.0
        self._told: TTS | None = None  # the engine that was told to be ready
        self._chosen_speaks = True
        tracer = tracing.current()
        self._spans = None if tracer is None else SynthesisSpans(tracer)

    def start(self) -> None:
        """From inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._this: asyncio.Future[Stage] = self._loop.create_future()

    async def load(self) -> None:
        """Until there is a voice. Raises EngineError, at the first start also for what the chosen
        one cannot do.
        """
        first_start = (await self._this).restarts == 0
        loading = asyncio.wrap_future(self.voices.loading)
        await asyncio.wait([loading], timeout=self.voices.patience_s(first_start))
        refused = loading.result() if loading.done() else None
        if refused is not None and self.voices.is_required(first_start):
            raise refused
        self.voices.watch()
        await asyncio.to_thread(self.voices.described)  # it may have to load the embedded voice
        self._load_s = time.monotonic() - self._began
        self._report_ready()
        self.synthesizer.worker.start()

    def _report_ready(self) -> None:
        """Again when the chosen voice is there behind the one that spoke in its place."""
        name, engine = self.voices.described()
        if engine is not self._told:
            self._told = engine
            names, clones = self.languages.names, self.voices.clone
            told = name, engine.model, engine.device, self._load_s, names, clones
            process.report_ready(self._outbox, Ready("tts", *told))

    # --- what comes in ---------------------------------------------------------------------------

    def _made(self, report: object) -> None:
        """In the engine thread."""
        self._loop.call_soon_threadsafe(self.deliver, report)

    def deliver(self, message: object) -> None:
        """A message of another process, or what the engine thread made."""
        match message:
            case TextAudio() | TextPartEnded() | TextFailed():
                self._guarded(message.job.listener.id, self.texts.receive, message)
            case FillerEnded():
                for call in self.fillers.keep(message.job, message.audio):
                    made = FillerMade(message.job.text, message.audio)
                    self._guarded(call, self._play, call, made)
            case AudioLost():
                self.counts.lost += message.samples
            case Stage(name="tts") if not self._this.done():
                self._this.set_result(message)
            case Stage(name="asr", state="down"):
                self._all_calls_ended()
            case _:
                self._guarded(call_of(message), self._of_call, message)

    def _of_call(self, message: object) -> None:
        match message:
            case CallStarted():
                self._call_started(message)
            case CallEnded():
                self._call_ended(message)
            case AudioMade() if message.ticket.call not in self.calls:
                self.counts.lost += len(message.audio)
            case Cancel():
                self.synthesizer.worker.raise_to(message.ticket)
                self._play(message.ticket.call, message)
            case (
                Sentence()
                | Commit()
                | Pause()
                | Resume()
                | AudioMade()
                | SentenceMade()
                | SentenceRestarted()
                | SynthesisFailed()
                | SpeechOmitted()
            ):
                self._play(message.ticket.call, message)

    def _guarded(self, owner: str, handle: Callable[..., object], *arguments: object) -> None:
        """Call `handle`, whose exceptions end the reply of the call `owner` (or the connection of
        the client with that id), and nothing else.
        """
        with json_log.scope(owner, lambda: self._turn(owner)):
            try:
                handle(*arguments)
            except Exception:
                log.exception("the reply of %s is ended by an error of this server", owner)
                self._break_off(owner)

    def _turn(self, owner: str) -> int:
        """For the log."""
        call = self.calls.get(owner)
        return call.player.ticket.turn if call is not None and call.player.ticket else 0

    def _break_off(self, owner: str) -> None:
        call = self.calls.get(owner)
        if call is not None:
            newest = call.player.ticket
            self.counts.ended += call.player.tally
            call.break_off(self._loop.time())
            if newest is not None:
                self._outbox.put(Failed(newest, "tts", MISTAKE))
        for listener in [one for one in self.listeners.open if one.id == owner]:
            listener.answer(Rejected(None, "server_error", MISTAKE))
            listener.out.close(1011, "see the message before")

    # --- calls -----------------------------------------------------------------------------------

    def _call_started(self, started: CallStarted) -> None:
        """Again for a call that there is: its voice or speed has changed."""
        call = self.calls.get(started.call)
        if call is None:
            self.calls[started.call] = Call(started)
            json_log.remember(started.call, log_ids(started.trace))
            self.listeners.pair()
        else:
            call.started = started
        if self.settings.filler and not started.whole_replies:
            self.fillers.get(self._filler(started, self.settings.filler))

    def _call_ended(self, ended: CallEnded) -> None:
        self.synthesizer.worker.forget(ended.call)
        self._play(ended.call, ended)
        json_log.forget(ended.call)
        if self._spans is not None:
            self._spans.forget(ended.call)
        call = self.calls.pop(ended.call, None)
        if call is not None:
            self.counts.ended += call.player.tally

    def _all_calls_ended(self) -> None:
        """They lived in the recognizing process, which is down."""
        for call in list(self.calls):
            self._call_ended(CallEnded(call))
        for listener in self.listeners.open:
            if listener.name.uid:
                listener.out.close(1012, "the listening process is being restarted; connect again")

    def _listener_changed(self, call: Call) -> None:
        self._play(call.started.call, ListenerChanged(call.listener is not None))

    # --- replies ---------------------------------------------------------------------------------

    def _play(self, name: str, event: Event[Samples]) -> None:
        call = self.calls.get(name)
        if call is None:
            return
        if self._spans is not None:
            self._spans.event(call.started, event, self._loop.time())
        for action in call.player.receive(event, self._loop.time()):
            self._act(call, action)
        call.wake(self._loop, partial(self._guarded, name, self._play, name, Wake()))

    def _act(self, call: Call, action: Action[Samples]) -> None:
        if self._spans is not None:
            self._spans.action(call.started, action, self._loop.time())
        match action:
            case Synthesize():
                chosen = self._choice(call, action.language)
                speed = call.started.speed
                self.synthesizer.put_sentence(action, chosen.name, speed, chosen.link)
            case Prioritize():
                self.synthesizer.worker.prioritize(action.ticket, action.index)
            case SynthesizeFiller():
                self._make_filler(call, action)
            case SendAudio():
                quieter_db = self.settings.soft_start_db
                call.send([softened(chunk, quieter_db) for chunk in action.chunks])
            case NotifyClient():
                call.notify(action)
            case _:
                self._outbox.put(action)

    def _choice(self, call: Call, language: str) -> Choice:
        """The voice of a reply; its caller is told once where none speaks the language."""
        started = call.started
        chosen = self.languages.choose(language, started.voice, started.voices)
        if chosen.missing and language not in call.unvoiced:
            call.unvoiced.add(language)
            log.warning("%s", chosen.missing)
            self._outbox.put(CallNotice(started.call, chosen.missing))
        return chosen

    def _make_filler(self, call: Call, action: SynthesizeFiller) -> None:
        started, text = call.started, action.text
        chosen = self.languages.choose(action.language, started.voice, started.voices)
        job = self._filler(started, text, chosen)
        audio = self.fillers.get(job, started.call)
        if audio is not None:  # not before the other actions
            made = FillerMade(text, audio)
            self._loop.call_soon(self._guarded, started.call, self._play, started.call, made)

    def _filler(self, started: CallStarted, text: str, chosen: Choice | None = None) -> FillerJob:
        if chosen is None:
            return FillerJob(text, started.voice or "", started.speed)
        return FillerJob(text, chosen.name or "", started.speed, chosen.link)

    # --- once a second ---------------------------------------------------------------------------

    def beat(self) -> float | None:
        """Reports what was counted; returns when the job at hand last made progress."""
        self.listeners.close_idle(self._loop.time())
        self._watch_voice()
        worker = self.synthesizer.worker
        metrics = self.counts.metrics(self.calls.values(), self.texts.made)
        instead = ("tts_fallback_jobs_total", self.voices.spoken_instead)
        cached = self.synthesizer.cache.metrics()
        values = (*metrics.values, instead, *cached, *queues((worker,)), *process.process_metrics())
        self._outbox.put(replace(metrics, values=values, labelled=self.voices.counted()))
        return worker.busy_since()

    def _watch_voice(self) -> None:
        speaks = self.voices.watch()
        if speaks != self._chosen_speaks:
            self._chosen_speaks = speaks
            self.fillers.forget()
        self._report_ready()


async def main(settings: Settings, inbox: Any, outbox: Any, began: float) -> None:
    service = Service(settings, outbox, began)
    service.start()
    worker, stopping = service.synthesizer.worker, asyncio.Event()
    async with listen(
        settings, settings.tts_port, "TTS_PORT", partial(serve, service), TEXT_BYTES
    ) as server:
        process.start_inbox_thread(inbox, service.deliver, stopping)
        loading, stop = asyncio.create_task(service.load()), asyncio.create_task(stopping.wait())
        await asyncio.wait([loading, stop], return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            await process.send_heartbeats(
                "tts", outbox, service.beat, stopping, lambda: worker.served
            )
        worker.stop()
        server.close()


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    loop.run(main(settings, inbox, outbox, time.monotonic()))
