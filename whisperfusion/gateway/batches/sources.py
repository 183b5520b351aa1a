"""The body of a request for a recording: its fields as a form has them, and where its audio is.

A batch has only JSON, and OpenAI's has no audio, so several forms are in use: `file_id` names an
uploaded file, `file` is such an id or the recording itself (a data URL or base64), and `url`
(Groq) and `file_url` (vLLM) are data URLs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from whisperfusion.wire.openai_rest import MOST_FIELDS, ApiError

FILE_ID = "file-"
NAMES = ("file", "file_id", "url", "file_url")
# they are about the answer's way to a client, and a batch's results have none
REFUSED = {
    "stream": "a result of a batch is one answer; leave it out",
    "live": "a batch waits for the calls, it is not part of one; leave it out",
}


def audio_of(body: Mapping[str, Any]) -> str | bytes:
    """The id of a file, or the bytes of the recording. Raises ApiError."""
    given = [name for name in NAMES if body.get(name) not in (None, "")]
    if len(given) != 1:
        raise _unusable(f"{len(given)} of {', '.join(NAMES)} are given; send one", "file")
    name, value = given[0], body[given[0]]
    if not isinstance(value, str):
        raise _unusable(f"{name} is {str(value)[:40]!r}; send text: {_ALLOWED}", name)
    value = value.strip()
    if value.startswith(FILE_ID) and name in ("file", "file_id"):
        return value
    if name == "file_id":
        raise _unusable(f"file_id is {value[:40]!r}; send the id of an uploaded file", name)
    if value[:8].lower().startswith(("http:", "https:")):
        raise _unusable(f"{name} is an address, and this server fetches none; {_ALLOWED}", name)
    return _decoded(value, name)


_ALLOWED = "send the id of an uploaded file, a data URL (data:audio/wav;base64,…) or base64"


def _decoded(text: str, name: str) -> bytes:
    head, comma, content = text.partition(",")
    if not comma:
        head, content = "data:;base64", head
    try:
        if not (head.lower().startswith("data:") and head.lower().endswith(";base64")):
            raise ValueError
        found = base64.b64decode(content, validate=True)
    except ValueError:
        found = b""
    if not found:
        raise _unusable(f"{name} begins with {text[:40]!r}; {_ALLOWED}", name)
    return found


def fields_of(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The other fields, as `wire.transcription` reads them. Raises ApiError."""
    found: list[tuple[str, str]] = []
    for name, value in body.items():
        if name in NAMES or value is None:
            continue
        if name in REFUSED and value not in (False, "", "false"):
            raise _unusable(f"{name} cannot be used in a batch: {REFUSED[name]}", name)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, (str, bool, int, float)):
                raise _unusable(f"{name} must be text, a number, or a list of them", name)
            found.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
    if len(found) > MOST_FIELDS:
        raise _unusable(f"the body has {len(found)} values; allowed: {MOST_FIELDS}", "body")
    return found


def _unusable(message: str, param: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
