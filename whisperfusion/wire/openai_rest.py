"""The requests and answers of OpenAI's REST audio routes: form fields and JSON to values, values to
bodies, errors in their shape.

Fields that clients send and this server has no use for (`include`, `chunking_strategy`) are read
and left; what would change the answer and cannot be had (half a format) is refused with what is
allowed.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.errors import WhisperFusionError
from whisperfusion.wire.asr_events import SpeakerTurn
from whisperfusion.wire.asr_handshake import LIVE
from whisperfusion.wire.fields import FieldError, json_object, number_field, text_field
from whisperfusion.wire.languages import UnknownLanguage, asked_language, name_of
from whisperfusion.wire.limits import NAME_LENGTH
from whisperfusion.wire.speakers import spoken_cues
from whisperfusion.wire.transcripts import Cue, as_segment, as_word
from whisperfusion.wire.voices import UnknownVoice, refused, voice_named

DIARIZED = "diarized_json"
TEXT_FORMATS = ("json", "text", "srt", "verbose_json", "vtt", DIARIZED)
SOUND_FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
MEDIA_TYPES = {
    "text": "text/plain",
    "srt": "text/plain",
    "vtt": "text/vtt",
    "json": "application/json",
    "verbose_json": "application/json",
    DIARIZED: "application/json",
}
MOST_REFERENCES = 4  # known speakers, as upstream
LONGEST_INPUT = 4096  # characters to be spoken, as upstream
LONGEST_PROMPT = 4000  # characters, of the end; the recognizer uses the last 224 tokens
MOST_FIELDS = 64
YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


class ApiError(WhisperFusionError):
    """Ends one request. `param` is the field, `code` one that clients know."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.retry_after_s = (
            status,
            message,
            code,
            param,
            retry_after_s,
        )

    def body(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        }

    def headers(self) -> dict[str, str]:
        """Clients try 408, 409, 429 and every 5xx again by themselves, unless they are told
        when, or not to.
        """
        if self.retry_after_s is not None:
            return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}
        return {"x-should-retry": "false"} if self.status >= 500 else {}


@dataclass(frozen=True)
class TranscriptionRequest:
    task: str = "transcribe"
    model: str = ""
    language: str | None = None  # code; None = detect
    prompt: str = ""
    hotwords: str = ""
    response_format: str = "json"
    temperature: float = 0.0
    words: bool = False
    segments: bool = True
    stream: bool = False
    live: str = ""  # "interim" or "final": an utterance of a call at another WhisperFusion
    speakers: tuple[tuple[str, bytes], ...] = ()  # known ones: name, and a file of their speech

    @property
    def diarized(self) -> bool:
        return self.response_format == DIARIZED


def transcription(
    form: Sequence[tuple[str, str]], task: str, languages: Collection[str] | None
) -> TranscriptionRequest:
    """From the text fields of the form, in order; lists come as `name[]` or repeated.

    `languages` None = any. Raises ApiError.
    """
    if len(form) > MOST_FIELDS:
        raise ApiError(400, f"the form has {len(form)} fields; allowed: {MOST_FIELDS}")
    fields: dict[str, list[str]] = {}
    for name, value in form:
        fields.setdefault(name.partition("[")[0], []).append(value)
    output = _one(fields, "response_format", "json")
    if output not in TEXT_FORMATS:
        raise _unsupported("response_format", output, TEXT_FORMATS)
    grain = {part for value in fields.get("timestamp_granularities", []) for part in _listed(value)}
    if grain - {"word", "segment"}:
        given = ", ".join(sorted(grain - {"word", "segment"}))
        raise _unsupported("timestamp_granularities", given, ("word", "segment", "a list of both"))
    if grain and output != "verbose_json":
        raise ApiError(
            400,
            f"timestamp_granularities needs response_format=verbose_json, not {output}",
            param="timestamp_granularities",
            code="unsupported_value",
        )
    if output == DIARIZED and task != "transcribe":
        raise ApiError(
            400,
            "diarized_json is for transcriptions; a translation has no times of single words",
            param="response_format",
            code="unsupported_value",
        )
    live = _one(fields, "live", "")
    if live not in LIVE:
        raise _unsupported("live", live, LIVE[1:])
    keywords = [word for value in fields.get("keywords", []) for word in _listed(value)]
    hotwords = [*fields.get("hotwords", []), *keywords]
    return TranscriptionRequest(
        task=task,
        model=_one(fields, "model", ""),
        language=_language(_one(fields, "language", ""), languages),
        prompt=_one(fields, "prompt", "")[-LONGEST_PROMPT:],
        hotwords=", ".join(hotwords)[-LONGEST_PROMPT:],
        response_format=output,
        temperature=_number(fields, "temperature", 0.0, 1.0),
        words="word" in grain or output == DIARIZED,
        segments="segment" in grain or "word" not in grain,
        stream=_flag(fields, "stream") and task == "transcribe",
        live=live,
        speakers=_known_speakers(fields, output),
    )


