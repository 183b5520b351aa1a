"""Reading JSON objects that strangers wrote: every field with its type, its limits and an error that names both.

Absent and null mean the default. `FieldError` never leaves `fusion.wire`: each format turns it into what it ends.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Container, Iterable
from typing import Any


class FieldError(Exception):
    """A field, or the whole text, is not what the format allows; the text says which and what is."""


def json_object(text: str) -> dict[str, Any]:
    """The object that `text` holds."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise FieldError(f"{reprlib.repr(text)} is not JSON; send one JSON object in a text frame") from None
    if not isinstance(values, dict):
        raise FieldError(f"{reprlib.repr(values)} is not a JSON object; send one JSON object in a text frame")
    return values


def refuse(name: str, value: Any, allowed: str) -> FieldError:
    return FieldError(f'field "{name}" is {reprlib.repr(value)}; allowed: {allowed}')


def text_field(values: dict[str, Any], name: str, default: str, longest: int) -> str:
    """A string of at most `longest` characters that can be encoded as UTF-8."""
    value = values.get(name)
    if value is None:
        return default
    allowed = f"text of at most {longest} characters"
    if not isinstance(value, str):
        raise refuse(name, value, allowed)
    if len(value) > longest:
        raise refuse(name, value, f"{allowed}, this one has {len(value)}")
    # JSON can spell half a surrogate pair, which no tokenizer and no socket takes
    return value.encode("utf-8", "replace").decode("utf-8")


def choice_field(values: dict[str, Any], name: str, default: str, choices: Iterable[str]) -> str:
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in choices:
        raise refuse(name, value, ", ".join(choices))
    return value


def flag_field(values: dict[str, Any], name: str, default: bool) -> bool:
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise refuse(name, value, "true, false")
    return value


def number_field(values: dict[str, Any], name: str, default: Any, low: float, high: float) -> Any:
    """A float between `low` and `high`; NaN is in no range."""
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise refuse(name, value, f"a number from {low} to {high}")
    return float(value)


def count_field(values: dict[str, Any], name: str, default: Any, low: int, high: int) -> Any:
    """A whole number between `low` and `high`; 3.0 counts as 3, because some languages only have floats."""
    value = number_field(values, name, None, low, high)
    if value is None:
        return default
    if value != int(value):
        raise refuse(name, value, f"a whole number from {low} to {high}")
    return int(value)


def language_field(values: dict[str, Any], default: str | None, languages: Container[str] | None) -> str | None:
    """An ISO 639-1 code, or None = detect (null, "auto", ""). `en-US` is read as `en`.

    `languages` are the codes that the recognizer knows; None = any.
    """
    if "language" not in values:
        return default
    value = values["language"]
    if value is None or value in ("", "auto"):
        return None
    known = f"null (detect), {_listing(languages)}"
    if not isinstance(value, str) or len(value) > 20:
        raise refuse("language", value, known)
    code = value.lower()
    short = code.replace("_", "-").partition("-")[0]
    if languages is None:
        return short
    for candidate in (code, short):
        if candidate in languages:
            return candidate
    raise refuse("language", value, known)


def _listing(languages: Container[str] | None) -> str:
    return ", ".join(sorted(languages)) if isinstance(languages, Iterable) else "ISO 639-1 codes"
