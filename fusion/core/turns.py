"""What the conversation tells its shell to do (beside messages to other processes), and the reply it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.core.endpoint import SpeechStarted, SpeechStopped
from fusion.core.text import CHARACTERS_PER_S, heard_text
from fusion.messages import Called, Cancel, Commit, Generate, Hold, Prepare, Resume, Sentence, Ticket


@dataclass(frozen=True)
class StartHearing:
    """Begin an utterance with the audio from sample `at` on."""

    at: int


@dataclass(frozen=True)
class StopHearing:
    """The utterance is over or of no interest; the present pause no longer belongs to a turn."""


@dataclass(frozen=True)
class AskWords:
    """Recognise what has been heard. `urgent`: somebody may have finished."""

    urgent: bool


@dataclass(frozen=True)
class AskScore:
    """Ask the end-of-turn model about the pause that began at sample `stopped_at`."""

    stopped_at: int


@dataclass(frozen=True)
class HeardYou:
    """The turn is taken to be over; its words may still be on their way."""

    turn: int


@dataclass(frozen=True)
class Thinking:
    """The answer is on its way, but its sound is not there yet."""

    turn: int


@dataclass(frozen=True)
class UserSaid:
    """The user's turn is final. `text` is empty if there were no words after all."""

    turn: int
    text: str


@dataclass(frozen=True)
class Answering:
    """An answer that was asked for, under the client's own `id`, is that of this turn."""

    turn: int
    id: str


@dataclass(frozen=True)
class BotSaid:
    turn: int
    index: int
    text: str
    last: bool
    cut: bool = False  # it was ended by its greatest length


@dataclass(frozen=True)
class BotCalled:
    """The answer uses a function: the client is to run it, and to tell what came of it."""

    turn: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Played:
    turn: int
    seconds: float
    last: bool


@dataclass(frozen=True)
class Interrupted:
    turn: int
    heard: str


@dataclass(frozen=True)
class Heard:
    """What was heard of an answer, now that the client has said how much of its sound was played."""

    turn: int
    text: str


@dataclass(frozen=True)
class TurnFailed:
    turn: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Latency:
    """Seconds from the end of the user's speech (or the typed line), in the order in which they mostly come.

    Silence noticed, words known, turn committed, first token and first piece of the answer, first sound. `reused`: a
    guess was right, so its answer was begun before the turn was over.
    """

    turn: int
    stopped_s: float
    words_s: float
    decided_s: float
    first_token_s: float
    first_clause_s: float
    first_sound_s: float
    reused: bool


Command = (
    Generate | Prepare | Commit | Hold | Resume | Cancel | Sentence | StartHearing | StopHearing | AskWords | AskScore | HeardYou
    | Thinking | UserSaid | Answering | BotSaid | BotCalled | Played | Interrupted | Heard | TurnFailed | Latency
    | SpeechStarted | SpeechStopped
)
# What the caller is told.
TOLD = (HeardYou, Thinking, Answering, BotSaid, BotCalled, Played, Interrupted, Heard, TurnFailed, Latency)


@dataclass
class Counts:
    """What happened, over all calls of a process: the reuse rate of guesses, their waste, interruptions true and false."""

    turns: int = 0
    guesses: int = 0
    guesses_used: int = 0
    interruptions: int = 0  # of an answer that was being heard
    false_interruptions: int = 0  # the sound stopped and went on: a cough, an echo, "mm-hmm"
    merged_turns: int = 0  # the person went on before anything of the answer could be heard


@dataclass
class Reply:
    """The answer in flight: its pieces, what has been played of each, and when things happened."""

    ticket: Ticket
    asked: str  # the user's words that it answers
    asked_at: float
    committed: bool = False
    pieces: dict[int, str] = field(default_factory=dict)
    calls: list[Called] = field(default_factory=list)
    played: dict[int, tuple[float, float]] = field(default_factory=dict)  # index -> (heard, total) seconds
    heard_s: float | None = None  # the client's own count, when it tells
    complete: bool = False
    cut: bool = False
    excuse: bool = False  # an apology: shown and spoken, never remembered
    reused: bool = False  # it was a guess, and the guess was right
    played_out: bool = False
    first_token_at: float | None = None
    first_clause_at: float | None = None
    decided_at: float = 0.0
    sounded_at: float | None = None  # when its first sound was heard

    def take(self, message: Sentence, now: float) -> None:
        """Another piece of it."""
        if self.first_token_at is None:
            self.first_token_at = self.asked_at + message.first_token_s
            self.first_clause_at = now
        self.pieces[message.index] = message.text
        self.complete, self.cut = message.last, message.cut

    def said(self) -> list[BotSaid | BotCalled]:
        """The pieces and the calls that are there, to be shown."""
        last = max(self.pieces, default=-1)
        ends = {last: (self.complete, self.cut)}
        pieces = [BotSaid(self.ticket.turn, i, self.pieces[i], *ends.get(i, (False, False))) for i in sorted(self.pieces)]
        return [*self.called(), *pieces]

    def called(self) -> list[BotSaid | BotCalled]:
        return [BotCalled(self.ticket.turn, one.id, one.name, one.arguments) for one in self.calls]

    def text(self) -> str:
        return " ".join(self.pieces[i] for i in sorted(self.pieces) if self.pieces[i]).strip()

    def heard(self) -> str:
        shares: list[tuple[str, float, float]] = []
        left = self.heard_s
        if left is not None:  # the client counts what was said before the answer as well
            left = max(0.0, left - sum(total for index, (_, total) in self.played.items() if index < 0))
        for index in sorted(self.pieces):
            done, total = self.played.get(index, (0.0, 1.0))
            if total == 0 and index in self.played:  # nobody listens: what was shown was read
                done = total = 1.0
            elif left is not None and index in self.played:
                done = min(left, total)
                left = max(0.0, left - total)
            elif left is not None:  # the client was faster to tell than the voice, so its length is not known yet
                done, total = left, 0.0
                left = max(0.0, left - len(self.pieces[index]) / CHARACTERS_PER_S)
            shares.append((self.pieces[index], done, total))
        return heard_text(shares).strip()


@dataclass(frozen=True)
class Marks:
    """When the turn's speech ended, when that was noticed, and when its words were known."""

    ended_at: float
    stopped_at: float
    words_at: float

    def latency(self, reply: Reply, now: float) -> Latency:
        """How long each step took; the first sound is heard `now`."""
        token = reply.first_token_at if reply.first_token_at is not None else now
        clause = reply.first_clause_at if reply.first_clause_at is not None else now
        stopped, words, decided = self.stopped_at, self.words_at, reply.decided_at
        seconds = [at - self.ended_at for at in (stopped, words, decided, token, clause, now)]
        return Latency(reply.ticket.turn, seconds[0], seconds[1], seconds[2], seconds[3], seconds[4], seconds[5], reply.reused)
