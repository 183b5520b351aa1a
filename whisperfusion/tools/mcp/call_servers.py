"""The MCP servers that clients name for their own calls, connected for as long as the call lives.

One with a URL gets a connection of its own, with the client's keys, and is freed with its call. One
without is the operator's, whose connection and rules stay as they are; the client may choose among
its tools and ask for approval of more of them, never of fewer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from whisperfusion.messages import ToolsListed, UseServers
from whisperfusion.tools.client_servers import PREFIX, ClientServer, ListedTool, named_in
from whisperfusion.tools.mcp.adapting import Most
from whisperfusion.tools.mcp.configuration import Server
from whisperfusion.tools.mcp.connection import NOT_REACHED, STARTING, Bounds, Connection
from whisperfusion.tools.mcp.servers import Servers
from whisperfusion.tools.runner import Runner
from whisperfusion.tools.running import BoundTool

# a prompt has the tools of four servers at most
BOUNDS = Bounds(connect_s=15.0, list_s=10.0, most=Most(32, 16_000), guarded=True)
MOST_CONNECTIONS = 64  # of all calls
COUNTED_AS = "mcp"  # in metrics: names that clients bring would be labels without end
UNKNOWN = "the operator has no MCP server of that label; give server_url, or another label"
TOO_MANY = f"this server is connected to {MOST_CONNECTIONS} MCP servers of its clients; try later"


@dataclass
class _Use:
    """One server in one call. `told`: what its client was last told."""

    server: ClientServer
    connection: Connection | None = None
    work: Future[None] | None = None
    told: ToolsListed | None = None
    refused: str = ""


@dataclass
class _Call:
    uses: dict[str, _Use] = field(default_factory=dict)


class CallServers:
    """Thread-safe. `operators` are the servers of `tools.toml`; `post` gets `ToolsListed`."""

    def __init__(
        self, runner: Runner, operators: Servers | None, post: Callable[[Any], object]
    ) -> None:
        self._runner, self._operators, self._post = runner, operators, post
        self._lock = threading.Lock()
        self._calls: dict[str, _Call] = {}
        if operators is not None:
            self.adopt(operators)

    def adopt(self, operators: Servers) -> None:
        """They were added while this process ran."""
        self._operators = operators
        operators.on_change = self._operators_changed

    def use(self, message: UseServers) -> None:
        """What the call had before and does not name any more is closed."""
        with self._lock:
            call = self._calls.setdefault(message.call, _Call())
            before, call.uses = call.uses, {}
            for server in message.servers:
                kept = before.get(server.label)
                if kept is not None and kept.server == server:
                    call.uses[server.label] = before.pop(server.label)
                else:
                    call.uses[server.label] = self._begun(message.call, server)
            if not call.uses:
                del self._calls[message.call]
        for one in before.values():
            _stop(one)
        for server in message.servers:
            self._changed(message.call, server.label)

    def forget(self, call: str) -> None:
        with self._lock:
            forgotten = self._calls.pop(call, None)
        for one in forgotten.uses.values() if forgotten is not None else ():
            _stop(one)

    def forget_all(self) -> None:
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            self.forget(call)

    def tools(self, call: str, names: set[str]) -> tuple[BoundTool, ...]:
        """Those of the servers of `call` that `names` name."""
        with self._lock:
            found = [
                (tool, named_in(one.server.label, names))
                for one in self._named(call, names)
                for tool in self._tools_of(one)
            ]
        return tuple(tool for tool, only in found if only is None or tool.tool.own_name in only)

    def labels(self, call: str, names: set[str]) -> set[str]:
        """Of the operator's servers that the client has named: it chose among their tools."""
        with self._lock:
            return {one.server.label for one in self._named(call, names) if not one.server.url}

    def waiting(self, call: str, names: set[str]) -> bool:
        """Whether one of them has not been tried yet."""
        with self._lock:
            return any(self._state_of(one) == STARTING for one in self._named(call, names))

    def secrets(self, call: str) -> tuple[str, ...]:
        with self._lock:
            uses = self._calls[call].uses.values() if call in self._calls else ()
            return tuple(secret for one in uses for secret in one.server.secrets)

    # --- under the lock --------------------------------------------------------------------------

    def _named(self, call: str, names: set[str]) -> list[_Use]:
        known = self._calls.get(call, _Call()).uses.values()
        return [one for one in known if named_in(one.server.label, names) != ()]

    def _begun(self, call: str, server: ClientServer) -> _Use:
        if not server.url:
            known = self._operators is not None and server.label in self._operators.labels
            return _Use(server, refused="" if known else UNKNOWN)
        every = [one for other in self._calls.values() for one in other.uses.values()]
        if sum(one.work is not None for one in every) >= MOST_CONNECTIONS:
            return _Use(server, refused=TOO_MANY)
        named = ("*",) if server.allowed.names is None else server.allowed.names
        given = {"url": server.url, "headers": dict(server.headers), "tools": named}
        settings = Server.model_validate({**given, "permission": "auto"})
        connection = Connection(
            server.label, settings, lambda: self._changed(call, server.label), BOUNDS
        )
        return _Use(server, connection, self._runner.submit(connection.run()))

    def _state_of(self, use: _Use) -> str:
        if use.refused:
            return use.refused
        if use.connection is not None:
            return use.connection.state
        assert self._operators is not None
        return self._operators.states().get(use.server.label, STARTING)

    def _tools_of(self, use: _Use) -> list[BoundTool]:
        if use.refused:
            return []
        if use.connection is not None:
            found = use.connection.tools
        else:
            assert self._operators is not None
            found = self._operators.tools_of(use.server.label)
        return [
            _for_client(one, use.server)
            for one in found
            if use.server.allowed.matches(one.tool.own_name, not one.tool.acts)
        ]

    # --- what is heard of them -------------------------------------------------------------------

    def _operators_changed(self) -> None:
        with self._lock:
            changed = [
                (call, label)
                for call, one in self._calls.items()
                for label, use in one.uses.items()
                if not use.server.url
            ]
        for call, label in changed:
            self._changed(call, label)

    def _changed(self, call: str, label: str) -> None:
        with self._lock:
            use = self._calls.get(call, _Call()).uses.get(label)
            state = self._state_of(use) if use is not None else STARTING
            if use is None or state == STARTING:
                return
            tools = self._tools_of(use)
            # one that was lost stays offered: it may be back before its tools are used
            failed = use.refused or (not tools and state.startswith((NOT_REACHED, "lacks")))
            error = f"the MCP server {label} {state}" if failed and not use.refused else use.refused
            told = ToolsListed(call, label, tuple(map(_listed, tools)), error)
            news, use.told = told != use.told, told
        if news:
            self._post(told)


def _stop(use: _Use) -> None:
    if use.work is not None:
        use.work.cancel()


def _for_client(bound: BoundTool, server: ClientServer) -> BoundTool:
    """`bound` under the rules of its client, within those of the operator."""
    tool = bound.tool
    operators = not server.url
    asks = server.needs_approval(tool.own_name, not tool.acts, tool.asks)
    return replace(
        bound,
        tool=replace(
            tool,
            source=tool.source if operators else PREFIX + server.label,
            asks=asks or (operators and tool.asks),
            by_client=True,
            hands_back=server.answers == "asked",
        ),
        counted_as="" if operators else COUNTED_AS,
    )


def _listed(bound: BoundTool) -> ListedTool:
    tool = bound.tool
    parameters = json.dumps(tool.parameters, ensure_ascii=False)
    return ListedTool(tool.name, tool.own_name, tool.description, parameters, not tool.acts)
