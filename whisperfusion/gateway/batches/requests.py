"""One request of a batch to its answer, through the functions that serve the same routes."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any, BinaryIO, cast

from fastapi import Request

from whisperfusion.gateway import forms
from whisperfusion.gateway.batches import sources
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.rest import speech, transcriptions
from whisperfusion.gateway.rest.voice_names import voices_of
from whisperfusion.gateway.transcribing import collected
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.runtime.rate_limits import SCOPE, Limits, Quota
from whisperfusion.wire import openai_rest as wire
from whisperfusion.wire.languages import NAMES
from whisperfusion.wire.openai_rest import ApiError

# a route under the prefix of the API: the process that its requests need, and the task
STAGES = {"/audio/transcriptions": "asr", "/audio/translations": "asr", "/audio/speech": "tts"}
TASKS = {"/audio/transcriptions": "transcribe", "/audio/translations": "translate"}


class Requests:
    """`answer` is the body that the route would have sent."""

    def __init__(
        self, upstream: Upstream, decoders: DecoderPool, snapshot: StageSnapshot, limits: Limits
    ) -> None:
        self._upstream, self._decoders = upstream, decoders
        self._snapshot, self._limits = snapshot, limits

    async def ready(self, route: str) -> bool:
        """Whether the process that `route` needs can work now."""
        stage = (await self._snapshot()).get(STAGES[route])
        return stage is not None and stage.state == "ready"

    async def answer(
        self, route: str, body: Mapping[str, Any], file: Callable[[str], Path | None]
    ) -> Any:
        """`file`: the content of a file of the batch's owner, by its id. Raises ApiError and
        TooMany.
        """
        if STAGES[route] == "tts":
            return await self._spoken(body)
        return await self._transcribed(body, TASKS[route], file)

    async def _transcribed(
        self, body: Mapping[str, Any], task: str, file: Callable[[str], Path | None]
    ) -> Any:
        asked, source = await asyncio.to_thread(_understood, body, task)  # base64 takes its time
        # like a client of this machine: nothing is forwarded for an address
        request = Request(
            {"type": "http", "headers": [], "client": None, SCOPE: Quota(self._limits, ())}
        )
        upstream, decoders = self._upstream, self._decoders
        with ExitStack() as closing:
            audio = closing.enter_context(_opened(source, file))
            form = forms.Form([], audio, "")
            known = await transcriptions.known_speakers(request, upstream, decoders, asked)
            events = transcriptions.recording_events(
                request, upstream, decoders, form, asked, known
            )
            found = transcriptions.answer(asked, await collected(events))
        content = bytes(found.body)
        json_like = found.media_type == "application/json"
        return json.loads(content) if json_like else content.decode()

    async def _spoken(self, body: Mapping[str, Any]) -> dict[str, str]:
        asked = wire.speech(json.dumps(body).encode(), await voices_of(self._snapshot))
        if asked.events:
            message = "stream_format is 'sse'; a result of a batch is one answer: leave it out"
            raise ApiError(400, message, param="stream_format", code="invalid_value")
        async with aclosing(speech.spoken_file(self._upstream, asked)) as parts:
            sound = b"".join([part async for part in parts])
        return {
            "audio": base64.b64encode(sound).decode(),
            "format": asked.response_format,
            "content_type": wire.SOUND_FORMATS[asked.response_format],
        }


def _understood(
    body: Mapping[str, Any], task: str
) -> tuple[wire.TranscriptionRequest, str | bytes]:
    """What is asked for, and where the recording is. Raises ApiError."""
    return wire.transcription(sources.fields_of(body), task, NAMES), sources.audio_of(body)


def _opened(source: str | bytes, file: Callable[[str], Path | None]) -> BinaryIO:
    """The recording as a file. Raises ApiError."""
    if isinstance(source, bytes):
        held = tempfile.SpooledTemporaryFile(forms.IN_MEMORY)  # noqa: SIM115 - the caller closes it
        held.write(source)
        return cast(BinaryIO, held)
    path = file(source)
    try:
        if path is not None:
            return open(path, "rb")
    except FileNotFoundError:  # it was deleted since
        pass
    raise ApiError(
        400,
        f"no file {source[:80]!r} is kept for this key: upload it before the batch, and delete it "
        "after the batch",
        param="file",
        code="file_not_found",
    )
