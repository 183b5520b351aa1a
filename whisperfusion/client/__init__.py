"""A typed client of a WhisperFusion server, usable alone: it needs `websockets` and nothing of the
server but `whisperfusion.wire`.

    from whisperfusion.client import ReplyText, UserTurn, connect

    async with connect("ws://127.0.0.1:6006", "ws://127.0.0.1:8888", key="...") as call:
        await call.say("What is the capital of France?")
        async for event in call:
            ...
"""

from whisperfusion.client.connection import Call, connect
from whisperfusion.client.errors import (
    CallError,
    CallRefused,
    KeyRefused,
    ServerBusy,
    ServerDown,
    SynthesisFailed,
    TranscriptionFailed,
)
from whisperfusion.client.events import (
    CallEnded,
    Closed,
    ConnectionLost,
    Event,
    Failed,
    Flushed,
    Latency,
    Notice,
    Paused,
    PlayedText,
    Ready,
    Reconnected,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyStarted,
    ReplyText,
    Resumed,
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
from whisperfusion.client.recordings import transcribe
from whisperfusion.client.speech import SpeechClient

__all__ = [
    "Call",
    "CallEnded",
    "CallError",
    "CallRefused",
    "Closed",
    "ConnectionLost",
    "Event",
    "Failed",
    "Flushed",
    "KeyRefused",
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
    "ServerBusy",
    "ServerDown",
    "SpeechClient",
    "SpeechStarted",
    "SpeechStopped",
    "StageChanged",
    "StageState",
    "SynthesisFailed",
    "Thinking",
    "ToolCall",
    "ToolUsed",
    "ToolsListed",
    "Transcript",
    "TranscriptionFailed",
    "TurnAccepted",
    "UserTurn",
    "Waiting",
    "connect",
    "transcribe",
]
