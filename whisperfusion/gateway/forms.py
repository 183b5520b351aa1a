"""Requests with a file in them: the form read to disk, problems in the shape of the asked
interface.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from typing import Any, BinaryIO

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import MOST_FIELDS, ApiError

MOST_FILES = 8  # in one form; the first that fits is read
FIELD_BYTES = 64 * 1024  # of one text field
REFERENCE_BYTES = 3 * 1024 * 1024  # of one that holds a sample: 10 s of stereo at 48 kHz, in base64
LONGEST_NAME = 300  # bytes of text that may be the name of a file
SMALL_BYTES = 256 * 1024  # of a JSON body
IN_MEMORY = 1024 * 1024  # bytes of a bare body, after which it goes to disk; forms do the same


SAMPLE_BYTES = 10 * 2**20  # of the recording of a voice, as upstream
TRACK_BYTES = 1_500_000_000  # 13 hours of s16 at 16 kHz: what Bazarr sends in one body


def largest(settings: Settings, path: str) -> tuple[int, str]:
    """Bytes of a body to `path`, and what to do about a larger one."""
    last, upload = path.rsplit("/", 1)[-1], round(settings.upload_mb * 1e6)
    if last in ("voices", "voice_consents"):
        return SAMPLE_BYTES + SMALL_BYTES, "send a shorter recording"
    most = max(TRACK_BYTES, upload) if last in ("asr", "detect-language") else upload
    return most, "send less at once, or raise UPLOAD_MB"


class Form:
    """The text fields in order, and the first file under one of the names that were asked for."""

    def __init__(self, fields: list[tuple[str, str]], file: BinaryIO | None, filename: str) -> None:
        self.fields, self.file, self.filename = fields, file, filename


async def form(request: Request, *names: str) -> Form:
    """The form of `request`; its file is the first of `names` that is one. Raises ApiError."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise ApiError(
            400,
            (
                f"send multipart/form-data with the recording in the field {names[0]!r}, not "
                f"{kind[:80]!r}"
            ),
            param=names[0],
        )
    try:
        parsed = await _Parser(names, request).parse()
    except MultiPartException as problem:
        raise ApiError(400, f"the form cannot be read: {problem.message}") from None
    except ClientDisconnect:
        raise ApiError(400, "the request ended in the middle of its body") from None
    except (ValueError, KeyError, AssertionError, UnicodeError) as problem:
        raise ApiError(400, f"the form cannot be read ({problem.__class__.__name__})") from None
    fields = [(name, value) for name, value in parsed.multi_items() if isinstance(value, str)]
    files = {
        name: value
        for name, value in reversed(parsed.multi_items())
        if isinstance(value, UploadFile)
    }
    chosen = next((files[name] for name in names if name in files), None)
    if chosen is None:
        return Form(fields, None, "")
    _check_not_a_name(chosen, next(name for name in names if name in files))
    return Form(fields, chosen.file, chosen.filename or "")


class _Parser(MultiPartParser):
    """A part under the name of a file is one, even if the client gives it no file name."""

    def __init__(self, names: tuple[str, ...], request: Request) -> None:
        limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": FIELD_BYTES}
        super().__init__(request.headers, request.stream(), **limits)
        self._names = {name.encode() for name in names}

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._current_part.content_disposition)
        if options.get(b"name") in self._names and b"filename" not in options:
            self._current_part.content_disposition = (
                self._current_part.content_disposition or b""
            ) + b'; filename=""'
        super().on_headers_finished()
        sample = self._current_part.field_name.startswith("known_speaker_references")
        self.max_part_size = REFERENCE_BYTES if sample else FIELD_BYTES


def _check_not_a_name(sent: UploadFile, name: str) -> None:
    """A client that forgot to attach the file sends its name. Raises ApiError."""
    if sent.filename or not 0 < (sent.size or 0) <= LONGEST_NAME:
        return
    text = sent.file.read()
    sent.file.seek(0)
    if text.isascii() and text.decode("ascii").isprintable():
        why = (
            f"the recording is missing: the form field {name!r} holds the text "
            f"{text.decode()[:80]!r}"
        )
        raise ApiError(
            400,
            f"{why}; send the file itself (curl: -F {name}=@FILE)",
            param=name,
            code="missing_required_parameter",
        )


async def body(request: Request) -> BinaryIO:
    """A bare body as a file that can seek."""
    held: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the caller reads it
    try:
        async for chunk in request.stream():
            held.write(chunk)
    except ClientDisconnect:
        raise ApiError(400, "the request ended in the middle of its body") from None
    held.seek(0)
    file: BinaryIO = held
    return file


async def small_body(request: Request) -> bytes:
    """A JSON body. Raises ApiError (413) before more than `SMALL_BYTES` are held."""
    held = b""
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) > SMALL_BYTES:
                raise ApiError(
                    413,
                    f"the body has more than {SMALL_BYTES // 1024} KiB; send less text",
                    code="request_too_large",
                )
    except ClientDisconnect:
        raise ApiError(400, "the request ended in the middle of its body") from None
    return held


def needed(file: BinaryIO | None, name: str) -> BinaryIO:
    """`file`, which must be there and hold something."""
    if file is None:
        raise ApiError(
            400,
            f"the recording is missing; send it as the form field {name!r}",
            param=name,
            code="missing_required_parameter",
        )
    file.seek(0, 2)
    if not file.tell():
        raise ApiError(400, "the recording is empty", param=name, code="invalid_value")
    file.seek(0)
    return file


async def raw_pieces(
    file: BinaryIO, offset_s: float = 0.0, length_s: float | None = None
) -> AsyncGenerator[bytes, None]:
    """Headerless s16 mono at 16 kHz, in pieces of a second."""
    file.seek(int(offset_s * MICROPHONE_RATE) * 2)
    left = None if length_s is None else int(length_s * MICROPHONE_RATE) * 2
    while data := await asyncio.to_thread(
        file.read, 2 * MICROPHONE_RATE if left is None else min(left, 2 * MICROPHONE_RATE)
    ):
        left = None if left is None else left - len(data)
        yield data[: len(data) // 2 * 2]
