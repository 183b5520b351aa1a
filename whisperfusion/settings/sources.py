"""Where settings come from: a flag takes precedence over the environment, and the environment
over `.env`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from whisperfusion.settings.checks import check_values
from whisperfusion.settings.chosen import Settings
from whisperfusion.settings.values import converted, unquoted


def from_command_line(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[Settings, argparse.Namespace]:
    """Parse flags with `parser` (after `add_flags`) and build the settings of this process."""
    namespace = parser.parse_args(arguments)
    return build(vars(namespace), os.environ, read_env_file(Path(".env"))), namespace


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file; empty when there is none."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def add_flags(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    """One flag for each field. Values stay text here; `build` converts them all in one place.

    `of_command`: `parser` reads what follows a command, after a parser with the same flags. It
    leaves those alone that are not given, so that flags hold on either side of the command.
    """
    for spec in fields(Settings):
        variables = ", ".join((spec.name.upper(), *spec.metadata["aliases"]))
        choices = spec.metadata["choices"]
        shown = "(long text)" if len(str(spec.default)) > 60 else spec.default
        help = (
            f"{spec.metadata['help']}{': ' + ', '.join(choices) if choices else ''} "
            f"[{variables}; default: {shown}]"
        )
        bare: dict[str, Any] = (
            {"nargs": "?", "const": "true"} if isinstance(spec.default, bool) else {}
        )
        parser.add_argument(
            "--" + spec.name.replace("_", "-"),
            metavar="VALUE",
            default=argparse.SUPPRESS if of_command else None,
            help=help.replace("%", "%%"),
            **bare,
        )


def build(
    flags: Mapping[str, str | None], environ: Mapping[str, str], env_file: Mapping[str, str]
) -> Settings:
    """Settings from flags (field name to text), the environment and `.env`, in that order of
    strength.
    """
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        assert spec.default is not MISSING
        if found := _given(spec, flags, (environ, env_file)):
            spelling, text = found
            values[spec.name] = converted(spelling, text, spec)
    _follow_old_spellings(
        values, {name: unquoted(text) for name, text in {**env_file, **environ}.items()}
    )
    settings = Settings(**values)
    check_values(settings)
    return settings


def _given(
    spec: Field[Any], flags: Mapping[str, str | None], variables: Sequence[Mapping[str, str]]
) -> tuple[str, str] | None:
    """The spelling that was used for a field and its text; None = nowhere, or empty."""
    flag = flags.get(spec.name)
    if flag is not None:
        return "--" + spec.name.replace("_", "-"), flag
    names = (spec.name.upper(), *spec.metadata["aliases"])
    for source in variables:
        for name in names:
            if unquoted(source.get(name, "")):
                return name, source[name]
    return None


def _follow_old_spellings(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """An older variable that names a server or a voice also chooses its engine, unless one was
    chosen.
    """
    if "llm_engine" not in values and environ.get("OLLAMA_URL", "").strip():
        values["llm_engine"] = "ollama"
    if "llm_engine" not in values and environ.get("OPENAI_BASE_URL", "").strip():
        values["llm_engine"] = "openai"
    if "tts_engine" not in values and environ.get("PIPER_MODEL_PATH", "").strip():
        values["tts_engine"] = "piper"
    if values.get("verbose"):
        values["log_level"] = "debug"
