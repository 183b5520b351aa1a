"""The whole server on a virtual clock: real core, scripted engines, a person with a script.

A heap of (time, order, action) is all the time there is. Messages between the three processes travel with
random delays; each pair of processes keeps its order, as queues do, but different pairs overtake each
other. A process can be told to lose its work, as one that was killed does. Nothing here sleeps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from dataclasses import dataclass, field

from fusion.core import turns
from fusion.core.conversation import Conversation, State
from fusion.core.endpoint import RATE, WINDOW, Endpoint, SpeechStarted, SpeechStopped
from fusion.core.mailbox import Mailbox
from fusion.core.playout import Playout
from fusion.core.text import Clauses, words
from fusion.messages import Cancel, Commit, Failed, Generate, Hold, Joined, Prepare, Resume, Sentence, Spoken, Ticket

SPOKEN = 100  # samples per second of our voice in this world: enough to be exact to 10 ms
WORD_S = 0.3  # our voice says a word in
VOICE_LEAD_S = 0.2
MICROPHONE_S = 5.0  # of silence after the last sound; more would change nothing


@dataclass(frozen=True)
class Utterance:
    """A person makes a sound at `at` seconds: words of 0.25 s each, or a cough without any."""

    at: float
    words: tuple[str, ...] = ()
    cough_s: float = 0.0

    @property
    def end(self) -> float:
        return self.at + (0.25 * len(self.words) if self.words else self.cough_s)


@dataclass
class Heard:
    """What reached the person's ears: (time, ticket, sentence, samples)."""

    chunks: list[tuple[float, Ticket, int, int]] = field(default_factory=list)


