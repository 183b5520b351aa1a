"""What the conversation tells its shell to do (beside messages to other processes), and the reply it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.core.text import heard_text
from fusion.messages import Cancel, Commit, Generate, Hold, Prepare, Resume, Sentence, Ticket


@dataclass(frozen=True)
class StartHearing:
    """Begin an utterance with the audio from sample `at` on."""

    at: int


@dataclass(frozen=True)
class StopHearing:
    """The utterance is over or of no interest; the present pause no longer belongs to a turn."""


@dataclass(frozen=True)
class UserSaid:
    """The user's turn is final. `text` is empty if there were no words after all."""

    turn: int
    text: str


@dataclass(frozen=True)
class BotSaid:
    turn: int
    index: int
    text: str
    last: bool


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
class TurnFailed:
    turn: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Latency:
    """Seconds from the end of the user's speech (or the typed line); `reused`: the first guess was right."""

    turn: int
    words_s: float
    first_token_s: float
    first_sound_s: float
    reused: bool


Command = (
    Generate | Prepare | Commit | Hold | Resume | Cancel | Sentence | StartHearing | StopHearing | UserSaid | BotSaid | Played
    | Interrupted | TurnFailed | Latency
)
TOLD = (BotSaid, Played, Interrupted, TurnFailed, Latency)  # what the caller is told


@dataclass
class Reply:
    """The answer in flight: its pieces, what has been played of each, and when things happened."""

    ticket: Ticket
    asked: str  # the user's words that it answers
    asked_at: float
    committed: bool = False
    pieces: dict[int, str] = field(default_factory=dict)
    played: dict[int, tuple[float, float]] = field(default_factory=dict)  # index -> (heard, total) seconds
    heard_s: float | None = None  # the client's own count, when it tells
    complete: bool = False
    excuse: bool = False  # an apology: shown and spoken, never remembered
    reused: bool = False  # it was a guess, and the guess was right
    played_out: bool = False
    first_token_at: float | None = None
    timed: bool = False

    def text(self) -> str:
        return " ".join(self.pieces[i] for i in sorted(self.pieces) if self.pieces[i]).strip()

    def heard(self) -> str:
        shares: list[tuple[str, float, float]] = []
        left = self.heard_s
        for index in sorted(self.pieces):
            done, total = self.played.get(index, (0.0, 1.0))
            if total == 0 and index in self.played:  # nobody listens: what was shown was read
                done = total = 1.0
            elif left is not None and index in self.played:
                done = min(left, total)
                left = max(0.0, left - total)
            shares.append((self.pieces[index], done, total))
        return heard_text(shares).strip()


@dataclass(frozen=True)
class Marks:
    """When the turn's speech ended and when its words were known."""

    ended_at: float
    words_at: float
