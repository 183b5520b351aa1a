"""The text of a setting as a value. An error names the setting, the text and what is allowed."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote

from whisperfusion.errors import SettingsError

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")

log = logging.getLogger("settings")


def unquoted(text: str) -> str:
    """Without one pair of quotes around it, which the `environment` lists of compose files hand
    on.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text


def passwords_of(url: str) -> tuple[str, str]:
    """The password in a URL, as written there and as it is sent; both empty = it has none."""
    login = url.partition("://")[2].rpartition("@")[0]
    password = login.partition(":")[2]
    return password, unquote(password)


def engine_options(text: str) -> dict[str, Any]:
    """`beam_size=5,patience=1.5` as keyword arguments; numbers and booleans become what they
    look like.
    """
    options: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier():
            raise SettingsError(f"engine option {part!r} must look like name=value")
        options[name] = guessed(value)
    return options


def named_keys(text: str) -> dict[str, str]:
    """`work=sk-1,home=sk-2` as keys by name. An error never shows a key."""
    keys: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, key = (piece.strip() for piece in part.partition("="))
        if not equals or not name.isidentifier() or not key:
            raise SettingsError("LLM_KEYS must look like name=key, several separated by commas")
        keys[name] = key
    return keys


def guessed(value: str) -> Any:
    """A number or a boolean where `value` looks like one, else itself."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(value.lower(), value)


def converted(spelling: str, text: str, spec: Any) -> Any:
    """The value of a field from its text, or a `SettingsError` that a person can act on."""
    meta, kind = spec.metadata, type(spec.default)
    if unquoted(text) != text.strip():
        log.warning(
            "the quotes around the value of %s are not part of it and were removed", spelling
        )
    text = unquoted(text)
    if kind is bool:
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise SettingsError(f"{spelling}={text!r} is not a boolean; allowed: true, false")
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise SettingsError(f"{spelling}={text!r} is not a number") from None
        if not meta["low"] <= value <= meta["high"]:
            raise SettingsError(
                f"{spelling}={text} is out of range; allowed: {meta['low']} to {meta['high']}"
            )
        return value
    if meta["choices"]:
        if text.lower() not in meta["choices"]:
            raise SettingsError(
                f"{spelling}={text!r} is not known; allowed: {', '.join(meta['choices'])}"
            )
        return text.lower()
    return text