class World:
    def __init__(self, seed: int, script: list[Utterance], *, loss: float = 0.0, replies: tuple[int, int] = (3, 30)) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self._heap: list = []
        self._order = itertools.count()
        self._last_arrival: dict[tuple[str, str], float] = defaultdict(float)
        self.script, self.loss, self.reply_words = script, loss, replies
        self.conversation = Conversation("a", "Be nice.")
        self.endpoint = Endpoint()
        self.hearing: int | None = None  # sample at which the present utterance began
        self.timer = 0
        self.playout: Playout[list[int]] = Playout(SPOKEN, VOICE_LEAD_S)
        self.pump = 0
        self.committed: Ticket | None = None
        self.waiting: list[Sentence] = []
        self.llm: Mailbox[Generate] = Mailbox()
        self.heard = Heard()
        self.texts: dict[Ticket, dict[int, str]] = defaultdict(dict)
        self.told: list[turns.Command] = []
        self.tts_newest = Ticket("a", 0, 0)
        self.cancelled_at: dict[Ticket, float] = {}
        self.violations: list[str] = []
        self.lost = False

    # --- time ---------------------------------------------------------------------------------------------

    def at(self, when: float, action, *arguments) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), action, arguments))

    def run(self, until: float) -> None:
        listened = max((u.end for u in self.script), default=0.0) + MICROPHONE_S
        for window in range(int(min(until, listened) * RATE / WINDOW)):
            self.at((window + 1) * WINDOW / RATE, self._window)
        while self._heap:
            when, _, action, arguments = heapq.heappop(self._heap)
            if when > until:
                break
            self.now = when
            action(*arguments)

    def send(self, source: str, target: str, action, *arguments) -> None:
        if self.random.random() < self.loss:
            self.lost = True
            return
        arrival = max(self.now + self.random.choice((0.001, 0.01, 0.1)) * self.random.random(), self._last_arrival[source, target])
        self._last_arrival[source, target] = arrival
        self.at(arrival, action, *arguments)

    # --- the person and the listening process -------------------------------------------------------------

    def _sound(self, when: float) -> bool:
        return any(u.at <= when < u.end for u in self.script)

    def _window(self) -> None:
        events = self.endpoint.feed(0.9 if self._sound(self.now - WINDOW / RATE / 2) else 0.05)
        for event in events:
            self._endpoint(event)
        if self.endpoint.score_due:
            self.endpoint.score_due = False
            at = self.endpoint.stopped_at
            self.at(self.now + 0.06, self._score, self.random.random(), at)
        if self.hearing is not None and self.random.random() < 0.08:
            self._ask_words()

    def _endpoint(self, event) -> None:
        if isinstance(event, SpeechStarted):
            self.act(self.conversation.speech_started(event.at, self.now))
        elif isinstance(event, SpeechStopped):
            self.act(self.conversation.speech_stopped(event.at, event.at / RATE, self.now))
            self._ask_words()
        else:
            self.act(self.conversation.turn_ended(event.sure, self.now))

    def _score(self, probability: float, at: int) -> None:
        for event in self.endpoint.score(probability, at):
            self._endpoint(event)

    def _ask_words(self) -> None:
        if self.hearing is not None:
            began, upto = self.hearing, self.endpoint.position
            self.at(self.now + self.random.uniform(0.05, 0.4), self._words, began, upto)

    def _words(self, began: int, upto: int) -> None:
        if began != self.hearing:
            return
        found = [
            word
            for u in self.script
            for i, word in enumerate(u.words)
            if began / RATE <= u.at + 0.25 * i + 0.125 and u.at + 0.25 * (i + 1) <= upto / RATE + 0.01
        ]
        self.act(self.conversation.heard_words(" ".join(found), upto, self.now))

    def act(self, commands: list) -> None:
        for command in commands:
            if isinstance(command, turns.StartHearing):
                self.hearing = command.at
            elif isinstance(command, turns.StopHearing):
                self.hearing = None
                self.endpoint.close_turn()
            elif isinstance(command, (Generate, Prepare)):
                self.send("asr", "llm", self._llm, command)
            elif isinstance(command, Cancel):
                self.cancelled_at[command.ticket] = self.now
                self.send("asr", "llm", self._llm, command)
                self.send("asr", "tts", self._tts, command)
            elif isinstance(command, (Sentence, Commit, Hold, Resume, Joined)):
                self.send("asr", "tts", self._tts, command)
                if isinstance(command, Sentence):
                    self.texts[command.ticket][command.index] = command.text
            else:
                self.told.append(command)
        self.timer += 1
        if self.conversation.wake_at is not None:
            self.at(self.conversation.wake_at, self._wake, self.timer)

    def _wake(self, timer: int) -> None:
        if timer == self.timer:
            self.act(self.conversation.wake(self.now))

    def typed(self, text: str) -> None:
        self.act(self.conversation.typed(text, self.now))

    def interrupt(self) -> None:
        self.act(self.conversation.interrupt(self.now))

    def deliver(self, message) -> None:
        handler = {Sentence: self.conversation.sentence, Spoken: self.conversation.spoken, Failed: self.conversation.failed}
        self.act(handler[type(message)](message, self.now))

    def kill(self, stage: str) -> None:
        """The process dies with its work; a new one takes its place at once."""
        if stage == "llm":
            self.llm = Mailbox()
            self.generation = None
        else:
            self.playout, self.committed, self.waiting = Playout(SPOKEN, VOICE_LEAD_S), None, []
            self.tts_newest = Ticket("a", 0, 0)
        self.lost = True
        self.act(self.conversation.stage_down(stage, self.now))

    # --- the thinking process -----------------------------------------------------------------------------

    def _llm(self, message) -> None:
        if isinstance(message, Cancel):
            self.llm.raise_to(message.ticket)
        elif isinstance(message, Generate):
            if self.llm.put(message.ticket, message):
                self.llm.take()
                self.llm.done("a")
                count = self.random.randint(*self.reply_words)
                text = " ".join(f"w{message.ticket.turn}x{i}{'.' if i % 7 == 6 else ''}" for i in range(count)) + "."
                self.at(self.now + self.random.uniform(0.05, 0.5), self._token, message.ticket, text.split(" "), Clauses(), 0, self.llm)
        elif isinstance(message, Prepare):
            self.llm.raise_to(message.ticket)

    def _token(self, ticket: Ticket, left: list[str], clauses: Clauses, index: int, mailbox: Mailbox) -> None:
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
            self.at(self.now + self.random.uniform(0.01, 0.08), self._token, ticket, left[1:], clauses, index, mailbox)

    # --- the speaking process -----------------------------------------------------------------------------

    def _tts(self, message) -> None:
        ticket = message.ticket
        if ticket < self.tts_newest:
            return
        if isinstance(message, Sentence):
            if message.index and self.committed != ticket:
                self.waiting = [s for s in self.waiting if s.ticket == ticket] + [message]
            else:
                self.at(self.now + self.random.uniform(0.02, 0.2), self._made, message, self.playout)
        elif isinstance(message, Commit):
            self.committed = ticket
            self.playout.commit(ticket)
            waiting, self.waiting = self.waiting, []
            for sentence in waiting:
                if sentence.ticket == ticket:
                    self._tts(sentence)
        elif isinstance(message, Hold):
            self.playout.hold(ticket, self.now)
        elif isinstance(message, Resume):
            self.playout.resume(ticket, self.now)
        elif isinstance(message, Cancel):
            self.tts_newest = ticket
            self.playout.cancel(ticket, self.now)
        self._pump()

    def _made(self, message: Sentence, playout: Playout) -> None:
        if playout is self.playout and not message.ticket < self.tts_newest:
            self.playout.put(message.ticket, message.index, [0] * int(len(words(message.text)) * WORD_S * SPOKEN))
            self.playout.end(message.ticket, message.index, message.last)
            self._pump()

    def _pump(self) -> None:
        for chunk in self.playout.release(self.now):
            if chunk.ticket != self.committed:
                self.violations.append(f"{self.now}: {chunk.ticket} left, committed is {self.committed}")
            if chunk.ticket < self.tts_newest:
                self.violations.append(f"{self.now}: {chunk.ticket} left after {self.tts_newest}")
            self.heard.chunks.append((self.now, chunk.ticket, chunk.index, len(chunk.audio)))
        for fact in self.playout.spoken(self.now):
            self.send("tts", "asr", self.deliver, fact)
        self.pump += 1
        wake = self.playout.wake_at(self.now)
        if wake is not None:
            self.at(wake, self._pump_timer, self.pump)

    def _pump_timer(self, pump: int) -> None:
        if pump == self.pump:
            self._pump()

    # --- checks -------------------------------------------------------------------------------------------

    def check(self) -> None:
        assert self.violations == []
        assert self.conversation.state is State.IDLE, self.conversation.state
        assert self.conversation.reply is None and self.conversation.wake_at is None
        self._memory_was_heard()

    def _memory_was_heard(self) -> None:
        """Every word that memory says we said belongs to one reply, from its start, and had left as audio."""
        sent: dict[Ticket, int] = defaultdict(int)
        for _, ticket, _, count in self.heard.chunks:
            sent[ticket] += count
        replies = {ticket: words(" ".join(text for _, text in sorted(pieces.items()))) for ticket, pieces in self.texts.items()}
        for line in self.conversation.memory.lines:
            if line.role != "assistant":
                continue
            said = words(line.text)
            fitting = [ticket for ticket, whole in replies.items() if whole[: len(said)] == said and sent[ticket]]
            assert fitting, f"{line.text!r} was never said"
            seconds = max(sent[ticket] for ticket in fitting) / SPOKEN
            assert len(said) * WORD_S <= seconds + WORD_S, f"{line.text!r} needs more than the {seconds:.1f} s that left"
