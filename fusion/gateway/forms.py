"""Requests with a file in them: the form read to disk, the file to samples, problems in the shape of the asked interface."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from fusion.gateway import media
from fusion.settings import Settings
from fusion.wire.openai_rest import MOST_FIELDS, ApiError
from fusion.wire.pcm import HEARD_RATE

MOST_FILES = 8  # in one form; the first that fits is read
FIELD_BYTES = 64 * 1024  # of one text field
SMALL_BYTES = 256 * 1024  # of a JSON body
IN_MEMORY = 1024 * 1024  # bytes of a bare body, after which it goes to disk; forms do the same


TRACK_BYTES = 1_500_000_000  # 13 hours of s16 at 16 kHz: what Bazarr sends in one body


def largest(settings: Settings, path: str) -> int:
    """Bytes of a body to `path`."""
    track = path.rsplit("/", 1)[-1] in ("asr", "detect-language")
    return max(TRACK_BYTES, round(settings.upload_mb * 1e6)) if track else round(settings.upload_mb * 1e6)


class Form:
    """The text fields in order, and the first file under one of the names that were asked for."""

    def __init__(self, fields: list[tuple[str, str]], file: BinaryIO | None, filename: str) -> None:
        self.fields, self.file, self.filename = fields, file, filename


async def form(request: Request, *names: str) -> Form:
    """The form of `request`; its file is the first of `names` that is one. Raises ApiError."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise ApiError(400, f"send multipart/form-data with the recording in the field {names[0]!r}, not {kind[:80]!r}", param=names[0])
    try:
        parsed = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES)
    except (MultiPartException, HTTPException) as problem:
        why = problem.message if isinstance(problem, MultiPartException) else problem.detail
        raise ApiError(400, f"the form cannot be read: {why}") from None
    except ClientDisconnect:
        raise ApiError(400, "the request ended in the middle of its body") from None
    except (ValueError, KeyError, AssertionError, UnicodeError) as problem:
        raise ApiError(400, f"the form cannot be read ({problem.__class__.__name__})") from None
    fields = [(name, value) for name, value in parsed.multi_items() if isinstance(value, str)]
    files = {name: value for name, value in reversed(parsed.multi_items()) if isinstance(value, UploadFile)}
    chosen = next((files[name] for name in names if name in files), None)
    return Form(fields, chosen.file if chosen else None, (chosen.filename or "") if chosen else "")


async def body(request: Request) -> BinaryIO:
    """A bare body as a file that can seek."""
    held: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the caller reads it
    try:
        async for chunk in request.stream():
            held.write(chunk)
    except ClientDisconnect:
        raise ApiError(400, "the request ended in the middle of its body") from None
    held.seek(0)
    return held  # type: ignore[no-any-return]


async def small_body(request: Request) -> bytes:
    """A JSON body. Raises ApiError (413) before more than `SMALL_BYTES` are held."""
    held = b""
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) > SMALL_BYTES:
                raise ApiError(413, f"the body has more than {SMALL_BYTES // 1024} KiB; send less text", code="request_too_large")
    except ClientDisconnect:
        raise ApiError(400, "the request ended in the middle of its body") from None
    return held


def needed(file: BinaryIO | None, name: str) -> BinaryIO:
    """`file`, which must be there and hold something."""
    if file is None:
        raise ApiError(400, f"the recording is missing; send it as the form field {name!r}", param=name, code="missing_required_parameter")
    file.seek(0, 2)
    if not file.tell():
        raise ApiError(400, "the recording is empty", param=name, code="invalid_value")
    file.seek(0)
    return file


def samples(file: BinaryIO, offset_s: float = 0.0, length_s: float | None = None) -> Iterator[np.ndarray]:
    """float32 at 16 kHz. Raises ApiError for what cannot be decoded, when it is met."""
    try:
        yield from media.samples(file, HEARD_RATE, offset_s, length_s)
    except media.Undecodable as problem:
        raise ApiError(400, str(problem), param="file", code="unsupported_value") from None


def raw_samples(file: BinaryIO, offset_s: float = 0.0, length_s: float | None = None) -> Iterator[np.ndarray]:
    """Headerless s16 mono at 16 kHz as float32, in pieces of a second."""
    file.seek(int(offset_s * HEARD_RATE) * 2)
    left = None if length_s is None else int(length_s * HEARD_RATE) * 2
    while data := file.read(2 * HEARD_RATE if left is None else min(left, 2 * HEARD_RATE)):
        left = None if left is None else left - len(data)
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768
