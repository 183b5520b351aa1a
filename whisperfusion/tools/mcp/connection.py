"""One MCP server, connected for as long as this process lives.

A server that dies, or never starts, is tried again with growing pauses; one that hangs costs each
use its time limit. Its list of tools is read again when it says that the list changed, and now and
then for those that do not say so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from whisperfusion.tools.mcp.adapting import MOST, Most, adapted
from whisperfusion.tools.mcp.checks import INSTALL
from whisperfusion.tools.mcp.configuration import Server
from whisperfusion.tools.mcp.guarded_http import guarded_client
from whisperfusion.tools.running import BoundTool, ReportedError, ToolError

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

STREAM_S = 300.0  # without a byte, before a stream of a server counts as lost
RELIST_S = 60.0
SOONEST_S = 1.0  # between two lists
PAUSES_S = (0.5, 60.0)  # the first and the longest between two tries
STEADY_S = 60.0  # a connection that lived so long was sound
MOST_PAGES, MOST_LISTED = 20, 2000
WAIT_S = 5.0  # how long a use waits for a server that is being started

STARTING = "is being started"
NOT_REACHED = "is not reached"

log = logging.getLogger("tools")


@dataclass(frozen=True)
class Bounds:
    """Of one connection. `connect_s` is for the start of a command, too: npx and uvx may download
    it first. `guarded`: a client named the server, so it is held to its host, and counted.
    """

    connect_s: float = 60.0
    list_s: float = 30.0
    most: Most = MOST
    guarded: bool = False


class Connection:
    """Runs in one event loop. `tools` are those that can be used now; `state` is for a person.

    `changed` is called when either is another.
    """

    def __init__(
        self,
        label: str,
        server: Server,
        changed: Callable[[], object],
        bounds: Bounds | None = None,
    ) -> None:
        self.label, self.server, self._bounds = label, server, bounds or Bounds()
        self.tools: tuple[BoundTool, ...] = ()
        self.state = STARTING
        self._tell_changed = changed
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._stale = asyncio.Event()  # the list, or the connection

    @property
    def up(self) -> bool:
        """Whether the server can be reached now."""
        return self._client is not None

    async def run(self) -> None:
        """Until cancelled."""
        pause, loop = PAUSES_S[0], asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._live()
            except ImportError:
                self.state = f"lacks the package mcp: {INSTALL}"
                log.error("MCP server %s %s", self.label, self.state)
                self._tell_changed()
                return
            except Exception as error:  # of the transport, the SDK, the server
                self._lost(error)
            if loop.time() - began > STEADY_S:
                pause = PAUSES_S[0]
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2 * pause, PAUSES_S[1])

    async def call(
        self, name: str, arguments: dict[str, Any], limit_s: float, reads: bool = False
    ) -> CallToolResult:
        """Raises ToolError. A tool that only `reads` is asked again of a server that was lost."""
        from mcp.shared.exceptions import MCPError
        from mcp_types import CONNECTION_CLOSED

        client = await self._connected(limit_s)
        try:
            return await client.call_tool(name, arguments, read_timeout_seconds=limit_s)
        except MCPError as error:
            if error.code != CONNECTION_CLOSED:
                raise ReportedError(error.message) from None
        except (OSError, ConnectionError, RuntimeError):
            pass
        self._gone(client)
        if not reads:
            raise ToolError(f"the server of this tool was lost ({self.label}); it may be done")
        return await self.call(name, arguments, limit_s, reads=False)

    async def _connected(self, limit_s: float) -> Client:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._up.wait(), min(WAIT_S, limit_s / 2))
        if self._client is None:
            raise ToolError(f"the server of this tool is not there now ({self.label})")
        return self._client

    def _gone(self, client: Client) -> None:
        """`client` failed: the next use waits for another, or for this one's list."""
        if self._client is client:
            self._client = None
            self._up.clear()
        self._stale.set()

    async def _live(self) -> None:
        import anyio
        from mcp import Client

        async with AsyncExitStack() as stack:
            with anyio.fail_after(self._bounds.connect_s) as scope:
                transport = await self._transport(stack)
                client = Client(transport, message_handler=self._received, cache=None)
                async with client:
                    scope.deadline = float("inf")
                    await self._serve(client)

    async def _serve(self, client: Client) -> None:
        try:
            async with _listening(client, self._stale.set):
                while True:
                    self._stale.clear()
                    self._handle(await asyncio.wait_for(_listed(client), self._bounds.list_s))
                    self._client = client
                    self._up.set()
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._stale.wait(), RELIST_S)
                    if self._client is client:  # it was not lost
                        await asyncio.sleep(SOONEST_S)
        finally:
            self._up.clear()
            self._client = None

    async def _transport(self, stack: AsyncExitStack) -> Any:
        import httpx2
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        server = self.server
        if server.url:
            timeout = httpx2.Timeout(self._bounds.connect_s, read=STREAM_S)
            if self._bounds.guarded:
                http = guarded_client(server.url, server.headers, timeout)
            else:
                http = httpx2.AsyncClient(headers=server.headers, timeout=timeout)
            client = await stack.enter_async_context(http)
            return streamable_http_client(server.url, http_client=client)
        program, *arguments = server.command
        # its lines may hold what callers say
        errors = sys.stderr
        if not log.isEnabledFor(logging.DEBUG):
            errors = stack.enter_context(_discarding())
        parameters = StdioServerParameters(
            command=program, args=arguments, env=dict(server.env), cwd=server.folder or None
        )
        return stdio_client(parameters, errlog=errors)

    async def _received(self, message: Any) -> None:
        if "list_changed" in str(getattr(message, "method", "")):
            self._stale.set()

    def _handle(self, listed: list[Tool]) -> None:
        tools = adapted(self.label, self.server, listed, self.call, self._bounds.most)
        if [one.tool for one in tools] == [one.tool for one in self.tools] and self._up.is_set():
            return
        self.tools = tools
        self.state = f"{len(tools)} of {len(listed)} tools"
        log.info("MCP server %s: %s", self.label, self.state)
        self._tell_changed()

    def _lost(self, error: BaseException) -> None:
        """Its tools stay offered: it may be back before they are used."""
        while getattr(error, "exceptions", None):  # a group, of anyio
            error = error.exceptions[0]  # type: ignore[attr-defined]
        # without its text, which may have a key or a caller's words in it
        self.state = f"{NOT_REACHED} ({type(error).__name__})"
        log.warning("MCP server %s %s; trying again", self.label, self.state)
        self._tell_changed()


def _discarding() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


async def _listed(client: Client) -> list[Tool]:
    found: list[Tool] = []
    cursor = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if not cursor or len(found) >= MOST_LISTED:
            break
    return found[:MOST_LISTED]


@asynccontextmanager
async def _listening(client: Client, changed: Callable[[], object]) -> AsyncIterator[None]:
    """Calls `changed` when a server of the newer protocol says that its list changed, or its
    stream ends.
    """
    task = asyncio.ensure_future(_listen(client, changed))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _listen(client: Client, changed: Callable[[], object]) -> None:
    from mcp.client.subscriptions import ListenNotSupportedError

    try:
        async with client.listen(tools_list_changed=True) as events:
            changed()  # what changed before the server heard of this listener was not told
            async for _ in events:
                changed()
        changed()
    except ListenNotSupportedError:
        return  # the older protocol sends messages of its own
    except Exception:  # the list is read now and then
        log.debug("no news of an MCP server's tools", exc_info=True)
        changed()
