"""Writes docs/settings.md and .env.example from the fields of `Settings`: `make docs`.

Both are committed, and tests/test_documents.py fails when one is older than the settings.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from whisperfusion.settings import Settings  # noqa: E402

# The headings, each with the field that it stands before.
SECTIONS = {
    "asr_engine": "Speech to text and turn detection",
    "llm_engine": "Language model",
    "tts_engine": "Text to speech",
    "host": "Addresses, ports and limits of calls",
    "cors_origins": "Who may connect",
    "root_path": "HTTP interfaces and Wyoming",
    "store_url": "Sessions",
    "model_cache_dir": "Models, recordings and log",
}
INTRODUCTION = """\
# Settings

This page is generated from `whisperfusion/settings/fields.py` by `make docs`; do not edit it.

Flags, environment variables and a `.env` file all take the same names: `ASR_MODEL` in the
environment or in `.env` is `--asr-model` on the command line. A flag takes precedence over the
environment, and the environment over `.env`. Older names are still read. A value that is not valid
ends the start with a message that names the variable, the value and what is allowed.
[.env.example](../.env.example) has every setting with its default, ready to be copied to `.env`.
"""
HEADER = "| setting | default | allowed | older names | meaning |\n| --- | --- | --- | --- | --- |"
ENV_INTRODUCTION = """\
# Every setting with its default. Copy this file to .env and remove the # before what you change.
# Generated from whisperfusion/settings/ by `make docs`; docs/settings.md has the same as tables.
"""


def sections() -> Iterator[tuple[str, list[Field[Any]]]]:
    """The fields of `Settings` in their order, divided by `SECTIONS`."""
    group: list[Field[Any]] = []
    title = ""
    for spec in fields(Settings):
        if spec.name in SECTIONS:
            if group:
                yield title, group
            title, group = SECTIONS[spec.name], []
        group.append(spec)
    yield title, group


def text_of(value: Any) -> str:
    """A default as it is written in `.env`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def allowed(spec: Field[Any]) -> str:
    meta = spec.metadata
    if meta["choices"]:
        return " ".join(f"`{choice}`" for choice in meta["choices"])
    if isinstance(spec.default, bool):
        return "`true` `false`"
    return f"{meta['low']} to {meta['high']}" if meta["low"] is not None else ""


def table() -> str:
    parts = [INTRODUCTION]
    for title, group in sections():
        parts += [f"## {title}", HEADER]
        for spec in group:
            default = text_of(spec.default)
            cells = (
                f"`{spec.name.upper()}`",
                f"`{default}`" if default else "",
                allowed(spec),
                " ".join(f"`{alias}`" for alias in spec.metadata["aliases"]),
                spec.metadata["help"].replace("|", "\\|"),
            )
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def env_example() -> str:
    parts = [ENV_INTRODUCTION]
    for title, group in sections():
        parts.append(f"# --- {title} ---\n")
        for spec in group:
            choices = spec.metadata["choices"]
            note = f" ({', '.join(choices)})" if choices else ""
            parts.append(f"# {spec.metadata['help']}{note}")
            parts.append(f"#{spec.name.upper()}={quoted(text_of(spec.default))}\n")
    return "\n".join(parts)


def quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value


PAGES = {"docs/settings.md": table, ".env.example": env_example}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
