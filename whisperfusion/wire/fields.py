"""Reading JSON objects that strangers wrote: every field with its type, its limits and an error
that names both.

Absent and null mean the default. `FieldError` never leaves `whisperfusion.wire`: each format turns
it into what it ends.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Container, Iterable
from typing import Any

from whisperfusion.errors import WhisperFusionError
from whisperfusion.wire.languages import UnknownLanguage, asked_language


class FieldError(WhisperFusionError):
    """A field, or the whole text, is not what the format allows; the text says which and what
    is.
    """


def json_object(text: str) -> dict[str, Any]:
    """The object that `text` holds."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise FieldError(
            f"{reprlib.repr(text)} is not JSON; send one JSON object in a text frame"
        ) from None
    if not isinstance(values, dict):
        raise FieldError(
            f"{reprlib.repr(values)} is not a JSON object; send one JSON object in a text frame"
        )
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


def tail_field(values: dict[str, Any], name: str, longest: int) -> str:
    """The last `longest` characters of a text of any length: what comes before has no effect on
    a recognizer.
    """
    value = values.get(name)
    text = value[-longest:] if isinstance(value, str) else value
    return text_field({name: text}, name, "", longest)


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
    """A whole number between `low` and `high`; 3.0 counts as 3, because some languages only have
    floats.
    """
    value = number_field(values, name, None, low, high)
    if value is None:
        return default
    if value != int(value):
        raise refuse(name, value, f"a whole number from {low} to {high}")
    return int(value)


def language_field(
    values: dict[str, Any], default: str | None, languages: Container[str] | None
) -> str | None:
    """A language in any spelling of `whisperfusion.wire.languages`, as its code; None = detect
    (null, "auto", "und", "").

    `languages` are the codes that the recognizer knows; None = any.
    """
    if "language" not in values:
        return default
    value = values["language"]
    if value is None:
        return None
    if not isinstance(value, str):
        raise refuse("language", value, "null (detect), or a code such as en")
    try:
        return asked_language(value, languages)
    except UnknownLanguage as problem:
        raise FieldError(f'field "language": {problem}') from None