def _known_speakers(fields: Mapping[str, list[str]], output: str) -> tuple[tuple[str, bytes], ...]:
    """`known_speaker_names` and `known_speaker_references`, which are data URLs."""
    names = [name for value in fields.get("known_speaker_names", []) for name in _listed(value)]
    references = fields.get("known_speaker_references", [])
    if not names and not references:
        return ()
    param = "known_speaker_names"
    if output != DIARIZED:
        why = f"{param} needs response_format={DIARIZED}, not {output}"
        raise ApiError(400, why, param=param, code="unsupported_value")
    if len(names) != len(references) or len(names) > MOST_REFERENCES:
        why = (
            f"{len(names)} known_speaker_names and {len(references)} known_speaker_references; "
            f"allowed: one reference for each name, at most {MOST_REFERENCES}"
        )
        raise ApiError(400, why, param=param, code="invalid_value")
    for name in names:
        if names.count(name) > 1 or len(name) > NAME_LENGTH or not name.isprintable():
            why = (
                f"{param} has {name[:40]!r}; allowed: names that differ, of at most {NAME_LENGTH} "
                "printable characters"
            )
            raise ApiError(400, why, param=param, code="invalid_value")
    return tuple((name, _data_url(one)) for name, one in zip(names, references, strict=True))


def _data_url(text: str) -> bytes:
    """What a data URL (RFC 2397) in base64 holds; base64 alone is one too."""
    head, comma, body = text.strip().partition(",")
    if not comma:
        head, body = "data:;base64", head
    try:
        if not head.lower().startswith("data:") or not head.lower().endswith(";base64"):
            raise ValueError
        found = base64.b64decode(body, validate=True)
    except ValueError:
        found = b""
    if not found:
        raise ApiError(
            400,
            f"a reference begins with {text[:40]!r}; allowed: data URLs in base64, such as "
            "data:audio/wav;base64,UklGR...",
            param="known_speaker_references",
            code="invalid_value",
        )
    return found


def _one(fields: Mapping[str, list[str]], name: str, default: str) -> str:
    found = fields.get(name) or [default]
    if len(found) > 1:
        raise ApiError(400, f"{name} is given {len(found)} times; send it once", param=name)
    return found[0].strip() or default


def _listed(value: str) -> list[str]:
    """The parts of a list as forms have it: JSON, or separated by commas."""
    try:
        parts = json.loads(value) if value.lstrip().startswith(("[", '"')) else value
    except (ValueError, RecursionError):
        parts = value
    parts = parts.split(",") if isinstance(parts, str) else parts
    return [text for part in parts if (text := str(part).strip())]


def _number(fields: Mapping[str, list[str]], name: str, low: float, high: float) -> float:
    text = _one(fields, name, str(low))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ApiError(
            400, f"{name} is {text[:40]!r}; allowed: a number from {low:g} to {high:g}", param=name
        )
    return value


def _flag(fields: Mapping[str, list[str]], name: str) -> bool:
    text = _one(fields, name, "false").lower()
    if text not in (*YES, *NO):
        raise _unsupported(name, text, ("true", "false"))
    return text in YES


def _language(text: str, languages: Collection[str] | None) -> str | None:
    """A code or a name in any spelling; None = detect."""
    try:
        return asked_language(text, languages)
    except UnknownLanguage as problem:
        raise ApiError(400, str(problem), param="language", code="unsupported_value") from None


def _unsupported(name: str, value: str, allowed: Iterable[str]) -> ApiError:
    return ApiError(
        400,
        f"{name} is {value[:80]!r}; allowed: {', '.join(allowed)}",
        param=name,
        code="unsupported_value",
    )


# --- answers ------------------------------------------------------------------------------------


def transcript(
    request: TranscriptionRequest, cues: Sequence[Cue], language: str, duration_s: float
) -> dict[str, Any]:
    """The body of json and verbose_json."""
    text = whole_text(cues)
    usage = {"type": "duration", "seconds": math.ceil(duration_s)}
    if request.response_format == "json":
        return {"text": text, "usage": usage}
    told = "english" if request.task == "translate" else name_of(language)
    body: dict[str, Any] = {
        "task": request.task,
        "language": told,
        "duration": round(duration_s, 3),
        "text": text,
        "usage": usage,
    }
    if request.segments:
        body["segments"] = [as_segment(number, cue) for number, cue in enumerate(cues)]
    if request.words:
        body["words"] = [as_word(word) for cue in cues for word in cue.words]
    return body


