"""A field of `Settings` with all that is told about it: for `--help`, the reference and errors."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def setting(
    default: Any,
    help: str,
    *,
    aliases: str = "",
    choices: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    meta = {
        "help": help,
        "aliases": tuple(aliases.split()),
        "choices": tuple(choices.split()),
        "low": low,
        "high": high,
    }
    return field(default=default, metadata=meta)
