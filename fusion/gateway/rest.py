"""OpenAI's REST audio interface: recordings to text, text to sound, voices and models, under a prefix that may be chosen.

Every route is a translation onto the two sockets (`Inner`); what the bodies look like stands in `wire/openai_rest.py`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from fusion.gateway import forms, media, openapi
from fusion.gateway.health import Look
from fusion.gateway.inner import Inner
from fusion.settings import Settings
from fusion.wire import openai_rest as wire
from fusion.wire.languages import NAMES
from fusion.wire.openai_rest import ApiError
from fusion.wire.pcm import SPOKEN_RATE
from fusion.wire.transcripts import Cue, SpokenWord, written

HEARS, SPEAKS, ANSWERS = "automatic-speech-recognition", "text-to-speech", "text-generation"
ALIASES = {"whisper-1": HEARS, "tts-1": SPEAKS, "gpt-realtime": ANSWERS}  # names that clients have built in


@dataclass(frozen=True)
class Transcript:
    cues: list[Cue]
    language: str
    probability: float
    duration_s: float


def router(settings: Settings, inner: Inner, look: Look) -> APIRouter:
    routes = APIRouter(prefix=settings.api_prefix, tags=["OpenAI"])
    began = int(time.time())

    async def transcribed(request: Request, task: str) -> Response:
        form = await forms.form(request, "file", "audio", "audio_file")
        asked = wire.transcription(form.fields, task, NAMES)
        pcm = forms.samples(forms.needed(form.file, "file"))
        if asked.stream:
            return await _streamed(events(inner, pcm, asked))
        return _answer(asked, await collected(events(inner, pcm, asked)))

    @routes.post("/audio/transcriptions", openapi_extra=openapi.TRANSCRIPTION, responses=openapi.TEXTS)
    async def transcriptions(request: Request) -> Response:
        """A recording to text, in the language that was spoken."""
        return await transcribed(request, "transcribe")

    @routes.post("/audio/translations", openapi_extra=openapi.TRANSCRIPTION, responses=openapi.TEXTS)
    async def translations(request: Request) -> Response:
        """A recording to English text."""
        return await transcribed(request, "translate")

    @routes.post("/audio/transcriptions/verbose", openapi_extra=openapi.VERBOSE, responses=openapi.TEXTS)
    async def verbose(request: Request) -> Response:
        """A recording to text, with everything that is known about how it was read."""
        received = time.monotonic()
        form = await forms.form(request, "file", "audio", "audio_file")
        fields = dict(form.fields)
        output = fields.pop("format", "") or fields.pop("response_format", "") or "json"
        if output not in ("json", "text"):
            raise ApiError(400, f"format is {output[:40]!r}; allowed: json, text", param="format", code="unsupported_value")
        grain = [("timestamp_granularities[]", "word")] if fields.get("word_timestamps", "").lower() in wire.YES else []
        task = fields.get("task") or "transcribe"
        if task not in ("transcribe", "translate"):
            raise ApiError(400, f"task is {task[:40]!r}; allowed: transcribe, translate", param="task", code="unsupported_value")
        known = [(name, value) for name, value in form.fields if name in ("language", "prompt", "hotwords", "temperature", "model")]
        asked = wire.transcription([*known, *grain, ("response_format", "verbose_json")], task, NAMES)
        asking = time.monotonic()
        found = await collected(events(inner, forms.samples(forms.needed(form.file, "file")), asked))
        if output == "text":
            return PlainTextResponse(wire.whole_text(found.cues) + "\n")
        ended, model = time.monotonic(), (await look()).get("asr")
        return JSONResponse(
            wire.verbose(
                found.cues,
                found.language,
                found.probability,
                found.duration_s,
                asked.words,
                ended - received,
                ended - asking,
                model.model if model else "",
            )
        )

    @routes.post("/audio/speech", openapi_extra=openapi.SPEECH, responses=openapi.SOUND)
    async def speech(request: Request) -> Response:
        """Text to sound, sent while it is made."""
        asked = wire.speech(await forms.small_body(request), await voices_of(look))
        sound = _sound(inner, asked)
        first = await anext(sound, b"")  # a text without words has no sound
        if asked.events:
            return StreamingResponse(_sound_events(first, sound, asked.input), media_type="text/event-stream", headers=openapi.NO_STORE)
        return StreamingResponse(_all(first, sound), media_type=wire.SOUND_FORMATS[asked.response_format], headers=openapi.NO_STORE)

    @routes.get("/audio/voices")
    async def voices() -> dict[str, Any]:
        """The voices that `audio/speech` and calls may ask for; the first is the default."""
        found = [{"id": name, "name": name, "object": "voice", "language": "en"} for name in await voices_of(look)]
        return {"object": "list", "voices": found}

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """What hears, answers and speaks here, and the names that clients have built in for it."""
        return {"object": "list", "data": await _models(look, began)}

    @routes.get("/audio/models")
    async def audio_models() -> dict[str, Any]:
        """The same as Open WebUI asks for it."""
        return {"models": [model for model in await _models(look, began) if model["task"] != ANSWERS]}

    @routes.get("/models/{name:path}", responses=openapi.ERRORS)
    async def model(name: str) -> Response:
        """One of them."""
        found = next((model for model in await _models(look, began) if model["id"] == name), None)
        if found is None:
            raise ApiError(
                404,
                f"there is no model {name[:80]!r} here; GET {settings.api_prefix}/models lists them",
                param="model",
                code="model_not_found",
            )
        return JSONResponse(found)

    return routes


async def voices_of(look: Look) -> tuple[str, ...]:
    """Empty while the speaking process starts."""
    stage = (await look()).get("tts")
    return tuple(stage.voices) if stage else ()


async def _models(look: Look, began: int) -> list[dict[str, Any]]:
    stages, tasks = await look(), {"asr": HEARS, "llm": ANSWERS, "tts": SPEAKS}
    own = [
        wire.model(stages[name].model, "whisperfusion", began, task)
        for name, task in tasks.items()
        if name in stages and stages[name].model
    ]
    return [*own, *(wire.model(name, "openai", began, task) for name, task in ALIASES.items())]


# --- recordings -----------------------------------------------------------------------------------------------


def events(inner: Inner, pcm: Iterator[np.ndarray], asked: wire.TranscriptionRequest) -> AsyncIterator[dict[str, Any]]:
    return inner.read(
        pcm,
        {
            "language": asked.language,
            "task": asked.task,
            "initial_prompt": asked.prompt,
            "hotwords": asked.hotwords,
            "temperature": asked.temperature,
            "word_timestamps": asked.words,
        },
    )


async def collected(told: AsyncIterator[dict[str, Any]]) -> Transcript:
    cues: list[Cue] = []
    async for event in told:
        if event["type"] == "segment":
            cues.append(cue(event))
        elif event["type"] == "done":
            return Transcript(cues, event["language"], event["language_probability"], event["duration"])
    raise ApiError(500, "the recognizer ended without a word", code="server_error")


def cue(event: dict[str, Any]) -> Cue:
    words = tuple(SpokenWord(word["word"], word["start"], word["end"], word["probability"]) for word in event["words"])
    return Cue(event["start"], event["end"], event["text"], words, event["avg_logprob"], event["no_speech_prob"])


def _answer(asked: wire.TranscriptionRequest, found: Transcript) -> Response:
    kind = wire.MEDIA_TYPES[asked.response_format]
    if asked.response_format in ("json", "verbose_json"):
        return JSONResponse(wire.transcript(asked, found.cues, found.language, found.duration_s), media_type=kind)
    if asked.response_format == "text":
        return PlainTextResponse(wire.whole_text(found.cues) + "\n")
    return Response("".join(written(found.cues, asked.response_format)), media_type=kind)


async def _streamed(told: AsyncIterator[dict[str, Any]]) -> Response:
    """Server-sent events. What fails before the first of them is still an answer with a status."""
    first = await anext(told)
    while first["type"] == "language":
        first = await anext(told)

    async def parts() -> AsyncIterator[bytes]:
        text, event = "", first
        async with aclosing(told):  # type: ignore[type-var]
            try:
                while event["type"] != "done":
                    said = f" {event['text']}" if text else event["text"]
                    text += said
                    yield wire.sse(wire.delta(said))
                    event = await anext(told)
                yield wire.sse(wire.done(text, event["duration"]))
                yield wire.sse("[DONE]")
            except ApiError as problem:
                yield wire.sse(problem.body())

    return StreamingResponse(parts(), media_type="text/event-stream", headers=openapi.NO_STORE)


# --- speech -----------------------------------------------------------------------------------------------------


async def _sound(inner: Inner, asked: wire.SpeechRequest) -> AsyncIterator[bytes]:
    """Bytes of the file, none of them empty. Raises ApiError, mostly before the first."""
    encoder = media.Encoder(asked.response_format, SPOKEN_RATE, asked.sample_rate, asked.speed)
    async with aclosing(inner.say(asked.input, asked.voice)) as frames:
        async for frame in frames:
            data = encoder.encode(np.frombuffer(frame, "<i2").astype(np.float32) / 32768)
            if data:
                yield data
    data = encoder.close()
    if data:
        yield data


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for data in rest:
        yield data


async def _sound_events(first: bytes, rest: AsyncIterator[bytes], text: str) -> AsyncIterator[bytes]:
    try:
        async for data in _all(first, rest):
            yield wire.sse({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        yield wire.sse({"type": "speech.audio.done", "usage": wire.token_usage(text)})
        yield wire.sse("[DONE]")
    except ApiError as problem:
        yield wire.sse(problem.body())
