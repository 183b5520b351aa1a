"""Port 6006: what a client chooses for its call, in the handshake and later in an `update`."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from whisperfusion.messages import NO_TRACE, ChatMessage, Trace
from whisperfusion.tools import NO_TOOLS, Tools
from whisperfusion.tools.client_servers import ClientServer
from whisperfusion.wire import WireError
from whisperfusion.wire.dialogue_fields import history_field, tools_field
from whisperfusion.wire.fields import (
    FieldError,
    choice_field,
    count_field,
    flag_field,
    json_object,
    language_field,
    number_field,
    refuse,
    tail_field,
    text_field,
)
from whisperfusion.wire.limits import FASTEST, INSTRUCTIONS_LENGTH, NAME_LENGTH, SLOWEST, UID_LENGTH
from whisperfusion.wire.mcp_fields import mcp_servers_field
from whisperfusion.wire.pcm import MICROPHONE_FORMATS
from whisperfusion.wire.speakers import MOST_SPEAKERS, KnownSpeaker, known_speakers_field
from whisperfusion.wire.trace import ALLOWED, LONGEST, trace_of_text

TASKS = ("transcribe", "translate")
DETECT = "detect"  # of a recording: only its language is wanted
EMBED = "embed"  # of a recording: only the embedding of its speaker is wanted
CHECK = "check"  # of a recording: only how good a sample of a voice it is
FILE_TASKS = (*TASKS, DETECT, EMBED, CHECK)
LIVE = ("", "interim", "final")  # of a recording: an utterance of a call somewhere else
TURN_DETECTION, ANSWERS = ("auto", "manual"), ("auto", "asked")
LONGEST_SILENCE_S = 10.0
LONGEST_PADDING_S = 10.0
MOST_TOKENS = 4096  # of a reply


class Dialect(Enum):
    WHISPER_LIVE = "whisper-live"
    WHISPER_FUSION = "whisper-fusion"
    EVENTS = "events"
    # a whole recording: no conversation, the recognizer's best, one message for each segment
    FILE = "file"


@dataclass(frozen=True)
class Handshake:
    """What a client asked for.

    None means that the client left it to the server, but `language` None = detect.
    """

    uid: str
    dialect: Dialect
    language: str | None = None
    task: str = "transcribe"
    model: str = ""
    audio_format: str = "float32"
    send_last_n_segments: int = 10
    use_vad: bool | None = None
    word_timestamps: bool = False
    initial_prompt: str = ""
    hotwords: str = ""
    reply: bool = True
    instructions: str | None = None
    voice: str | None = None
    speed: float | None = None
    turn_detection: str = "auto"
    eagerness: float | None = None
    history: tuple[ChatMessage, ...] = ()
    silence: float | None = None
    answers: str = "auto"
    interruptible: bool = True
    vad_threshold: float | None = None
    prefix_padding: float | None = None  # seconds
    tools: Tools = NO_TOOLS
    mcp_servers: tuple[ClientServer, ...] = ()
    paced: bool = True
    temperature: float = 0.0
    max_tokens: int | None = None  # of a reply
    live: str = ""
    trace: Trace = NO_TRACE
    agent: str | None = None  # the name of one; "" = none, whatever the key or the number
    number: str = ""  # the telephone number that was called
    session: str = ""  # to go on with
    send_history: bool = False  # of that session, in SERVER_READY
    caller: str = ""  # who calls, as the client knows it
    enable_diarization: bool = False  # who speaks is wanted too; the name is WhisperLive's
    max_speakers: int = 0  # 0 = any number
    known_speakers: tuple[KnownSpeaker, ...] = ()
    known_speakers_only: bool | None = None  # the others are shown, and not listened to


@dataclass(frozen=True)
class Update:
    """Holds from the next turn.

    None = leave as it is; `language` "auto" = detect; empty text = the server's default.
    """

    instructions: str | None = None
    voice: str | None = None
    speed: float | None = None
    language: str | None = None
    turn_detection: str | None = None
    eagerness: float | None = None
    # seconds that end a turn, whatever the words; "auto" = turn detection decides again
    silence: float | Literal["auto"] | None = None
    answers: str | None = None
    interruptible: bool | None = None
    vad_threshold: float | None = None
    prefix_padding: float | None = None
    tools: Tools | None = None
    mcp_servers: tuple[ClientServer, ...] | None = None
    max_tokens: int | None = None


def parse_handshake(
    text: str | bytes, languages: Container[str] | None = None, default_language: str | None = None
) -> Handshake:
    """The first frame of a connection.

    `languages` are the codes that may be asked for (None = any); `default_language` holds when the
    handshake says nothing, while an explicit null means detect. Only `uid` is required. Raises
    `WireError`.
    """
    if not isinstance(text, str):
        raise WireError(
            "the first frame must be a text frame with the JSON handshake, not binary; send audio "
            "after SERVER_READY"
        )
    uid = ""
    try:
        values = json_object(text)
        uid = _uid(values)
        return _handshake(uid, values, languages, default_language)
    except FieldError as problem:
        raise WireError(f"handshake: {problem}", uid) from None


def _uid(values: dict[str, Any]) -> str:
    uid = values.get("uid")
    if not isinstance(uid, str) or not uid or uid != text_field(values, "uid", "", UID_LENGTH):
        raise refuse(
            "uid", uid, f"your own name for this call, text of 1 to {UID_LENGTH} characters"
        )
    return uid


def _handshake(
    uid: str, values: dict[str, Any], languages: Container[str] | None, default_language: str | None
) -> Handshake:
    model = values.get("model")
    model = model if isinstance(model, str) else ""
    known = known_speakers_field(values, "known_speakers")
    dialect = _dialect(values)
    language = language_field(values, default_language, languages)
    if model.endswith("en"):  # WhisperLive: an English-only model decides the language
        language = "en"
    return Handshake(
        uid=uid,
        dialect=dialect,
        language=language,
        task=choice_field(
            values,
            "task",
            "transcribe",
            TASKS if dialect is not Dialect.FILE else FILE_TASKS,
        ),
        model=model[:NAME_LENGTH],
        audio_format=choice_field(values, "audio_format", "float32", MICROPHONE_FORMATS),
        send_last_n_segments=count_field(values, "send_last_n_segments", 10, 1, 1000),
        use_vad=flag_field(values, "use_vad", False) if values.get("use_vad") is not None else None,
        word_timestamps=flag_field(values, "word_timestamps", False),
        initial_prompt=tail_field(values, "initial_prompt", INSTRUCTIONS_LENGTH),
        hotwords=tail_field(values, "hotwords", INSTRUCTIONS_LENGTH),
        reply=flag_field(values, "reply", True)
        if dialect is Dialect.EVENTS
        else dialect is Dialect.WHISPER_FUSION,
        history=history_field(values, "history"),
        paced=flag_field(values, "paced", True),
        temperature=number_field(values, "temperature", 0.0, 0.0, 1.0),
        live=choice_field(values, "live", "", LIVE),
        trace=_trace(values),
        agent=text_field(values, "agent", "", NAME_LENGTH)
        if values.get("agent") is not None
        else None,
        number=text_field(values, "number", "", NAME_LENGTH),
        session=text_field(values, "session", "", NAME_LENGTH),
        send_history=flag_field(values, "send_history", False),
        caller=_caller(values),
        enable_diarization=flag_field(values, "enable_diarization", False) or bool(known),
        max_speakers=count_field(values, "max_speakers", 0, 1, MOST_SPEAKERS),
        known_speakers=known,
        known_speakers_only=flag_field(values, "known_speakers_only", False)
        if values.get("known_speakers_only") is not None
        else None,
        **_shared_fields(values),
    )


def _trace(values: dict[str, Any]) -> Trace:
    text = text_field(values, "trace", "", LONGEST)
    found = trace_of_text(text) if text else NO_TRACE
    if found is None:
        raise refuse("trace", text, ALLOWED)
    return found


def _caller(values: dict[str, Any]) -> str:
    caller = text_field(values, "caller", "", NAME_LENGTH)
    if not caller.isprintable():
        raise refuse("caller", caller, f"at most {NAME_LENGTH} printable characters")
    return caller


def _dialect(values: dict[str, Any]) -> Dialect:
    if flag_field(values, "file", False):
        return Dialect.FILE
    if flag_field(values, "events", False):
        return Dialect.EVENTS
    return (
        Dialect.WHISPER_FUSION
        if "multilingual" in values and "model" not in values
        else Dialect.WHISPER_LIVE
    )


def update_of(values: dict[str, Any], languages: Container[str] | None) -> Update:
    """The control `update`. Raises FieldError."""
    fields = _shared_fields(values)
    nullable = ("tools", "max_tokens", "mcp_servers")
    for name in ("turn_detection", "answers", "interruptible", *nullable):
        if name not in values or values[name] is None and name not in nullable:
            fields[name] = None
    if "silence" in values and values["silence"] is None:
        fields["silence"] = "auto"
    if "max_tokens" in values and values["max_tokens"] is None:
        fields["max_tokens"] = MOST_TOKENS  # the server's own limit, which is not higher
    language = (language_field(values, None, languages) or "auto") if "language" in values else None
    return Update(language=language, **fields)


def _shared_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that a handshake and an update share."""
    return {
        "instructions": text_field(values, "instructions", "", INSTRUCTIONS_LENGTH)
        if "instructions" in values
        else None,
        "voice": text_field(values, "voice", "", NAME_LENGTH) if "voice" in values else None,
        "speed": number_field(values, "speed", None, SLOWEST, FASTEST),
        "turn_detection": choice_field(values, "turn_detection", "auto", TURN_DETECTION),
        "eagerness": number_field(values, "eagerness", None, 0.0, 1.0),
        "silence": number_field(values, "silence", None, 0.0, LONGEST_SILENCE_S),
        "answers": choice_field(values, "answers", "auto", ANSWERS),
        "interruptible": flag_field(values, "interruptible", True),
        "vad_threshold": number_field(values, "vad_threshold", None, 0.0, 1.0),
        "prefix_padding": number_field(values, "prefix_padding", None, 0.0, LONGEST_PADDING_S),
        "tools": tools_field(values),
        "mcp_servers": mcp_servers_field(values),
        "max_tokens": count_field(values, "max_tokens", None, 1, MOST_TOKENS),
    }
