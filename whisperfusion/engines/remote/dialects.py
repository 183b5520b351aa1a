"""Where providers differ from OpenAI's chat completions in what messages they take, by host. Pure.

An answer that another server began is gone on with: its beginning is the last message, of the
assistant. Mistral takes that with `prefix`, Groq as it is. Others begin a new message behind it or
refuse it (Claude from 4.6 on: "does not support assistant message prefill"), so they are asked to
go on. Mistral also takes ids of calls only in its own form, and Gemini from 3 on calls only with
the signature of a thought, or with a word that stands for none: calls of other models have none.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

from whisperfusion.engines.remote.rate_limits import error_in
from whisperfusion.engines.remote.request_options import below

MISTRAL, GROQ, GEMINI = "mistral.ai", "groq.com", "googleapis.com"
SIGNED = re.compile(r"gemini-(?:[3-9]|[1-9]\d)")  # models that want signatures
UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
GO_ON = (
    "(Your answer was interrupted. Go on with the next word, in the same language, and repeat "
    "nothing of it.)"
)
MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")
STATUS_OF = {  # codes and types of errors in the middle of a stream
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "RESOURCE_EXHAUSTED": 429,
    "insufficient_quota": 402,
    "overloaded_error": 529,
    "UNAVAILABLE": 503,
    "server_error": 500,
    "api_error": 500,
}

Messages = list[dict[str, Any]]


def adapted(messages: Messages, url: str, model: str = "") -> Messages:
    """`messages` as `model` of the server at `url` takes them."""
    host = urlsplit(url).hostname or ""
    if below(host, MISTRAL):
        messages = [_with_ids_of_mistral(message) for message in messages]
    if below(host, GEMINI) and SIGNED.search(model):
        messages = [_without_signatures(message) for message in messages]
    begun = bool(messages) and messages[-1]["role"] == "assistant"
    if not begun or messages[-1].get("tool_calls") or below(host, GROQ):
        return messages
    if below(host, MISTRAL):
        return [*messages[:-1], {**messages[-1], "prefix": True}]
    return [*messages, {"role": "user", "content": GO_ON}]


def status_in(body: Any) -> int:
    """The HTTP status that an error in the middle of a stream stands for; 0 = not known."""
    error = error_in(body)
    for told in (error.get("code"), error.get("status"), error.get("type")):
        if isinstance(told, int) and 400 <= told < 600:
            return told
        if isinstance(told, str) and told in STATUS_OF:
            return STATUS_OF[told]
    return 0


def _with_ids_of_mistral(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "tool":
        return {**message, "tool_call_id": _id_of_mistral(message["tool_call_id"])}
    calls = message.get("tool_calls")
    if not calls:
        return message
    named = [{**call, "id": _id_of_mistral(call["id"])} for call in calls]
    return {**message, "tool_calls": named}


def _without_signatures(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{**call, "extra_content": UNSIGNED} for call in calls]}


def _id_of_mistral(id: str) -> str:
    """Nine letters and digits, the same for the same `id`."""
    return id if MISTRAL_ID.fullmatch(id) else hashlib.sha256(id.encode()).hexdigest()[:9]
