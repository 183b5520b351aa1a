"""The reply in flight, and the maker of tickets.

A reply is generated preemptively, and becomes the reply once it is committed. One is in flight at a
time; a new one has a higher revision, and what comes of an older one is ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from whisperfusion.messages import (
    Cancel,
    ChatMessage,
    Commit,
    Generate,
    Prefill,
    Sentence,
    Ticket,
    ToolCalled,
)
from whisperfusion.text.languages import ENGLISH, words_of
from whisperfusion.text.segmentation import CHARACTERS_PER_S, Clauses, played_text_of, same_words
from whisperfusion.turns.commands import (
    Command,
    Latency,
    PlayedText,
    ReplyInterrupted,
    ReplyText,
    ReplyToolCall,
    TurnCounts,
)
from whisperfusion.turns.events import Announcement, CreateReply
from whisperfusion.turns.history import ChatHistory, with_facts
from whisperfusion.turns.options import Options
from whisperfusion.turns.tool_uses import ToolUses

APOLOGY = ENGLISH.failed


@dataclass
class Reply:
    """A reply: its pieces, what has been played of each, and when things happened."""

    ticket: Ticket
    user_text: str  # that it replies to
    requested_at: float
    committed: bool = False
    pieces: dict[int, str] = field(default_factory=dict)
    tool_calls: list[ToolCalled] = field(default_factory=list)
    tool_uses: ToolUses = field(init=False)  # of the server's own tools
    # index of the piece -> (played, total) seconds
    played: dict[int, tuple[float, float]] = field(default_factory=dict)
    client_played_s: float | None = None  # the client's own playback position
    complete: bool = False
    cut: bool = False
    apology: bool = False  # shown and spoken, never part of the history
    announcement: Announcement | None = None  # that it says
    ends_call: bool = False
    taken_up: bool = False  # in the place of one that was lost with an earlier call
    model: str = ""  # of a chain, that wrote it
    reused: bool = False  # it was generated preemptively
    played_out: bool = False
    first_token_at: float | None = None
    first_clause_at: float | None = None
    committed_at: float = 0.0
    first_sound_at: float | None = None

    def __post_init__(self) -> None:
        self.tool_uses = ToolUses(self.ticket.turn)

    @property
    def needs_no_model(self) -> bool:
        return self.apology or self.announcement is not None

    def add(self, message: Sentence, now: float) -> None:
        """The next piece."""
        if message.afresh:
            self.pieces.clear()
        if self.first_token_at is None:
            self.first_token_at = self.requested_at + message.first_token_s
            self.first_clause_at = now
        self.pieces[message.index] = message.text
        self.complete, self.cut = message.last, message.cut
        self.model = message.model or self.model

    def shown(self) -> list[Command]:
        """All that is known of it, for the client."""
        last = max(self.pieces, default=-1)
        ends = {last: (self.complete, self.cut)}
        pieces = [
            ReplyText(
                self.ticket.turn,
                i,
                self.pieces[i],
                *ends.get(i, (False, False)),
                announced=self.announcement is not None,
            )
            for i in sorted(self.pieces)
        ]
        return [*self.tool_uses.shown(), *self.shown_tool_calls(), *pieces]

    def shown_tool_calls(self) -> list[ReplyToolCall]:
        return [
            ReplyToolCall(self.ticket.turn, one.id, one.name, one.arguments)
            for one in self.tool_calls
        ]

    def text(self) -> str:
        return " ".join(self.pieces[i] for i in sorted(self.pieces) if self.pieces[i]).strip()

    def sounded_text(self, ahead_s: float) -> str:
        """What was played of it, and what comes within `ahead_s`."""
        shares: list[tuple[str, float, float]] = []
        for index in sorted(self.pieces):
            text = self.pieces[index]
            done, total = self.played.get(index, (0.0, 0.0))
            length = total or len(text) / CHARACTERS_PER_S
            more = min(ahead_s, max(0.0, length - done))
            ahead_s -= more
            shares.append((text, done + more, length))
        return played_text_of(shares)

    def left_s(self) -> float:
        """Seconds that are still to be played of the text so far; of what has no length yet, as
        long as it takes to say it.
        """
        lengths = ((i, self.played.get(i, (0.0, 0.0))) for i in self.pieces)
        return sum(
            (total or len(self.pieces[i]) / CHARACTERS_PER_S) - done for i, (done, total) in lengths
        )

    def played_s(self) -> float:
        """Seconds of it that were heard, without the filler; text that has no audio counts as long
        as it takes to say it.
        """
        heard = sum(
            done if total else len(self.pieces.get(index, "")) / CHARACTERS_PER_S
            for index, (done, total) in self.played.items()
            if index >= 0
        )
        by_client = self._played_by_client_s()
        return heard if by_client is None else min(heard, by_client)

    def _played_by_client_s(self) -> float | None:
        """Without the filler before the reply, which the client counts as well."""
        if self.client_played_s is None:
            return None
        filler_s = sum(total for index, (_, total) in self.played.items() if index < 0)
        return max(0.0, self.client_played_s - filler_s)

    def played_text(self) -> str:
        """What was heard of it."""
        shares: list[tuple[str, float, float]] = []
        left = self._played_by_client_s()
        for index in sorted(self.pieces):
            done, total = self.played.get(index, (0.0, 1.0))
            if total == 0 and index in self.played:  # no listener: what was shown was read
                done = total = 1.0
            elif left is not None and index in self.played:
                done = min(left, total)
                left = max(0.0, left - total)
            # the client's position came before the length of the piece is known
            elif left is not None:
                done, total = left, 0.0
                left = max(0.0, left - len(self.pieces[index]) / CHARACTERS_PER_S)
            shares.append((self.pieces[index], done, total))
        return played_text_of(shares).strip()


@dataclass(frozen=True)
class TurnTimes:
    """When the user's speech ended, when that was found, and when its transcript was complete."""

    ended_at: float
    stopped_at: float
    transcript_at: float

    def latency(self, reply: Reply, now: float) -> Latency:
        """How long each step took; the first sound is heard `now`."""
        token = reply.first_token_at if reply.first_token_at is not None else now
        clause = reply.first_clause_at if reply.first_clause_at is not None else now
        stopped, words, decided = self.stopped_at, self.transcript_at, reply.committed_at
        seconds = [at - self.ended_at for at in (stopped, words, decided, token, clause, now)]
        return Latency(
            reply.ticket.turn,
            seconds[0],
            seconds[1],
            seconds[2],
            seconds[3],
            seconds[4],
            seconds[5],
            reply.reused,
            reply.model,
        )


