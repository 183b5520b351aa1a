"""Schemas for /docs and /openapi.json: request bodies that routes parse themselves, and the errors
that all routes share.
"""

from __future__ import annotations

from typing import Any

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.wire.openai_rest import LONGEST_INPUT, SOUND_FORMATS, TEXT_FORMATS

NO_STORE = {"Cache-Control": "no-store"}
_ERROR = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "param", "code"],
                    "properties": {
                        "message": {"type": "string"},
                        "type": {"type": "string"},
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "null"]},
                    },
                }
            },
        }
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {
        "description": (
            "a field or the file cannot be used; the message says which and what is allowed"
        ),
        "content": _ERROR,
    },
    401: {"description": "the key is missing or wrong", "content": _ERROR},
    404: {"description": "not found", "content": _ERROR},
    408: {"description": "the body arrived too slowly", "content": _ERROR},
    413: {"description": "the body is too large", "content": _ERROR},
    415: {"description": "the file is not audio", "content": _ERROR},
    429: {"description": "too many requests; Retry-After says when", "content": _ERROR},
    500: {"description": "a stage failed; the message says which", "content": _ERROR},
    503: {"description": "a stage is starting or down; Retry-After says when", "content": _ERROR},
}
_OBJECT: dict[str, Any] = {"schema": {"type": "object"}}
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
TEXTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the transcript",
        "content": {
            "application/json": _OBJECT,
            "text/plain": _TEXT,
            "text/vtt": _TEXT,
            "text/event-stream": {},
        },
    },
    **ERRORS,
}
SOUND: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the audio, streamed while it is synthesized",
        "content": {
            **dict.fromkeys(sorted(set(SOUND_FORMATS.values())), _BYTES),
            "text/event-stream": {},
        },
    },
    **ERRORS,
}
PLAIN: dict[int | str, dict[str, Any]] = {
    200: {"description": "the result", "content": {"text/plain": _TEXT}},
    **ERRORS,
}
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "the file", "content": {"application/octet-stream": _BYTES}},
    **ERRORS,
}
WAV: dict[int | str, dict[str, Any]] = {
    200: {"description": "the answer", "content": {"audio/wav": _BYTES}},
    **ERRORS,
}

_FILE = {
    "type": "string",
    "format": "binary",
    "description": "wav, mp3, m4a, flac, ogg, webm and most others",
}
_SPOKEN = {
    "model": {"type": "string", "description": "any name; one model serves all clients"},
    "language": {"type": "string", "description": "ISO code or English name; absent = detect"},
    "prompt": {"type": "string", "description": "preceding text, for spelling and style"},
    "hotwords": {"type": "string", "description": "expected words, separated by commas"},
    "live": {
        "type": "string",
        "enum": ["interim", "final"],
        "description": "an utterance of a call: read at once and fast, as those of calls here",
    },
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
}


def multipart(file: str, **fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": [file], "properties": {file: _FILE, **fields}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


TRANSCRIPTION = multipart(
    "file",
    **_SPOKEN,
    **{
        "response_format": {"type": "string", "enum": list(TEXT_FORMATS), "default": "json"},
        "timestamp_granularities[]": {
            "type": "array",
            "items": {"type": "string", "enum": ["segment", "word"]},
        },
        "known_speaker_names[]": {
            "type": "array",
            "items": {"type": "string"},
            "description": "with diarized_json: names of speakers whose samples are sent",
        },
        "known_speaker_references[]": {
            "type": "array",
            "items": {"type": "string"},
            "description": "a sample of each of them as a data URL",
        },
        "stream": {
            "type": "boolean",
            "default": False,
            "description": "server-sent events, one for each speech segment",
        },
    },
)
VERBOSE = multipart(
    "file",
    **_SPOKEN,
    task={"type": "string", "enum": ["transcribe", "translate"], "default": "transcribe"},
    word_timestamps={"type": "boolean", "default": False},
    format={"type": "string", "enum": ["json", "text"], "default": "json"},
)
VOICE = multipart(
    "audio_sample",
    name={"type": "string"},
    consent={
        "type": "string",
        "description": "the person's consent in words, or the id of a recording of it",
    },
    consent_by={"type": "string", "description": "their name, where it is in words"},
)
CONSENT = multipart(
    "recording",
    name={"type": "string", "description": "a label"},
    language={"type": "string", "description": "of what is said, such as en-US"},
)
SPEECH = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["input"],
                    "properties": {
                        "model": {"type": "string"},
                        "input": {"type": "string", "minLength": 1, "maxLength": LONGEST_INPUT},
                        "voice": {"type": "string"},
                        "response_format": {
                            "type": "string",
                            "enum": list(SOUND_FORMATS),
                            "default": "mp3",
                        },
                        "speed": {"type": "number", "minimum": 0.25, "maximum": 4, "default": 1},
                        "stream_format": {
                            "type": "string",
                            "enum": ["audio", "sse"],
                            "default": "audio",
                        },
                        "sample_rate": {
                            "type": "integer",
                            "minimum": 8000,
                            "maximum": 48000,
                            "default": SPEECH_RATE,
                        },
                    },
                }
            }
        },
    }
}
CLIENT_SECRET = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "expires_after": {
                            "type": "object",
                            "properties": {
                                "anchor": {"type": "string"},
                                "seconds": {"type": "integer", "minimum": 10, "maximum": 7200},
                            },
                        },
                        "session": {"type": "object"},
                    },
                }
            }
        },
    }
}
AUDIO_FILE = multipart("audio_file")
FILE = multipart(
    "file",
    purpose={"type": "string", "enum": ["batch", "user_data"]},
    **{
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
)
BATCH = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["input_file_id", "endpoint", "completion_window"],
                    "properties": {
                        "input_file_id": {"type": "string"},
                        "endpoint": {
                            "type": "string",
                            "enum": [
                                "/v1/audio/transcriptions",
                                "/v1/audio/translations",
                                "/v1/audio/speech",
                            ],
                        },
                        "completion_window": {"type": "string", "enum": ["24h"]},
                        "metadata": {"type": "object"},
                        "output_expires_after": {"type": "object"},
                    },
                }
            }
        },
    }
}
INTERACT = {
    "parameters": [
        {
            "name": "session",
            "in": "query",
            "required": False,
            "description": "X-Session of an earlier answer, to go on with its conversation",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
            },
            "audio/*": _BYTES,
        },
    },
}
