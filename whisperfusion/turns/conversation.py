"""The one entry into turn-taking: `Conversation.receive(event, now) -> [command, …]`.

Whatever happens in a call comes in here as an event and goes out as commands: request a transcript
or an end-of-turn probability, transcribe from here on, and all that the turns need
(whisperfusion/turns/turn_taking.py). `now` is in seconds on any steady clock; the next `Wake` is
due at `wake_at`. The shell (whisperfusion/call/caller.py), the virtual world of the tests and the
replay of a recorded call are three users of this one object.

This module connects the detector's view of the call (`Endpointer`) and the requests for transcripts
with the turns, and sets how much silence would end the present one, as far as that is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW
from whisperfusion.messages import ChatMessage, Ticket
from whisperfusion.turns import announcements, barge_in, events, turn_taking
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command, RequestTurnDetection, StopTranscribing, TurnCounts
from whisperfusion.turns.endpointing import (
    Endpointer,
    EndpointerEvent,
    SoundStopping,
    SpeechStarted,
    SpeechStopped,
    TurnDetectionDue,
    TurnEnded,
)
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import (
    PAUSES,
    REPLY_STATES,
    SPEAKING_OVER,
    USER_STATES,
    State,
    Trigger,
)
from whisperfusion.turns.transcript_requests import TranscriptRequests
from whisperfusion.turns.turn_detection import combined, silence_needed


class Conversation:
    """One call. Nothing but `receive` changes it; everything else only reads."""

    def __init__(
        self,
        call: str,
        options: Options | None = None,
        history: Sequence[ChatMessage] = (),
        counts: TurnCounts | None = None,
        summary: str = "",
    ) -> None:
        """`summary` stands for what was said before `history`."""
        options = options or Options()
        self._call = Call(call, options, history, counts, summary)
        self._endpointer = Endpointer(options)
        # the turn model's probability for the present pause, and that of the head on its states
        self._score: float | None = None
        self._by_states: float | None = None
        self._awaited: int | None = None  # the pause whose probability is on its way
        self._known: object = None  # what was known when the silence that is needed was last found
        self._requests = TranscriptRequests()
        self._quiet = 0  # samples of silence in a row

    # --- to be read ------------------------------------------------------------------------------

    @property
    def call(self) -> str:
        return self._call.replies.call

    @property
    def options(self) -> Options:
        return self._call.options

    @property
    def state(self) -> State:
        return self._call.state

    @property
    def counts(self) -> TurnCounts:
        return self._call.replies.counts

    @property
    def history(self) -> tuple[ChatMessage, ...]:
        return tuple(self._call.replies.history.messages)

    @property
    def summary(self) -> str:
        """Of what was said before the history; "" = nothing was."""
        return self._call.replies.history.summary

    @property
    def ticket(self) -> Ticket:
        """Of the present turn."""
        return self._call.replies.ticket

    @property
    def reply_ticket(self) -> Ticket | None:
        """Of the reply in flight, which may not be committed yet."""
        reply = self._call.replies.current
        return None if reply is None else reply.ticket

    @property
    def reply_complete(self) -> bool:
        """Is all text of the reply in flight known?"""
        reply = self._call.replies.current
        return reply is not None and reply.complete

    @property
    def apologizing(self) -> bool:
        """Is the reply in flight an apology or an announcement, which need no model?"""
        reply = self._call.replies.current
        return reply is not None and reply.needs_no_model

    @property
    def unfinished(self) -> tuple[str, str] | None:
        """What the user said last, and what was heard of the reply to it, while that is not
        finished. None for one that takes up a reply that was lost: that happens once.
        """
        call, reply = self._call, self._call.replies.current
        heard = ""
        if reply and reply.committed and not (reply.needs_no_model or reply.taken_up):
            heard = reply.played_text()
        elif not call.take_up:
            return None
        said = [one.text for one in self.history if one.role == "user"]
        return (said[-1] if said else "", heard)

    @property
    def unsaid(self) -> tuple[events.Announcement, ...]:
        """Announcements that were not said to their end."""
        return announcements.unsaid(self._call)

    @property
    def tools_used(self) -> tuple[ChatMessage, ...]:
        """Calls and results of the reply in flight. The history gets them with its end; a reply
        that takes it up has to know of them before, or it does everything twice.
        """
        reply = self._call.replies.current
        return tuple(reply.tool_uses.lines()) if reply and reply.committed else ()

    @property
    def awaited_since(self) -> float | None:
        """When the reply was committed of which nothing could be heard yet."""
        reply = self._call.replies.current
        made = reply and reply.committed and not reply.needs_no_model
        silent = made and reply and reply.first_sound_at is None
        return reply.committed_at if reply and silent else None

    @property
    def position(self) -> int:
        """Samples received."""
        return self._endpointer.position

    @property
    def speaking(self) -> bool:
        """Does the detector find speech?"""
        return self._endpointer.speaking

    @property
    def paused_at(self) -> int | None:
        """Where speech stopped, while the turn is open and the user is silent."""
        return self._endpointer.stopped_at

    @property
    def wake_at(self) -> float | None:
        """When the event `Wake` is due."""
        return self._call.wake_at

    @property
    def rows(self) -> tuple[tuple[State, Trigger], ...]:
        """Of the table of states, that the last event took."""
        return tuple(self._call.rows)

    @property
    def speech_ended_at(self) -> float:
        """When the user's last speech ended, or was typed."""
        return self._call.speech_ended_at

    @property
    def user_turn_open(self) -> bool:
        """Is the user speaking, or silent in the middle of a turn?"""
        return self.state in SPEAKING_OVER | {State.USER_SPEAKING, State.USER_PAUSED}

    @property
    def deciding(self) -> bool:
        """Is something on its way that may end the present turn?"""
        if self.state not in PAUSES:
            return False
        awaited = self._awaited is not None and self._awaited == self._endpointer.stopped_at
        return awaited or not self._call.user.complete

    def audio_must_wait(self, ahead: bool) -> bool:
        """Should audio that has come be kept back until something changes?

        A live microphone only waits for the last transcript of a turn that is over. A source that
        is `ahead` of real time also waits for whatever may end the turn, and for the reply.
        """
        if self.state is State.AWAITING_TRANSCRIPT:
            return True
        waits = self.deciding or self.state in SPEAKING_OVER | REPLY_STATES
        return ahead and waits and not self._paused_for_sound

    @property
    def expects_audio(self) -> bool:
        """Would a microphone that sends nothing keep a turn from ending, or a reply paused?"""
        if self._paused_for_sound:
            return True
        return self.options.replies and self.state in SPEAKING_OVER | USER_STATES

    @property
    def _paused_for_sound(self) -> bool:
        """Does the next window of audio decide whether playback goes on?"""
        call = self._call
        return self.state in REPLY_STATES and call.overlaps.sounds(call.replies.current)

    # --- the entry -------------------------------------------------------------------------------

    def receive(self, event: events.Event, now: float) -> list[Command]:
        self._call.rows.clear()
        match event:
            case events.SpeechProbability(p):
                self._call.enter(type(event))
                return self._window(p, now)
            case events.EndOfTurnProbability():
                self._call.enter(type(event))
                return self._end_of_turn(event, now)
            case events.OptionsChanged(options):
                self._endpointer.options = options
                return turn_taking.receive(self._call, event, now)
            case events.CommitTurn():
                stops = [
                    one for one in self._endpointer.end_turn() if isinstance(one, SpeechStopped)
                ]
                return [*self._endpointing(stops, now), *self._handle(event, now)]
            case events.TextTyped() | events.CreateReply():
                self._call.speech_ended_at = now
        return self._handle(event, now)

    def _handle(self, event: events.Event | turn_taking.Found, now: float) -> list[Command]:
        """One event of the turns, seen from here; then the pause is looked at again, for more may
        be known.
        """
        commands = turn_taking.receive(self._call, event, now)
        self._requests.follow(commands, self.position, self._quiet)
        if any(isinstance(command, StopTranscribing) for command in commands):
            self._endpointer.close_turn()
        return [*commands, *self._require_silence(now)]

    # --- the detector and the turn model ---------------------------------------------------------

    def _window(self, probability: float, now: float) -> list[Command]:
        """The next 512 samples, which ended at `now`."""
        sounding = self._endpointer.sounding(probability)
        self._quiet = 0 if sounding else self._quiet + VAD_WINDOW
        self._call.quiet = bool(self._quiet)
        commands = self._endpointing(self._endpointer.feed(probability), now)
        if not self._endpointer.speaking:
            if self.state in REPLY_STATES:
                first = probability >= self.options.vad_threshold
                commands += barge_in.first_sound(self._call, first, now)
            return commands
        if self._requests.sound_stops(self._quiet):
            stopping = SoundStopping(self.position - self._quiet)
            urgent = self._requests.urgent(self.position)
            return [*commands, urgent, *self._handle(stopping, now)]
        every_s = self.options.interim_every_s
        return [*commands, *self._requests.regular(self.position, self._quiet, every_s)]

    def _end_of_turn(self, found: events.EndOfTurnProbability, now: float) -> list[Command]:
        """Late answers are ignored."""
        if self._awaited == found.stopped_at:
            self._awaited = None
        if self._endpointer.stopped_at != found.stopped_at:
            return []
        self._score, self._by_states = found.p, found.by_states
        return self._require_silence(now)

    def _endpointing(self, found: Sequence[EndpointerEvent], now: float) -> list[Command]:
        commands: list[Command] = []
        for event in found:
            match event:
                case SpeechStarted():
                    self._score = self._by_states = None
                    commands += [event, *self._handle(event, now)]
                case SpeechStopped(at):
                    self._score = self._by_states = None
                    self._call.speech_ended_at = now - (self.position - at) / MICROPHONE_RATE
                    commands += [event, *self._requests.at_pause(at, self.position)]
                    commands += self._handle(event, now)
                case TurnDetectionDue(stopped_at):
                    if self.options.turn_detector and self._automatic:
                        self._awaited = stopped_at
                        commands.append(RequestTurnDetection(stopped_at))
                case TurnEnded():
                    commands += self._handle(event, now)
        return commands

    @property
    def _automatic(self) -> bool:
        return self.options.replies and self.options.automatic_turns

    def _require_silence(self, now: float) -> list[Command]:
        """How much silence would end the turn, as far as is known now?"""
        user, options = self._call.user, self.options
        automatic = self._automatic or (options.automatic_turns and options.silence_s is not None)
        stopped_at = self._endpointer.stopped_at
        if not automatic or self.state not in PAUSES or stopped_at is None:
            return []
        text = user.text if user.complete else None
        ended = combined(user.end_of_turn, self._by_states) if user.complete else None
        known = (stopped_at, self._score, text, ended)
        if known == self._known:
            return []
        self._known = known
        needed = options.silence_s
        if needed is None:
            needed = silence_needed(
                self._score,
                text,
                options.language,
                options.eagerness,
                user.narration,
                ended,
                self._call.replies.history.asked(),
            )
        return self._endpointing(self._endpointer.require(needed), now)
