"""Recordings to text."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, BinaryIO, cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from whisperfusion.client.recordings import RecordingEvent
from whisperfusion.gateway import forms, openapi
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.leaving import Stream, while_there
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.transcribing import Transcript, collected, cue, embedded, read
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.wire import openai_rest as wire
from whisperfusion.wire.asr_events import LanguageDetected, RecordingDone, Segment, Speakers
from whisperfusion.wire.languages import NAMES
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.transcripts import written

Events = AsyncGenerator[RecordingEvent, None]
# fields of `audio/transcriptions` that its verbose form has too
SHARED = ("language", "prompt", "hotwords", "temperature", "model")


def router(upstream: Upstream, decoders: DecoderPool, snapshot: StageSnapshot) -> APIRouter:
    routes = APIRouter()

    async def transcribed(request: Request, task: str) -> Response:
        form = await forms.form(request, "file", "audio", "audio_file")
        asked = wire.transcription(form.fields, task, NAMES)
        known = await while_there(request, known_speakers(request, upstream, decoders, asked))
        events = recording_events(request, upstream, decoders, form, asked, known)
        if asked.stream:
            return await while_there(request, _streamed(events, asked.diarized))
        return answer(asked, await while_there(request, collected(events)))

    @routes.post(
        "/audio/transcriptions", openapi_extra=openapi.TRANSCRIPTION, responses=openapi.TEXTS
    )
    async def transcriptions(request: Request) -> Response:
        """A recording to text, in the language that was spoken."""
        return await transcribed(request, "transcribe")

    @routes.post(
        "/audio/translations", openapi_extra=openapi.TRANSCRIPTION, responses=openapi.TEXTS
    )
    async def translations(request: Request) -> Response:
        """A recording to English text."""
        return await transcribed(request, "translate")

    @routes.post(
        "/audio/transcriptions/verbose", openapi_extra=openapi.VERBOSE, responses=openapi.TEXTS
    )
    async def verbose(request: Request) -> Response:
        """A recording to text, with everything that is known about how it was read."""
        received = time.monotonic()
        form = await forms.form(request, "file", "audio", "audio_file")
        output, asked = _verbose_request(form.fields)
        asking = time.monotonic()
        events = recording_events(request, upstream, decoders, form, asked)
        found = await while_there(request, collected(events))
        if output == "text":
            return PlainTextResponse(wire.whole_text(found.cues) + "\n")
        ended, stage = time.monotonic(), (await snapshot()).get("asr")
        return JSONResponse(
            wire.verbose(
                found.cues,
                found.language,
                found.probability,
                found.duration_s,
                asked.words,
                ended - received,
                ended - asking,
                stage.model if stage else "",
            )
        )

    return routes


def _verbose_request(given: list[tuple[str, str]]) -> tuple[str, wire.TranscriptionRequest]:
    """The form of the response, json or text, and what is asked for. Raises ApiError."""
    fields = dict(given)
    output = fields.pop("format", "") or fields.pop("response_format", "") or "json"
    if output not in ("json", "text"):
        raise ApiError(
            400,
            f"format is {output[:40]!r}; allowed: json, text",
            param="format",
            code="unsupported_value",
        )
    grain = [("timestamp_granularities[]", "word")]
    if fields.get("word_timestamps", "").lower() not in wire.YES:
        grain = []
    task = fields.get("task") or "transcribe"
    if task not in ("transcribe", "translate"):
        raise ApiError(
            400,
            f"task is {task[:40]!r}; allowed: transcribe, translate",
            param="task",
            code="unsupported_value",
        )
    known = [(name, value) for name, value in given if name in SHARED]
    form = [*known, *grain, ("response_format", "verbose_json")]
    return output, wire.transcription(form, task, NAMES)


def recording_events(
    request: Request,
    upstream: Upstream,
    decoders: DecoderPool,
    form: forms.Form,
    asked: wire.TranscriptionRequest,
    known: Mapping[str, str] | None = None,
) -> Events:
    """The events of the recording in `form`. `known` are embeddings of speakers by their names."""
    file = forms.needed(form.file, "file")
    pieces = decoders.pieces(
        file, request.client.host if request.client else "", language=asked.language
    )
    options: dict[str, Any] = {
        "language": asked.language,
        "task": asked.task,
        "initial_prompt": asked.prompt,
        "hotwords": asked.hotwords,
        "temperature": asked.temperature,
        "word_timestamps": asked.words,
        "live": asked.live,
    }
    if asked.diarized:
        speakers = [{"name": name, "embedding": one} for name, one in (known or {}).items()]
        options |= {"enable_diarization": True, "known_speakers": speakers}
    return read(request, upstream, pieces, options)


async def known_speakers(
    request: Request, upstream: Upstream, decoders: DecoderPool, asked: wire.TranscriptionRequest
) -> dict[str, str]:
    """The embedding of each known speaker, by name. Raises ApiError, which says whose sample is
    not usable.
    """
    found = {}
    for name, sample in asked.speakers:
        address = request.client.host if request.client else ""
        try:
            with tempfile.SpooledTemporaryFile(forms.IN_MEMORY) as file:
                file.write(sample)
                pieces = decoders.pieces(cast(BinaryIO, file), address)
                found[name] = await embedded(read(request, upstream, pieces, {"task": "embed"}))
        except ApiError as problem:
            status = 400 if problem.code == "asr_failed" else problem.status
            raise ApiError(
                status,
                f"the reference of {name!r}: {problem.message}",
                param="known_speaker_references",
                code=problem.code,
                retry_after_s=problem.retry_after_s,
            ) from None
    return found


def answer(asked: wire.TranscriptionRequest, found: Transcript) -> Response:
    kind = wire.MEDIA_TYPES[asked.response_format]
    if asked.diarized:
        return JSONResponse(wire.diarized(found.cues, found.turns, found.duration_s))
    if asked.response_format in ("json", "verbose_json"):
        return JSONResponse(
            wire.transcript(asked, found.cues, found.language, found.duration_s), media_type=kind
        )
    if asked.response_format == "text":
        return PlainTextResponse(wire.whole_text(found.cues) + "\n")
    return Response("".join(written(found.cues, asked.response_format)), media_type=kind)


async def _streamed(events: Events, diarized: bool) -> Response:
    """Server-sent events. What fails before the first of them is still an answer with a status.

    Segments of a `diarized` one come at the end: who spoke is known when all was heard.
    """
    try:
        first = await anext(events)
        while isinstance(first, LanguageDetected):
            first = await anext(events)
    except BaseException:
        await events.aclose()
        raise

    async def parts() -> AsyncGenerator[bytes, None]:
        text, cues = "", []
        event: RecordingEvent = first
        async with aclosing(events):
            try:
                while isinstance(event, Segment):
                    piece = f" {event.text}" if text else event.text
                    text += piece
                    yield wire.sse(wire.delta(piece))
                    cues += [cue(event)] if diarized else []
                    event = await anext(events)
                if isinstance(event, Speakers):
                    for part in wire.diarized_segments(cues, event.turns):
                        yield wire.sse(part)
                    event = await anext(events)
                assert isinstance(event, RecordingDone)
                yield wire.sse(wire.done(text, event.duration))
                yield wire.sse("[DONE]")
            except ApiError as problem:
                yield wire.sse(problem.body())

    return Stream(parts(), events, media_type="text/event-stream")
