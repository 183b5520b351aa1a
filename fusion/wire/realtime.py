"""OpenAI Realtime (GA): what a session is set to, read from what clients send and shown as they read it.

Unknown fields are ignored and every model name is taken, because the SDKs send them. A wrong value refuses the whole update.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fusion.wire.asr_socket import INSTRUCTIONS_LENGTH, MOST_TOOLS, NAME_LENGTH
from fusion.wire.fields import FieldError, choice_field, flag_field, number_field, text_field
from fusion.wire.languages import code_of

PCM, ULAW, ALAW = "audio/pcm", "audio/pcmu", "audio/pcma"
RATES = {PCM: 24_000, ULAW: 8000, ALAW: 8000}
EAGERNESS = {"low": 0.2, "medium": 0.5, "high": 0.8, "auto": 0.5}  # of semantic_vad, as ours from 0 to 1
SILENCE_MS = 500  # of server_vad
SLOWEST, FASTEST = 0.25, 1.5
DEFAULT_TURNS = {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True}
KEPT = ("tracing", "prompt", "include", "truncation")  # told back, and of no effect here


class RealtimeError(Exception):
    """One client event is refused; the session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


@dataclass(frozen=True)
class Session:
    id: str = field(default_factory=lambda: f"sess_{uuid.uuid4().hex[:24]}")
    kind: str = "realtime"  # or "transcription"
    model: str = "gpt-realtime"
    modality: str = "audio"  # or "text"
    instructions: str = ""
    voice: str = ""
    speed: float = 1.0
    heard: str = PCM  # formats
    spoken: str = PCM
    transcription: Mapping[str, Any] | None = None
    noise_reduction: Mapping[str, Any] | None = None
    turns: Mapping[str, Any] | None = field(default_factory=lambda: dict(DEFAULT_TURNS))
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = "auto"
    max_output_tokens: Any = "inf"
    kept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Does the end of a turn bring an answer?"""
        return self.kind == "realtime" and self.turns is not None and bool(self.turns.get("create_response", True))

    @property
    def speaks(self) -> bool:
        """Are answers spoken? Where they are not, nobody listens for their sound."""
        return self.kind == "realtime" and self.modality == "audio"

    @property
    def interruptible(self) -> bool:
        return self.turns is None or bool(self.turns.get("interrupt_response", True))


def as_dict(session: Session, expires_at: int) -> dict[str, Any]:
    """The whole effective session."""
    audio_in = {
        "format": format_dict(session.heard),
        "transcription": session.transcription,
        "noise_reduction": session.noise_reduction,
        "turn_detection": session.turns,
    }
    shown: dict[str, Any] = {
        "type": session.kind,
        "object": f"realtime.{'session' if session.kind == 'realtime' else 'transcription_session'}",
        "id": session.id,
        "expires_at": expires_at,
    }
    if session.kind == "transcription":
        return {**shown, "include": session.kept.get("include"), "audio": {"input": audio_in}}
    return {
        **shown,
        "model": session.model,
        "output_modalities": [session.modality],
        "instructions": session.instructions,
        "tools": [dict(tool) for tool in session.tools],
        "tool_choice": session.tool_choice,
        "max_output_tokens": session.max_output_tokens,
        "tracing": session.kept.get("tracing"),
        "prompt": session.kept.get("prompt"),
        "include": session.kept.get("include"),
        "truncation": session.kept.get("truncation", "auto"),
        "audio": {"input": audio_in, "output": {"format": format_dict(session.spoken), "voice": session.voice, "speed": session.speed}},
    }


def format_dict(kind: str) -> dict[str, Any]:
    return {"type": kind, "rate": RATES[kind]} if kind == PCM else {"type": kind}


def updated(
    session: Session, given: Any, voices: Collection[str], languages: Collection[str] | None = None, *, spoke: bool = False
) -> Session:
    """`session` with what a session.update says. Raises RealtimeError. `spoke`: the voice was heard and stays."""
    given = _object(given, "session")
    if "type" not in given:
        raise RealtimeError("missing_required_parameter", "session.type is missing; allowed: realtime, transcription", "session.type")
    try:
        return _updated(session, given, voices, languages, spoke)
    except FieldError as problem:
        raise RealtimeError("invalid_value", f"session: {problem}", "session") from None


def _updated(session: Session, given: dict[str, Any], voices: Collection[str], languages: Collection[str] | None, spoke: bool) -> Session:
    changes: dict[str, Any] = {"kind": choice_field(given, "type", "realtime", ("realtime", "transcription"))}
    audio = _object(given.get("audio"), "session.audio")
    heard, spoken = _object(audio.get("input"), "session.audio.input"), _object(audio.get("output"), "session.audio.output")
    if given.get("model"):
        changes["model"] = text_field(given, "model", "", NAME_LENGTH)
    if given.get("output_modalities") is not None:
        changes["modality"] = modality_of(given["output_modalities"])
    if "instructions" in given:
        changes["instructions"] = text_field(given, "instructions", "", INSTRUCTIONS_LENGTH)
    if given.get("tools") is not None:
        changes["tools"] = tools_of(given["tools"])
    if given.get("tool_choice") is not None:
        changes["tool_choice"] = tool_choice_of(given["tool_choice"])
    if given.get("max_output_tokens") is not None:
        changes["max_output_tokens"] = most_tokens_of(given["max_output_tokens"])
    if heard.get("format") is not None:
        changes["heard"] = format_of(heard["format"], "session.audio.input.format")
    if "transcription" in heard:
        changes["transcription"] = _transcription(heard["transcription"], languages)
    if "noise_reduction" in heard:
        changes["noise_reduction"] = _optional(heard["noise_reduction"], "session.audio.input.noise_reduction")
    if "turn_detection" in heard:
        changes["turns"] = _turns(heard["turn_detection"])
    if spoken.get("format") is not None:
        changes["spoken"] = format_of(spoken["format"], "session.audio.output.format")
    if spoken.get("voice") is not None:
        voice = voice_of(spoken["voice"], voices)
        if spoke and voice != session.voice:
            raise RealtimeError("cannot_update_voice", "the voice cannot change once it was heard", "session.audio.output.voice")
        changes["voice"] = voice
    changes["speed"] = number_field(spoken, "speed", session.speed, SLOWEST, FASTEST)
    kept = {name: given[name] for name in KEPT if name in given}
    return replace(session, **changes, kept={**session.kept, **kept})


def modality_of(value: Any) -> str:
    if value not in (["audio"], ["text"]):
        raise RealtimeError(
            "invalid_value", f'output_modalities is {str(value)[:80]}; allowed: ["audio"] or ["text"]', "session.output_modalities"
        )
    return str(value[0])


def format_of(value: Any, where: str) -> str:
    kind = value if isinstance(value, str) else _object(value, where).get("type")
    known = {"pcm16": PCM, "g711_ulaw": ULAW, "g711_alaw": ALAW}.get(str(kind), kind)
    if known not in RATES:
        raise RealtimeError("invalid_value", f"{where}.type is {str(kind)[:40]!r}; allowed: {', '.join(RATES)}", f"{where}.type")
    rate = value.get("rate") if isinstance(value, dict) else None
    if known == PCM and rate not in (None, RATES[PCM]):
        raise RealtimeError("invalid_value", f"{where}.rate is {str(rate)[:40]}; allowed: {RATES[PCM]}", f"{where}.rate")
    return str(known)


def voice_of(value: Any, voices: Collection[str]) -> str:
    """A voice of ours; upstream's names mean the default."""
    name = value.get("id") if isinstance(value, dict) else value
    if not isinstance(name, str) or len(name) > NAME_LENGTH:
        raise RealtimeError("invalid_value", f"voice is {str(value)[:40]!r}; allowed: {', '.join(voices)}", "session.audio.output.voice")
    return name if name in voices else next(iter(voices), "")


