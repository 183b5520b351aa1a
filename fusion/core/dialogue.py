"""What was said in a call, what the model is asked, and the reply that is in flight: the only maker of tickets.

A reply is asked for as a guess, and is the answer once it is committed. One is in flight at a time; a new one has a higher
revision, and what comes of an older one is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fusion.core.memory import Memory
from fusion.core.text import same_words
from fusion.core.turns import BotSaid, Command, Counts, Heard, Interrupted, Reply
from fusion.messages import Cancel, Commit, Generate, Line, Prepare, Sentence, Ticket

APOLOGY = "Sorry, something went wrong. Please try again."


class Dialogue:
    """Of one call. `reply`: a guess or the answer; None when the model is asked nothing."""

    def __init__(self, call: str, instructions: str = "", history: Sequence[Line] = (), counts: Counts | None = None) -> None:
        self.call, self.instructions = call, instructions
        self.tools = ""  # what the model may use; see Generate
        self.max_tokens = 0  # of an answer; 0 = as the server has it
        self.brief = False  # answers shall be short: the machine is overloaded
        self.memory = Memory(history)
        self.counts = counts or Counts()
        self.turn, self.revision = 1, 0
        self.reply: Reply | None = None
        self._past: tuple[Reply, str] | None = None  # the answer before, and what is remembered of it

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.call, self.turn, self.revision)

    def next_turn(self) -> None:
        self.turn, self.revision = self.turn + 1, 0

    # --- a guess ------------------------------------------------------------------------------------------

    def prepare(self, text: str = "") -> Prepare:
        """The model reads the dialogue so far, and what is being said, before it is asked anything."""
        return Prepare(self.ticket, self.memory.prompt(self.instructions, text), self.tools)

    def answers(self, text: str) -> bool:
        """Does the reply answer these words of the user?"""
        return self.reply is not None and same_words(self.reply.asked, text)

    def guess(self, text: str, now: float) -> Generate:
        """An answer to `text` is begun, in case that this is all."""
        self.counts.guesses += 1
        return self._generate(text, now)

    def drop_wrong_guess(self, text: str) -> list[Command]:
        """The user says `text`: a guess for other words is of no use."""
        return [] if self.answers(text) else self.drop_guess()

    def drop_guess(self) -> list[Command]:
        if self.reply is None or self.reply.committed:
            return []
        self.forget_guess()
        return [Cancel(self.ticket)]

    def forget_guess(self) -> None:
        self.reply = None
        self.revision += 1

    # --- the answer ---------------------------------------------------------------------------------------

    def commit(self, text: str, now: float) -> tuple[Reply, list[Command]]:
        """The user's turn is `text`, and its answer is what was guessed, or begins now."""
        guessed = self.answers(text)
        commands: list[Command] = [] if guessed else [self._generate(text, now)]
        reply = self.reply
        assert reply is not None
        self.counts.guesses_used += guessed
        reply.committed, reply.reused, reply.decided_at = True, guessed, now
        self.memory.user(text)
        return reply, commands

    def respond(self, changes: Mapping[str, Any], now: float) -> tuple[Reply, list[Command]]:
        """An answer to what was said so far, without a new line of the user. `changes`: its own "instructions", "tools", "max_tokens"."""
        commands = [*self.abandon(), self._generate("", now, **changes)]
        assert self.reply is not None
        self.reply.committed, self.reply.decided_at = True, now
        return self.reply, commands

    def settle(self) -> Reply | None:
        """The answer was heard to its end: remember it."""
        reply, self.reply = self.reply, None
        if reply:
            self._remember(reply, reply.text() if reply.played else "")
        self.next_turn()
        return reply

    def _remember(self, reply: Reply, heard: str) -> None:
        if reply.excuse:
            return
        self._past = reply, heard
        self.memory.assistant(heard)
        for call in reply.calls:
            self.memory.used("call", json.dumps({"id": call.id, "name": call.name, "arguments": call.arguments}))

    def abandon(self) -> list[Command]:
        """Cancel whatever is in flight; memory keeps exactly what was heard of an answer."""
        reply, self.reply = self.reply, None
        if reply is None:
            return []
        if not reply.committed:
            self.revision += 1
            return [Cancel(self.ticket)]
        heard, turn = reply.heard(), self.turn
        self.next_turn()
        self._remember(reply, heard)
        return [Cancel(self.ticket), Interrupted(turn, heard)]

    def heard_up_to(self, turn: int, seconds: float) -> list[Command]:
        """The client has played so much of the answer of `turn`: of the present one, or of the one before."""
        reply = self.reply
        if reply and reply.committed and turn == reply.ticket.turn:
            reply.heard_s = seconds
            return []
        if self._past is None or turn != self._past[0].ticket.turn:
            return []
        past, remembered = self._past
        past.heard_s = seconds
        self._past = past, past.heard()
        self.memory.amend(remembered, self._past[1])
        return [Heard(turn, self._past[1])]

    def fail(self) -> list[Command]:
        """The turn has no answer, and its question is forgotten: asked again it must not stand there twice."""
        turn = self.turn
        commands: list[Command] = [command for command in self.abandon() if isinstance(command, Cancel)]
        self.memory.drop_question()
        self.turn, self.revision = turn + 1, 0
        return commands or [Cancel(self.ticket)]

    def apologise(self, now: float) -> list[Command]:
        """An answer that needs no model, and is not remembered."""
        self.reply = reply = Reply(self.ticket, "", now, committed=True, pieces={0: APOLOGY}, complete=True, excuse=True)
        return [Sentence(reply.ticket, 0, APOLOGY, last=True), Commit(reply.ticket), BotSaid(self.turn, 0, APOLOGY, True)]

    def _generate(
        self, text: str, now: float, instructions: str | None = None, tools: str | None = None, max_tokens: int | None = None
    ) -> Generate:
        self.revision += 1
        self.reply = Reply(self.ticket, text, now)
        told = self.instructions if instructions is None else instructions
        usable, most = self.tools if tools is None else tools, self.max_tokens if max_tokens is None else max_tokens
        return Generate(self.reply.ticket, self.memory.prompt(told, text), self.brief, usable, most)
