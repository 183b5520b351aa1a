"""MCP servers that the operator added on the server's page, beside those of `tools.toml`.

`tools.toml` is a file of the operator's own, with comments and secrets from the environment, so it
is never written here. What the page changes is one JSON file in the folder of the server's state:
servers by label, and the labels that are switched off, of either file. The gateway writes it, and
the language model's process reads it again when it has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from whisperfusion.errors import SettingsError
from whisperfusion.runtime import private_files
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import added_file, tool_file
from whisperfusion.tools.mcp.configuration import (
    VARIABLE,
    Configuration,
    Section,
    Server,
    check_label,
    problems,
    read,
)

MOST = 32  # servers that a page may add


class Added(Section):
    """What the page has changed: its own `servers`, and which are `off`."""

    servers: dict[str, Server] = Field(default_factory=dict)
    off: tuple[str, ...] = ()

    def with_server(self, label: str, given: Mapping[str, Any]) -> Added:
        """`given` as the server `label`. Raises SettingsError, which says what is wrong with it."""
        check_label("the page", label)
        server = server_of(label, given)
        servers = {**self.servers, label: server}
        if len(servers) > MOST:
            raise SettingsError(f"the page may add {MOST} servers; write more into tools.toml")
        return Added(servers=servers, off=self.off)

    def without(self, label: str) -> Added:
        servers = {name: one for name, one in self.servers.items() if name != label}
        return Added(servers=servers, off=tuple(one for one in self.off if one != label))

    def switched(self, label: str, on: bool) -> Added:
        others = tuple(one for one in self.off if one != label)
        return Added(servers=self.servers, off=others if on else (*others, label))


def server_of(label: str, given: Mapping[str, Any]) -> Server:
    """Raises SettingsError."""
    if any(VARIABLE.search(text) for text in _texts(given)):
        raise SettingsError(
            f"servers.{label}: ${{NAME}} is read in tools.toml only, so that the page shows "
            "nothing of the environment; give the value itself"
        )
    try:
        return Server.model_validate(given)
    except ValidationError as error:
        raise SettingsError(f"servers.{label}: {'; '.join(problems(error))}") from None


def load(settings: Settings) -> Added:
    """Raises SettingsError."""
    file = added_file(settings)
    try:
        return Added.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Added()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise SettingsError(f"{file}: {'; '.join(problems(error))}") from None
    except (ValueError, RecursionError):
        raise SettingsError(f"{file} is not JSON; delete it to begin anew") from None


def save(settings: Settings, added: Added) -> None:
    """Atomically, readable for this user only: headers are secrets. Raises SettingsError."""
    text = json.dumps(added.model_dump(mode="json", exclude_defaults=True), indent=2)
    what = "MCP servers that the page adds are kept"
    private_files.write(added_file(settings), text.encode(), what)


def configured(settings: Settings) -> Configuration:
    """All servers that are on: those of `tools.toml`, and behind them those of the page. A label
    that both have is the file's. Raises SettingsError.
    """
    file = tool_file(settings)
    own = read(file) if file is not None else Configuration()
    added = load(settings)
    servers = {**own.servers, **{k: v for k, v in added.servers.items() if k not in own.servers}}
    return Configuration(
        servers={label: one for label, one in servers.items() if label not in added.off},
        secrets=(
            *own.secrets,
            *(one for server in added.servers.values() for one in _secrets(server)),
        ),
    )


def files(settings: Settings) -> tuple[Path, ...]:
    """That `configured` reads."""
    return (Path(settings.tools_file).expanduser(), added_file(settings))


def _secrets(server: Server) -> Iterator[str]:
    """What is hidden in the log and in results: long enough not to be a plain word."""
    for value in (*server.headers.values(), *server.env.values()):
        secret = value.rpartition(" ")[2]  # "Bearer KEY"
        if len(secret) >= 8:
            yield secret


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from _texts(one)
        case list() | tuple():
            for one in value:
                yield from _texts(one)
