"""What port 6006 sends to a client with `events`, and to one whose recording it reads: frozen
dataclasses, written and read in one place (docs/wire.md).

Every frame carries the `uid` of its call. Times and durations are seconds unless a name says so;
`turn` counts the turns of a call from 1. The two older dialects on the port, WhisperLive and the
WhisperFusion page, have formats of their own (`asr_socket`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from whisperfusion.wire.event_frames import EventCodec, left_out, wire_name

BACKEND = "faster_whisper"  # other names make WhisperLive's Python client keep no transcript
_codec = EventCodec()

# --- the connection -----------------------------------------------------------------------------


@dataclass(frozen=True)
class StageState:
    """A process of the server, one of asr, llm, tts; `state` is starting, ready or down."""

    state: str = ""
    engine: str = ""
    model: str = ""
    voices: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class HistoryLine:
    """A message of the chat history, in the roles of `history` in the handshake."""

    role: str
    text: str


@_codec.event("SERVER_READY", key="message")
@dataclass(frozen=True)
class Ready:
    """The handshake is accepted.

    `sample_rate` is that of replies, in Hz. `listen_secret` proves on 8888 that a listener is this
    caller's. None: this client gets no replies. `session`, in a later handshake, goes on with this
    conversation; of one that asked for that, `resumed` tells whether it does, with how many
    `messages`. `pending`: the reply to the last of them was lost. `history` are these messages and
    `summary` what came before them, for a client that asked for that.
    """

    backend: str = BACKEND
    sample_rate: int | None = left_out(None)
    stages: Mapping[str, StageState] | None = left_out(None)
    listen_secret: str | None = left_out(None)
    session: str | None = left_out(None)
    resumed: bool | None = left_out(None)
    messages: int = left_out(0)
    pending: bool = left_out(False)
    history: tuple[HistoryLine, ...] | None = left_out(None)
    summary: str = left_out("")


@_codec.event("WAIT", key="status")
@dataclass(frozen=True)
class ServerFull:
    """The server is full for about `minutes`; it closes the connection."""

    minutes: float = wire_name("message")


@_codec.event("ERROR", key="status")
@dataclass(frozen=True)
class Refused:
    """Fatal; the server closes the connection."""

    message: str


@_codec.event("WARNING", key="status")
@dataclass(frozen=True)
class Warned:
    """Never before `Ready`: the Chrome extension takes its first message for that."""

    message: str


@_codec.event("DISCONNECT", key="message")
@dataclass(frozen=True)
class TimeLimit:
    """The time limit; closed with 1000 after it, or WhisperLive's client connects again."""


@_codec.event("notice")
@dataclass(frozen=True)
class Notice:
    """Something worth knowing, such as a fall-back engine."""

    text: str


@_codec.event("stage")
@dataclass(frozen=True)
class StageChanged:
    """A process of the server changed its state (`StageState`)."""

    name: str
    state: str = ""
    engine: str = ""
    model: str = ""
    voices: tuple[str, ...] = ()
    note: str = ""


@_codec.event("error")
@dataclass(frozen=True)
class Failed:
    """With `turn`: that turn failed. Without: a frame was refused, with the `id` that it had.

    The connection stays open.
    """

    code: str
    message: str
    turn: int | None = left_out(None)
    id: str | int | None = left_out(None)


# --- the user -----------------------------------------------------------------------------------


@_codec.event("speech_started")
@dataclass(frozen=True)
class SpeechStarted:
    """`at`: seconds from the start of the call's audio."""

    at: float = 0.0


@_codec.event("speech_stopped")
@dataclass(frozen=True)
class SpeechStopped:
    """`at`: seconds from the start of the call's audio."""

    at: float = 0.0


@_codec.event("caption")
@dataclass(frozen=True)
class Transcript:
    """The interim or `final` transcript of the user's turn.

    The first `stable` characters will hardly change. `start` and `end`: the audio that it was read
    from, in seconds. A final one without text: it was not speech. `speaker` of a final one, where
    that was asked for and is known. `ignored`: it is not a known speaker's, in a call that listens
    to those only, so a turn does not follow.
    """

    text: str
    stable: int = 0
    final: bool = False
    start: float = 0.0
    end: float = 0.0
    language: str = ""
    speaker: str = left_out("")  # of a final one, where it was asked for and is known
    ignored: bool = left_out(False)


@_codec.event("heard_you")
@dataclass(frozen=True)
class TurnAccepted:
    """The turn is taken to be over. Its words may still come; if the user goes on, so does the
    turn, and this comes again at its end.
    """

    turn: int


@_codec.event("turn")
@dataclass(frozen=True)
class UserTurn:
    """What the user said in the turn, now final. `language`: ISO code, in a call whose turns may be
    in several.
    """

    turn: int
    text: str
    language: str = left_out("")


# --- the reply ----------------------------------------------------------------------------------


@_codec.event("thinking")
@dataclass(frozen=True)
class Thinking:
    """The turn is over and nothing of its reply has been played yet."""

    turn: int


@_codec.event("waiting")
@dataclass(frozen=True)
class Waiting:
    """The reply cannot come for about `seconds` (0 = not known)."""

    turn: int
    seconds: float
    reason: str


@_codec.event("answering")
@dataclass(frozen=True)
class ReplyStarted:
    """The reply that a `respond` frame asked for, under its `id`, is that of this turn."""

    turn: int
    id: str


@_codec.event("reply")
@dataclass(frozen=True)
class ReplyText:
    """The next piece of the reply.

    `cut`, with the last one: it reached its greatest length. `afresh`: all pieces before are void.
    `announced`: the server says it on its own, such as a greeting or a timer that is due.
    """

    turn: int
    index: int
    text: str
    last: bool
    cut: bool = left_out(False)
    afresh: bool = left_out(False)
    announced: bool = left_out(False)


