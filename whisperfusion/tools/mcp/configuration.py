"""The file of MCP servers, `tools.toml`: read, checked, and filled with secrets from the
environment (docs/tools.md, deploy/tools.example.toml).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from whisperfusion.errors import SettingsError
from whisperfusion.settings.sources import read_env_file
from whisperfusion.toml_files import read_toml

LABEL = re.compile(r"[a-z][a-z0-9_]{0,19}")
VARIABLE = re.compile(r"\$\{(\w+)\}")
RESERVED = ("time", "timers", "calculator", "end_call", "search", "mcp", "none")
Permission = Literal["auto", "ask", "never"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolRules(Section):
    """How one tool of a server may be used. None: as the server's section says, or the tool
    itself.

    `acts`: it has an effect. `after_untrusted`: it may run in a turn in which text from elsewhere
    was read. `question` is what the user is asked, with `{argument}` in it.
    """

    permission: Permission | None = None
    acts: bool | None = None
    after_untrusted: bool | None = None
    question: str = Field("", max_length=500)
    description: str = Field("", max_length=2000)
    time_limit_s: float | None = Field(None, gt=0, le=300)
    output_limit: int | None = Field(None, ge=100, le=20_000)


class Server(Section):
    """One MCP server: started by `command`, or reached at `url`.

    `tools` are the names of those that may be used; `tool` has rules for single ones. `permission`
    None: those that only read run at once, the others ask. `trusted`: its results are as good as
    the operator's own words. `chains`: those of its tools that only read may follow one another.
    """

    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    folder: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    tools: tuple[str, ...] = ("*",)
    permission: Permission | None = None
    trusted: bool = False
    chains: bool = True
    time_limit_s: float = Field(10.0, gt=0, le=300)
    output_limit: int = Field(2000, ge=100, le=20_000)
    tool: dict[str, ToolRules] = {}

    @model_validator(mode="after")
    def _one_way_to_it(self) -> Server:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either command (a list) or url")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("url has to begin with http:// or https://")
        if (self.env or self.folder) and self.url:
            raise ValueError("env and folder belong to command, not to url")
        if self.headers and self.command:
            raise ValueError("headers belong to url, not to command")
        return self

    def allows(self, name: str) -> bool:
        return "*" in self.tools or name in self.tools


class Configuration(Section):
    """`servers` by label; `secrets` are the values that came from the environment."""

    servers: dict[str, Server] = {}
    secrets: tuple[str, ...] = Field(default=(), repr=False)


def read(file: Path, environ: Mapping[str, str] | None = None) -> Configuration:
    """Raises SettingsError, which names the file and the place in it, and no secret."""
    known = environ if environ is not None else {**read_env_file(Path(".env")), **os.environ}
    used: dict[str, str] = {}
    filled = _filled(read_toml(file), known, used, file)
    try:
        if "secrets" in filled:
            raise SettingsError(f"{file}: secrets: is not known; allowed: servers")
        found = Configuration.model_validate({**filled, "secrets": tuple(used.values())})
    except ValidationError as error:
        raise SettingsError(f"{file}: {'; '.join(problems(error))}") from None
    for label in found.servers:
        check_label(str(file), label)
    return found


def check_label(where: str, label: str) -> None:
    """Raises SettingsError."""
    if not LABEL.fullmatch(label) or label in RESERVED:
        raise SettingsError(
            f"{where}: servers.{label}: not a name for a server; allowed: 1 to 20 small "
            f"letters, digits and _, but not {', '.join(RESERVED)}"
        )


def _filled(value: Any, known: Mapping[str, str], used: dict[str, str], file: Path) -> Any:
    """`value` with `${NAME}` replaced in all its texts."""
    match value:
        case str():
            return VARIABLE.sub(lambda found: _secret(found[1], known, used, file), value)
        case dict():
            return {name: _filled(one, known, used, file) for name, one in value.items()}
        case list():
            return [_filled(one, known, used, file) for one in value]
    return value


def _secret(name: str, known: Mapping[str, str], used: dict[str, str], file: Path) -> str:
    value = known.get(name)
    if not value:
        raise SettingsError(
            f"{file} uses ${{{name}}}, and {name} is not set; set it in the environment or .env"
        )
    used[name] = value
    return value


def problems(error: ValidationError) -> Iterator[str]:
    """Place and reason of the first few, without the values: they may be secret."""
    for one in error.errors(include_url=False, include_input=False, include_context=False)[:5]:
        place = ".".join(map(str, one["loc"]))
        reason = "is not known" if one["type"] == "extra_forbidden" else one["msg"]
        yield f"{place}: {reason.removeprefix('Value error, ')}"
