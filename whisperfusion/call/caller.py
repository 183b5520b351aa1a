"""One caller on 6006, without the socket: audio and control frames in, frames and messages out.

The conversation decides; this object carries its commands out and hands it the events. Everything
runs on the event loop. Audio is taken window by window in the order of the call: a live microphone
is never kept waiting for more than the last transcript of a turn, while a file that comes faster
than real time waits for each reply, so that a recording of several questions gets all of them
answered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from whisperfusion import json_log
from whisperfusion.agents import Agent
from whisperfusion.audio import Samples
from whisperfusion.call.audio_input import AudioInput, Transcription
from whisperfusion.call.call_context import CallContext
from whisperfusion.call.client_events import ClientEvents
from whisperfusion.call.client_options import (
    asr_options,
    changed_options,
    check_voice,
    clones,
    detects_speech,
    first_options,
    languages_of,
)
from whisperfusion.call.controls import create_reply, event_of
from whisperfusion.call.dialects import Send, View, view_of
from whisperfusion.call.instrumentation import instrument
from whisperfusion.call.memory import CallMemory, Offer
from whisperfusion.call.named_servers import NamedServers
from whisperfusion.call.service import Message, Service, report
from whisperfusion.call.spoken_language import SpokenLanguage
from whisperfusion.call.timers import Timers
from whisperfusion.call.turn_speakers import TurnSpeakers
from whisperfusion.custom_voices import Usable
from whisperfusion.engines import Hypothesis, Prediction
from whisperfusion.messages import (
    CallEnded,
    CallStarted,
    CancelTimer,
    Commit,
    Failed,
    Generate,
    Sentence,
    SetTimer,
    Stage,
    Timer,
    ToolsListed,
)
from whisperfusion.tools.client_servers import ClientServer
from whisperfusion.turns import commands as turns
from whisperfusion.turns import events
from whisperfusion.turns.audio_source import AudioSource
from whisperfusion.turns.barge_in import probably_noise
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.states import PAUSES, SPEAKING_OVER, State
from whisperfusion.wire import asr_socket as wire
from whisperfusion.wire.trace import log_ids

POLITE_WINDOWS = 32  # about a second of audio, 3 ms of work: then the other callers
LATE_S = 0.1  # of a timer
GOODBYE = "the assistant ended the call"
UNREAD_S = 0.05  # in which a loop reads what waits in its sockets

log = logging.getLogger("asr")


class Caller:
    def __init__(
        self,
        call: str,
        address: str,
        handshake: wire.Handshake,
        service: Service,
        send: Send,
        key: int | None = None,
        agent: Agent | None = None,
        memory: CallMemory | None = None,
        known_speakers: Mapping[str, Samples] | None = None,
    ) -> None:
        self.call, self.address = call, address
        self.uid, self.dialect = handshake.uid, handshake.dialect
        self._service, self._handshake = service, handshake
        settings = service.settings if agent is None else agent.settings(service.settings)
        self._settings, self._greeting = settings, agent.greeting if agent is not None else ""
        self._loop = asyncio.get_running_loop()
        self.view: View = view_of(handshake, send, service.sample_rate)
        detects = detects_speech(handshake, settings)
        self.audio = AudioInput(service.create_detector() if detects else None)
        options = first_options(handshake, settings, service.scored, agent)
        if memory is not None and memory.facts:
            options = replace(options, facts=memory.facts)
        self.memory, self.resumed = memory, bool(memory and memory.resumed)
        went_on = memory.session if memory and self.resumed else None
        before = went_on.language if went_on else ""
        among = languages_of(settings, service.languages)
        self._language = SpokenLanguage(handshake.language, among, before)
        options = replace(options, language=self._language.current or None)
        history = went_on.history if went_on else handshake.history
        summary = went_on.summary if went_on else ""
        self.conversation = Conversation(call, options, history, service.counts, summary)
        speakers = service.speakers if handshake.enable_diarization else None
        self._speakers: TurnSpeakers | None = None
        if speakers is not None:
            known = known_speakers or {}
            self._speakers = TurnSpeakers(call, speakers, handshake, known, self.guarded)
        self._client = ClientEvents(
            self.view, self.conversation, self._speakers, tells_language=bool(among)
        )
        self._servers = NamedServers(
            call, settings, options.server_tools, service.post, self.tools_listed
        )
        now = self._loop.time()
        self._instrumented = instrument(
            self.conversation, handshake.trace, settings.record_dir, now
        )
        self._trace = self._instrumented.trace
        json_log.remember(call, log_ids(self._trace))
        self._decoder = wire.AudioDecoder(handshake.audio_format)
        self._options = asr_options(handshake, settings)
        self._started = CallStarted(
            call,
            self.uid,
            address,
            self.dialect is wire.Dialect.WHISPER_FUSION,
            handshake.voice or settings.default_voice or None,
            handshake.speed or settings.tts_speed,
            handshake.paced,
            key,
            secrets.token_urlsafe(16),
            self._trace,
            agent.voices if agent is not None else "",
        )
        self._utterance = 0  # the sample that it began at
        self._feeding = self._assumed = self._over = False
        self._source = AudioSource()
        self.timers = Timers(self._timer_due)
        self._context = CallContext(
            self.conversation,
            self._language,
            self.timers,
            self._trace,
            service,
            self.view,
            tells_language=bool(among or settings.voices),
        )
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self.on_broken: Callable[[Exception], None] = lambda error: None  # ends the connection
        self.on_ended: Callable[[str], None] = lambda reason: None  # the same, politely
        self.on_moved: Callable[[], object] = lambda: None  # its client goes on elsewhere

    @property
    def state(self) -> State:
        return self.conversation.state

    def _receive(self, event: events.Event) -> list[turns.Command]:
        return self._instrumented.receive(event, self._loop.time())

    def _event(self, event: events.Event) -> None:
        self._act(self._receive(event))

    def _change(self, **options: Any) -> None:
        """Options of the conversation."""
        changed = replace(self.conversation.options, **options)
        if changed != self.conversation.options:
            self._event(events.OptionsChanged(changed))

    # --- from the socket -------------------------------------------------------------------------

    def open(self) -> None:
        """Raises EngineError when the recognizer cannot do what the handshake asks for."""
        self._service.create_utterance(self._language.options(self._options))
        self.join()
        memory = self.memory
        unkept = Offer(resumed=False) if self._handshake.session else None
        offer = unkept if memory is None else memory.offer(self._handshake.send_history)
        self.view.ready(self._service.stages, self._started.listen_secret, offer)
        if memory is not None:
            memory.on_taken = self.end
            memory.start(self.conversation, self.timers)
        self._name_servers(self._handshake.mcp_servers)
        self._event(events.CallOpened())
        if offer is not None and offer.pending:
            self._event(events.ReplyLost())
        if self._greeting and not self.conversation.history:  # a call that goes on is past that
            self._event(events.Announcement(self._greeting))

    def join(self) -> None:
        """The speaking process learns where this caller's replies go, and in which voice."""
        if self._handshake.reply:
            self._service.post(self._started)

    async def accept_audio(self, frame: bytes) -> None:
        pcm = self._decoder.feed(frame)
        self._source.received(len(pcm), self._loop.time(), time.monotonic())
        self._feeding = True
        for count, window in enumerate(self.audio.windows(pcm), 1):
            self._window(window)
            while self.conversation.audio_must_wait(self._ahead()):
                self._changed.clear()
                await self._changed.wait()
            if count % POLITE_WINDOWS == 0:
                await asyncio.sleep(0)
        self._feeding = False
        self._arm()

    async def finish(self) -> None:
        """No more audio will come: returns when the last turn has its reply."""
        for window in self.audio.last_window():
            self._window(window)
        self.commit()
        while self.conversation.state is not State.IDLE:
            self._changed.clear()
            await self._changed.wait()
        if self._speakers is not None:
            await self._speakers.settled()

    def control(self, control: wire.Control) -> None:
        """Raises FrameError for one that is not possible now."""
        match control:
            case wire.CommitTurn():
                if not self.commit():
                    raise wire.FrameError(
                        "nothing_said",
                        "no speech came since the last commit; speak first, then send commit",
                    )
            case wire.Update():
                self._update(control)
            case wire.Say(text):
                self._typed_language(text)
                self._client.typed(text, self.audio.position)
                self._event(events.TextTyped(text))
            case wire.Respond() if control.mcp_servers is not None:
                asked = create_reply(control, self.conversation)
                tools = self._servers.add(control.mcp_servers)
                self._event(replace(asked, server_tools=tools))
            case wire.Approve(id, approve):
                self._event(event_of(control, self.conversation))
                if approve:
                    self._event(events.CreateReply(id, approved=id))
            case _:
                self._event(event_of(control, self.conversation))

    def _typed_language(self, text: str) -> None:
        """A text in another language of the list changes that of the call."""
        among = self._language.languages
        if among and self._language.fixed is None:
            self._language.typed(self._service.written.of(text, among))
            self._change(language=self._language.current)

    def commit(self) -> bool:
        """End the turn by hand; False when there is none."""
        commands = self._receive(events.CommitTurn())
        open_turn = bool(commands) or self.conversation.state in PAUSES | SPEAKING_OVER
        self._act(commands)
        return open_turn

    def end(self, reason: str, turn: int | None = None) -> None:
        """The server ends the call: its client learns why."""
        self.view.ended(reason, turn)
        self.on_ended(reason)

    def hang_up(self) -> None:
        self._over = True
        if self._timer:
            self._timer.cancel()
        if self.memory is not None:
            self.memory.end()
        self.timers.stop()
        if self._speakers is not None:
            self._speakers.hang_up()
        self.audio.clear()  # the garbage collector may come late
        self._service.post(CallEnded(self.call))
        json_log.forget(self.call)
        self._instrumented.end()

    def _name_servers(self, servers: tuple[ClientServer, ...]) -> None:
        if servers or self._servers:
            self._change(server_tools=self._servers.replace(servers))

    def _update(self, update: wire.Update) -> None:
        if update.mcp_servers is not None:
            self._name_servers(update.mcp_servers)
        changed = changed_options(update, self._settings)
        if "language" in changed:
            self._language.choose(changed["language"])
            changed["language"] = self._language.current or None
        self._change(**changed)
        if update.voice is not None or update.speed is not None:
            stages = self._service.stages
            own = Usable(self._settings).of(clones(stages), self._started.key)
            check_voice(update.voice, stages, (*own, self._settings.default_voice))
            voice, speed = self._started.voice, update.speed or self._started.speed
            if update.voice is not None:
                voice = update.voice or self._settings.default_voice or None
            self._started = replace(self._started, voice=voice, speed=speed)
            self.join()

    # --- what goes wrong -------------------------------------------------------------------------

    def guarded(self, handle: Callable[..., object], *arguments: object) -> None:
        """Call `handle`, whose exceptions end this call, with an error to its client, and
        nothing else. Of a call that is over, what comes late from a thread is dropped.
        """
        if self._over:
            return
        with self.log_scope():
            try:
                handle(*arguments)
            except Exception as error:
                log.exception("%s is ended by an error of this server", self.call)
                self.on_broken(error)

    def log_scope(self) -> AbstractContextManager[None]:
        return json_log.scope(self.call, lambda: self.conversation.ticket.turn)

    def transcription_failed(self, transcription: Transcription, reason: str) -> None:
        """There will be no final transcript of `transcription`."""
        if transcription is self.audio.transcription:
            self.message(Failed(self.conversation.ticket, "asr", reason))

    # --- from the engine threads, by way of the loop ---------------------------------------------

    def transcript(self, transcription: Transcription, hypothesis: Hypothesis, upto: int) -> None:
        if transcription is not self.audio.transcription or upto < self._client.transcribed_to:
            return  # of an utterance that is over, or of less of it than is known
        self._client.transcribed(hypothesis, transcription.began, upto, self._loop.time())
        if language := self._language.of(hypothesis):
            self._change(language=language)
        if hypothesis.language_assumed and not self._assumed:
            self._assumed = True
            language = hypothesis.language
            self.view.notice(f"your language could not be detected; {language} is assumed")
        noise = probably_noise((one.no_speech_prob, one.avg_logprob) for one in hypothesis.segments)
        ended = hypothesis.end_of_turn
        self._event(events.InterimTranscript(hypothesis.text, upto, noise, ended))

    def end_of_turn(self, found: Prediction, stopped_at: int) -> None:
        self._event(events.EndOfTurnProbability(found.score, stopped_at, found.by_states))

    # --- from the other processes ----------------------------------------------------------------

    def message(self, message: Message) -> None:
        match message:
            case SetTimer(_, id, text, after_s):
                self.timers.set(id, text, after_s)
                self._keep()
            case CancelTimer(_, id):
                self.timers.cancel(id)
                self._keep()
            case _:
                self._event(message)

    def tools_listed(self, message: ToolsListed) -> None:
        self.view.tools_listed(message.label, message.tools, message.error)

    def stage(self, stage: Stage) -> None:
        self.view.stage(stage)
        if self._servers and (stage.name, stage.state) == ("llm", "ready"):
            self._servers.post()
        if stage.state == "down":
            if stage.name == "tts":
                self.join()  # its successor knows no calls
            self._event(events.StageDown(stage.name))

    def limit(self, interim_every_s: float, *, early_replies: bool, brief: bool) -> None:
        """Under load (whisperfusion/call/degradation.py)."""
        self._change(interim_every_s=interim_every_s, early_replies=early_replies, brief=brief)

    # --- one window, one command -----------------------------------------------------------------

    def _window(self, window: Samples) -> None:
        commands = self._receive(events.SpeechProbability(self.audio.feed(window)))
        if commands:
            self._act(commands)

    def _act(self, commands: list[turns.Command]) -> None:
        for command in commands:
            match command:
                case turns.StartTranscribing(at):
                    self._utterance = at
                    options = self._language.options(self._options)
                    interim, final = self._service.create_utterances(options)
                    self.audio.start_transcription(interim, final, at)
                    self._client.utterance_started()
                case turns.StopTranscribing():
                    self.audio.stop_transcription()
                case turns.RequestTranscript(urgent):
                    self._request_transcript(urgent)
                case turns.RequestTurnDetection(stopped_at):
                    audio = self.audio.turn_audio()
                    self._service.request_end_of_turn(self, audio, stopped_at)
                case Commit() | Sentence() | Generate():
                    self._service.post(self._context.added_to(command))
                case turns.HangUp(turn):
                    self.end(GOODBYE, turn)
                case turns.UserTurnFinal(_, text) if text:
                    self._language.turn_ended(self._client.hypothesis)
                    self._to_client(command)
                case turns.SpeechIgnored() | turns.UserTurnFinal():
                    self._to_client(command)  # interim transcripts may have changed the language
                    self._change(language=self._language.current or None)
                case _ if isinstance(command, turns.CLIENT_EVENTS):
                    self._to_client(command)
                case _:
                    self._service.post(command)
        self._changed.set()
        self._arm()
        self._keep()

    def _to_client(self, command: turns.Command) -> None:
        self._client.send(command, self._loop.time())
        report(self.call, command, self._service)

    def _keep(self) -> None:
        if self.memory is not None:
            self.memory.keep()

    def _request_transcript(self, urgent: bool) -> None:
        transcription = self.audio.transcription
        if transcription is not None:
            if self._speakers is not None and (urgent or self._decides_by_voice):
                told = partial(self._speaker_identified, self._utterance, self.audio.position)
                self._speakers.listen(self.audio.turn_audio(), told)
            live = not self._ahead()
            self._service.request_transcript(self, transcription, urgent, live=live)

    @property
    def _decides_by_voice(self) -> bool:
        """Does it depend on the voice whether the reply goes on?"""
        call = self.conversation
        return call.options.known_speakers_only and call.state in SPEAKING_OVER

    def _speaker_identified(self, began: int, upto: int, known: bool | None) -> None:
        if self.conversation.options.known_speakers_only:
            self._event(events.SpeakerIdentified(began, upto, known))

    def _timer_due(self, timer: Timer) -> None:
        announcement = events.Announcement(timer.text, True, timer.id, timer.due_at, timer.told)
        self.guarded(self._event, announcement)

    # --- time ------------------------------------------------------------------------------------

    def _ahead(self) -> bool:
        return self._source.ahead(time.monotonic())

    def _arm(self) -> None:
        """One timer: the conversation's next deadline, or the moment when a missing microphone
        counts as silence.
        """
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = [self.conversation.wake_at] if self.conversation.wake_at is not None else []
        if self._microphone_awaited():
            due.append(max(self._source.silent_at, self._loop.time() + UNREAD_S))
        if due:
            self._timer = self._loop.call_at(min(due), self.guarded, self._wake, min(due))

    def _microphone_awaited(self) -> bool:
        return self.conversation.expects_audio and not self._feeding

    def _wake(self, due: float) -> None:
        """A late timer means that the loop was held: audio may have come that it has not read."""
        late = self._loop.time() - due > LATE_S
        if self._microphone_awaited() and not late:
            missing = self._source.missing(self._loop.time())
            for window in self.audio.windows(np.zeros(missing, np.float32)):
                self._window(window)
        self._event(events.Wake())