@_codec.event("call")
@dataclass(frozen=True)
class ToolCall:
    """The reply calls a tool; `arguments` is JSON as text."""

    turn: int
    id: str
    name: str
    arguments: str


@_codec.event("tool")
@dataclass(frozen=True)
class ToolUsed:
    """The reply uses a tool of the server; `arguments` is JSON as text.

    Then once more with its `output`, or with the `error` in place of one. `approval`: it waits for
    the client's `approve`, and its output says so.
    """

    turn: int
    id: str
    name: str
    arguments: str
    output: str | None = left_out(None)
    error: str | None = left_out(None)
    approval: bool = left_out(False)


@dataclass(frozen=True)
class ListedTool:
    """`name` is the model's name of it, `own_name` its server's; `parameters` is its JSON schema as
    text. `read_only`: its server says that it changes nothing.
    """

    name: str
    own_name: str
    description: str
    parameters: str
    read_only: bool


@_codec.event("tools")
@dataclass(frozen=True)
class ToolsListed:
    """The tools of an MCP server that the client has named, or the `error` why there are none; and
    again whenever that changes.
    """

    server: str
    tools: tuple[ListedTool, ...]
    error: str | None = left_out(None)


@_codec.event("spoken")
@dataclass(frozen=True)
class ReplyPlayed:
    """Seconds of the reply that were played so far."""

    turn: int
    seconds: float
    last: bool


@_codec.event("interrupted")
@dataclass(frozen=True)
class ReplyInterrupted:
    """The reply was stopped after `played_text` of it was played."""

    turn: int
    played_text: str = wire_name("heard")


@_codec.event("heard")
@dataclass(frozen=True)
class PlayedText:
    """What was played of the reply, corrected by the client's playback position."""

    turn: int
    text: str = wire_name("heard")


@_codec.event("latency")
@dataclass(frozen=True)
class Latency:
    """Milliseconds from the end of speech until: silence was noticed, the words were known, the
    turn was over; the reply's first token, first clause, first audio. `reused`: preemptive
    generation hit. `model`: which one of a chain wrote the reply.
    """

    turn: int
    stopped: int
    words: int
    decided: int
    first_token: int
    first_clause: int
    first_sound: int
    reused: bool
    model: str = left_out("")


@_codec.event("ended")
@dataclass(frozen=True)
class CallEnded:
    """The server ends the call and closes with 1000: after the reply of `turn`, or for `reason`."""

    reason: str
    turn: int | None = left_out(None)


# --- a recording --------------------------------------------------------------------------------


@_codec.event("language")
@dataclass(frozen=True)
class LanguageDetected:
    """`language` is an ISO code; the probability is 0 to 1."""

    language: str
    language_probability: float


@dataclass(frozen=True)
class SegmentWord:
    """`start` and `end` in seconds from the start of the recording."""

    word: str
    start: float
    end: float
    probability: float


@_codec.event("segment")
@dataclass(frozen=True)
class Segment:
    """`start` and `end` in seconds from the start of the recording."""

    start: float
    end: float
    text: str
    words: tuple[SegmentWord, ...]
    avg_logprob: float
    no_speech_prob: float


@dataclass(frozen=True)
class SpeakerTurn:
    """`start` and `end` in seconds from the start of the recording."""

    start: float
    end: float
    speaker: str


@_codec.event("speakers")
@dataclass(frozen=True)
class Speakers:
    """Who spoke when in the recording, in order: after all segments, where it was asked for."""

    turns: tuple[SpeakerTurn, ...]


@_codec.event("speaker_embedding")
@dataclass(frozen=True)
class SpeakerEmbedding:
    """Of the speaker of the recording, as `known_speakers` takes it; `seconds` of speech."""

    embedding: str
    seconds: float


@_codec.event("sample_quality")
@dataclass(frozen=True)
class SampleQuality:
    """Of a recording as the sample of a voice: seconds of speech, its level in dBFS, that of the
    pauses (None = there are too few), the share of the speech at full scale, and how many people
    speak (None = that was not checked).
    """

    speech: float
    level_db: float
    noise_db: float | None
    clipped: float
    speakers: int | None


@_codec.event("done")
@dataclass(frozen=True)
class RecordingDone:
    """All segments were sent. `duration` of the recording in seconds; `language` is an ISO code."""

    duration: float
    language: str
    language_probability: float


AsrEvent = (
    Ready
    | ServerFull
    | Refused
    | Warned
    | TimeLimit
    | Notice
    | StageChanged
    | Failed
    | SpeechStarted
    | SpeechStopped
    | Transcript
    | TurnAccepted
    | UserTurn
    | Thinking
    | Waiting
    | ReplyStarted
    | ReplyText
    | ToolCall
    | ToolUsed
    | ToolsListed
    | ReplyPlayed
    | ReplyInterrupted
    | PlayedText
    | Latency
    | CallEnded
    | LanguageDetected
    | Segment
    | Speakers
    | SpeakerEmbedding
    | SampleQuality
    | RecordingDone
)


def to_json(uid: str, event: AsrEvent) -> str:
    """The text frame of an event in the call of `uid`."""
    return _codec.to_json(event, uid=uid)


def parse(frame: str) -> AsrEvent | None:
    """A text frame of 6006; None = a kind that we do not know. Raises WireError."""
    return cast("AsrEvent | None", _codec.parse(frame))


def kind(event: AsrEvent) -> str:
    """What the event is called on the wire, such as "caption"."""
    return _codec.kind(event)
