"""OpenAI Realtime: a session as the options of a call on 6006, and `turn_detection` in both
directions.
"""

from __future__ import annotations

from typing import Any

from whisperfusion.wire.fields import choice_field, flag_field, number_field
from whisperfusion.wire.realtime import Session
from whisperfusion.wire.realtime_fields import DETECT, chosen_servers, nested_tools, optional_object

AZURE_TURNS = {
    "azure_semantic_vad": "semantic_vad",
    "azure_semantic_vad_multilingual": "semantic_vad",
}
# of semantic_vad, as ours from 0 to 1
EAGERNESS = {"low": 0.2, "medium": 0.5, "high": 0.8, "auto": 0.5}
SILENCE_MS, THRESHOLD, PADDING_MS = 500, 0.5, 300  # of server_vad


def reply_options(session: Session) -> dict[str, Any]:
    """What a handshake and an update of 6006 share."""
    spoken = {
        "instructions": session.instructions,
        "voice": session.voice,
        "speed": max(0.5, session.speed),
    }
    longest = {"max_tokens": max_tokens(session.max_output_tokens)}
    turns = turn_control(session)
    if session.agent and session.turns and session.turns.get("eagerness") == "auto":
        del turns["eagerness"]  # an agent has its own
    return {
        **spoken,
        **turns,
        **nested_tools(session.tools, session.tool_choice),
        **named_servers(session),
        **longest,
    }


def named_servers(session: Session) -> dict[str, Any]:
    """The field `mcp_servers`, where the client has ever named any."""
    if session.mcp_servers is None:
        return {}
    return {"mcp_servers": chosen_servers(session.mcp_servers, session.tool_choice)}


def transcription_options(session: Session) -> dict[str, Any]:
    """What only a handshake can say, but for the language."""
    asked = session.transcription or {}
    shown = asked.get("language")
    options = {"initial_prompt": asked.get("prompt", "")}
    if shown is not None:
        options["language"] = None if shown == DETECT else shown
    return options


def speaker_options(session: Session) -> dict[str, Any]:
    """What only a handshake can say of speakers: who is known, and whether others count."""
    asked: dict[str, Any] = {"enable_diarization": True} if session.diarizes else {}
    if session.known_speakers:
        asked["known_speakers"] = list(session.known_speakers)
    if session.known_speakers_only is not None:
        asked["known_speakers_only"] = session.known_speakers_only
    return asked


def changed_language(before: Session, after: Session) -> dict[str, Any] | None:
    """The language that an update of the call has to name, if any; None: more than that has
    changed, or it is left to the server again, which only a handshake can say.
    """
    old, new = transcription_options(before), transcription_options(after)
    if old == new:
        return {}
    if "language" not in new or {**old, "language": None} != {**new, "language": None}:
        return None
    return {"language": new["language"]}


def max_tokens(most: Any) -> int | None:
    """None = as the server has it."""
    return None if most == "inf" else int(most)


# --- turn detection -----------------------------------------------------------------------------


def turns_of(value: Any) -> dict[str, Any] | None:
    given = optional_object(value, "session.audio.input.turn_detection")
    if given is None:
        return None
    if given.get("type") == "none":  # as Azure's clients have it
        return None
    kind = AZURE_TURNS.get(str(given.get("type"))) or choice_field(
        given, "type", "server_vad", ("server_vad", "semantic_vad")
    )
    answers = {
        "create_response": flag_field(given, "create_response", True),
        "interrupt_response": flag_field(given, "interrupt_response", True),
    }
    if kind == "semantic_vad":
        return {
            "type": kind,
            "eagerness": choice_field(given, "eagerness", "auto", tuple(EAGERNESS)),
            **answers,
        }
    return {
        "type": kind,
        "threshold": number_field(given, "threshold", THRESHOLD, 0.0, 1.0),
        "prefix_padding_ms": round(number_field(given, "prefix_padding_ms", PADDING_MS, 0, 10_000)),
        "silence_duration_ms": round(
            number_field(given, "silence_duration_ms", SILENCE_MS, 0, 10_000)
        ),
        "idle_timeout_ms": number_field(given, "idle_timeout_ms", None, 0, 86_400_000),
        **answers,
    }


def turn_control(session: Session) -> dict[str, Any]:
    """How 6006 is to end turns."""
    turns = session.turns
    shared = {
        "answers": "auto" if session.answers else "asked",
        "interruptible": session.interruptible,
    }
    if turns is None:
        return {"turn_detection": "manual", "silence": None, **shared}
    if turns["type"] == "server_vad":
        return {
            "turn_detection": "auto",
            "silence": turns["silence_duration_ms"] / 1000,
            "vad_threshold": turns["threshold"],
            "prefix_padding": turns["prefix_padding_ms"] / 1000,
            **shared,
        }
    return {
        "turn_detection": "auto",
        "silence": None,
        "eagerness": EAGERNESS[turns["eagerness"]],
        "vad_threshold": THRESHOLD,
        "prefix_padding": PADDING_MS / 1000,
        **shared,
    }
