"""The whole server on a virtual clock: the real core, scripted engines, a room with a person in it.

A heap of (time, order, action) is all the time there is. Messages between the three processes
travel with random delays; each pair of processes keeps its order, as queues do, but different pairs
overtake each other. A process can be told to lose its work, as one that was killed does. Nothing
here sleeps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from dataclasses import replace

from room import Room, Stretch, Utterance
from world_checks import history_was_heard
from world_speaking import Speaking

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW
from whisperfusion.messages import (
    Cancel,
    Commit,
    Generate,
    Pause,
    Prefill,
    Resume,
    Sentence,
    Ticket,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.output.playout import FILLER
from whisperfusion.runtime.mailbox import Mailbox
from whisperfusion.text.segmentation import Clauses, words
from whisperfusion.turns import commands as turns
from whisperfusion.turns import events
from whisperfusion.turns.commands import TurnCounts
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.harm import HarmMeter
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import State
from whisperfusion.turns.turn_detection import max_silence_s

MICROPHONE_S = 6.0  # of silence after the last sound: more than the longest pause
OUR_WORDS = """
    sun moon river stone forest cloud window garden silver copper orange purple winter summer
    bridge castle market village harbor island mountain valley candle mirror pepper butter
    dinner carpet pillow basket
""".split()


class World:
    """`reactions`: (seconds after its first sound, what the person then says, and then) for one
    answer after the other. `opening`, `closing`: with which every answer begins and ends.
    """

    def __init__(
        self,
        seed: int,
        script: list[Utterance],
        *,
        reactions: tuple[tuple, ...] = (),
        loss: float = 0.0,
        replies: tuple[int, int] = (3, 30),
        echo_s: float | None = None,
        slow: float = 1.0,
        scored: bool = True,
        eagerness: float = 0.5,
        filler: str = "",
        opening: str = "",
        closing: str = "",
        counts: TurnCounts | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self._heap: list = []
        self._order = itertools.count()
        self._last_arrival: dict[tuple[str, str], float] = defaultdict(float)
        self.reactions, self.loss, self.reply_words, self.slow = (
            list(reactions),
            loss,
            replies,
            slow,
        )
        self.opening, self.closing = opening.split(), closing.split()
        self.slowest_token_s = 2.5 if filler else 0.5
        options = Options(
            "Be nice.",
            filler=filler,
            turn_detector=scored,
            eagerness=eagerness,
            max_silence_s=max_silence_s(True, eagerness),
        )
        self.conversation = Conversation("a", options, counts=counts)
        self.meter = HarmMeter()
        self.texts: dict[Ticket, dict[int, str]] = defaultdict(dict)
        self.room = Room(
            seed,
            script,
            lambda ticket, index: filler if index == FILLER else self.texts[ticket].get(index, ""),
            echo_s,
        )
        self.told: list[tuple[float, turns.Command]] = []
        # number of the present utterance, sample at which it began
        self.hearing: tuple[int, int] | None = None
        self._hearings = itertools.count()
        self._read_to = 0  # how far its audio was read
        self._engine_free, self._words_wait = 0.0, False
        self.timer = 0
        self.heard: list[Stretch] = []  # what left, as it left
        self.violations: list[str] = []
        self.llm: Mailbox[Generate] = Mailbox()
        self.speaking = Speaking(self)
        self._listening = False
        self.event(events.CallOpened())
        self._listen()

    # --- time ------------------------------------------------------------------------------------

    def at(self, when: float, action, *arguments) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), action, arguments))

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action, arguments = heapq.heappop(self._heap)
            action(*arguments)

    def send(self, source: str, target: str, action, *arguments) -> None:
        if self.random.random() < self.loss:
            return
        arrival = max(
            self.now + self.random.choice((0.001, 0.01, 0.1)) * self.random.random(),
            self._last_arrival[source, target],
        )
        self._last_arrival[source, target] = arrival
        self.at(arrival, action, *arguments)

    # --- the listening process -------------------------------------------------------------------

    def _window(self) -> None:
        heard_at = self.now - VAD_WINDOW / MICROPHONE_RATE / 2
        self.event(events.SpeechProbability(self.room.probability(heard_at)))
        echoing = self.room.echo_s is not None and self.conversation.state is not State.IDLE
        # the detector takes a noise for speech: its end must be heard
        rustling = self.conversation.speaking
        self._listening = (
            echoing
            or rustling
            or bool(self.reactions)
            or not self.room.quiet_after(self.now - MICROPHONE_S)
        )
        if self._listening:
            self.at((self.conversation.position + VAD_WINDOW) / MICROPHONE_RATE, self._window)

    def _listen(self) -> None:
        """Go on with the microphone.

        While nothing sounded it was not looked at; there was silence.
        """
        while self.conversation.position < (self.now - 1.0) * MICROPHONE_RATE:
            self.event(events.SpeechProbability(0.0))
        if not self._listening:
            self._listening = True
            self.at((self.conversation.position + VAD_WINDOW) / MICROPHONE_RATE, self._window)

    def ask_words(self) -> None:
        """One engine, as in the shell: a request that waits is not repeated, and gets all that
        was heard by then.
        """
        if not self._words_wait:
            self._words_wait = True
            self.at(max(self.now, self._engine_free), self._recognise)

    def _recognise(self) -> None:
        self._words_wait = False
        if self.hearing is None or self.conversation.position <= self._read_to:
            return
        self._engine_free = self.now + self.random.uniform(0.05, 0.4) * self.slow
        self._read_to = upto = self.conversation.position
        text, noise = self.room.recognise(self.hearing[1] / MICROPHONE_RATE, upto / MICROPHONE_RATE)
        if self.random.random() >= self.loss:
            self.at(self._engine_free, self._words, self.hearing, text, upto, noise)

    def _words(self, hearing: tuple[int, int], text: str, upto: int, noise: bool) -> None:
        if hearing == self.hearing:
            self.event(events.InterimTranscript(text, upto, noise))

    def _score(self, probability: float, stopped_at: int) -> None:
        self.event(events.EndOfTurnProbability(probability, stopped_at))

    def receive(self, event: events.Event, now: float) -> list:
        commands = self.conversation.receive(event, now)
        self.meter.receive(now, event, commands)
        return commands

    def event(self, event: events.Event) -> None:
        self.act(self.receive(event, self.now))

    def act(self, commands: list) -> None:
        for command in commands:
            if isinstance(command, turns.RequestTranscript):
                self.ask_words()
            elif isinstance(command, turns.RequestTurnDetection):
                if self.random.random() >= self.loss:
                    late = self.random.choice((0.04, 0.08, 0.5, 3.0))
                    self.at(
                        self.now + late * self.slow * self.random.random(),
                        self._score,
                        self.random.random(),
                        command.stopped_at,
                    )
            elif isinstance(command, turns.StartTranscribing):
                self.hearing, self._read_to = (next(self._hearings), command.at), command.at
            elif isinstance(command, turns.StopTranscribing):
                self.hearing = None
            elif isinstance(command, (Generate, Prefill, Cancel)):
                self.send("asr", "llm", self._llm, command)
            if isinstance(command, (Sentence, Commit, Pause, Resume, Cancel)):
                self.send("asr", "tts", self._tts, command)
            if isinstance(command, Sentence):
                self.texts[command.ticket][command.index] = command.text
            if (
                isinstance(command, Generate)
                and command.brief is not self.conversation.options.brief
            ):
                self.violations.append(f"{self.now}: {command.ticket} is brief: {command.brief}")
            self.told.append((self.now, command))
        self.timer += 1
        if self.conversation.wake_at is not None:
            self.at(self.conversation.wake_at, self._wake, self.timer)

    def _wake(self, timer: int) -> None:
        if timer == self.timer:
            self.event(events.Wake())

    def deliver(self, message) -> None:
        self.event(message)

    # --- what may happen to it -------------------------------------------------------------------

    def say(self, *said: str) -> None:
        self.room.script.append(Utterance(self.now + 0.5, said))
        self._listen()

    def typed(self, text: str) -> None:
        self.event(events.TextTyped(text))

    def interrupt(self) -> None:
        self.event(events.InterruptReply())

    def commit(self) -> None:
        self.event(events.CommitTurn())

    def respond(self, changes: dict[str, str]) -> None:
        self.event(events.CreateReply(f"r{self.now}", **changes))

    def clear(self) -> None:
        self.event(events.ClearInput())

    def announce(self, text: str) -> None:
        self.event(events.Announcement(text))

    def use_tool(self, id: str, took_s: float) -> None:
        """The reply at hand, wanted or not, uses a tool of the server."""
        ticket = self.conversation.reply_ticket
        if ticket is not None:
            self.send("llm", "asr", self.deliver, ToolStarted(ticket, id, "look", "{}"))
            self.at(self.now + took_s, self._tool_finished, ToolFinished(ticket, id, "rain"))

    def _tool_finished(self, message: ToolFinished) -> None:
        self.send("llm", "asr", self.deliver, message)

    def remember(self) -> None:
        """The client has a history of its own: nothing was said."""
        self.event(events.HistoryReplaced(()))

    def ration(self, partial_s: float, level: int) -> None:
        """As `Caller.ration`; the recognizer of an overloaded machine is slow as well."""
        self.slow = 1.0 + level
        self.change(interim_every_s=partial_s, early_replies=level < 1, brief=level >= 3)

    def change(self, **options: object) -> None:
        """The options of the call."""
        changed = replace(self.conversation.options, **options)
        self.receive(events.OptionsChanged(changed), self.now)

    def kill(self, stage: str) -> None:
        """The process dies with its work; a new one takes its place at once."""
        if stage == "llm":
            self.llm = Mailbox()
        else:
            self.speaking.kill()
            self.speaking = Speaking(self)
        self.event(events.StageDown(stage))

    # --- the thinking process --------------------------------------------------------------------

    def _llm(self, message) -> None:
        if not isinstance(message, Generate):
            self.llm.raise_to(message.ticket)
        elif self.llm.put(message.ticket, message):
            self.llm.pop()
            self.llm.done("a")
            count = self.random.randint(*self.reply_words)
            first = 7 * message.ticket.turn
            left = self.opening + [
                OUR_WORDS[(first + i) % len(OUR_WORDS)] + ("." if i % 7 == 6 else "")
                for i in range(count)
            ]
            left[-1] = left[-1].rstrip(".") + "."
            left += self.closing
            self.at(
                self.now + self.random.uniform(0.05, self.slowest_token_s),
                self._token,
                message.ticket,
                left,
                Clauses(),
                0,
                self.llm,
            )

    def _token(
        self, ticket: Ticket, left: list[str], clauses: Clauses, index: int, mailbox: Mailbox
    ) -> None:
        if mailbox is not self.llm or self.llm.stale(ticket):
            return
        ready = clauses.feed(left[0] + (" " if len(left) > 1 else ""))
        if len(left) == 1:
            ready.append(clauses.flush())
        for i, clause in enumerate(ready):
            message = Sentence(ticket, index, clause, last=len(left) == 1 and i == len(ready) - 1)
            self.texts[ticket][index] = clause
            index += 1
            self.send("llm", "tts", self._tts, message)
            self.send("llm", "asr", self.deliver, message)
        if len(left) > 1:
            self.at(
                self.now + self.random.uniform(0.01, 0.08),
                self._token,
                ticket,
                left[1:],
                clauses,
                index,
                mailbox,
            )

    # --- the speaking process (world_speaking.py) -------------------------------------------------

    def _tts(self, message) -> None:
        self.speaking.receive(message)

    def leaves(self, part: Stretch) -> None:
        """Audio has left for the client; a person may react to the first of an answer."""
        if self.reactions and not any(earlier.ticket == part.ticket for earlier in self.heard):
            after, *said = self.reactions.pop(0)
            for one in said:
                self.room.script.append(replace(one, at=self.now + after + one.at))
        self.heard.append(part)
        self.room.loudspeaker.play(part)

    # --- checks ----------------------------------------------------------------------------------

    def facts(self, kind) -> list:
        return [fact for _, fact in self.told if isinstance(fact, kind)]

    def understood(self) -> list[str]:
        """The person's words as the turns have them."""
        return [word for fact in self.facts(turns.UserTurnFinal) for word in words(fact.text)]

    def check(self) -> None:
        assert self.violations == []
        assert self.conversation.counts.unexpected_events == 0
        assert self.conversation.state is State.IDLE, self.conversation.state
        assert (
            self.conversation.reply_ticket is None
            and self.conversation.wake_at is None
            and self.hearing is None
        )
        assert self.conversation.paused_at is None and not self.conversation.deciding
        history_was_heard(self)
