"""What happens in a call, as its client sees it: one stream of frozen dataclasses.

Most are events of the wire as they are (docs/wire.md); three exist only here, because they are made
of both sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.client.resuming import ConnectionLost, Reconnected
from whisperfusion.wire.asr_events import (
    CallEnded,
    Failed,
    Latency,
    Notice,
    PlayedText,
    Ready,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyStarted,
    ReplyText,
    SpeechStarted,
    SpeechStopped,
    StageChanged,
    StageState,
    Thinking,
    ToolCall,
    ToolsListed,
    ToolUsed,
    Transcript,
    TurnAccepted,
    UserTurn,
    Waiting,
)
from whisperfusion.wire.tts_events import Flushed, Paused, Resumed

__all__ = [
    "CallEnded",
    "Closed",
    "ConnectionLost",
    "Event",
    "Failed",
    "Flushed",
    "Latency",
    "Notice",
    "Paused",
    "PlayedText",
    "Ready",
    "Reconnected",
    "ReplyAudio",
    "ReplyDone",
    "ReplyInterrupted",
    "ReplyPlayed",
    "ReplyStarted",
    "ReplyText",
    "Resumed",
    "SpeechStarted",
    "SpeechStopped",
    "StageChanged",
    "StageState",
    "Thinking",
    "ToolCall",
    "ToolUsed",
    "ToolsListed",
    "Transcript",
    "TurnAccepted",
    "UserTurn",
    "Waiting",
]


@dataclass(frozen=True)
class ReplyAudio:
    """The next audio of the reply: 24 kHz mono, in the format that the call asked for, at most
    0.1 s.
    """

    turn: int
    pcm: bytes


@dataclass(frozen=True)
class ReplyDone:
    """All text of the reply is there, and all of its audio, if this client gets audio; where audio
    is paced, it was played, too.
    """

    turn: int


@dataclass(frozen=True)
class Closed:
    """The server ended the call; nothing follows. `reason` is empty where it gave none."""

    reason: str = ""


Event = (
    CallEnded
    | Closed
    | ConnectionLost
    | Reconnected
    | Failed
    | Flushed
    | Latency
    | Notice
    | Paused
    | PlayedText
    | ReplyAudio
    | ReplyDone
    | ReplyInterrupted
    | ReplyPlayed
    | ReplyStarted
    | ReplyText
    | Resumed
    | SpeechStarted
    | SpeechStopped
    | StageChanged
    | Thinking
    | ToolCall
    | ToolUsed
    | ToolsListed
    | Transcript
    | TurnAccepted
    | UserTurn
    | Waiting
)
