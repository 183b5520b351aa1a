"""Out-of-band responses of a Realtime session: to other items, or outside of the conversation, each
in a call of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from fastapi import WebSocketDisconnect

from whisperfusion.client import (
    Closed,
    Failed,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ToolCall,
    ToolsListed,
    ToolUsed,
)
from whisperfusion.gateway.realtime.reading import read_all
from whisperfusion.gateway.realtime.response import Response, failure
from whisperfusion.gateway.upstream import DOWN, Upstream
from whisperfusion.runtime.rate_limits import Cost, Quota, TooMany
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.realtime import RealtimeError
from whisperfusion.wire.realtime_history import history

MOST = 4  # at once, in one session
RESPONSES = Cost(
    "responses beside conversations", most=12, each=4
)  # each takes the place of a call
Line = (
    dict[str, Any] | asyncio.Task[dict[str, Any]]
)  # an item, or one whose audio is being transcribed


class OutOfBand:
    """Use `close` at the end."""

    def __init__(self, upstream: Upstream, address: str, quota: Quota) -> None:
        self._upstream, self._address, self._quota = upstream, address, quota
        self._running: dict[str, tuple[Response, asyncio.Task[None]]] = {}

    def place(self) -> ExitStack:
        """Room for one more, to be closed if it is not used. Raises RealtimeError."""
        if len(self._running) >= MOST:
            problem = (
                f"{MOST} responses beside the conversation's own are allowed at once; wait "
                "for the end of one, or cancel it"
            )
            raise RealtimeError("rate_limit_exceeded", problem)
        place = ExitStack()
        try:
            place.enter_context(self._quota.hold(RESPONSES))
        except TooMany as problem:
            raise RealtimeError("rate_limit_exceeded", problem.message) from None
        return place

    async def start(
        self,
        place: ExitStack,
        response: Response,
        lines: Sequence[Line],
        options: Mapping[str, Any],
        changes: Mapping[str, Any],
    ) -> None:
        await response.start()
        task = asyncio.create_task(self._answer(response, lines, options, changes))
        self._running[response.id] = response, task

        def over(_: object) -> None:
            self._running.pop(response.id, None)
            place.close()

        task.add_done_callback(over)

    async def cancel(self, id: str) -> bool:
        """False: there is no such response."""
        response, task = self._running.get(id, (None, None))
        if response is None or task is None or response.over:
            return False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await response.end((), "cancelled", "client_cancelled")
        return True

    async def close(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self,
        response: Response,
        lines: Sequence[Line],
        options: Mapping[str, Any],
        changes: Mapping[str, Any],
    ) -> None:
        try:
            items = await read_all(lines)
            own = {"answers": "asked", "history": history(items), "paced": False}
            await self._run(response, items, {**options, **own}, changes)
        except (WebSocketDisconnect, RuntimeError):
            return  # the client went, and the session ends

    async def _run(
        self,
        response: Response,
        items: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
        changes: Mapping[str, Any],
    ) -> None:
        try:
            call = await self._upstream.open_call(
                options, audio=response.modality == "audio", address=self._address
            )
        except ApiError as problem:
            await response.end(items, "failed", error=failure(problem.code, problem.message))
            return
        names: dict[str, tuple[str, str]] = {}  # of tools of MCP servers
        try:
            await call.send("respond", **changes)
            async for event in call:
                match event:
                    case ToolsListed(label, tools):
                        names |= {one.name: (label, one.own_name) for one in tools}
                    case ToolUsed() if event.name in names:
                        await response.use_tool(event, *names[event.name])
                    case ReplyText() | ToolCall() | ReplyAudio():
                        await response.receive(event)
                    case ReplyDone():
                        await response.end(items)
                    case Failed(code, message):
                        await response.end(items, "failed", error=failure(code, message))
                    case Closed(reason):
                        gone = failure("server_error", reason or DOWN)
                        await response.end(items, "failed", error=gone)
                if response.over:
                    return
        finally:
            await call.close()
