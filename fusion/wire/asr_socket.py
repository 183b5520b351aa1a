"""Port 6006: a handshake and audio in, captions, events and replies out.

Three dialects share the port and the handshake tells them apart. WhisperLive clients get the last
finished segments and the changing one, again and again; the WhisperFusion page gets one segment and
whole replies; a client that asks for `events` gets the whole conversation (docs/wire.md). The field
names and the rules of `fusion.wire.segments` are what those clients rely on.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fusion.messages import Line
from fusion.wire import FrameError, WireError
from fusion.wire.fields import (
    FieldError,
    choice_field,
    count_field,
    flag_field,
    json_object,
    language_field,
    number_field,
    refuse,
    text_field,
)
from fusion.wire.pcm import HEARD_FORMATS, AudioDecoder
from fusion.wire.segments import LiveSegment, LiveWord, SegmentHistory, whisper_live_segments

__all__ = [  # one import serves whoever owns the port
    "AudioDecoder", "Clear", "CommitTurn", "Control", "Dialect", "FrameError", "Handshake", "HeardUpTo", "History", "Interrupt",
    "LiveSegment", "LiveWord", "Respond", "Result", "Say", "SegmentHistory", "Update", "WireError", "disconnect", "error", "event",
    "is_end_of_audio", "language",
    "parse_control", "parse_handshake", "server_ready", "wait", "warning", "whisper_fusion_reply", "whisper_fusion_segment",
    "whisper_live_segments",
]

END_OF_AUDIO = "END_OF_AUDIO"
BACKEND = "faster_whisper"  # other names make WhisperLive's Python client keep no transcript
TASKS = ("transcribe", "translate")
DETECT = "detect"  # of a recording: only tell its language
TURN_DETECTION, ANSWERS = ("auto", "manual"), ("auto", "asked")
ROLES = ("system", "user", "assistant", "call", "result")
UID_LENGTH, SAY_LENGTH, INSTRUCTIONS_LENGTH, NAME_LENGTH, HISTORY_LINES = 200, 4096, 8000, 200, 200
SLOWEST, FASTEST = 0.5, 2.0
LONGEST_SILENCE_S = 10.0
MOST_TOKENS = 4096  # of an answer
MOST_TOOLS, TOOLS_LENGTH, TOOL_CHOICES = 64, 32_000, ("auto", "none", "required")


class Dialect(Enum):
    WHISPER_LIVE = "whisper-live"
    WHISPER_FUSION = "whisper-fusion"
    EVENTS = "events"
    FILE = "file"  # a whole recording: no conversation, the recognizer's best, one message for each segment


@dataclass(frozen=True)
class Handshake:
    """What a caller asked for. None means that the caller left it to the server, but `language` None = detect."""

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
    history: tuple[Line, ...] = ()
    silence: float | None = None
    answers: str = "auto"
    interruptible: bool = True
    tools: str = ""
    paced: bool = True
    temperature: float = 0.0
    max_tokens: int = 0  # of an answer; 0 = as the server has it


def parse_handshake(
    text: str | bytes, languages: Container[str] | None = None, default_language: str | None = None
) -> Handshake:
    """The first frame of a connection.

    `languages` are the codes that may be asked for (None = any); `default_language` holds when the
    handshake says nothing, while an explicit null means detect. Only `uid` is required. Raises `WireError`.
    """
    if not isinstance(text, str):
        raise WireError("the first frame must be a text frame with the JSON handshake, not binary; send audio after SERVER_READY")
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
        raise refuse("uid", uid, f"your own name for this call, text of 1 to {UID_LENGTH} characters")
    return uid


def _handshake(uid: str, values: dict[str, Any], languages: Container[str] | None, default_language: str | None) -> Handshake:
    model = values.get("model")
    model = model if isinstance(model, str) else ""
    dialect = _dialect(values)
    language = language_field(values, default_language, languages)
    if model.endswith("en"):  # WhisperLive: an English-only model decides the language
        language = "en"
    return Handshake(
        uid=uid,
        dialect=dialect,
        language=language,
        task=choice_field(values, "task", "transcribe", TASKS if dialect is not Dialect.FILE else (*TASKS, DETECT)),
        model=model[:NAME_LENGTH],
        audio_format=choice_field(values, "audio_format", "float32", HEARD_FORMATS),
        send_last_n_segments=count_field(values, "send_last_n_segments", 10, 1, 1000),
        use_vad=flag_field(values, "use_vad", False) if values.get("use_vad") is not None else None,
        word_timestamps=flag_field(values, "word_timestamps", False),
        initial_prompt=text_field(values, "initial_prompt", "", INSTRUCTIONS_LENGTH),
        hotwords=text_field(values, "hotwords", "", INSTRUCTIONS_LENGTH),
        reply=flag_field(values, "reply", True) if dialect is Dialect.EVENTS else dialect is Dialect.WHISPER_FUSION,
        history=_history(values, "history"),
        paced=flag_field(values, "paced", True),
        temperature=number_field(values, "temperature", 0.0, 0.0, 1.0),
        **_manner(values),
    )


def _dialect(values: dict[str, Any]) -> Dialect:
    if flag_field(values, "file", False):
        return Dialect.FILE
    if flag_field(values, "events", False):
        return Dialect.EVENTS
    return Dialect.WHISPER_FUSION if "multilingual" in values and "model" not in values else Dialect.WHISPER_LIVE


def _manner(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that a handshake and an update share."""
    return {
        "instructions": text_field(values, "instructions", "", INSTRUCTIONS_LENGTH) if "instructions" in values else None,
        "voice": text_field(values, "voice", "", NAME_LENGTH) if "voice" in values else None,
        "speed": number_field(values, "speed", None, SLOWEST, FASTEST),
        "turn_detection": choice_field(values, "turn_detection", "auto", TURN_DETECTION),
        "eagerness": number_field(values, "eagerness", None, 0.0, 1.0),
        "silence": number_field(values, "silence", None, 0.0, LONGEST_SILENCE_S),
        "answers": choice_field(values, "answers", "auto", ANSWERS),
        "interruptible": flag_field(values, "interruptible", True),
        "tools": _tools(values),
        "max_tokens": count_field(values, "max_tokens", 0, 1, MOST_TOKENS),
    }


