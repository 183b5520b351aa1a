"""The calls of `wire/engine_pipe.py` as an engine carries them out, where it runs: in a child
process (`isolated/child.py`) or as a server (`cluster/`).

Values travel as JSON, samples as they are. A call that gives pieces is a `Job`, never further ahead
of its listener than the window; it is closed between two pieces. Each call ends with one message,
`Done` or `Failed`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from whisperfusion.engines import (
    ASR,
    LLM,
    TTS,
    ASROptions,
    BatchASR,
    Calling,
    CloningTTS,
    ConstrainedLLM,
    LanguageDetectingASR,
    MultilingualTTS,
    Progress,
    Thought,
    ToolCall,
    ToolLLM,
    Truncated,
    WarmLLM,
)
from whisperfusion.errors import EngineError, GaveWay, Refused, Unsayable, failed_on_input
from whisperfusion.tools import from_chat_completions
from whisperfusion.wire import engine_pipe as wire

PROTOCOLS = {"asr": ASR, "llm": LLM, "tts": TTS}  # their attributes are told
# of engines that have them
ABILITIES = (
    BatchASR,
    CloningTTS,
    ConstrainedLLM,
    LanguageDetectingASR,
    MultilingualTTS,
    ToolLLM,
    WarmLLM,
)
STREAMS = ("synthesize", "stream_chat", "stream_json", "prefill", "transcribe", "transcribe_batch")
# of errors; what an engine raises is one of these for its caller, too
KINDS = {kind.__name__: kind for kind in (EngineError, GaveWay, Refused, Unsayable)}

log = logging.getLogger("engine")


class Job:
    """A call that gives pieces, and how far its listener is."""

    def __init__(self) -> None:
        self.room = threading.Semaphore(wire.WINDOW)
        self.cancelled = False
        self.unwanted: set[int] = set()

    def cancel(self) -> None:
        self.cancelled = True
        self.room.release()  # it may wait for room


def attributes_of(kind: str, engine: Any) -> dict[str, Any]:
    """What the protocols of `engine` promise of it, and the names of its `abilities`, as JSON."""
    able = [one for one in ABILITIES if isinstance(engine, one)]
    promised = [name for one in (PROTOCOLS[kind], *able) for name in one.__annotations__]
    told = {name: plain(getattr(engine, name)) for name in promised}
    return {**told, "abilities": [one.__name__ for one in able]}


def stream(engine: Any, call: wire.Call, job: Job, send: Callable[[wire.Piece], object]) -> None:
    """Carry out a call of `STREAMS`: each piece to `send`, until the end or until `job` is
    cancelled. Raises what the engine raises.
    """
    pieces = pieces_of(engine, call, job)
    try:
        for piece in pieces:
            message = (
                wire.Piece(call.id, pcm=piece)
                if call.method == "synthesize"
                else wire.Piece(call.id, plain_piece(piece))
            )
            if job.cancelled:
                return
            # the other end makes its own pulses
            if message.value or message.pcm is not None and len(message.pcm):
                job.room.acquire()
                send(message)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def pieces_of(engine: Any, call: wire.Call, job: Job) -> Iterator[Any]:
    """What the engine itself gives."""
    given = call.arguments
    found: Iterator[Any]
    match call.method:
        case "synthesize":
            found = engine.synthesize(given["text"], given["voice"], given["speed"])
        case "stream_chat":
            limits = {name: given[name] for name in ("max_tokens", "temperature")}
            found = engine.stream_chat(history(call), **limits, **tools(call))
        case "stream_json":
            limit = given["max_tokens"]
            found = engine.stream_json(history(call), given["schema"], max_tokens=limit)
        case "prefill":
            found = engine.prefill(history(call), **tools(call))
        case "transcribe":
            found = engine.transcribe(call.pcm, asr_options(given["options"]))
        case _:
            found = engine.transcribe_batch(recordings(call), lambda at: at not in job.unwanted)
    return found


def recordings(call: wire.Call) -> list[tuple[Any, ASROptions]]:
    assert call.pcm is not None, call
    found, at = [], 0
    for length, options in call.arguments["recordings"]:
        found.append((call.pcm[at : at + length], asr_options(options)))
        at += length
    return found


def history(call: wire.Call) -> tuple[tuple[str, str], ...]:
    return tuple((role, text) for role, text in call.arguments["history"])


def asr_options(values: dict[str, Any]) -> ASROptions:
    return ASROptions(**{**values, "languages": tuple(values["languages"])})


def tools(call: wire.Call) -> dict[str, Any]:
    """As keyword argument, which only an engine with functions knows."""
    fields = call.arguments["tools"]
    return {"tools": from_chat_completions(fields)} if fields else {}


def plain(attribute: Any) -> Any:
    """An attribute of an engine as JSON."""
    return dict(attribute) if isinstance(attribute, Mapping) else attribute


def plain_piece(piece: Any) -> Any:
    """A piece of an answer or of a transcript as JSON."""
    match piece:
        case Thought():
            return {"nothing_yet": "thought"}
        case Calling():
            return {"nothing_yet": "calling"}
        case Progress():
            return {"nothing_yet": "progress"}
        case Truncated():
            return {"nothing_yet": "truncated"}
        case ToolCall():
            return {"tool_call": asdict(piece)}
        case str():
            return piece
        case (at, segment):
            return {"at": at, "segment": asdict(segment)}
    return asdict(piece)


def failed(call: wire.Call, error: BaseException) -> wire.Failed:
    """`error` as the end of `call`; what a library raised is logged."""
    if isinstance(error, EngineError):
        return wire.Failed(call.id, str(error), kind_of(error))
    log.error("a call of %s failed", call.method, exc_info=error)
    return wire.Failed(call.id, str(failed_on_input(error)), EngineError.__name__)


def kind_of(error: BaseException) -> str:
    """The name in `KINDS` of the nearest class of `error`."""
    nearest = next((one for one in type(error).__mro__ if one in KINDS.values()), EngineError)
    return nearest.__name__
