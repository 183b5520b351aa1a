"""A line of the input to a request, and an answer to a line of the results.

`check` reads one line of JSONL as a stranger may have written it: not JSON, not text, of any
length. What is wrong becomes a `BatchError` with OpenAI's codes where they are known.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from whisperfusion.gateway.batches.state import BatchError
from whisperfusion.wire.fields import FieldError, json_object

MOST_LINES = 50_000  # as upstream
LINE_BYTES = 16 * 1024 * 1024  # a longer recording is uploaded as a file of its own
LONGEST_ID = 512  # characters of a custom_id
MOST_ERRORS = 100  # that are reported of one input
ALLOWED = ("custom_id", "method", "url", "body")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # editors on Windows begin a file with it


@dataclass(frozen=True)
class Request:
    """`number` is its line, counted from 1."""

    number: int
    custom_id: str
    body: Mapping[str, Any]


def check(
    line: bytes, number: int, endpoint: str, known: Collection[str]
) -> Request | BatchError | None:
    """The request in a line, what is wrong with it, or None for an empty line.

    `known` are the custom_ids of the lines before.
    """
    if len(line) > LINE_BYTES:
        return _error(
            number,
            "line_too_long",
            f"This line has more than {LINE_BYTES // 2**20} MiB. Upload long recordings by "
            "themselves, and name them by their file_id.",
        )
    if number == 1:
        line = line.removeprefix(BYTE_ORDER_MARK)
    if not line.strip():
        return None
    try:
        values = json_object(line.decode())
    except (FieldError, UnicodeDecodeError):
        why = "This line is not parseable as a JSON object. The input is JSONL: one on each line."
        return _error(number, "invalid_json_line", why)
    return _request(values, number, endpoint, known)


def _request(
    values: Mapping[str, Any], number: int, endpoint: str, known: Collection[str]
) -> Request | BatchError:
    custom_id, method, url = values.get("custom_id"), values.get("method"), values.get("url")
    missing = next((name for name in ALLOWED if values.get(name) is None), None)
    if missing is not None:
        why = f"Missing required parameter: '{missing}'. A line has {', '.join(ALLOWED)}."
        return _error(number, "missing_required_parameter", why, missing)
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_ID:
        why = f"custom_id must be a string of 1 to {LONGEST_ID} characters."
        return _error(number, "invalid_custom_id", why, "custom_id")
    if custom_id in known:
        why = f"The custom_id {custom_id[:80]!r} is that of an earlier line; each must be unique."
        return _error(number, "duplicate_custom_id", why, "custom_id")
    if method != "POST":
        why = f"The method is {str(method)[:40]!r}; allowed: 'POST'."
        return _error(number, "invalid_method", why, "method")
    if url != endpoint:
        why = f"The url is {str(url)[:80]!r}; it must be the endpoint of the batch, {endpoint!r}."
        return _error(number, "invalid_url", why, "url")
    if not isinstance(values["body"], dict):
        why = "body must be an object with the fields of the request."
        return _error(number, "invalid_body", why, "body")
    return Request(number, custom_id, values["body"])


def _error(number: int, code: str, message: str, param: str | None = None) -> BatchError:
    return BatchError(code, message, number, param)


def answered(id: str, custom_id: str, status: int, body: Any) -> bytes:
    """A line of the results. ASCII, since texts may have halves of characters."""
    response = {"status_code": status, "request_id": id.replace("batch_", "", 1), "body": body}
    line = {"id": id, "custom_id": custom_id, "response": response, "error": None}
    return json.dumps(line).encode() + b"\n"


def unanswered(id: str, custom_id: str, code: str, message: str) -> bytes:
    """A line of the results, for a request that was not done."""
    error = {"code": code, "message": message}
    line = {"id": id, "custom_id": custom_id, "response": None, "error": error}
    return json.dumps(line).encode() + b"\n"
