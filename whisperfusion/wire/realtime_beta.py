"""The Realtime interface as it was before September 2025, which some clients still speak:
translated where frames come in and go out, GA inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whisperfusion.wire.realtime import ALAW, PCM, ULAW

RENAMED = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
FORMATS = {PCM: "pcm16", ULAW: "g711_ulaw", ALAW: "g711_alaw"}
PARTS = {"output_audio": "audio", "output_text": "text"}
IN_INPUT = {
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
IN_OUTPUT = {"output_audio_format": "format", "voice": "voice", "speed": "speed"}
FLAT = frozenset((*IN_INPUT, *IN_OUTPUT, "modalities", "max_response_output_tokens", "temperature"))


class Beta:
    """Translates one connection."""

    def incoming(self, given: dict[str, Any]) -> dict[str, Any]:
        kind = given.get("type")
        if kind in ("session.update", "transcription_session.update") and isinstance(
            given.get("session"), dict
        ):
            transcribes = kind == "transcription_session.update"
            return {
                **given,
                "type": "session.update",
                "session": session_in(given["session"], transcribes),
            }
        if kind == "response.create" and isinstance(given.get("response"), dict):
            return {**given, "response": session_in(given["response"], False, response=True)}
        return given

    def outgoing(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        if told["type"] == "conversation.item.done":
            return []
        shown = {**told, "type": RENAMED.get(told["type"], told["type"])}
        for name in ("item", "session", "response"):
            if isinstance(shown.get(name), dict):
                shown[name] = {"item": item_out, "session": session_out, "response": response_out}[
                    name
                ](shown[name])
        return [shown]


def flat_fields(given: dict[str, Any]) -> dict[str, Any]:
    """An event of a GA client that spells fields of a session or a response as the older dialect
    does: they are moved to where GA has them. What stands there already wins.
    """
    name = {"session.update": "session", "response.create": "response"}.get(str(given.get("type")))
    if name is None or not isinstance(given.get(name), dict):
        return given
    fields = given[name]
    if fields.keys().isdisjoint(FLAT):
        return given
    moved = _nested({key: value for key, value in fields.items() if key in FLAT})
    rest = {key: value for key, value in fields.items() if key not in FLAT}
    audio = rest.get("audio")
    if isinstance(audio, dict):
        moved["audio"] = _merged(moved.get("audio", {}), audio)
    return {
        **given,
        name: {**moved, **rest, **({"audio": moved["audio"]} if "audio" in moved else {})},
    }


def _merged(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """`newer`, with what only `older` has in its parts."""
    parts = {}
    for name in {**older, **newer}:
        both = older.get(name, {}), newer.get(name, {})
        parts[name] = {**both[0], **both[1]} if isinstance(both[1], dict) else both[1]
    return parts


def session_in(
    given: Mapping[str, Any], transcribes: bool, *, response: bool = False
) -> dict[str, Any]:
    """Flat fields where GA has them. What has GA's form already passes."""
    if "audio" in given or given.get("type") in ("realtime", "transcription"):
        return {**given, **({} if response else {"type": given.get("type", "realtime")})}
    made = {
        **{name: value for name, value in given.items() if name not in FLAT and name != "type"},
        **_nested(given),
    }
    if not response:
        made["type"] = "transcription" if transcribes else "realtime"
    return made


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """The older fields, each where GA has it."""
    audio_in = {there: given[here] for here, there in IN_INPUT.items() if here in given}
    spoken = {there: given[here] for here, there in IN_OUTPUT.items() if here in given}
    made: dict[str, Any] = {}
    if isinstance(given.get("modalities"), list):
        made["output_modalities"] = ["audio"] if "audio" in given["modalities"] else ["text"]
    if "max_response_output_tokens" in given:
        made["max_output_tokens"] = given["max_response_output_tokens"]
    if audio_in or spoken:
        made["audio"] = {
            **({"input": audio_in} if audio_in else {}),
            **({"output": spoken} if spoken else {}),
        }
    return made


def session_out(shown: Mapping[str, Any]) -> dict[str, Any]:
    audio = shown.get("audio", {})
    audio_in, spoken = audio.get("input", {}), audio.get("output", {})
    flat = {
        name: value
        for name, value in shown.items()
        if name not in ("audio", "type", "output_modalities", "max_output_tokens")
    }
    made = {
        **flat,
        "input_audio_format": FORMATS.get(audio_in.get("format", {}).get("type"), "pcm16"),
        "input_audio_transcription": audio_in.get("transcription"),
        "input_audio_noise_reduction": audio_in.get("noise_reduction"),
        "turn_detection": audio_in.get("turn_detection"),
    }
    if spoken:
        made |= {
            "modalities": ["text", "audio"]
            if shown.get("output_modalities") == ["audio"]
            else ["text"],
            "voice": spoken.get("voice"),
            "speed": spoken.get("speed"),
            "output_audio_format": FORMATS.get(spoken.get("format", {}).get("type"), "pcm16"),
            "max_response_output_tokens": shown.get("max_output_tokens"),
            "temperature": 0.8,
        }
    return made


def response_out(shown: Mapping[str, Any]) -> dict[str, Any]:
    spoken = shown.get("audio", {}).get("output", {})
    flat = {
        name: value for name, value in shown.items() if name not in ("audio", "output_modalities")
    }
    return {
        **flat,
        "modalities": ["text", "audio"]
        if shown.get("output_modalities") == ["audio"]
        else ["text"],
        "voice": spoken.get("voice"),
        "output_audio_format": FORMATS.get(spoken.get("format", {}).get("type"), "pcm16"),
        "output": [item_out(item) for item in shown["output"]],
    }


def item_out(item: Mapping[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return dict(item)
    return {
        **item,
        "content": [
            {**part, "type": PARTS.get(part["type"], part["type"])} for part in item["content"]
        ],
    }
