"""What Bazarr asks of whisper-asr-webservice: subtitles of a whole track, and its language.

Bazarr stores whatever body comes back, whatever the status, so no error here looks like a subtitle. A track is raw s16 at
16 kHz (`encode=false`), 115 MB an hour, and may be longer than the files of the other routes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import PurePath
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from fusion.gateway import forms, openapi
from fusion.gateway.health import Look
from fusion.gateway.inner import Inner
from fusion.gateway.rest import collected
from fusion.settings import Settings
from fusion.wire.languages import NAMES, code_of, name_of
from fusion.wire.openai_rest import LONGEST_PROMPT, NO, YES, ApiError
from fusion.wire.transcripts import written

OUTPUTS = {"txt": "txt", "text": "txt", "vtt": "vtt", "srt": "srt", "tsv": "tsv", "json": "json", "jsonl": "jsonl"}
DETECT_S = 30.0  # of sound that tell the language
LATEST_S = 86_400.0  # offset at which the language may be asked for


def router(settings: Settings, inner: Inner, look: Look) -> APIRouter:
    routes = APIRouter(tags=["Bazarr"])

    async def asr(
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
        if len(initial_prompt) > LONGEST_PROMPT:
            raise _refused("initial_prompt", initial_prompt, f"at most {LONGEST_PROMPT} characters")
        code, words, raw = _language(language), _flag("word_timestamps", word_timestamps), not _flag("encode", encode)
        _flag("vad_filter", vad_filter)
        form = await forms.form(request, "audio_file", "file")
        found = await collected(
            inner.read(_samples(form, raw), {"language": code, "task": task, "initial_prompt": initial_prompt, "word_timestamps": words})
        )
        stage = (await look()).get("asr")
        name = PurePath(form.filename or "audio_file").name[:200]
        headers = {
            "Asr-Engine": quote(stage.engine if stage else "whisperfusion"),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}.{output}",
        }
        return Response("".join(written(found.cues, OUTPUTS[output], found.language)), media_type="text/plain", headers=headers)

    async def detect_language(
        request: Request,
        encode: str = "true",
        detect_lang_offset: str = Query("0", description="seconds"),
        detect_lang_length: str = Query("30", description="seconds, at most 30"),
    ) -> Response:
        """The language that is spoken."""
        raw = not _flag("encode", encode)
        offset, length = _seconds("detect_lang_offset", detect_lang_offset, 0.0), _seconds("detect_lang_length", detect_lang_length, 1.0)
        form = await forms.form(request, "audio_file", "file")
        told = inner.read(_samples(form, raw, offset, min(length, DETECT_S)), {"language": None, "task": "detect"})
        found = await collected(told)
        language = found.language or "en"
        return JSONResponse({"detected_language": name_of(language), "language_code": language, "confidence": round(found.probability, 4)})

    for prefix in ("", "/bazarr", f"{settings.api_prefix}/bazarr"):
        shown = not prefix
        post = partial(routes.add_api_route, methods=["POST"], include_in_schema=shown, openapi_extra=openapi.AUDIO_FILE)
        post(f"{prefix}/asr", asr, responses=openapi.PLAIN, response_class=Response)
        post(f"{prefix}/detect-language", detect_language, responses=openapi.ERRORS)
    return routes


def _samples(form: forms.Form, raw: bool, offset_s: float = 0.0, length_s: float | None = None) -> Iterator[np.ndarray]:
    file = forms.needed(form.file, "audio_file")
    return forms.raw_samples(file, offset_s, length_s) if raw else forms.samples(file, offset_s, length_s)


def _language(text: str) -> str | None:
    if text.strip().lower() in ("", "auto", "none", "null"):
        return None
    code = code_of(text)
    if code is None:
        raise _refused("language", text, f"a code of Whisper, such as {', '.join(list(NAMES)[:8])}")
    return code


def _flag(name: str, text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise _refused(name, text, "true, false")
    return text.lower() in YES


def _seconds(name: str, text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= LATEST_S:
        raise _refused(name, text, f"seconds from {least:g} to {LATEST_S:.0f}")
    return value


def _refused(name: str, value: str, allowed: str) -> ApiError:
    return ApiError(400, f"{name} is {value[:80]!r}; allowed: {allowed}", param=name, code="unsupported_value")