def tools_of(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Functions; what is none (MCP servers) cannot be had here."""
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise RealtimeError("invalid_value", f"tools must be a list of at most {MOST_TOOLS} functions", "session.tools")
    for tool in value:
        if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("name"), str) or not tool["name"]:
            raise RealtimeError(
                "invalid_value", 'a tool must be {"type": "function", "name", "description", "parameters"}', "session.tools"
            )
        if not isinstance(tool.get("parameters") or {}, dict) or not isinstance(tool.get("description") or "", str):
            raise RealtimeError(
                "invalid_value", f"the tool {tool['name'][:40]!r} has parameters or a description of a wrong type", "session.tools"
            )
    return tuple(value)


def tool_choice_of(value: Any) -> Any:
    if value in ("auto", "none", "required") or isinstance(value, dict) and value.get("type") == "function":
        return value
    raise RealtimeError(
        "invalid_value", f"tool_choice is {str(value)[:40]!r}; allowed: auto, none, required, a function", "session.tool_choice"
    )


def inner_tools(tools: Collection[Mapping[str, Any]], choice: Any) -> dict[str, Any]:
    """Flat functions as chat completions nest them, for 6006. A choice of one function leaves the model no other."""
    if isinstance(choice, dict):
        tools, choice = [tool for tool in tools if tool["name"] == choice.get("name")], "required"
    nested = [
        {"type": "function", "function": {name: tool[name] for name in ("name", "description", "parameters") if tool.get(name)}}
        for tool in tools
    ]
    return {"tools": nested, "tool_choice": choice}


def most_tokens_of(value: Any) -> Any:
    if value == "inf" or isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096:
        return value
    raise RealtimeError(
        "invalid_value", f"max_output_tokens is {str(value)[:40]!r}; allowed: 1 to 4096, or inf", "session.max_output_tokens"
    )


def _transcription(value: Any, languages: Collection[str] | None) -> dict[str, Any] | None:
    given = _optional(value, "session.audio.input.transcription")
    if given is None:
        return None
    shown: dict[str, Any] = {"model": text_field(given, "model", "whisper-1", NAME_LENGTH)}
    if given.get("language"):
        language = code_of(text_field(given, "language", "", NAME_LENGTH))
        if language is None or languages and language not in languages:
            raise RealtimeError(
                "invalid_value", f"language {str(given['language'])[:40]!r} is not known", "session.audio.input.transcription.language"
            )
        shown["language"] = language
    if given.get("prompt"):
        shown["prompt"] = text_field(given, "prompt", "", INSTRUCTIONS_LENGTH)
    return shown


def _turns(value: Any) -> dict[str, Any] | None:
    given = _optional(value, "session.audio.input.turn_detection")
    if given is None:
        return None
    kind = choice_field(given, "type", "server_vad", ("server_vad", "semantic_vad"))
    answers = {
        "create_response": flag_field(given, "create_response", True),
        "interrupt_response": flag_field(given, "interrupt_response", True),
    }
    if kind == "semantic_vad":
        return {"type": kind, "eagerness": choice_field(given, "eagerness", "auto", tuple(EAGERNESS)), **answers}
    return {
        "type": kind,
        "threshold": number_field(given, "threshold", 0.5, 0.0, 1.0),
        "prefix_padding_ms": round(number_field(given, "prefix_padding_ms", 300, 0, 10_000)),
        "silence_duration_ms": round(number_field(given, "silence_duration_ms", SILENCE_MS, 0, 10_000)),
        "idle_timeout_ms": given.get("idle_timeout_ms"),
        **answers,
    }


def turn_control(session: Session) -> dict[str, Any]:
    """How 6006 is to end turns."""
    turns = session.turns
    shared = {"answers": "auto" if session.answers else "asked", "interruptible": session.interruptible}
    if turns is None:
        return {"turn_detection": "manual", "silence": None, **shared}
    if turns["type"] == "server_vad":
        return {"turn_detection": "auto", "silence": turns["silence_duration_ms"] / 1000, **shared}
    return {"turn_detection": "auto", "silence": None, "eagerness": EAGERNESS[turns["eagerness"]], **shared}


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RealtimeError("invalid_type", f"{where} must be an object, not {type(value).__name__}", where)
    return value


def _optional(value: Any, where: str) -> dict[str, Any] | None:
    return None if value is None else _object(value, where)


def manner(session: Session) -> dict[str, Any]:
    """What a handshake and an update of 6006 share."""
    spoken = {"instructions": session.instructions, "voice": session.voice, "speed": max(0.5, session.speed)}
    longest = {"max_tokens": _inner_tokens(session.max_output_tokens)}
    return {**spoken, **turn_control(session), **inner_tools(session.tools, session.tool_choice), **longest}


def _inner_tokens(most: Any) -> int | None:
    """None = as the server has it."""
    return None if most == "inf" else int(most)


def hearing(session: Session) -> dict[str, Any]:
    """What only a handshake can say."""
    asked = session.transcription or {}
    return {"initial_prompt": asked.get("prompt", ""), **({"language": asked["language"]} if asked.get("language") else {})}


def parsed_event(text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        how = "sound goes into input_audio_buffer.append as base64"
        raise RealtimeError("invalid_type", f"events are text frames, one JSON object each; {how}")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise RealtimeError("invalid_json", "the event is no JSON") from None
    if not isinstance(given, dict):
        raise RealtimeError("invalid_type", "an event is a JSON object with a type")
    return given


def response_changes(asked: dict[str, Any], session: Session) -> tuple[dict[str, Any], str]:
    """What is different in this response: fields of the control `respond`, and its modality."""
    changes: dict[str, Any] = {}
    if asked.get("instructions") is not None:
        if not isinstance(asked["instructions"], str):
            raise RealtimeError("invalid_type", "instructions must be text", "response.instructions")
        changes["instructions"] = asked["instructions"]
    if asked.get("tools") is not None or asked.get("tool_choice") is not None:
        tools = tools_of(asked["tools"]) if asked.get("tools") is not None else session.tools
        changes |= inner_tools(tools, tool_choice_of(asked.get("tool_choice") or session.tool_choice))
    if asked.get("max_output_tokens") is not None:
        changes["max_tokens"] = _inner_tokens(most_tokens_of(asked["max_output_tokens"]))
    modality = modality_of(asked["output_modalities"]) if asked.get("output_modalities") is not None else session.modality
    return changes, modality
