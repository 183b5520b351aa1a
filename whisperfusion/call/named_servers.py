"""The MCP servers that the client of one call has named: which it may, and who learns of them.

They go to the language process beside the conversation, which only knows their names: headers with
keys are in no option, recording or session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whisperfusion.messages import ToolsListed, UseServers
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import MCP
from whisperfusion.tools.client_servers import ClientServer, names_of, without_servers
from whisperfusion.wire.fields import FieldError
from whisperfusion.wire.mcp_fields import MOST_SERVERS, check_hosts

NOT_FOR_CALL = (
    "the MCP server {} has no server_url, and this call may use no server of the operator's by "
    "that label; give server_url"
)


class NamedServers:
    """`tools` are the operator's that the call may use, by name. `post` gets what the language
    process learns, `notify` what the client does.
    """

    def __init__(
        self,
        call: str,
        settings: Settings,
        tools: Sequence[str],
        post: Callable[[UseServers], object],
        notify: Callable[[ToolsListed], object],
    ) -> None:
        self._call, self._settings, self._post, self._notify = call, settings, post, notify
        self._tools = without_servers(tools)
        self._servers: tuple[ClientServer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._servers)

    def replace(self, servers: tuple[ClientServer, ...]) -> tuple[str, ...]:
        """From now on the call has these, without those that it may not have. Returns the names of
        all tools that it may use.
        """
        if servers != self._servers:
            self._servers = servers
            self.post()
        return self._names(servers)

    def add(self, servers: tuple[ClientServer, ...]) -> tuple[str, ...]:
        """For one reply; they stay connected until others are named. Returns the names of the tools
        that this reply may use.
        """
        labels = {one.label for one in servers}
        others = tuple(one for one in self._servers if one.label not in labels)
        self.replace((*others[: MOST_SERVERS - len(servers)], *servers))
        return self._names(servers)

    def post(self) -> None:
        """To the language process, or to its successor, which knows nothing."""
        refused = {one.label: reason for one in self._servers if (reason := self._refusal(one))}
        for label, reason in refused.items():
            self._notify(ToolsListed(self._call, label, error=reason))
        allowed = tuple(one for one in self._servers if one.label not in refused)
        self._post(UseServers(self._call, allowed))

    def _names(self, servers: tuple[ClientServer, ...]) -> tuple[str, ...]:
        return (*self._tools, *names_of(servers))

    def _refusal(self, server: ClientServer) -> str:
        """ "": it is allowed."""
        if not server.url:
            known = {MCP, server.label} & {*self._tools}
            return "" if known else NOT_FOR_CALL.format(server.label)
        try:
            check_hosts((server,), self._settings.mcp_hosts)
        except FieldError as problem:
            return str(problem)
        return ""
