"""How providers of language models differ: what each refuses, and how each says that it is busy.

Bodies are those that users of the providers reported, shortened. `STRICT` refuses what the provider
refuses; `BUSY` is what it answers under load, with the reason and the seconds that a client should
make of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

Answer = tuple[int, Any, dict[str, str]]
COMMON = {"model", "messages", "stream", "max_tokens", "temperature", "tools", "tool_choice"}


def _last(body: dict[str, Any]) -> dict[str, Any]:
    return body["messages"][-1]


def openai(body: dict[str, Any]) -> Answer | None:
    for name in set(body) - COMMON - {"max_completion_tokens", "reasoning_effort"}:
        text = f"Unrecognized request argument supplied: {name}"
        return 400, {"error": {"message": text, "type": "invalid_request_error"}}, {}
    if "max_tokens" in body:
        text = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return 400, {"error": {"message": text, "param": "max_tokens"}}, {}
    return None


def groq(body: dict[str, Any]) -> Answer | None:
    for name in set(body) - COMMON - {"max_completion_tokens"}:
        text = f"property '{name}' is unsupported"
        if name == "reasoning_effort":
            text = "`reasoning_effort` is not supported with this model"
        return 400, {"error": {"message": text, "type": "invalid_request_error"}}, {}
    return None


def gemini(body: dict[str, Any]) -> Answer | None:
    unknown = set(body) - COMMON - {"reasoning_effort"}
    unknown |= {f"messages.{name}" for name in _last(body) if name == "prefix"}
    if unknown:
        text = f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.'
        return 400, [{"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}], {}
    return None


def anthropic(body: dict[str, Any]) -> Answer | None:
    if _last(body)["role"] == "assistant":
        text = (
            "This model does not support assistant message prefill. The conversation must end "
            "with a user message."
        )
        error = {"type": "invalid_request_error", "message": text}
        return 400, {"type": "error", "error": error}, {}
    return None  # what it does not know is ignored


def mistral(body: dict[str, Any]) -> Answer | None:
    for name in set(body) - COMMON:
        detail = {"type": "extra_forbidden", "loc": ["body", name]}
        detail["msg"] = "Extra inputs are not permitted"
        return 422, {"object": "error", "message": {"detail": [detail]}}, {}
    last = _last(body)
    if last["role"] == "assistant" and not last.get("prefix"):
        text = (
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
            "assistant"
        )
        return 400, {"object": "error", "message": text, "code": "3230"}, {}
    ids = [call["id"] for one in body["messages"] for call in one.get("tool_calls") or []]
    ids += [one["tool_call_id"] for one in body["messages"] if one["role"] == "tool"]
    for id in ids:
        if not re.fullmatch("[a-zA-Z0-9]{9}", id):
            text = f"Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9."
            return 400, {"object": "error", "message": text, "code": "3280"}, {}
    return None


def openrouter(body: dict[str, Any]) -> Answer | None:
    """It passes on what it is sent to whatever is behind it."""
    if not isinstance(body.get("reasoning", {}), dict):
        return 400, {"error": {"code": 400, "message": "reasoning: expected object"}}, {}
    return None


def lenient(body: dict[str, Any]) -> Answer | None:
    return None


STRICT: dict[str, Callable[[dict[str, Any]], Answer | None]] = {
    "openai": openai,
    "groq": groq,
    "gemini": gemini,
    "anthropic": anthropic,
    "mistral": mistral,
    "openrouter": openrouter,
    "together": lenient,
    "deepinfra": lenient,
}


def _in_two_hours() -> str:
    """Longer than a run of all tests; what is told is kept for an hour at most."""
    return str(int((time.time() + 7200) * 1000))


def busy() -> list[tuple[str, Answer, str, float]]:
    """Provider, its answer, and the reason and rest (seconds, 0 = not told) of the link."""
    groq = "Rate limit reached for model `x` on tokens per minute (TPM). Please try again in 77s."
    quota = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    exhausted = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Please retry in 34.07s."}
    exhausted["details"] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
    ]
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    free = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": _in_two_hours()}
    limited = {"code": 429, "message": "Rate limit exceeded", "metadata": {"headers": free}}
    mistral = {"object": "error", "message": "Rate limit exceeded", "code": "1300"}
    down = {"error": {"code": 502, "message": "Your chosen model is down"}}
    used_up = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
    used_up |= {"x-ratelimit-remaining-requests": "99", "x-ratelimit-reset-requests": "9h"}
    dynamic = {"error": {"message": "too many", "error_type": "dynamic_token_limited"}}
    return [
        ("openai", (429, {"error": {"message": "Rate limit"}}, used_up), "rate limit", 360),
        ("openai", (429, {"error": quota}, {}), "no credit", 300),
        ("groq", (429, {"error": {"message": groq}}, {"retry-after": "77"}), "rate limit", 77),
        ("gemini", (429, [{"error": exhausted}], {}), "rate limit", 34),
        ("anthropic", (529, overloaded, {}), "overloaded", 0),
        ("anthropic", (429, overloaded, {"retry-after": "12"}), "rate limit", 12),
        ("mistral", (429, mistral, {}), "rate limit", 0),
        ("openrouter", (429, {"error": limited}, {}), "rate limit", 3600),
        ("openrouter", (402, {"error": {"code": 402, "message": "x"}}, {}), "no credit", 300),
        ("openrouter", (502, down, {}), "server error", 0),
        ("together", (429, dynamic, {"x-ratelimit-reset": "21"}), "rate limit", 21),
        ("together", (503, {"error": {"message": "overloaded"}}, {}), "overloaded", 0),
        ("deepinfra", (429, {"detail": {"error": "Model busy"}}, {}), "rate limit", 0),
        ("groq", (401, {"error": {"message": "Invalid API Key"}}, {}), "key refused", 300),
        ("groq", (404, {"error": {"message": "no such model"}}, {}), "unknown model", 300),
    ]
