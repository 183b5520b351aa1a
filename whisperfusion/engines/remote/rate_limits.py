"""How long a server asks to be left alone, in the words of each provider. Pure.

| where | written as |
| --- | --- |
| `Retry-After` (all, with 429 or 503) | seconds, or a date |
| `retry-after-ms` (OpenAI, Azure) | milliseconds |
| `x-ratelimit-reset-requests`, `-tokens` (OpenAI, Groq) | "6m0s", "120ms", of what is used up |
| `x-ratelimit-reset` (Together; OpenRouter, in `error.metadata.headers`) | seconds; ms since 1970 |
| `error.details[].retryDelay` (Gemini) | "34s" |
| `error.code` "insufficient_quota" (OpenAI, under 429) | until the bill is paid: `UNPAID_S` |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_S = 3600.0
UNPAID_S = 300.0  # an account without credit is asked again so often
UNPAID = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
DURATION = re.compile(
    r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,12})?)s)?(?:(\d{1,9}(?:\.\d{1,12})?)ms)?"
)
EPOCH_S, EPOCH_MS = 1e9, 1e11  # greater numbers are moments


def retry_after_s(headers: Mapping[str, str], body: Any, now: float) -> float:
    """Seconds from `now` (since 1970); 0 where the server does not tell."""
    error = error_in(body)
    if error.get("code") in UNPAID or error.get("type") in UNPAID:
        return UNPAID_S
    told = [*_of_headers(headers, now), *_of_body(error, now)]
    return min(max((*told, 0.0)), LONGEST_S)


def error_in(body: Any) -> dict[str, Any]:
    """The object that tells what went wrong; Gemini puts its own into a list."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {}


def _of_headers(headers: Mapping[str, str], now: float) -> Iterator[float]:
    small = {name.lower(): text.strip() for name, text in headers.items()}
    if "retry-after-ms" in small:
        yield _number(small["retry-after-ms"]) / 1000
    elif "retry-after" in small:
        yield _number(small["retry-after"]) or _date(small["retry-after"], now)
    else:
        for what in ("requests", "tokens"):
            if small.get(f"x-ratelimit-remaining-{what}") == "0":
                yield _duration(small.get(f"x-ratelimit-reset-{what}", ""))
        yield _moment(small.get("x-ratelimit-reset", ""), now)


def _of_body(error: dict[str, Any], now: float) -> Iterator[float]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict):
            yield _duration(str(detail.get("retryDelay", "")))
    metadata = error.get("metadata")
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    if isinstance(headers, dict):
        yield from _of_headers({str(name): str(text) for name, text in headers.items()}, now)


def _number(text: str) -> float:
    return float(text) if NUMBER.fullmatch(text) else 0.0


def _date(text: str, now: float) -> float:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return 0.0


def _duration(text: str) -> float:
    found = DURATION.fullmatch(text) if len(text) < 40 else None
    if found is None:
        return _number(text)
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _moment(text: str, now: float) -> float:
    value = _number(text)
    if value > EPOCH_MS:
        value /= 1000
    return max(0.0, value - now) if value > EPOCH_S else _duration(text)
