"""Events: everything that a conversation receives, as frozen dataclasses.

Facts are in the past tense or are measurements, requests of the client are in the imperative.
Positions are samples from the start of the caller's audio, at 16 kHz. The messages of other
processes (`Sentence`, `ToolCalled`, `PlaybackProgress` and the like) are events as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.messages import (
    ChatMessage,
    EndCall,
    Failed,
    PlaybackProgress,
    Sentence,
    Summarized,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.tools import Tools
from whisperfusion.turns.options import Options

# --- the detector, the recognizer and the turn model --------------------------------------------


@dataclass(frozen=True)
class SpeechProbability:
    """Voice activity of the next window of 512 samples, from 0 to 1."""

    p: float


@dataclass(frozen=True)
class EndOfTurnProbability:
    """The turn model's answer for the pause that began at sample `stopped_at`.

    `by_states`: the probability by the head on its hidden states, where it has one.
    """

    p: float
    stopped_at: int
    by_states: float | None = None


@dataclass(frozen=True)
class InterimTranscript:
    """The transcript of the utterance up to sample `upto`.

    `noise`: by the recognizer's own figures it may have been a noise instead of speech.
    `end_of_turn`: the probability, by the recognizer's encoder, that the turn ends with this audio.
    """

    text: str
    upto: int
    noise: bool = False
    end_of_turn: float | None = None


@dataclass(frozen=True)
class SpeakerIdentified:
    """Whose voice the utterance has that began at sample `began`, by its audio up to sample `upto`:
    `known` = one of the call's known speakers', None = it is too short to tell.
    """

    began: int
    upto: int
    known: bool | None


# --- the client ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CallOpened:
    """The handshake is complete."""


@dataclass(frozen=True)
class OptionsChanged:
    """From now on the call has these options. The only way to change them."""

    options: Options


@dataclass(frozen=True)
class CommitTurn:
    """The user's turn is over (push to talk, or the end of a file)."""


@dataclass(frozen=True)
class TextTyped:
    """A whole turn of the user as text."""

    text: str


@dataclass(frozen=True)
class InterruptReply:
    """Stop whatever is going on."""


@dataclass(frozen=True)
class CreateReply:
    """Reply to the dialogue so far.

    `id` is the client's name for the reply. The other fields hold for this reply only; None: as in
    the options of the call. `approved`: the id of a call of a tool that comes first.
    """

    id: str = ""
    instructions: str | None = None
    tools: Tools | None = None
    max_tokens: int | None = None
    server_tools: tuple[str, ...] | None = None
    approved: str = ""

    @property
    def own_way(self) -> bool:
        """Does it differ from the options of the call?"""
        ways = self.instructions, self.tools, self.max_tokens, self.server_tools
        return any(one is not None for one in ways) or bool(self.approved)


@dataclass(frozen=True)
class ApprovalGiven:
    """The client decided about the call `id` of a tool, which waits for that."""

    id: str
    approve: bool


@dataclass(frozen=True)
class ClearInput:
    """Drop what the user is saying; a reply goes on."""


@dataclass(frozen=True)
class HistoryReplaced:
    """The client's own chat history, oldest message first."""

    messages: tuple[ChatMessage, ...]


@dataclass(frozen=True)
class ToolResult:
    """The output of tool call `id`."""

    id: str
    output: str


@dataclass(frozen=True)
class PlaybackPosition:
    """The client has played the first `seconds` of the reply of `turn`."""

    turn: int
    seconds: float


# --- the server and the clock -------------------------------------------------------------------


@dataclass(frozen=True)
class Announcement:
    """Say `text` as soon as nothing else goes on; `remember`: what was heard of it is a part of the
    dialogue. `timer`: the id of the one that is due since `due_at` (Unix time); "" = of none.
    `told`: how often it was begun.
    """

    text: str
    remember: bool = True
    timer: str = ""
    due_at: float = 0.0
    told: int = 0


@dataclass(frozen=True)
class ReplyLost:
    """The reply to the last turn was lost with the process of an earlier call, whose history this
    one has: apologize, and reply again.
    """


@dataclass(frozen=True)
class StageDown:
    """The process `stage` ("llm", "tts") died, with whatever it was doing for this call."""

    stage: str


@dataclass(frozen=True)
class Wake:
    """The time `wake_at` has come."""


Event = (
    SpeechProbability
    | EndOfTurnProbability
    | InterimTranscript
    | SpeakerIdentified
    | CallOpened
    | OptionsChanged
    | CommitTurn
    | TextTyped
    | InterruptReply
    | CreateReply
    | ApprovalGiven
    | ClearInput
    | HistoryReplaced
    | ToolResult
    | PlaybackPosition
    | Announcement
    | ReplyLost
    | StageDown
    | Wake
    | Sentence
    | ToolCalled
    | ToolStarted
    | ToolFinished
    | EndCall
    | Summarized
    | PlaybackProgress
    | Failed
)
