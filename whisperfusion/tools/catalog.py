"""The tools of this server: which there are, and which of them a call may use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from whisperfusion.errors import SettingsError
from whisperfusion.messages import Labelled
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import MCP
from whisperfusion.tools.builtin import calculator, clock, end_call, timers
from whisperfusion.tools.mcp.added import configured, files
from whisperfusion.tools.mcp.call_servers import CallServers
from whisperfusion.tools.mcp.servers import Servers
from whisperfusion.tools.runner import Runner
from whisperfusion.tools.running import BoundTool
from whisperfusion.tools.search import web

log = logging.getLogger("tools")


class Catalog:
    """Thread-safe. A call names tools by group ("timers", the label of an MCP server, "mcp" for
    all of these) or one by one.
    """

    def __init__(
        self,
        settings: Settings,
        runner: Runner,
        post: Callable[[Any], object] = lambda message: None,
        hide: Callable[[tuple[str, ...]], object] = lambda secrets: None,
    ) -> None:
        """`hide` gets all secrets, and again when there are others."""
        self._settings, self._runner, self._hide = settings, runner, hide
        self._builtin = builtin(settings)
        self._servers: Servers | None = None
        self.secrets: tuple[str, ...] = settings.server_keys
        self._read: object = None  # which state of the files the servers are of
        self.calls = CallServers(runner, None, post)
        self.reload()

    def reload(self) -> None:
        """Read the files of MCP servers again if they have changed. One that is not valid leaves
        everything as it is.
        """
        state = _state_of(files(self._settings))
        if state == self._read:
            return
        self._read = state
        try:
            configuration = configured(self._settings)
        except SettingsError as error:  # main refused to start with it: it was changed since
            log.error("MCP servers are not used: %s", error)
            return
        self.secrets = (*self._settings.server_keys, *configuration.secrets)
        self._hide(self.secrets)
        if self._servers is not None:
            self._servers.use(configuration)
        elif configuration.servers:
            self._servers = Servers(configuration, self._runner)
            self.calls.adopt(self._servers)

    def chosen(self, names: Sequence[str], call: str = "") -> tuple[BoundTool, ...]:
        """Those that `names` name, always in the same order, so that prompts begin alike. Unknown
        names are left out. The client of `call` may have servers of its own.
        """
        wanted = set(names)
        own = tuple(one for one in self._builtin if wanted & {one.tool.name, one.tool.source})
        theirs = self.calls.tools(call, wanted)
        chose = self.calls.labels(call, wanted)
        return (
            *own,
            *(
                one
                for one in self._mcp()
                if wanted & {one.tool.name, one.tool.source, MCP} and one.tool.source not in chose
            ),
            *theirs,
        )

    def all(self) -> tuple[BoundTool, ...]:
        return self._builtin + self._mcp()

    def states(self) -> dict[str, str]:
        """Of each MCP server by label, for a person."""
        return self._servers.states() if self._servers is not None else {}

    def metrics(self) -> tuple[Labelled, ...]:
        """Of each MCP server."""
        found = self._servers.connected() if self._servers is not None else {}
        return tuple(
            Labelled(name, (("server", label),), float(value))
            for label, (up, count) in found.items()
            for name, value in (("mcp_server_up", up), ("mcp_server_tools", count))
        )

    def waiting(self) -> bool:
        """Whether an MCP server has not been tried yet."""
        return self._servers is not None and self._servers.starting()

    def _mcp(self) -> tuple[BoundTool, ...]:
        return self._servers.tools() if self._servers is not None else ()


def _state_of(paths: Iterable[Path]) -> object:
    """Changes when one of them is written."""
    found: list[object] = []
    for path in paths:
        try:
            one = path.stat()
            found.append((one.st_mtime_ns, one.st_size, one.st_ino))
        except OSError:
            found.append(None)
    return found


def builtin(settings: Settings) -> tuple[BoundTool, ...]:
    """What comes with the server, whether it is on or not."""
    return (
        clock.bound(settings.zone),
        *timers.bound(settings.zone),
        calculator.BOUND,
        end_call.BOUND,
        *web.bound(settings),
    )
