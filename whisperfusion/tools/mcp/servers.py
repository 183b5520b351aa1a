"""All MCP servers of `tools.toml`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future

from whisperfusion.tools.mcp.configuration import Configuration
from whisperfusion.tools.mcp.connection import STARTING, Connection
from whisperfusion.tools.runner import Runner
from whisperfusion.tools.running import BoundTool


class Servers:
    """Connections in the event loop of the tools. Thread-safe."""

    def __init__(self, configuration: Configuration, runner: Runner) -> None:
        self.configuration, self._runner = configuration, runner
        self._lock = threading.Lock()
        self._tools: tuple[BoundTool, ...] = ()
        self._connections: tuple[Connection, ...] = ()
        self.on_change: Callable[[], object] = lambda: None  # of tools or states
        self._work: dict[str, Future[None]] = {}  # by label
        self._starting: Future[None] = runner.submit(self._use(configuration))

    def use(self, configuration: Configuration) -> None:
        """From now on these: a server that stays as it was keeps its connection."""
        with self._lock:
            if configuration.servers == self.configuration.servers:
                return
            self.configuration = configuration
        self._starting = self._runner.submit(self._use(configuration))

    @property
    def labels(self) -> Collection[str]:
        return self.configuration.servers.keys()

    def tools(self) -> tuple[BoundTool, ...]:
        """In the order of the file and of each server's list."""
        with self._lock:
            return self._tools

    def tools_of(self, label: str) -> tuple[BoundTool, ...]:
        with self._lock:
            return tuple(
                tool for one in self._connections if one.label == label for tool in one.tools
            )

    def states(self) -> dict[str, str]:
        """Of each server by label, for a person."""
        with self._lock:
            return {one.label: one.state for one in self._connections}

    def connected(self) -> dict[str, tuple[bool, int]]:
        """By label: whether it can be reached now, and how many tools it has."""
        with self._lock:
            return {one.label: (one.up, len(one.tools)) for one in self._connections}

    def starting(self) -> bool:
        """Whether one of them has not been tried yet."""
        states = self.states().values()
        return len(states) < len(self.configuration.servers) or STARTING in states

    async def _use(self, configuration: Configuration) -> None:
        before = {one.label: one for one in self._connections}
        kept = {
            label: one
            for label, one in before.items()
            if one.server == configuration.servers.get(label)
        }
        for label in before.keys() - kept.keys():
            self._work.pop(label).cancel()
        connections = tuple(
            kept.get(label) or Connection(label, server, self._changed)
            for label, server in configuration.servers.items()
        )
        with self._lock:
            self._connections = connections
        for one in connections:
            if one.label not in kept:
                self._work[one.label] = self._runner.submit(one.run())
        self._changed()

    def _changed(self) -> None:
        with self._lock:
            self._tools = tuple(tool for one in self._connections for tool in one.tools)
        self.on_change()
