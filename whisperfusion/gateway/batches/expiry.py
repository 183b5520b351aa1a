"""How long a file is kept: a day, or what a client asks for in OpenAI's form."""

from __future__ import annotations

from typing import Any

from whisperfusion.gateway.batches.state import DAY_S
from whisperfusion.wire.openai_rest import ApiError

SHORTEST_S, LONGEST_S = 3600, 30 * DAY_S  # as upstream


def seconds(name: str, anchor: Any, given: Any) -> int:
    """From `expires_after` and the like; absent = a day. Raises ApiError."""
    if anchor is None and given is None:
        return DAY_S
    text = str(given)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else -1
    if anchor != "created_at" or isinstance(given, bool) or not SHORTEST_S <= number <= LONGEST_S:
        raise ApiError(
            400,
            f"{name} is anchor {str(anchor)[:40]!r} and seconds {text[:40]!r}; allowed: the anchor "
            f"created_at and {SHORTEST_S} to {LONGEST_S} seconds",
            param=name,
            code="invalid_value",
        )
    return number
