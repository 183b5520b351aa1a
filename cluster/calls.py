"""Calls of cells, checked before they reach an engine.

A cell may be any program that reaches the port, so each argument has a type and a range here. What
is wrong is a `BadCall`, whose text is for the person at the other end. Frames:
`wire/engine_pipe.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from whisperfusion.engines import CloningTTS, ToolLLM
from whisperfusion.errors import EngineError, WhisperFusionError
from whisperfusion.wire import WireError
from whisperfusion.wire import engine_pipe as wire

BODY_LIMIT = 16 << 20  # bytes: two minutes of sound are 7.7 MB, and cells send no more at once
TEXT_LIMIT = 20_000  # characters to say
RATE = 16_000  # samples a second, of what is heard


class BadCall(WhisperFusionError):
    """A call that cannot be understood, or asks for what this engine does not have."""


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _string(most: int) -> Callable[[Any], str]:
    """pydantic's own strings have no halves of surrogate pairs, which models write at times."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"it must be a string of at most {most} characters")
        return value

    return check


Name = Annotated[Any, AfterValidator(_string(200))]
Text = Annotated[Any, AfterValidator(_string(TEXT_LIMIT))]
Content = Annotated[Any, AfterValidator(_string(BODY_LIMIT))]
Line = Annotated[list[Content], Field(min_length=2, max_length=2)]  # role, text
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Options(_Checked):
    """`ASROptions`."""

    language: Name | None
    task: Name
    initial_prompt: Text
    hotwords: Text
    word_timestamps: bool
    temperature: Annotated[float, Field(ge=0.0, le=2.0)]
    default_language: Name
    languages: Annotated[list[Name], Field(max_length=200)]
    expected: Name
    suspected: Name


class Chat(_Checked):
    history: list[Line]
    max_tokens: Tokens
    temperature: Annotated[float, Field(ge=0.0, le=5.0)]
    tools: dict[str, Any] | None


class Constrained(_Checked):
    history: list[Line]
    grammar: dict[str, Any] = Field(alias="schema")
    max_tokens: Tokens


class Prefill(_Checked):
    history: list[Line]
    tools: dict[str, Any] | None


class WarmUp(_Checked):
    history: list[Line]


class Synthesis(_Checked):
    """`recording`: the samples of the call are the bytes of a recording of the voice."""

    text: Text
    voice: Name | None
    speed: Annotated[float, Field(ge=0.1, le=10.0)]
    recording: bool = False


class Transcription(_Checked):
    options: Options


class Nothing(_Checked):
    pass


class Creation(_Checked):
    """Of an utterance. `passes`: 0 is for interim transcripts, 1 for final ones."""

    options: Options
    passes: Annotated[list[Annotated[int, Field(ge=0, le=1)]], Field(min_length=1, max_length=2)]


class Pass(_Checked):
    which: Annotated[int, Field(ge=0, le=1)]


class Decoding(Pass):
    """`upto`: the position in samples up to which this pass is given the utterance's audio."""

    upto: Annotated[int, Field(ge=0)]
    final: bool


METHODS: dict[str, dict[str, type[_Checked]]] = {
    "asr": {"transcribe": Transcription, "detect_language": Nothing},
    "llm": {
        "stream_chat": Chat,
        "stream_json": Constrained,
        "prefill": Prefill,
        "warm_up": WarmUp,
    },
    "tts": {"synthesize": Synthesis},
}
# of the socket of an utterance
UTTERANCE: dict[str, type[_Checked]] = {
    "create_utterance": Creation,
    "audio": Nothing,
    "accept_audio": Decoding,
    "finish": Pass,
}
SOUND = ("transcribe", "detect_language")  # needs samples


def read(body: bytes) -> wire.Call:
    """The one frame of `body`."""
    try:
        messages = list(wire.Decoder().feed(body))
    except WireError as error:
        raise BadCall(str(error)) from error
    if len(messages) != 1 or not isinstance(messages[0], wire.Call):
        raise BadCall("send one frame with a Call, and nothing else (wire/engine_pipe.py)")
    return messages[0]


def check(call: wire.Call, known: dict[str, type[_Checked]]) -> None:
    """Whether `call` is one of `known`, and has its arguments."""
    expected = known.get(call.method)
    if expected is None:
        raise BadCall(f"{call.method[:40]!r} is not known here; allowed: {', '.join(known)}")
    if call.method in SOUND and call.pcm is None:
        raise BadCall(f"{call.method} has no samples")
    try:
        expected.model_validate(call.arguments)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ascii(".".join(str(part) for part in first["loc"])).strip("'")
        raise BadCall(f"{call.method}: {place or 'arguments'}: {first['msg']}") from error


def check_ability(call: wire.Call, engine: Any) -> None:
    """Whether `engine` can do what the call asks for. A path is not a voice: it would be one of
    this machine's files.
    """
    if call.method != "detect_language" and not hasattr(engine, call.method):
        raise BadCall(f"this engine has no {call.method}; GET about names its abilities")
    if call.arguments.get("tools"):
        if not isinstance(engine, ToolLLM):
            raise BadCall("this language model cannot call functions; leave tools out")
        _check_tools(call.arguments["tools"])
    if call.method == "synthesize":
        _check_voice(call, engine)


def _check_tools(fields: dict[str, Any]) -> None:
    """As `Tools.for_chat_completions` writes them."""
    tools = fields.get("tools")
    whole = isinstance(tools, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("function"), dict)
        and isinstance(one["function"].get("name"), str)
        for one in tools
    )
    if not whole:
        raise BadCall("tools: each needs a function with a name, as in OpenAI's chat completions")


def _check_voice(call: wire.Call, engine: Any) -> None:
    voice = call.arguments["voice"]
    if call.arguments.get("recording"):
        if not isinstance(engine, CloningTTS):
            raise BadCall("this voice cannot speak as a recording; leave the recording out")
        if call.pcm is None or call.pcm.dtype.str != "|u1" or call.pcm.ndim != 1:
            raise BadCall("a recording is sent as the bytes of its file (|u1, one dimension)")
    elif voice and voice not in engine.voices:
        raise EngineError(f"no voice {voice!r}; available: {', '.join(engine.voices)}")
