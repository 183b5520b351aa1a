"""One caller on 6006, without the socket: audio and control frames in, frames and messages out.

The conversation decides; this object carries its commands out and tells it what happened. Everything
runs on the event loop. Audio is taken window by window in the order of the call: a live microphone is
never kept waiting for more than the recognizer's last words, while a file that comes faster than real time waits
for each answer, so that a recording of several questions gets all of them answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Protocol

import numpy as np

from fusion.call.ear import Ear, Hearing, seconds
from fusion.call.recorder import RecordedFloor, recorded
from fusion.call.views import View, view_of
from fusion.core import turns
from fusion.core.conversation import Conversation, State
from fusion.core.endpoint import RATE, WINDOW, Endpoint, SpeechStarted, SpeechStopped
from fusion.core.floor import JUDGED, Floor
from fusion.core.patience import MOST_S, stretch
from fusion.engines import ASROptions, Hypothesis, Utterance, VADStream
from fusion.messages import Called, Failed, Hangup, Joined, Sentence, Spoken, Stage, Ticket, TurnLost
from fusion.settings import Settings
from fusion.wire import asr_socket as wire

CAPTION_PATIENCE_S = 1.3  # silence that ends a segment when nobody waits for an answer: 0.6 s cost a point of word error rate
FAST_S = 2.0  # a source this far ahead of real time is no microphone
RECENT_S = 1.0  # in which that must be seen
GAP_S = 0.5  # a microphone that sends nothing for so long is taken to be silent
NOISE_PROBABILITY, NOISE_LOGPROB = 0.6, -1.0  # Whisper's own bounds for "no speech" and for words that are mere guesses
POLITE_WINDOWS = 32  # about a second of audio, 3 ms of work: then the other callers


class Service(Protocol):
    """What a caller needs from the process it lives in."""

    settings: Settings
    stages: dict[str, Stage]
    sample_rate: int
    counts: turns.Counts
    scored: bool  # there is an end-of-turn model

    def post(self, message: object) -> None: ...
    def begin(self, options: ASROptions) -> Utterance: ...
    def detector(self) -> VADStream: ...
    def ask_words(self, caller: Caller, hearing: Hearing, final: bool, live: bool) -> None: ...
    def ask_score(self, caller: Caller, audio: np.ndarray, stopped_at: int) -> None: ...
    def answered(self, latency: turns.Latency) -> None: ...
    def lost(self, news: TurnLost) -> None: ...


class Caller:
    def __init__(self, call: str, address: str, handshake: wire.Handshake, service: Service, send: object) -> None:
        self.call, self.address, self.uid, self.dialect = call, address, handshake.uid, handshake.dialect
        self._service, self._handshake, settings = service, handshake, service.settings
        self._loop = asyncio.get_running_loop()
        self.view: View = view_of(handshake, send, service.sample_rate)  # type: ignore[arg-type]
        gated = handshake.reply or (settings.vad_filter if handshake.use_vad is None else handshake.use_vad or settings.vad_filter)
        self.ear = Ear(service.detector() if gated else None)
        self.floor: Floor | RecordedFloor = self._floor()
        if settings.record_dir:
            self.floor = recorded(self.floor, settings.record_dir, self._loop.time())
        self.conversation = self.floor.conversation
        self._decoder = wire.AudioDecoder(handshake.audio_format)
        self._options = ASROptions(handshake.language, handshake.task, handshake.initial_prompt, handshake.hotwords,
                                   handshake.word_timestamps)
        self._voice, self._speed = handshake.voice or settings.tts_voice, handshake.speed or settings.tts_speed
        self._hypothesis, self._span = Hypothesis(""), (0, 0)
        self._feeding = False
        self._received, self._first_at, self._last_at = 0, 0.0, 0.0
        self._recent: deque[tuple[float, int]] = deque()  # when frames came, and their samples
        self._burst = 0  # samples in them, when the last one came
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    def _floor(self) -> Floor:
        handshake, settings = self._handshake, self._service.settings
        instructions = settings.instructions if handshake.instructions is None else handshake.instructions
        conversation = Conversation(self.call, instructions, handshake.history, replies=handshake.reply, filler=settings.filler,
                                    counts=self._service.counts)
        conversation.automatic, conversation.language = handshake.turn_detection == "auto", handshake.language or ""
        conversation.answers, conversation.interruptible = handshake.answers == "auto", handshake.interruptible
        conversation.dialogue.tools, conversation.dialogue.max_tokens = handshake.tools, handshake.max_tokens
        eagerness = settings.eagerness if handshake.eagerness is None else handshake.eagerness
        endpoint = Endpoint(MOST_S * stretch(eagerness) if handshake.reply else CAPTION_PATIENCE_S)
        floor = Floor(conversation, endpoint, scored=self._service.scored, eagerness=eagerness)
        floor.silence_s = JUDGED if handshake.silence is None else handshake.silence
        return floor

    # --- from the socket ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Raises EngineError when the recognizer cannot do what the handshake asks for."""
        self._service.begin(self._options)
        self.join()
        self.view.ready(self._service.stages)
        self._act(self.floor.opened(self._loop.time()))

    def join(self) -> None:
        """Tell the speaking process where this caller's replies go, and in which voice."""
        if self._handshake.reply:
            whole = self.dialect is wire.Dialect.WHISPER_FUSION
            self._service.post(Joined(self.call, self.uid, self.address, whole, self._voice, self._speed, self._handshake.paced))

    async def hear(self, frame: bytes) -> None:
        pcm = self._decoder.feed(frame)
        now = self._loop.time()
        self._first_at = self._first_at or now
        self._last_at = now
        self._received += len(pcm)
        self._recent.append((now, len(pcm)))
        while self._recent[0][0] < now - RECENT_S:
            self._recent.popleft()
        self._burst = sum(count for _, count in self._recent)
        self._feeding = True
        for count, window in enumerate(self.ear.windows(pcm), 1):
            self._window(window)
            while self._must_wait():
                self._changed.clear()
                await self._changed.wait()
            if count % POLITE_WINDOWS == 0:
                await asyncio.sleep(0)
        self._feeding = False
        self._arm()

    async def finish(self) -> None:
        """No more audio will come: returns when what was said has been answered."""
        for window in self.ear.last_window():
            self._window(window)
        self.commit()
        while self.conversation.state is not State.IDLE:
            self._changed.clear()
            await self._changed.wait()

    def control(self, control: wire.Control) -> None:
        now = self._loop.time()
        if isinstance(control, wire.Say):
            self._hypothesis = Hypothesis(control.text)
            self._span = (self.ear.position, self.ear.position)
            self._act(self.floor.typed(control.text, now))
        elif isinstance(control, wire.Interrupt):
            self._act(self.floor.interrupt(now))
        elif isinstance(control, wire.CommitTurn):
            if not self.commit():
                raise wire.FrameError("nothing_said", "there is no speech to commit; speak first, then send commit")
        elif isinstance(control, wire.HeardUpTo):
            self._act(self.floor.heard_up_to(control.turn, control.seconds, now))
        elif isinstance(control, wire.Respond):
            self._respond(control, now)
        elif isinstance(control, wire.Clear):
            self._act(self.floor.clear(now))
        elif isinstance(control, wire.History):
            self._act(self.floor.remember(control.lines, now))
        elif isinstance(control, wire.Result):
            self._act(self.floor.result(control.id, control.output, now))
        elif isinstance(control, wire.Update):
            self._update(control)

    def _respond(self, control: wire.Respond, now: float) -> None:
        state = self.conversation.state
        if state in (State.USER, State.DOUBT) or state is State.PAUSE and not self.conversation.closing:
            raise wire.FrameError("still_speaking", "somebody is speaking; commit or clear that first, then ask for an answer", control.id)
        if not self.conversation.replies:
            raise wire.FrameError("no_replies", 'this call has "reply": false in its handshake, so there is nobody to answer', control.id)
        changes = {"instructions": control.instructions, "tools": control.tools, "max_tokens": control.max_tokens}
        self._act(self.floor.respond({name: value for name, value in changes.items() if value is not None}, now, control.id))

    def commit(self) -> bool:
        """End the turn by hand; False when there is none."""
        commands = self.floor.commit(self._loop.time())
        open_turn = bool(commands) or self.conversation.state in (State.PAUSE, State.DOUBT)
        self._act(commands)
        return open_turn

    def hang_up(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._service.post(Hangup(self.call))
        if isinstance(self.floor, RecordedFloor):
            self.floor.end()

    def _update(self, update: wire.Update) -> None:
        if update.instructions is not None:
            self.conversation.dialogue.instructions = update.instructions or self._service.settings.instructions
        if update.turn_detection is not None:
            self.conversation.automatic = update.turn_detection == "auto"
        if update.language is not None:
            language = None if update.language == "auto" else update.language
            self._options = replace(self._options, language=language)
            self.conversation.language = language or ""
        if update.eagerness is not None:
            self.floor.eagerness = update.eagerness
        if update.silence is not None:
            self.floor.silence_s = update.silence
        if update.answers is not None:
            self.conversation.answers = update.answers == "auto"
        if update.interruptible is not None:
            self.conversation.interruptible = update.interruptible
        if update.max_tokens is not None:
            self.conversation.dialogue.max_tokens = update.max_tokens
        if update.tools is not None:
            self.conversation.dialogue.tools = update.tools
        if update.voice is not None or update.speed is not None:
            check_voice(update.voice or "", self._service.stages)
            if update.voice is not None:
                self._voice = update.voice or self._service.settings.tts_voice
            self._speed = update.speed or self._speed
            self.join()

    # --- from the engine threads, by way of the loop ------------------------------------------------------

    def words(self, hearing: Hearing, hypothesis: Hypothesis, upto: int) -> None:
        if hearing is not self.ear.hearing or upto < self._span[1]:
            return  # of an utterance that is over, or of less of it than is known
        now = self._loop.time()
        self._hypothesis, self._span = hypothesis, (hearing.began, upto)
        if self.conversation.state in (State.USER, State.PAUSE):
            self.view.caption(hypothesis, seconds(hearing.began), seconds(upto), max(0.0, now - self.floor.ended_at))
        if not self._options.language and hypothesis.language:
            self.conversation.language = hypothesis.language
        self._act(self.floor.words(hypothesis.text, upto, now, perhaps_noise(hypothesis)))

    def score(self, probability: float, stopped_at: int) -> None:
        self._act(self.floor.score(probability, stopped_at, self._loop.time()))

    # --- from the other processes -------------------------------------------------------------------------

    def message(self, message: Sentence | Called | Spoken | Failed) -> None:
        self._act(self.floor.message(message, self._loop.time()))

    def stage(self, stage: Stage) -> None:
        self.view.stage(stage)
        if stage.state == "down":
            if stage.name == "tts":
                self.join()  # its successor knows nobody
            self._act(self.floor.stage_down(stage.name, self._loop.time()))

    def ration(self, partial_s: float, *, early: bool, brief: bool) -> None:
        """What this caller may ask of the machine now (fusion/call/rations.py)."""
        self.floor.partial_s = partial_s
        self.conversation.early_guesses, self.conversation.dialogue.brief = early, brief

    # --- one window, one command --------------------------------------------------------------------------

    def _window(self, window: np.ndarray) -> None:
        commands = self.floor.window(self.ear.feed(window), self._loop.time())
        if commands:
            self._act(commands)

    def _act(self, commands: list[turns.Command]) -> None:
        for command in commands:
            if isinstance(command, turns.AskWords):
                if self.ear.hearing:
                    self._service.ask_words(self, self.ear.hearing, command.urgent, live=not self._ahead())
            elif isinstance(command, turns.AskScore):
                self._service.ask_score(self, self.ear.turn_audio(), command.stopped_at)
            elif isinstance(command, turns.StartHearing):
                self.ear.start_hearing(self._service.begin(self._options), self._service.begin(self._options), command.at)
                self._hypothesis = Hypothesis("")
            elif isinstance(command, turns.StopHearing):
                self.ear.stop_hearing()
            elif isinstance(command, (SpeechStarted, SpeechStopped)):
                self.view.speech(isinstance(command, SpeechStarted), seconds(command.at))
            elif isinstance(command, turns.UserSaid):
                hypothesis = self._hypothesis if command.text else Hypothesis("")
                start, end = self._span
                latency = max(0.0, self._loop.time() - self.floor.ended_at)
                self.view.said(command.turn, hypothesis, seconds(start), seconds(end), latency)
            elif isinstance(command, turns.TOLD):
                self.view.tell(command)
                if isinstance(command, turns.Latency):
                    self._service.answered(command)
                elif isinstance(command, turns.TurnFailed):
                    self._service.lost(TurnLost(Ticket(self.call, command.turn), command.stage, command.reason))
            else:
                self._service.post(command)
        self._changed.set()
        self._arm()

    # --- time ---------------------------------------------------------------------------------------------

    def _must_wait(self) -> bool:
        conversation = self.conversation
        if conversation.closing:
            return True
        return self._ahead() and (self.floor.deciding or conversation.state in (State.BOT, State.DOUBT))

    def _ahead(self) -> bool:
        """Is this a file rather than a microphone? People who are speaking now go before it.

        It has sent more than the time that went by, and still does: a client that said again what a lost connection did not hear is
        ahead for good, but a microphone from then on.
        """
        return self._burst / RATE >= FAST_S and self._received / RATE - (self._loop.time() - self._first_at) >= FAST_S

    def _arm(self) -> None:
        """One timer: the conversation's next deadline, or the moment when a missing microphone counts as silence."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = [self.floor.wake_at] if self.floor.wake_at is not None else []
        if self._listening_live():
            due.append(self._last_at + GAP_S)
        if due:
            self._timer = self._loop.call_at(min(due), self._wake)

    def _listening_live(self) -> bool:
        return self.conversation.replies and not self._feeding and self.conversation.state in (State.USER, State.PAUSE, State.DOUBT)

    def _wake(self) -> None:
        now = self._loop.time()
        if self._listening_live() and now >= self._last_at + GAP_S:
            self._last_at = now
            for window in self.ear.windows(np.zeros(int(GAP_S * RATE) // WINDOW * WINDOW, np.float32)):
                self._window(window)
        self._act(self.floor.wake(self._loop.time()))


def perhaps_noise(hypothesis: Hypothesis) -> bool:
    """Does the recognizer doubt that it heard speech? Over an answer, what it makes of a cough shall not count as words."""
    found = hypothesis.segments
    return bool(found) and all(s.no_speech_prob > NOISE_PROBABILITY or s.avg_logprob < NOISE_LOGPROB for s in found)


def check_voice(voice: str, stages: dict[str, Stage]) -> None:
    """Raises FrameError for a voice that the speaking process does not have."""
    voices = stages["tts"].voices if "tts" in stages else ()
    if voice and voices and voice not in voices:
        raise wire.FrameError("unknown_voice", f"voice {voice!r} is not known; allowed: {', '.join(voices)}")