def diarized(
    cues: Sequence[Cue], turns: Sequence[SpeakerTurn], duration_s: float
) -> dict[str, Any]:
    """The body of diarized_json."""
    return {
        "task": "transcribe",
        "duration": round(duration_s, 3),
        "text": whole_text(cues),
        "segments": diarized_segments(cues, turns),
        "usage": {"type": "duration", "seconds": math.ceil(duration_s)},
    }


def diarized_segments(cues: Sequence[Cue], turns: Sequence[SpeakerTurn]) -> list[dict[str, Any]]:
    """They are events of a stream too."""
    times = [(turn.start, turn.end, turn.speaker) for turn in turns]
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": round(one.start, 3),
            "end": round(one.end, 3),
            "speaker": one.speaker,
            "text": one.text,
        }
        for number, one in enumerate(spoken_cues(cues, times), 1)
    ]


def whole_text(cues: Iterable[Cue]) -> str:
    return " ".join(" ".join(cue.text.split()) for cue in cues if cue.text.strip())


def verbose(
    cues: Sequence[Cue],
    language: str,
    probability: float,
    duration_s: float,
    words: bool,
    processing_s: float,
    asr_s: float,
    model: str,
) -> dict[str, Any]:
    """The body of audio/transcriptions/verbose.

    `duration_after_vad_s`: of what was taken for speech.
    """
    segments = [
        {
            "start": round(cue.start, 3),
            "end": round(cue.end, 3),
            "text": " ".join(cue.text.split()),
            **({"words": [dict(as_word(word)) for word in cue.words]} if words else {}),
        }
        for cue in cues
    ]
    return {
        "text": whole_text(cues),
        "segments": segments,
        "language": language,
        "language_name": name_of(language),
        "language_probability": round(probability, 3),
        "duration_input_s": round(duration_s, 3),
        "duration_after_vad_s": round(min(duration_s, sum(cue.end - cue.start for cue in cues)), 3),
        "processing_ms": round(processing_s * 1000),
        "asr_ms": round(asr_s * 1000),
        "vad_used": True,
        "model": model,
    }


def token_usage(text: str) -> dict[str, int]:
    """An estimate, because clients want the fields. Four characters are about one."""
    count = math.ceil(len(text) / 4)
    return {"input_tokens": count, "output_tokens": 0, "total_tokens": count}


def delta(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str, duration_s: float) -> dict[str, Any]:
    return {
        "type": "transcript.text.done",
        "text": text,
        "usage": {"type": "duration", "seconds": math.ceil(duration_s)},
    }


def sse(body: Mapping[str, Any] | str) -> bytes:
    """One server-sent event; a string is sent as it is ("[DONE]")."""
    data = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return f"data: {data}\r\n\r\n".encode()


# --- speech -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpeechRequest:
    input: str
    voice: str | None = None  # None = the default
    model: str = ""
    response_format: str = "mp3"
    speed: float = 1.0
    sample_rate: int = SPEECH_RATE
    events: bool = False  # server-sent events instead of the bare sound


def speech(body: bytes, voices: Collection[str]) -> SpeechRequest:
    """Raises ApiError. `voices` empty = not known yet, any may be asked for."""
    try:
        values = json_object(body.decode("utf-8", "replace"))
        spoken = text_field(values, "input", "", LONGEST_INPUT)
        voice = values.get("voice")
        if isinstance(voice, dict):
            voice = voice.get("id")
        voice = text_field({"voice": voice}, "voice", "", 200)
        model = text_field(values, "model", "", 200)
        output = text_field(values, "response_format", "mp3", 20)
        stream = text_field(values, "stream_format", "audio", 20)
        speed = number_field(values, "speed", 1.0, 0.25, 4.0)
        rate = number_field(values, "sample_rate", SPEECH_RATE, 8000, 48_000)
        text_field(values, "instructions", "", LONGEST_INPUT)
    except FieldError as problem:
        raise ApiError(400, str(problem)) from None
    if not spoken.strip():
        raise ApiError(400, "input is empty; send the text that is to be spoken", param="input")
    if output not in SOUND_FORMATS:
        raise _unsupported("response_format", output, SOUND_FORMATS)
    if stream not in ("audio", "sse"):
        raise _unsupported("stream_format", stream, ("audio", "sse"))
    known = None
    try:
        known = voice_named(voice, voices)
    except UnknownVoice:
        if voices:
            why = refused(voice, voices, f"voice is {voice[:80]!r}")
            raise ApiError(400, why, param="voice", code="unsupported_value") from None
    return SpeechRequest(spoken, known, model, output, float(speed), int(rate), stream == "sse")


def model(name: str, owner: str, created: int, task: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner, "task": task}
