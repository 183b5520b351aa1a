"""The whole server on a virtual clock: the real core, scripted engines, a room with a person in it.

A heap of (time, order, action) is all the time there is. Messages between the three processes travel with
random delays; each pair of processes keeps its order, as queues do, but different pairs overtake each
other. A process can be told to lose its work, as one that was killed does. Nothing here sleeps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from dataclasses import replace

from room import OUR_WORD_S, SPOKEN, Room, Stretch, Utterance

from fusion.core import turns
from fusion.core.conversation import Conversation, State
from fusion.core.endpoint import RATE, WINDOW, Endpoint
from fusion.core.floor import Floor
from fusion.core.mailbox import Mailbox
from fusion.core.patience import MOST_S, stretch
from fusion.core.playout import FILLER, Playout
from fusion.core.text import Clauses, words
from fusion.messages import Cancel, Commit, Generate, Hold, Prepare, Resume, Sentence, Ticket

VOICE_LEAD_S = 0.2
MICROPHONE_S = 6.0  # of silence after the last sound: more than the longest pause
OUR_WORDS = """sun moon river stone forest cloud window garden silver copper orange purple winter summer bridge castle market
    village harbor island mountain valley candle mirror pepper butter dinner carpet pillow basket""".split()


class World:
    """`reactions`: (seconds after its first sound, what the person then says) for one answer after the other."""

    def __init__(self, seed: int, script: list[Utterance], *, reactions: tuple[tuple[float, Utterance], ...] = (), loss: float = 0.0,
                 replies: tuple[int, int] = (3, 30), echo_s: float | None = None, slow: float = 1.0, scored: bool = True,
                 eagerness: float = 0.5, filler: str = "") -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self._heap: list = []
        self._order = itertools.count()
        self._last_arrival: dict[tuple[str, str], float] = defaultdict(float)
        self.reactions, self.loss, self.reply_words, self.slow = list(reactions), loss, replies, slow
        self.slowest_token_s = 2.5 if filler else 0.5
        self.conversation = Conversation("a", "Be nice.", filler=filler)
        self.floor = Floor(self.conversation, Endpoint(MOST_S * stretch(eagerness)), scored=scored, eagerness=eagerness)
        self.texts: dict[Ticket, dict[int, str]] = defaultdict(dict)
        self.room = Room(seed, script, lambda ticket, index: filler if index == FILLER else self.texts[ticket].get(index, ""), echo_s)
        self.told: list[tuple[float, turns.Command]] = []
        self.hearing: tuple[int, int] | None = None  # number of the present utterance, sample at which it began
        self._hearings = itertools.count()
        self._read_to = 0  # how far its audio was read
        self._engine_free, self._words_wait = 0.0, False
        self.timer = 0
        self.pump = 0
        self.heard: list[Stretch] = []  # what left, as it left
        self.violations: list[str] = []
        self.llm: Mailbox[Generate] = Mailbox()
        self._new_voice()
        self._listening = False
        self.act(self.floor.opened(0.0))
        self._listen()

    def _new_voice(self) -> None:
        self.playout: Playout[list[int]] = Playout(SPOKEN, VOICE_LEAD_S)
        self.committed: Ticket | None = None
        self.waiting: list[Sentence] = []
        self.tts_newest = Ticket("a", 0, 0)
        self.sent: dict[tuple[Ticket, int], int] = defaultdict(int)

    # --- time ---------------------------------------------------------------------------------------------

    def at(self, when: float, action, *arguments) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), action, arguments))

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action, arguments = heapq.heappop(self._heap)
            action(*arguments)

    def send(self, source: str, target: str, action, *arguments) -> None:
        if self.random.random() < self.loss:
            return
        arrival = max(self.now + self.random.choice((0.001, 0.01, 0.1)) * self.random.random(), self._last_arrival[source, target])
        self._last_arrival[source, target] = arrival
        self.at(arrival, action, *arguments)

    # --- the listening process ----------------------------------------------------------------------------

    def _window(self) -> None:
        self.act(self.floor.window(self.room.probability(self.now - WINDOW / RATE / 2), self.now))
        echoing = self.room.echo_s is not None and self.conversation.state is not State.IDLE
        rustling = self.floor.endpoint.speaking  # the detector takes a noise for speech: its end must be heard
        self._listening = echoing or rustling or bool(self.reactions) or not self.room.quiet_after(self.now - MICROPHONE_S)
        if self._listening:
            self.at((self.floor.position + WINDOW) / RATE, self._window)

    def _listen(self) -> None:
        """Go on with the microphone. While nothing sounded nobody looked at it; there was silence."""
        while self.floor.position < (self.now - 1.0) * RATE:
            self.act(self.floor.window(0.0, self.now))
        if not self._listening:
            self._listening = True
            self.at((self.floor.position + WINDOW) / RATE, self._window)

    def ask_words(self) -> None:
        """One engine, as in the shell: a request that waits is not repeated, and gets all that was heard by then."""
        if not self._words_wait:
            self._words_wait = True
            self.at(max(self.now, self._engine_free), self._recognise)

    def _recognise(self) -> None:
        self._words_wait = False
        if self.hearing is None or self.floor.position <= self._read_to:
            return
        self._engine_free = self.now + self.random.uniform(0.05, 0.4) * self.slow
        self._read_to = upto = self.floor.position
        text, doubtful = self.room.recognise(self.hearing[1] / RATE, upto / RATE)
        if self.random.random() >= self.loss:
            self.at(self._engine_free, self._words, self.hearing, text, upto, doubtful)

    def _words(self, hearing: tuple[int, int], text: str, upto: int, doubtful: bool) -> None:
        if hearing == self.hearing:
            self.act(self.floor.words(text, upto, self.now, doubtful))

    def _score(self, probability: float, stopped_at: int) -> None:
        self.act(self.floor.score(probability, stopped_at, self.now))

    def act(self, commands: list) -> None:
        for command in commands:
            if isinstance(command, turns.AskWords):
                self.ask_words()
            elif isinstance(command, turns.AskScore):
                if self.random.random() >= self.loss:
                    late = self.random.choice((0.04, 0.08, 0.5, 3.0))
                    self.at(self.now + late * self.slow * self.random.random(), self._score, self.random.random(), command.stopped_at)
            elif isinstance(command, turns.StartHearing):
                self.hearing, self._read_to = (next(self._hearings), command.at), command.at
            elif isinstance(command, turns.StopHearing):
                self.hearing = None
            elif isinstance(command, (Generate, Prepare, Cancel)):
                self.send("asr", "llm", self._llm, command)
            if isinstance(command, (Sentence, Commit, Hold, Resume, Cancel)):
                self.send("asr", "tts", self._tts, command)
            if isinstance(command, Sentence):
                self.texts[command.ticket][command.index] = command.text
            if isinstance(command, Generate) and command.brief is not self.conversation.dialogue.brief:
                self.violations.append(f"{self.now}: {command.ticket} is brief: {command.brief}")
            self.told.append((self.now, command))
        self.timer += 1
        if self.floor.wake_at is not None:
            self.at(self.floor.wake_at, self._wake, self.timer)

    def _wake(self, timer: int) -> None:
        if timer == self.timer:
            self.act(self.floor.wake(self.now))

    def deliver(self, message) -> None:
        self.act(self.floor.message(message, self.now))

    # --- what may happen to it ----------------------------------------------------------------------------

    def say(self, *said: str) -> None:
        self.room.script.append(Utterance(self.now + 0.5, said))
        self._listen()

    def typed(self, text: str) -> None:
        self.act(self.floor.typed(text, self.now))

    def interrupt(self) -> None:
        self.act(self.floor.interrupt(self.now))

    def commit(self) -> None:
        self.act(self.floor.commit(self.now))

    def respond(self, changes: dict[str, str]) -> None:
        self.act(self.floor.respond(changes, self.now, f"r{self.now}"))

    def clear(self) -> None:
        self.act(self.floor.clear(self.now))

    def remember(self) -> None:
        """The client has a history of its own: nothing was said."""
        self.act(self.floor.remember((), self.now))

    def ration(self, partial_s: float, level: int) -> None:
        """As `Caller.ration`; the recognizer of an overloaded machine is slow as well."""
        self.floor.partial_s, self.slow = partial_s, 1.0 + level
        self.conversation.early_guesses, self.conversation.dialogue.brief = level < 1, level >= 3

    def kill(self, stage: str) -> None:
        """The process dies with its work; a new one takes its place at once."""
        if stage == "llm":
            self.llm = Mailbox()
        else:
            self._new_voice()
            self.room.loudspeaker.clear(self.now)
        self.act(self.floor.stage_down(stage, self.now))

    # --- the thinking process -----------------------------------------------------------------------------

    def _llm(self, message) -> None:
        if not isinstance(message, Generate):
            self.llm.raise_to(message.ticket)
        elif self.llm.put(message.ticket, message):
            self.llm.take()
            self.llm.done("a")
            count = self.random.randint(*self.reply_words)
            first = 7 * message.ticket.turn
            left = [OUR_WORDS[(first + i) % len(OUR_WORDS)] + ("." if i % 7 == 6 else "") for i in range(count)]
            left[-1] = left[-1].rstrip(".") + "."
            self.at(self.now + self.random.uniform(0.05, self.slowest_token_s), self._token, message.ticket, left, Clauses(), 0, self.llm)

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
            if message.filler:
                self.at(self.now + message.filler_in_s, self._fill, message, self.playout)
            waiting, self.waiting = self.waiting, []
            for sentence in waiting:
                if sentence.ticket == ticket:
                    self._tts(sentence)
        elif isinstance(message, Hold):
            self.playout.hold(ticket, self.now)
            self.room.loudspeaker.hold(self.now)
        elif isinstance(message, Resume):
            self.playout.resume(ticket, self.now)
            self.room.loudspeaker.resume(self.now)
        elif isinstance(message, Cancel):
            self.tts_newest = ticket
            self.playout.cancel(ticket, self.now)
            self.room.loudspeaker.clear(self.now)
        self._pump()

    def _made(self, message: Sentence, playout: Playout) -> None:
        if playout is self.playout and not message.ticket < self.tts_newest:
            self.playout.put(message.ticket, message.index, [0] * round(len(words(message.text)) * OUR_WORD_S * SPOKEN))
            self.playout.end(message.ticket, message.index, message.last)
            self._pump()

    def _fill(self, commit: Commit, playout: Playout) -> None:
        if playout is self.playout and playout.awaited(commit.ticket):
            playout.put(commit.ticket, FILLER, [0] * round(len(words(commit.filler)) * OUR_WORD_S * SPOKEN))
            playout.end(commit.ticket, FILLER, False)
            self._pump()

    def _pump(self) -> None:
        for chunk in self.playout.release(self.now):
            if chunk.ticket != self.committed:
                self.violations.append(f"{self.now}: {chunk.ticket} left, committed is {self.committed}")
            if chunk.ticket < self.tts_newest:
                self.violations.append(f"{self.now}: {chunk.ticket} left after {self.tts_newest}")
            self._leaves(Stretch(chunk.at, chunk.ticket, chunk.index, self.sent[chunk.ticket, chunk.index], len(chunk.audio)))
        for fact in self.playout.spoken(self.now):
            self.send("tts", "asr", self.deliver, fact)
        self.pump += 1
        wake = self.playout.wake_at(self.now)
        if wake is not None:
            self.at(wake, self._pump_timer, self.pump)

    def _leaves(self, part: Stretch) -> None:
        if self.reactions and not any(earlier.ticket == part.ticket for earlier in self.heard):
            after, utterance = self.reactions.pop(0)
            self.room.script.append(replace(utterance, at=self.now + after))
        self.sent[part.ticket, part.index] += part.count
        self.heard.append(part)
        self.room.loudspeaker.play(part)

    def _pump_timer(self, pump: int) -> None:
        if pump == self.pump:
            self._pump()

    # --- checks -------------------------------------------------------------------------------------------

    def facts(self, kind) -> list:
        return [fact for _, fact in self.told if isinstance(fact, kind)]

    def understood(self) -> list[str]:
        """The person's words as the turns have them."""
        return [word for fact in self.facts(turns.UserSaid) for word in words(fact.text)]

    def check(self) -> None:
        assert self.violations == []
        assert self.conversation.state is State.IDLE, self.conversation.state
        assert self.conversation.dialogue.reply is None and self.floor.wake_at is None and self.hearing is None
        assert self.floor.endpoint.stopped_at is None and not self.floor.deciding
        self._memory_was_heard()

    def _memory_was_heard(self) -> None:
        """Every word that memory says we said belongs to one reply, from its start, and had left as audio."""
        sent: dict[Ticket, int] = defaultdict(int)
        for part in self.heard:
            sent[part.ticket] += part.count if part.index != FILLER else 0
        replies = {ticket: words(" ".join(text for _, text in sorted(pieces.items()))) for ticket, pieces in self.texts.items()}
        for line in self.conversation.dialogue.memory.lines:
            if line.role != "assistant":
                continue
            said = words(line.text)
            fitting = [ticket for ticket, whole in replies.items() if whole[: len(said)] == said and sent[ticket]]
            assert fitting, f"{line.text!r} was never said"
            seconds = max(sent[ticket] for ticket in fitting) / SPOKEN
            assert len(said) * OUR_WORD_S <= seconds + OUR_WORD_S, f"{line.text!r} needs more than the {seconds:.1f} s that left"
