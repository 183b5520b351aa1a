"""MCP servers of a Realtime session: their lists, and calls that the client approves.

The tools run in the server (docs/tools.md); here become items and events what 6006 tells of them. A
call without approval is part of the response that makes it (`response.py`). One that needs approval
ends its response, waits for the client's decision, and then runs outside of any. In both cases the
client asks for the answer with `response.create`, as with a function of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisperfusion.client import ToolsListed, ToolUsed
from whisperfusion.gateway.realtime.items import Items
from whisperfusion.gateway.realtime.response import LOST, Send, Use
from whisperfusion.tools.client_servers import DECLINED, ClientServer
from whisperfusion.tools.data_marks import unmarked
from whisperfusion.wire.realtime import RealtimeError
from whisperfusion.wire.realtime_items import event, new_id
from whisperfusion.wire.realtime_mcp import APPROVAL_REQUEST, call_of, decisions, list_item

MOST_WAITING = 64  # calls that wait for approval, in one session


@dataclass
class _List:
    """Of one server. `item`: of a list that is on its way. `tools`: as the client knows them."""

    server: ClientServer
    item: dict[str, Any] | None = None
    listed: ToolsListed | None = None


@dataclass
class _Run:
    """A call that the client approved. `turn` of 6006, once it is known."""

    item: dict[str, Any]
    index: int
    turn: int | None = None


class McpTools:
    """`tell` sends a control frame of docs/wire.md."""

    def __init__(self, send: Send, items: Items) -> None:
        self._send, self._items = send, items
        self._lists: dict[str, _List] = {}
        self._early: dict[str, ToolsListed] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._waiting: dict[str, tuple[dict[str, Any], int]] = {}  # by call: its item and index
        self._decided: list[tuple[str, bool]] = []  # during a response
        self._runs: dict[str, _Run] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> bool:
        """A call that was approved is under way."""
        return bool(self._runs or self._decided)

    async def finished(self) -> None:
        await self._idle.wait()

    def named(self, name: str) -> tuple[str, str] | None:
        """Label and tool of what the model calls `name`; None: not a tool of these servers."""
        return self._names.get(name)

    # --- lists -----------------------------------------------------------------------------------

    async def announce(self, servers: Sequence[ClientServer]) -> None:
        """The client has named these; lists of those that it named before are not told again."""
        for server in servers:
            known = self._lists.get(server.label)
            if known is None or known.server != server:
                await self._start_listing(server)

    async def _start_listing(self, server: ClientServer) -> _List:
        item = list_item(new_id("mcpl"), server.label)
        begun = self._lists[server.label] = _List(server, item)
        await self._added(item)
        await self._send(event("mcp_list_tools.in_progress", item_id=item["id"]))
        early = self._early.pop(server.label, None)
        if early is not None:
            await self.listed(early)
        return begun

    async def listed(self, message: ToolsListed) -> None:
        known = self._lists.get(message.server)
        if known is None:  # the call was faster than the event that names the server
            self._early[message.server] = message
            return
        if known.item is None and known.listed == message:
            return  # of the same server in the next call
        if known.item is None:
            known = await self._start_listing(known.server)
        assert known.item is not None
        gone = [name for name, (label, _) in self._names.items() if label == message.server]
        for name in gone:
            del self._names[name]
        for tool in message.tools:
            self._names[tool.name] = message.server, tool.own_name
        item, known.item, known.listed = known.item, None, message
        item = list_item(item["id"], message.server, message.tools)
        if message.error is None:
            await self._send(event("mcp_list_tools.completed", item_id=item["id"]))
        else:
            reason = {"error": {"type": "mcp_error", "message": message.error}}
            item = {**item, **reason}
            await self._send(event("mcp_list_tools.failed", item_id=item["id"], **reason))
        await self._done(item)

    async def unreachable(self, reason: str) -> None:
        """There is no call that could list tools."""
        for label, one in list(self._lists.items()):
            if one.item is not None:
                await self.listed(ToolsListed(label, (), reason))
                del self._lists[label]  # the next call tries again

    # --- approval --------------------------------------------------------------------------------

    def asked(self, call: str, use: Use) -> None:
        """It waits for approval."""
        self._waiting[call] = use.item, use.index
        while len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def check(self, item: dict[str, Any]) -> None:
        """A decision that a client sends. Raises RealtimeError."""
        id = item["approval_request_id"]
        items = self._items.all()
        asked = any(one["id"] == id and one["type"] == APPROVAL_REQUEST for one in items)
        if not asked or call_of(id) not in self._waiting or id in decisions(items):
            raise RealtimeError(
                "invalid_value",
                f"{id[:60]!r} is not the id of an mcp_approval_request that waits for an answer",
                "item.approval_request_id",
            )

    def decide(self, request_id: str, approve: bool) -> None:
        """The call is told as soon as no response is under way."""
        self._idle.clear()
        self._decided.append((request_id, approve))

    async def due(self) -> list[tuple[str, bool]]:
        """Decisions that are to be told to the call now, by its ids."""
        decided, self._decided = self._decided, []
        for request_id, approve in decided:
            item, index = self._waiting.pop(call_of(request_id))
            run = _Run({**item, "approval_request_id": request_id}, index)
            if approve:
                self._runs[call_of(request_id)] = run
            else:
                await self._end(run, error=DECLINED)
        self._rest()
        return [(call_of(request_id), approve) for request_id, approve in decided]

    def started(self, turn: int, id: str) -> bool:
        """The call `id` runs as `turn`; False: it is another's."""
        run = self._runs.get(id)
        if run is not None:
            run.turn = turn
        return run is not None

    def is_mine(self, turn: int) -> bool:
        return any(run.turn == turn for run in self._runs.values())

    async def used(self, message: ToolUsed) -> None:
        """Of a turn that is mine."""
        id, run = self._of_turn(message.turn)
        if message.output is None and message.error is None:
            await self._send(event("response.mcp_call.in_progress", **_place(run)))
            return
        del self._runs[id]
        output = None if message.output is None else unmarked(message.output)
        error = None if message.error is None else unmarked(message.error)
        await self._end(run, output, error)
        self._rest()

    async def ended(self, turn: int) -> None:
        """The turn is over; if there was no result, none comes."""
        if self.is_mine(turn):
            id, run = self._of_turn(turn)
            del self._runs[id]
            await self._end(run, error=LOST)
            self._rest()

    async def failed(self, id: str, reason: str) -> bool:
        """The call `id` could not be run. False: it is another's."""
        run = self._runs.pop(id, None)
        if run is None:
            return False
        await self._end(run, error=reason)
        self._rest()
        return True

    async def call_ended(self) -> None:
        for id in list(self._runs):
            await self.failed(id, LOST)

    def _of_turn(self, turn: int) -> tuple[str, _Run]:
        return next((id, run) for id, run in self._runs.items() if run.turn == turn)

    async def _end(self, run: _Run, output: str | None = None, error: str | None = None) -> None:
        failed = None if error is None else {"type": "tool_execution_error", "message": error}
        run.item = {**run.item, "output": output, "error": failed}
        kind = "completed" if error is None else "failed"
        await self._send(event(f"response.mcp_call.{kind}", **_place(run)))
        await self._done(run.item)

    def _rest(self) -> None:
        if not self.busy:
            self._idle.set()

    async def _added(self, item: dict[str, Any]) -> None:
        previous = self._items.last
        await self._send(event("conversation.item.added", previous_item_id=previous, item=item))

    async def _done(self, item: dict[str, Any]) -> None:
        previous = self._items.last
        self._items.keep(item)
        await self._send(event("conversation.item.done", previous_item_id=previous, item=item))


def _place(run: _Run) -> dict[str, Any]:
    return {"item_id": run.item["id"], "output_index": run.index}
