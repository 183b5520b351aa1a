"""A call on a virtual clock: the real turn-taking, detector and playout, an answer that plays, and
a person who makes a sound over it.

The microphone picks up the person and, if there is a loudspeaker, what is played. Time goes by in
windows of the detector; the recognizer takes `DECODE_S` for each pass, one thread for interim and
one for final passes, as in the server. The client obeys pauses.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.loudspeaker import Loudspeaker, Room
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, VAD_WINDOW, Samples
from whisperfusion.call.audio_input import AudioInput, Transcription
from whisperfusion.client.events import Flushed, Paused, ReplyAudio, Resumed
from whisperfusion.client.timed_call import Observed
from whisperfusion.engines import ASROptions, Hypothesis
from whisperfusion.messages import Cancel, Commit, Generate, Pause, Resume, Sentence
from whisperfusion.output.playout import Playout
from whisperfusion.turns import commands as turns
from whisperfusion.turns import events
from whisperfusion.turns.barge_in import probably_noise
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.options import Options

DECODE_S = 0.2  # of one pass over a few seconds, on two cores
ROOM_NOISE = 0.0003  # root mean square; digital silence is rare at a microphone
WINDOW_S = VAD_WINDOW / MICROPHONE_RATE


@dataclass(frozen=True)
class SpokenAnswer:
    """`pieces`: (text, float32 [samples] at 24 kHz)."""

    pieces: tuple[tuple[str, Samples], ...]


@dataclass
class Found:
    """Of one try; times in seconds of the call."""

    sound_at: float = 0.0  # when the sound that is tried begins
    pauses: list[tuple[float, float | None]] = field(default_factory=list)
    interrupted_at: float | None = None
    ended_at: float | None = None  # of the answer, played to its end
    turns: list[str] = field(default_factory=list)  # of the user, after the typed one
    passes: list[tuple[float, str, bool]] = field(default_factory=list)  # text, taken for noise


class OverlapCall:
    """`echo_db` None: headphones. `sound` begins when `after_s` of the answer were played."""

    def __init__(
        self,
        asr: Any,
        vad: Any,
        answer: SpokenAnswer,
        sound: Samples,
        *,
        after_s: float = 2.0,
        echo_db: float | None = None,
    ) -> None:
        self._asr, self._answer, self._after_s = asr, answer, after_s
        self._sound = sound
        self._audio = AudioInput(vad.create_stream())
        self._speaker = Loudspeaker()
        self._room = None if echo_db is None else Room(self._speaker, echo_db)
        self._noise = np.random.default_rng(5)
        self._conversation = Conversation("bench", Options(turn_detector=False))
        self._playout: Playout[Samples] = Playout(SPEECH_RATE)
        self._heap: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._free = {True: 0.0, False: 0.0}  # when each engine thread has no job
        self._waiting = {True: False, False: False}
        self._now, self._timer, self._play_timer = 0.0, 0, 0
        self._sound_from: int | None = None  # sample of the call
        self.found = Found()

    def run(self, after_s: float) -> Found:
        """Until `after_s` after the sound, or after the answer if there is none."""
        self._event(events.CallOpened())
        self._event(events.TextTyped("Tell me a story."))
        while not self._over(after_s):
            end = (self._audio.position + VAD_WINDOW) / MICROPHONE_RATE
            self._run_to(end)
            window = self._microphone(end - WINDOW_S)
            self._event(events.SpeechProbability(self._audio.feed(window)))
        return self.found

    def _over(self, after_s: float) -> bool:
        found = self.found
        if found.interrupted_at is not None and found.turns:
            return True
        if len(self._sound):
            length = len(self._sound) / MICROPHONE_RATE
            return bool(found.sound_at) and self._now > found.sound_at + length + after_s
        return found.ended_at is not None and self._now > found.ended_at + after_s

    # --- the person and the room -----------------------------------------------------------------

    def _microphone(self, begin: float) -> Samples:
        window = self._noise.standard_normal(VAD_WINDOW).astype(np.float32) * ROOM_NOISE
        at = self._audio.position
        started = self._speaker.first_audible()
        if self._sound_from is None and started is not None and len(self._sound):
            if begin >= started + self._after_s:
                self._sound_from, self.found.sound_at = at, at / MICROPHONE_RATE
        if self._sound_from is not None:
            part = self._sound[at - self._sound_from : at - self._sound_from + VAD_WINDOW]
            window[: len(part)] += part
        if self._room is not None:
            window += self._room.echo(begin, VAD_WINDOW)
        return np.clip(window, -1.0, 1.0)

    # --- time ------------------------------------------------------------------------------------

    def _at(self, when: float, action: Any, *arguments: Any) -> None:
        heapq.heappush(self._heap, (max(when, self._now), next(self._order), action, arguments))

    def _run_to(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self._now, _, action, arguments = heapq.heappop(self._heap)
            action(*arguments)
        self._now = until

    def _event(self, event: events.Event) -> None:
        self._act(self._conversation.receive(event, self._now))
        self._timer += 1
        if self._conversation.wake_at is not None:
            self._at(self._conversation.wake_at, self._wake, self._timer)

    def _wake(self, timer: int) -> None:
        if timer == self._timer:
            self._event(events.Wake())

    # --- commands --------------------------------------------------------------------------------

    def _act(self, commands: Sequence[turns.Command]) -> None:
        for command in commands:
            match command:
                case Generate() | Sentence() | Commit() | Pause() | Resume() | Cancel():
                    self._reply(command)
                case turns.StartTranscribing(at):
                    options = ASROptions(language="en")
                    interim, final = (self._asr.create_utterance(options) for _ in range(2))
                    self._audio.start_transcription(interim, final, at)
                case turns.StopTranscribing():
                    self._audio.stop_transcription()
                case turns.RequestTranscript(urgent):
                    self._request(urgent)
                case turns.ReplyInterrupted():
                    self.found.interrupted_at = self._now
                case turns.UserTurnFinal(turn, text) if turn > 1:
                    self.found.turns.append(text)

    def _request(self, urgent: bool) -> None:
        """One thread each, as in the server: a request that waits gets all that came by then."""
        if not self._waiting[urgent]:
            self._waiting[urgent] = True
            self._at(max(self._now, self._free[urgent]), self._decode, urgent)

    def _decode(self, urgent: bool) -> None:
        self._waiting[urgent] = False
        transcription = self._audio.transcription
        taken = None if transcription is None else transcription.collect(urgent)
        if taken is not None:
            utterance, audio, upto = taken
            self._free[urgent] = self._now + DECODE_S
            hypothesis = utterance.accept_audio(audio, urgent)
            self._at(self._free[urgent], self._transcript, transcription, hypothesis, upto)

    def _transcript(self, of: Transcription, hypothesis: Hypothesis, upto: int) -> None:
        if of is not self._audio.transcription:
            return
        noise = probably_noise((one.no_speech_prob, one.avg_logprob) for one in hypothesis.segments)
        self.found.passes.append((self._now, hypothesis.text, noise))
        self._event(events.InterimTranscript(hypothesis.text, upto, noise))

    # --- the answer and the loudspeaker ----------------------------------------------------------

    def _reply(self, command: Any) -> None:
        match command:
            case Generate(ticket):
                texts = [text for text, _ in self._answer.pieces]
                for index, text in enumerate(texts):
                    piece = Sentence(ticket, index, text, last=index == len(texts) - 1)
                    self._at(self._now, self._event, piece)
            case Commit(ticket):
                for index, (_, pcm) in enumerate(self._answer.pieces):
                    self._playout.put(ticket, index, pcm)
                    self._playout.end(ticket, index, index == len(self._answer.pieces) - 1)
                self._playout.commit(ticket)
            case Pause(ticket):
                self._playout.pause(ticket, self._now)
                self._speaker.observe(Observed(self._now, Paused()))
                self.found.pauses.append((self._now, None))
            case Resume(ticket):
                self._playout.resume(ticket, self._now)
                self._speaker.observe(Observed(self._now, Resumed()))
                self.found.pauses[-1] = (self.found.pauses[-1][0], self._now)
            case Cancel(ticket):
                self._playout.cancel(ticket, self._now)
                self._speaker.observe(Observed(self._now, Flushed(ticket.turn)))
        self._play()

    def _play(self) -> None:
        for chunk in self._playout.release(self._now):
            audio = ReplyAudio(chunk.ticket.turn, b"")
            self._speaker.observe(Observed(self._now, audio, chunk.audio))
        for fact in self._playout.progress(self._now):
            if fact.last:
                self.found.ended_at = self._now
            self._at(self._now, self._event, fact)
        self._play_timer += 1
        wake_at = self._playout.wake_at(self._now)
        if wake_at is not None:
            self._at(wake_at, self._play_on, self._play_timer)

    def _play_on(self, timer: int) -> None:
        if timer == self._play_timer:
            self._play()
