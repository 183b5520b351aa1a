"""Text to a file of speech, sent while it is made."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.gateway import forms, media, openapi
from whisperfusion.gateway.leaving import Stream, while_there
from whisperfusion.gateway.rest.voice_names import VoiceNames
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.wire import openai_rest as wire
from whisperfusion.wire.openai_rest import ApiError

SILENCE_S = 0.3  # of a text without words: a file that players accept


def router(upstream: Upstream, names: VoiceNames) -> APIRouter:
    routes = APIRouter()

    @routes.post("/audio/speech", openapi_extra=openapi.SPEECH, responses=openapi.SOUND)
    async def speech(request: Request) -> Response:
        """Text to sound, sent while it is made."""
        asked = wire.speech(await forms.small_body(request), await names.all())
        return await while_there(request, _spoken(upstream, asked))

    return routes


async def _spoken(upstream: Upstream, asked: wire.SpeechRequest) -> Response:
    """What fails before the first sound is still an answer with a status."""
    sound = spoken_file(upstream, asked)
    try:
        first = await anext(sound)
    except BaseException:
        await sound.aclose()
        raise
    if asked.events:
        return Stream(
            _sound_events(first, sound, asked.input), sound, media_type="text/event-stream"
        )
    return Stream(_all(first, sound), sound, media_type=wire.SOUND_FORMATS[asked.response_format])


async def spoken_file(upstream: Upstream, asked: wire.SpeechRequest) -> AsyncGenerator[bytes, None]:
    """Bytes of the file, none of them empty, of silence if there is nothing to speak.

    Raises ApiError, mostly before the first.
    """
    with media.Encoder(
        asked.response_format, SPEECH_RATE, asked.sample_rate, asked.speed
    ) as encoder:
        empty = True
        async with aclosing(upstream.synthesize(asked.input, asked.voice)) as frames:
            async for frame in frames:
                empty = False
                pcm = np.frombuffer(frame, "<i2").astype(np.float32)
                if data := encoder.encode(pcm / np.float32(32768)):
                    yield data
        data = b""
        if empty:
            data = encoder.encode(np.zeros(round(SILENCE_S * SPEECH_RATE), np.float32))
        yield data + encoder.close()


async def _all(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for data in rest:
            yield data


async def _sound_events(
    first: bytes, rest: AsyncGenerator[bytes, None], text: str
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(_all(first, rest)) as parts:
            async for data in parts:
                yield wire.sse(
                    {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}
                )
        yield wire.sse({"type": "speech.audio.done", "usage": wire.token_usage(text)})
        yield wire.sse("[DONE]")
    except ApiError as problem:
        yield wire.sse(problem.body())
