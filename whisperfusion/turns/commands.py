"""Commands of a conversation to its shell, beside messages to other processes."""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.messages import (
    Cancel,
    Commit,
    Generate,
    Pause,
    Prefill,
    Resume,
    Sentence,
    Summarize,
)
from whisperfusion.turns.endpointing import SpeechStarted, SpeechStopped


@dataclass(frozen=True)
class StartTranscribing:
    """Begin an utterance with the audio from sample `at` on."""

    at: int


@dataclass(frozen=True)
class StopTranscribing:
    """The utterance is over or dropped; the present pause no longer belongs to a turn."""


@dataclass(frozen=True)
class RequestTranscript:
    """Decode the utterance so far. `urgent`: the user may have finished."""

    urgent: bool


@dataclass(frozen=True)
class RequestTurnDetection:
    """Ask the end-of-turn model about the pause that began at sample `stopped_at`."""

    stopped_at: int


@dataclass(frozen=True)
class TurnAccepted:
    """The turn is over; its transcript may still be on its way."""

    turn: int


@dataclass(frozen=True)
class Thinking:
    """A reply is committed, but nothing of it can be heard yet."""

    turn: int


@dataclass(frozen=True)
class UserTurnFinal:
    """The user's turn is final. `text` is empty if it had no words after all."""

    turn: int
    text: str


@dataclass(frozen=True)
class SpeechIgnored:
    """What another person than the known speakers said, in a call that listens to those only."""

    text: str


@dataclass(frozen=True)
class ReplyStarted:
    """The reply that the client created, under its own `id`, is that of this turn."""

    turn: int
    id: str


@dataclass(frozen=True)
class ReplyText:
    turn: int
    index: int
    text: str
    last: bool
    cut: bool = False  # by its maximum length
    afresh: bool = False  # all pieces before it were reasoning of the model, and are void
    announced: bool = False  # the server says it on its own: a greeting, a timer


@dataclass(frozen=True)
class ReplyToolCall:
    """The reply calls a tool: the client runs it and sends its result."""

    turn: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ReplyToolUsed:
    """The reply uses a tool of the server; then once more with its `output`, or with the `error` in
    place of one. `approval`: it waits until the client approves.
    """

    turn: int
    id: str
    name: str
    arguments: str
    output: str | None = None
    error: str | None = None
    approval: bool = False


@dataclass(frozen=True)
class ReplyPlayed:
    turn: int
    seconds: float
    last: bool


@dataclass(frozen=True)
class ReplyInterrupted:
    """`played_text`: what was heard of the reply."""

    turn: int
    played_text: str


@dataclass(frozen=True)
class PlayedText:
    """What was heard of a reply, by the playback position that the client has sent."""

    turn: int
    text: str


@dataclass(frozen=True)
class HangUp:
    """The reply of `turn`, which ends the call, was played to its end."""

    turn: int


@dataclass(frozen=True)
class TurnFailed:
    turn: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Latency:
    """Seconds from the end of the user's speech (or the typed text), in their usual order.

    Silence found, transcript complete, turn committed, first token and first piece of the reply,
    first sound. `reused`: the reply was a preemptive one. `model`: which one of a chain wrote it.
    """

    turn: int
    stopped_s: float
    words_s: float
    decided_s: float
    first_token_s: float
    first_clause_s: float
    first_sound_s: float
    reused: bool
    model: str = ""


Command = (
    Generate
    | Prefill
    | Summarize
    | Commit
    | Pause
    | Resume
    | Cancel
    | Sentence
    | StartTranscribing
    | StopTranscribing
    | RequestTranscript
    | RequestTurnDetection
    | TurnAccepted
    | Thinking
    | UserTurnFinal
    | SpeechIgnored
    | ReplyStarted
    | ReplyText
    | ReplyToolCall
    | ReplyToolUsed
    | ReplyPlayed
    | ReplyInterrupted
    | PlayedText
    | HangUp
    | TurnFailed
    | Latency
    | SpeechStarted
    | SpeechStopped
)
# those that the client is notified of
CLIENT_EVENTS = (
    SpeechStarted,
    SpeechStopped,
    UserTurnFinal,
    SpeechIgnored,
    TurnAccepted,
    Thinking,
    ReplyStarted,
    ReplyText,
    ReplyToolCall,
    ReplyToolUsed,
    ReplyPlayed,
    ReplyInterrupted,
    PlayedText,
    TurnFailed,
    Latency,
)


@dataclass
class TurnCounts:
    """Over all calls of a process."""

    turns: int = 0
    preemptive: int = 0  # preemptive replies
    preemptive_used: int = 0  # of them, those that were committed
    interruptions: int = 0  # of a reply that was being heard
    false_interruptions: int = 0  # playback was paused and resumed: a cough, an echo, "mm-hmm"
    merged_turns: int = 0  # the user went on before anything of the reply could be heard
    unexpected_events: int = 0  # that the table of states has no row for
