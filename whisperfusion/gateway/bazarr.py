"""What Bazarr asks of whisper-asr-webservice: subtitles of a whole track, and its language.

Bazarr stores whatever body comes back, whatever the status, so no error here looks like a subtitle.
A track is raw s16 at 16 kHz (`encode=false`), 115 MB an hour, and may be longer than the files of
the other routes.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from whisperfusion.gateway import forms, openapi
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.leaving import while_there
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.transcribing import collected, read
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.settings import Settings
from whisperfusion.wire.languages import UnknownLanguage, asked_language, name_of
from whisperfusion.wire.openai_rest import LONGEST_PROMPT, NO, YES, ApiError
from whisperfusion.wire.transcripts import written

OUTPUTS = {
    "txt": "txt",
    "text": "txt",
    "vtt": "vtt",
    "srt": "srt",
    "tsv": "tsv",
    "json": "json",
    "jsonl": "jsonl",
}
DETECT_S = 30.0  # of audio, to detect its language
LATEST_S = 86_400.0  # offset at which the language may be asked for


def router(
    settings: Settings, upstream: Upstream, decoders: DecoderPool, snapshot: StageSnapshot
) -> APIRouter:
    routes, bazarr = APIRouter(tags=["Bazarr"]), _Bazarr(upstream, decoders, snapshot)
    for prefix in ("", "/bazarr", f"{settings.api_prefix}/bazarr"):
        shown = not prefix
        post = partial(
            routes.add_api_route,
            methods=["POST"],
            include_in_schema=shown,
            openapi_extra=openapi.AUDIO_FILE,
        )
        post(f"{prefix}/asr", bazarr.asr, responses=openapi.PLAIN, response_class=Response)
        post(f"{prefix}/detect-language", bazarr.detect_language, responses=openapi.ERRORS)
    return routes


class _Bazarr:
    def __init__(self, upstream: Upstream, decoders: DecoderPool, snapshot: StageSnapshot) -> None:
        self._upstream, self._decoders, self._snapshot = upstream, decoders, snapshot

    def _pieces(
        self,
        request: Request,
        form: forms.Form,
        raw: bool,
        *,
        language: str | None = None,
        **span: Any,
    ) -> Any:
        file = forms.needed(form.file, "audio_file")
        if raw:
            return forms.raw_pieces(file, **span)
        return self._decoders.pieces(
            file, request.client.host if request.client else "", language=language, **span
        )

    async def asr(
        self,
        request: Request,
        encode: str = Query("true", description="false = the body is raw s16 mono at 16 kHz"),
        task: str = Query("transcribe", description="transcribe or translate"),
        language: str = Query("", description="code; absent = detect"),
        initial_prompt: str = "",
        vad_filter: str = "false",
        word_timestamps: str = "false",
        output: str = Query("txt", description=", ".join(OUTPUTS)),
    ) -> Response:
        """A whole track to subtitles or text."""
        if output not in OUTPUTS:
            raise _refused("output", output, ", ".join(OUTPUTS))
        if task not in ("transcribe", "translate"):
            raise _refused("task", task, "transcribe, translate")
        initial_prompt = initial_prompt[-LONGEST_PROMPT:]
        code, words = _language(language), _flag("word_timestamps", word_timestamps, False)
        raw = not _flag("encode", encode, True)
        _flag("vad_filter", vad_filter, False)
        form = await forms.form(request, "audio_file", "file")
        options = {
            "language": code,
            "task": task,
            "initial_prompt": initial_prompt,
            "word_timestamps": words,
        }
        events = read(
            request, self._upstream, self._pieces(request, form, raw, language=code), options
        )
        found = await while_there(request, collected(events))
        stage = (await self._snapshot()).get("asr")
        name = PurePath(form.filename or "audio_file").name[:200]
        headers = {
            "Asr-Engine": quote(stage.engine if stage else "whisperfusion"),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}.{output}",
        }
        text = "".join(written(found.cues, OUTPUTS[output], found.language))
        return Response(text, media_type="text/plain", headers=headers)

    async def detect_language(
        self,
        request: Request,
        encode: str = "true",
        detect_lang_offset: str = Query("0", description="seconds"),
        detect_lang_length: str = Query("30", description="seconds, at most 30"),
    ) -> Response:
        """The language that is spoken."""
        raw = not _flag("encode", encode, True)
        offset = _seconds("detect_lang_offset", detect_lang_offset, 0.0, 0.0)
        length = _seconds("detect_lang_length", detect_lang_length, 1.0, DETECT_S)
        form = await forms.form(request, "audio_file", "file")
        stretch = self._pieces(request, form, raw, offset_s=offset, length_s=min(length, DETECT_S))
        events = read(request, self._upstream, stretch, {"language": None, "task": "detect"})
        found = await while_there(request, collected(events))
        language = found.language or "en"
        return JSONResponse(
            {
                "detected_language": name_of(language),
                "language_code": language,
                "confidence": round(found.probability, 4),
            }
        )


def _language(text: str) -> str | None:
    try:
        return asked_language(text)
    except UnknownLanguage as problem:
        raise ApiError(400, str(problem), param="language", code="unsupported_value") from None


def _flag(name: str, text: str, default: bool) -> bool:
    """A name without a value ("?encode" or "?encode=") is the default."""
    if text.lower() not in (*YES, *NO):
        raise _refused(name, text, "true, false")
    return text.lower() in YES if text else default


def _seconds(name: str, text: str, least: float, default: float) -> float:
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if not least <= value <= LATEST_S:
        raise _refused(name, text, f"seconds from {least:g} to {LATEST_S:.0f}")
    return value


def _refused(name: str, value: str, allowed: str) -> ApiError:
    return ApiError(
        400, f"{name} is {value[:80]!r}; allowed: {allowed}", param=name, code="unsupported_value"
    )
