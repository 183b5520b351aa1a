"""Two sockets, whose messages come in any order, become one ordered stream of events.

6006 sends transcripts and text, 8888 sends audio, and neither waits for the other. The
rules, whatever the interleaving:

1. Events of one socket keep their order.
2. A turn is opened by 6006: by its `UserTurn`, `ReplyStarted`, `ReplyText`, `ToolCall`, `ToolUsed`
   or end. What 8888 sends of a turn before that is held until then.
3. `ReplyDone` comes once, after the last text, the last audio and the last `ReplyPlayed` of the
   reply: what the user says from then on is another turn. Where audio is not paced, it comes after
   the last text and audio, long before that was played. A client without audio, or one that asked
   for it in the middle of a reply, does not wait for audio. When a newer turn begins, by the user
   or by a reply that comes by itself, a reply that was written and played is done.
4. `ReplyDone`, `ReplyInterrupted` and `Failed` end the reply of their turn: no text, tool call,
   audio or second end of it follows. What may follow is an account of it: `ReplyPlayed`, `Latency`,
   and `PlayedText`, which is also what an interruption after `ReplyDone` becomes.
5. `Flushed` drops the audio of its turn, held audio included, until audio of the turn starts
   again.

No sockets and no clock: `receive_asr` and `receive_tts` accept one message and return the
events that the client gets for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whisperfusion.client.events import (
    Event,
    Failed,
    Flushed,
    Paused,
    PlayedText,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyStarted,
    ReplyText,
    Resumed,
    ToolCall,
    ToolUsed,
    UserTurn,
)
from whisperfusion.wire import asr_events, tts_events

TURNS_KEPT = 16  # a turn this much older than the newest is forgotten


@dataclass
class _Turn:
    """How far the reply of one turn has come."""

    with_audio: bool  # its audio is expected on 8888
    opened: bool = False  # 6006 has named the turn
    held: list[Event] = field(default_factory=list)  # of 8888, until the turn is opened
    all_text: bool = False
    all_audio: bool = False
    all_sent: bool = False  # the same, of audio that is not paced
    all_played: bool = False  # by 6006
    over: bool = False

    @property
    def complete(self) -> bool:
        """The whole reply has arrived, and `ReplyDone` is still to come."""
        played = self.all_played and (self.all_audio or not self.with_audio)
        return self.all_text and (played or self.all_sent) and not self.over


class EventOrder:
    """The state of one call. `audio`: the client is connected to 8888."""

    def __init__(self, *, audio: bool) -> None:
        self._audio = audio
        self._turns: dict[int, _Turn] = {}
        self._sounding: int | None = None  # the turn that binary frames belong to

    @property
    def awaits_audio(self) -> bool:
        """A reply was played, by 6006, and its last audio is still on its way on 8888."""
        return any(
            turn.all_text and turn.all_played and not turn.over for turn in self._turns.values()
        )

    def listen(self, audio: bool) -> list[Event]:
        """8888 was connected or left: replies that are under way go on without it."""
        self._audio, self._sounding = audio, None
        for turn in self._turns.values():
            turn.with_audio = False
        return [one for number in list(self._turns) for one in self._finished(number)]

    # --- 6006 ------------------------------------------------------------------------------------

    def receive_asr(self, event: asr_events.AsrEvent) -> list[Event]:
        match event:
            case UserTurn() | ReplyStarted():
                return [*self._earlier_done(event.turn), event, *self._open(event.turn)]
            case ReplyText() | ToolCall() | ToolUsed():
                return self._reply(event)
            case ReplyPlayed():
                turn = self._turn(event.turn)
                turn.all_played = event.last
                if event.last and not event.seconds:
                    turn.with_audio = False
                return [event, *self._finished(event.turn)]
            case ReplyInterrupted():
                if self._turn(event.turn).over:
                    return [PlayedText(event.turn, event.played_text)]
                return self._end(event.turn, event)
            case Failed() if event.turn is not None:
                return self._end(event.turn, event)
            case asr_events.Warned():
                return [asr_events.Notice(event.message)]
            case (
                asr_events.Ready()
                | asr_events.ServerFull()
                | asr_events.Refused()
                | asr_events.TimeLimit()
                | asr_events.LanguageDetected()
                | asr_events.Segment()
                | asr_events.Speakers()
                | asr_events.SpeakerEmbedding()
                | asr_events.SampleQuality()
                | asr_events.RecordingDone()
            ):
                return []  # of the connection, or of a recording
        return [event]

    def _reply(self, event: ReplyText | ToolCall | ToolUsed) -> list[Event]:
        turn = self._turn(event.turn)
        if turn.over:
            return []
        done = [] if turn.opened else self._earlier_done(event.turn)
        events = [*done, event, *self._open(event.turn)]
        if isinstance(event, ReplyText):
            turn.all_text = event.last
        return [*events, *self._finished(event.turn)]

    def _end(self, number: int, event: Event) -> list[Event]:
        turn = self._turn(number)
        if turn.over:
            return []
        turn.over, turn.opened, turn.held = True, True, []
        return [event]

    def _open(self, number: int) -> list[Event]:
        turn = self._turn(number)
        turn.opened = True
        held, turn.held = turn.held, []
        return held

    def _earlier_done(self, newest: int) -> list[Event]:
        events: list[Event] = []
        for number, turn in list(self._turns.items()):
            if number < newest and turn.all_text and turn.all_played:
                turn.all_audio = True
                events += self._finished(number)
            if number <= newest - TURNS_KEPT:
                del self._turns[number]
        return events

    # --- 8888 ------------------------------------------------------------------------------------

    def receive_tts(self, message: tts_events.TtsEvent | bytes) -> list[Event]:
        match message:
            case bytes():
                if self._sounding is None or self._turn(self._sounding).over:
                    return []
                return self._when_open(self._sounding, ReplyAudio(self._sounding, message))
            case tts_events.AudioStarted(turn):
                self._turn(turn)
                self._sounding = turn
            case Paused() | Resumed():
                if self._sounding is not None:
                    return self._when_open(self._sounding, message)
                return [message]
            case Flushed(turn):
                self._turn(turn).held = []
                self._sounding = None
                return [message]
            case tts_events.AudioSent(turn):
                self._turn(turn).all_sent = True
                return self._finished(turn)
            case tts_events.AudioEnded(turn):
                self._turn(turn).all_audio = True
                return self._finished(turn)
            case tts_events.Rejected(id, code, text):
                return [Failed(code, text, id=id)]
        return []

    def _when_open(self, number: int, event: Event) -> list[Event]:
        turn = self._turn(number)
        if turn.opened:
            return [event]
        turn.held.append(event)
        return []

    # --- both ------------------------------------------------------------------------------------

    def _turn(self, number: int) -> _Turn:
        return self._turns.setdefault(number, _Turn(self._audio))

    def _finished(self, number: int) -> list[Event]:
        turn = self._turn(number)
        if not turn.complete:
            return []
        turn.over = True
        return [ReplyDone(number)]