class Replies:
    """Of one call: the reply in flight (`current`), the history and the tickets."""

    def __init__(
        self,
        call: str,
        options: Options,
        history: ChatHistory,
        counts: TurnCounts | None = None,
    ) -> None:
        self.call, self.options, self.history = call, options, history
        self.counts = counts or TurnCounts()
        self.turn, self.revision = 1, 0
        self.current: Reply | None = None
        # the reply before, and what the history has of it
        self._past: tuple[Reply, str] | None = None

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.call, self.turn, self.revision)

    def next_turn(self) -> None:
        self.turn, self.revision = self.turn + 1, 0

    # --- before the turn is over -----------------------------------------------------------------

    def prefill(self, text: str = "") -> Prefill:
        """The model reads the dialogue so far, and `text` of the user, before it has to reply."""
        options = self.options
        prompt = self.history.prompt(with_facts(options.instructions, options.facts), text)
        return Prefill(self.ticket, prompt, options.tools, options.chain, options.server_tools)

    def fits(self, text: str) -> bool:
        """Is the current reply one to these words of the user?"""
        return self.current is not None and same_words(self.current.user_text, text)

    def preempt(self, text: str, now: float) -> Generate:
        """Begin a reply to `text`, in case that this is all."""
        self.counts.preemptive += 1
        return self._generate(text, now)

    def cancel_unless_fits(self, text: str) -> list[Command]:
        """The user says `text`: a preemptive reply to other words is wasted."""
        return [] if self.fits(text) else self.cancel_preemptive()

    def cancel_preemptive(self) -> list[Command]:
        if self.current is None or self.current.committed:
            return []
        self.forget_preemptive()
        return [Cancel(self.ticket)]

    def forget_preemptive(self) -> None:
        self.current = None
        self.revision += 1

    # --- the reply -------------------------------------------------------------------------------

    def commit(self, text: str, now: float) -> tuple[Reply, list[Command]]:
        """The user's turn is `text`; its reply is the preemptive one, or is generated now."""
        hit = self.fits(text)
        commands: list[Command] = [] if hit else [self._generate(text, now)]
        reply = self.current
        assert reply is not None
        self.counts.preemptive_used += hit
        reply.committed, reply.reused, reply.committed_at = True, hit, now
        self.history.add("user", text)
        return reply, commands

    def create(self, request: CreateReply, now: float) -> tuple[Reply, list[Command]]:
        """A reply to the dialogue so far, without a new message of the user."""
        commands = [*self.interrupt(), self._generate("", now, request)]
        assert self.current is not None
        self.current.committed, self.current.committed_at = True, now
        return self.current, commands

    def finish(self) -> Reply | None:
        """The reply was played to its end."""
        reply, self.current = self.current, None
        if reply:
            self._remember(reply, reply.text() if reply.played else "")
        self.next_turn()
        return reply

    def interrupt(self, soft: bool = False) -> list[Command]:
        """Cancel whatever is in flight; the history keeps exactly what was heard of a reply.

        `soft`: the reply began too early, for the user had not finished. Then the history keeps
        nothing of it, and what the user says next goes on with the message that was replied to, if
        there is one. The first two or three words of a reply to half a message say nothing, and a
        model that sees them begins its next reply with the same ones, or goes on in the middle of
        the sentence.
        """
        reply, self.current = self.current, None
        if reply is None:
            return []
        if not reply.committed:
            self.revision += 1
            return [Cancel(self.ticket)]
        played, turn = reply.played_text(), self.turn
        self.next_turn()
        stays = reply.needs_no_model or reply.tool_calls or reply.tool_uses
        if soft and not stays and self.history.reopen():
            self._past = reply, ""
        else:
            self._remember(reply, played)
        return [Cancel(self.ticket), ReplyInterrupted(turn, played)]

    def played_by_client(self, turn: int, seconds: float) -> list[Command]:
        """The client's playback position in the reply of `turn`: the current one, or the one
        before.
        """
        reply = self.current
        if reply and reply.committed and turn == reply.ticket.turn:
            reply.client_played_s = seconds
            return []
        if self._past is None or turn != self._past[0].ticket.turn:
            return []
        past, remembered = self._past
        past.client_played_s = seconds
        played = past.played_text()
        if remembered:
            self._past = past, played
            self.history.amend(remembered, played)
        return [PlayedText(turn, played)]

    def fail(self) -> list[Command]:
        """The turn gets no reply, and the history loses its question: asked again, it must not
        stand there twice.
        """
        turn, reply = self.turn, self.current
        commands: list[Command] = [one for one in self.interrupt() if isinstance(one, Cancel)]
        if reply is None or reply.announcement is None:
            self.history.drop_question()
        self.turn, self.revision = turn + 1, 0
        return commands or [Cancel(self.ticket)]

    def apologize(self, now: float) -> list[Command]:
        """A reply that needs no model, and is no part of the history."""
        sorry = words_of(self.options.language).failed or APOLOGY
        reply = Reply(self.ticket, "", now, pieces={0: sorry}, apology=True)
        return self._say(reply)

    def announce(self, announcement: Announcement, now: float) -> list[Command]:
        clauses = Clauses()
        pieces = [one for one in (*clauses.feed(announcement.text), clauses.flush()) if one]
        reply = Reply(self.ticket, "", now, pieces=dict(enumerate(pieces)))
        reply.announcement, reply.apology = announcement, not announcement.remember
        return self._say(reply)

    def _say(self, reply: Reply) -> list[Command]:
        self.current, reply.committed, reply.complete = reply, True, True
        last = len(reply.pieces) - 1
        sentences = [
            Sentence(reply.ticket, i, text, last=i == last) for i, text in reply.pieces.items()
        ]
        return [*sentences, Commit(reply.ticket), *reply.shown()]

    def _remember(self, reply: Reply, played: str) -> None:
        if reply.apology:
            return
        self._past = reply, played
        said = [ChatMessage("assistant", played)] if played else []
        used = reply.tool_uses.lines()
        for line in (*said, *used) if reply.tool_uses.hands_back else (*used, *said):
            self.history.add(*line)
        for call in reply.tool_calls:
            values = {"id": call.id, "name": call.name, "arguments": call.arguments}
            self.history.add("call", json.dumps(values))

    def _generate(self, text: str, now: float, request: CreateReply | None = None) -> Generate:
        self.revision += 1
        self.current = Reply(self.ticket, text, now)
        options = self.options
        instructions, tools, most = options.instructions, options.tools, options.max_tokens
        if request is not None:
            instructions = instructions if request.instructions is None else request.instructions
            tools = tools if request.tools is None else request.tools
            most = most if request.max_tokens is None else request.max_tokens
        prompt = self.history.prompt(with_facts(instructions, options.facts), text)
        ticket, chain = self.current.ticket, options.chain
        server_tools, approved = options.server_tools, ""
        if request is not None:
            approved = request.approved
            server_tools = server_tools if request.server_tools is None else request.server_tools
        return Generate(
            ticket, prompt, options.brief, tools, most, chain, server_tools, approved=approved
        )