def _tools(values: dict[str, Any]) -> str:
    """{"tools", "tool_choice"} as JSON; "" = none."""
    tools = values.get("tools") or []
    if not isinstance(tools, list) or len(tools) > MOST_TOOLS or not all(_is_tool(tool) for tool in tools):
        one = '{"type": "function", "function": {"name", "description", "parameters"}}'
        raise refuse("tools", tools, f"a list of at most {MOST_TOOLS} {one}")
    choice = values.get("tool_choice") or "auto"
    if not isinstance(choice, str) or choice not in TOOL_CHOICES:
        raise refuse("tool_choice", choice, ", ".join(TOOL_CHOICES))
    text = json.dumps({"tools": tools, "tool_choice": choice}) if tools and choice != "none" else ""
    if len(text) > TOOLS_LENGTH:
        raise refuse("tools", tools, f"at most {TOOLS_LENGTH} characters in all")
    return text


def _is_tool(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not 0 < len(function["name"]) <= NAME_LENGTH:
        return False
    return isinstance(function.get("description", ""), str) and isinstance(function.get("parameters", {}), dict)


def _history(values: dict[str, Any], name: str) -> tuple[Line, ...]:
    history = values.get(name)
    if history is None:
        return ()
    if not isinstance(history, list) or len(history) > HISTORY_LINES or not all(isinstance(line, dict) for line in history):
        raise refuse(name, history, f'a list of at most {HISTORY_LINES} objects {{"role", "text"}}')
    try:
        return tuple(
            Line(choice_field(line, "role", "user", ROLES), text_field(line, "text", "", INSTRUCTIONS_LENGTH)) for line in history
        )
    except FieldError as problem:
        raise FieldError(f'field "{name}": {problem}') from None


def is_end_of_audio(frame: str | bytes) -> bool:
    """The 12 letters END_OF_AUDIO, binary from Python, text from iOS. Ask before decoding: they would also be three floats."""
    return frame == END_OF_AUDIO or frame == END_OF_AUDIO.encode()


# --- control frames -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Say:
    """The caller typed a line: a whole turn."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    """Stop the answer."""


@dataclass(frozen=True)
class CommitTurn:
    """End the turn now."""


@dataclass(frozen=True)
class Update:
    """Holds from the next turn. None = leave as it is; `language` "auto" = detect; empty text = the server's default."""

    instructions: str | None = None
    voice: str | None = None
    speed: float | None = None
    language: str | None = None
    turn_detection: str | None = None
    eagerness: float | None = None
    silence: float | None = None  # seconds that end a turn, whatever was said; below 0 = they are judged again
    answers: str | None = None
    interruptible: bool | None = None
    tools: str | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class Respond:
    """Answer what was said so far. None = as the call has it; all hold for this answer only. `id`: the client's name for it."""

    instructions: str | None = None
    tools: str | None = None
    id: str = ""
    max_tokens: int | None = None


@dataclass(frozen=True)
class Clear:
    """What is being said is of no interest."""


@dataclass(frozen=True)
class History:
    """What was said so far, from the first line on: it takes the place of what the call remembers."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Result:
    """What came of a function that the answer used."""

    id: str
    output: str


@dataclass(frozen=True)
class HeardUpTo:
    """The person has heard this much of the reply's audio."""

    turn: int
    seconds: float


Control = Say | Interrupt | CommitTurn | Update | HeardUpTo | Respond | Clear | History | Result


def parse_control(text: str, languages: Container[str] | None = None) -> Control | None:
    """A text frame after the handshake; None = a type that we do not know, to be ignored. Raises `FrameError`.

    Ask `is_end_of_audio` first.
    """
    values: dict[str, Any] = {}
    try:
        values = json_object(text)
        kind = values.get("type")
        if not isinstance(kind, str):
            raise refuse("type", kind, ", ".join(_READERS))
        reader = _READERS.get(kind)
        return reader(values, languages) if reader else None
    except FieldError as problem:
        id = values.get("id")
        raise FrameError("bad_frame", str(problem), id if isinstance(id, str) else None) from None


def _say(values: dict[str, Any], _: Container[str] | None) -> Say:
    text = text_field(values, "text", "", SAY_LENGTH).strip()
    if not text:
        raise refuse("text", values.get("text"), f"1 to {SAY_LENGTH} characters that are not all blank")
    return Say(text)


def _update(values: dict[str, Any], languages: Container[str] | None) -> Update:
    fields = _manner(values)
    for name in ("turn_detection", "answers", "interruptible", "tools", "max_tokens"):
        if name not in values or values[name] is None and name not in ("tools", "max_tokens"):
            fields[name] = None
    if "silence" in values and values["silence"] is None:
        fields["silence"] = -1.0
    language = (language_field(values, None, languages) or "auto") if "language" in values else None
    return Update(language=language, **fields)


def _heard(values: dict[str, Any], _: Container[str] | None) -> HeardUpTo:
    turn, seconds = count_field(values, "turn", None, 0, 2**31), number_field(values, "seconds", None, 0, 86_400)
    if turn is None or seconds is None:
        raise refuse("turn" if turn is None else "seconds", None, "a number from 0 up; both are needed")
    return HeardUpTo(turn, seconds)


def _respond(values: dict[str, Any], _: Container[str] | None) -> Respond:
    instructions = text_field(values, "instructions", "", INSTRUCTIONS_LENGTH) if "instructions" in values else None
    tools = _tools(values) if "tools" in values else None
    most = count_field(values, "max_tokens", 0, 1, MOST_TOKENS) if "max_tokens" in values else None
    return Respond(instructions, tools, text_field(values, "id", "", NAME_LENGTH), most)


def _result(values: dict[str, Any], _: Container[str] | None) -> Result:
    id = text_field(values, "id", "", NAME_LENGTH)
    if not id:
        raise refuse("id", values.get("id"), "the id of the call")
    return Result(id, text_field(values, "output", "", INSTRUCTIONS_LENGTH))


_READERS: dict[str, Any] = {
    "say": _say,
    "interrupt": lambda values, languages: Interrupt(),
    "commit": lambda values, languages: CommitTurn(),
    "update": _update,
    "heard": _heard,
    "respond": _respond,
    "clear": lambda values, languages: Clear(),
    "history": lambda values, languages: History(_history(values, "lines")),
    "result": _result,
}


# --- server messages ------------------------------------------------------------------------------


def _frame(uid: str, **fields: Any) -> str:
    return json.dumps({"uid": uid, **fields}, allow_nan=False)


def server_ready(uid: str, **extra: Any) -> str:
    """`extra`: `sample_rate` and `stages` for a client with events; nothing for the others."""
    return _frame(uid, message="SERVER_READY", backend=BACKEND, **extra)


def wait(uid: str, minutes: float) -> str:
    """The server is full for about `minutes`; close after it."""
    return _frame(uid, status="WAIT", message=minutes)


def disconnect(uid: str) -> str:
    """The time limit; close with 1000 after it, or WhisperLive's client connects again."""
    return _frame(uid, message="DISCONNECT")


def error(uid: str, message: str) -> str:
    """Fatal; close after it."""
    return _frame(uid, status="ERROR", message=message)


def warning(uid: str, message: str) -> str:
    """Never before SERVER_READY: the Chrome extension takes its first message for that."""
    return _frame(uid, status="WARNING", message=message)


def language(uid: str, code: str, probability: float) -> str:
    """Once, before the first segments, if the handshake's language was null."""
    return _frame(uid, language=code, language_prob=probability)


def whisper_fusion_segment(uid: str, text: str, eos: bool, latency: float) -> str:
    return _frame(uid, segments=[{"text": text}], eos=eos, latency=latency)


def whisper_fusion_reply(uid: str, text: str, latency: float) -> str:
    """The whole reply at once: the page shows every message as a bubble of its own."""
    return _frame(uid, llm_output=[text], eos=True, latency=latency)


def event(uid: str, type: str, **fields: Any) -> str:
    """One of our own events (docs/wire.md)."""
    return _frame(uid, type=type, **fields)
