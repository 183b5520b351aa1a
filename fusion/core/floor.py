"""Who has the floor: the detector's view of a call (`Endpoint`) and the turns made of it (`Conversation`), as one.

Whatever happens in a call comes in here, one method for each kind of event, and goes out as commands: ask for words or
for a score, hear from here on, and all that the conversation wants. It also decides when words are asked for: regularly
while somebody speaks, at once when the sound stops. The shell (fusion/call/caller.py), the virtual world of the
tests and the replay of a recorded call are three users of this one object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.core.conversation import Conversation, State
from fusion.core.endpoint import RATE, STOP, TAIL, WINDOW, Endpoint, Event, ScoreDue, SpeechStarted, SpeechStopped, samples
from fusion.core.patience import silence_needed
from fusion.core.turns import AskScore, AskWords, Command, StartHearing, StopHearing
from fusion.messages import Called, Failed, Line, Sentence, Spoken

JUDGED = -1.0  # as `silence_s`: how much silence ends a turn is judged
EARLY = TAIL  # silence after which the words are asked for, before the endpoint is sure that it is a pause
PARTIAL_S = 0.3  # new audio between two partial transcripts, while there is time for them


class Floor:
    """`scored`: an end-of-turn model is there. `eagerness`: 0 patient to 1 eager."""

    def __init__(self, conversation: Conversation, endpoint: Endpoint, *, scored: bool = True, eagerness: float = 0.5) -> None:
        self.conversation, self.endpoint = conversation, endpoint
        self.scored, self.eagerness = scored, eagerness
        self.partial_s = PARTIAL_S
        self.silence_s = JUDGED  # exactly so much ends a turn, whatever was said
        self.ended_at = 0.0  # when the last speech ended
        self._score: float | None = None  # of the present pause
        self._awaiting: int | None = None  # the pause whose score is on its way
        self._judged: object = None  # what was known when the pause was last judged
        self._hearing = False
        self._asked_at = 0  # position of the last request for words
        self._quiet = 0  # samples of silence in a row

    @property
    def position(self) -> int:
        """Samples heard."""
        return self.endpoint.position

    @property
    def wake_at(self) -> float | None:
        return self.conversation.wake_at

    @property
    def deciding(self) -> bool:
        """Is something on its way that may end the present turn?"""
        paused = self.conversation.state is State.PAUSE
        return paused and (self.conversation.words is None or (self._awaiting is not None and self._awaiting == self.endpoint.stopped_at))

    # --- what the microphone and the engines tell -----------------------------------------------------------

    def window(self, probability: float, now: float) -> list[Command]:
        """The next 512 samples, which ended at `now`, and their speech probability."""
        self._quiet = 0 if probability >= STOP else self._quiet + WINDOW
        commands = self._events(self.endpoint.feed(probability), now)
        return [*commands, *self._ask(now)]

    def score(self, probability: float, stopped_at: int, now: float) -> list[Command]:
        """The end-of-turn model's answer for the pause that began at sample `stopped_at`; late answers are ignored."""
        if self._awaiting == stopped_at:
            self._awaiting = None
        if self.endpoint.stopped_at != stopped_at:
            return []
        self._score = probability
        return self._judge(now)

    def words(self, text: str, upto: int, now: float, doubtful: bool = False) -> list[Command]:
        """The recognizer's words up to sample `upto`."""
        return self._after(self.conversation.heard_words(text, upto, now, doubtful=doubtful, ending=bool(self._quiet)), now)

    # --- what the caller asks, the other processes tell, and the clock --------------------------------------

    def commit(self, now: float) -> list[Command]:
        """The caller says that the turn is over."""
        stops: list[Event] = [event for event in self.endpoint.end_turn() if isinstance(event, SpeechStopped)]
        return [*self._events(stops, now), *self._after(self.conversation.turn_ended(True, now, by_hand=True), now)]

    def opened(self, now: float) -> list[Command]:
        return self._after(self.conversation.opened(), now)

    def typed(self, text: str, now: float) -> list[Command]:
        self.ended_at = now
        return self._after(self.conversation.typed(text, now), now)

    def interrupt(self, now: float) -> list[Command]:
        return self._after(self.conversation.interrupt(now), now)

    def respond(self, changes: Mapping[str, Any], now: float, id: str = "") -> list[Command]:
        """Answer what was said so far. `changes`: other "instructions", "tools", "max_tokens", for this answer only; `id`: its name."""
        self.ended_at = now
        return self._after(self.conversation.respond(changes, now, id), now)

    def remember(self, lines: Sequence[Line], now: float) -> list[Command]:
        """The client knows better what was said so far."""
        return self._after(self.conversation.remember(lines), now)

    def result(self, id: str, output: str, now: float) -> list[Command]:
        """What came of a function that the answer used."""
        return self._after(self.conversation.result(id, output), now)

    def clear(self, now: float) -> list[Command]:
        return self._after(self.conversation.clear(now), now)

    def heard_up_to(self, turn: int, seconds: float, now: float) -> list[Command]:
        return self._after(self.conversation.heard_up_to(turn, seconds), now)

    def message(self, message: Sentence | Called | Spoken | Failed, now: float) -> list[Command]:
        if isinstance(message, Called):
            return self._after(self.conversation.called(message, now), now)
        if isinstance(message, Sentence):
            return self._after(self.conversation.sentence(message, now), now)
        if isinstance(message, Spoken):
            return self._after(self.conversation.spoken(message, now), now)
        return self._after(self.conversation.failed(message, now), now)

    def stage_down(self, stage: str, now: float) -> list[Command]:
        return self._after(self.conversation.stage_down(stage, now), now)

    def wake(self, now: float) -> list[Command]:
        return self._after(self.conversation.wake(now), now)

    # --- one event ------------------------------------------------------------------------------------------

    def _events(self, events: Sequence[Event], now: float) -> list[Command]:
        commands: list[Command] = []
        for event in events:
            if isinstance(event, SpeechStarted):
                self._score = None
                commands += [event, *self._after(self.conversation.speech_started(event.at, now), now)]
            elif isinstance(event, SpeechStopped):
                self._score = None
                self.ended_at = now - (self.position - event.at) / RATE
                late = self._hearing and self._asked_at < event.at + TAIL
                commands += [event, *(self._ask_now() if late else [])]
                commands += self._after(self.conversation.speech_stopped(event.at, self.ended_at, now), now)
            elif isinstance(event, ScoreDue):
                if self.scored and self._automatic:
                    self._awaiting = event.stopped_at
                    commands.append(AskScore(event.stopped_at))
            else:
                commands += self._after(self.conversation.turn_ended(event.sure, now), now)
        return commands

    @property
    def _automatic(self) -> bool:
        return self.conversation.replies and self.conversation.automatic

    def _after(self, commands: list[Command], now: float) -> list[Command]:
        """What the conversation wants, seen from here; then the pause is judged again, for more may be known."""
        for command in commands:
            if isinstance(command, StartHearing):
                self._hearing, self._asked_at = True, self.position - self._quiet
            elif isinstance(command, StopHearing):
                self._hearing = False
                self.endpoint.close_turn()
        return [*commands, *self._judge(now)]

    def _judge(self, now: float) -> list[Command]:
        """How much silence would end the turn, as far as is known now?"""
        conversation = self.conversation
        automatic = self._automatic or (conversation.automatic and self.silence_s >= 0)
        if not automatic or conversation.state is not State.PAUSE or self.endpoint.stopped_at is None:
            return []
        known = (self.endpoint.stopped_at, self._score, conversation.words)
        if known == self._judged:
            return []
        self._judged = known
        needed: float | None = self.silence_s
        if self.silence_s < 0:
            needed = silence_needed(self._score, conversation.words, conversation.language, self.eagerness, conversation.telling)
        return self._events(self.endpoint.judge(needed), now)

    def _ask(self, now: float) -> list[Command]:
        """Words, regularly while somebody speaks, and at once when the sound stops."""
        if not self._hearing or not self.endpoint.speaking:
            return []
        stopping = EARLY <= self._quiet < EARLY + WINDOW
        regular = not self._quiet and self.position - self._asked_at >= samples(self.partial_s)
        if stopping:
            return [*self._ask_now(), *self._after(self.conversation.falls_silent(self.position - self._quiet, now), now)]
        if regular:
            self._asked_at = self.position
            return [AskWords(urgent=False)]
        return []

    def _ask_now(self) -> list[Command]:
        self._asked_at = self.position
        return [AskWords(urgent=True)]
