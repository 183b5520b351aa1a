"""Responses that a client asks for: in the call, later, or in a call of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from whisperfusion.gateway.realtime.call import RealtimeCall
from whisperfusion.gateway.realtime.items import Items
from whisperfusion.gateway.realtime.out_of_band import Line, OutOfBand
from whisperfusion.gateway.realtime.reading import Reading
from whisperfusion.gateway.realtime.response import Response, Send
from whisperfusion.wire.realtime import RealtimeError
from whisperfusion.wire.realtime_fields import metadata_of
from whisperfusion.wire.realtime_items import item_of
from whisperfusion.wire.realtime_options import reply_options
from whisperfusion.wire.realtime_update import response_changes


class Responses:
    """Use `stop` and `stopped` at the end."""

    def __init__(
        self,
        send: Send,
        items: Items,
        call: RealtimeCall,
        reading: Reading,
        out_of_band: OutOfBand,
        hosts: str,
    ) -> None:
        """`hosts` is MCP_HOSTS."""
        self._send, self._items, self._call, self._hosts = send, items, call, hosts
        self._reading, self._out_of_band = reading, out_of_band
        self._waiting: set[asyncio.Task[None]] = set()  # for items that are being transcribed

    def stop(self) -> None:
        for task in self._waiting:
            task.cancel()

    async def stopped(self) -> None:
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def create(self, given: dict[str, Any]) -> None:
        """`response.create`. Raises RealtimeError."""
        asked = given.get("response") or {}
        if not isinstance(asked, dict):
            raise RealtimeError("invalid_type", "response must be an object", "response")
        if self._call.session.kind != "realtime":
            raise RealtimeError(
                "invalid_value", "a transcription session gives no responses", "session.type"
            )
        outside = asked.get("conversation") == "none"
        if self._call.response is not None and not outside:
            problem = "there is an active response; cancel it or wait for its end"
            raise RealtimeError("conversation_already_has_active_response", problem)
        changes, modality, servers = response_changes(asked, self._call.session, self._hosts)
        metadata = metadata_of(asked.get("metadata"))
        if outside or asked.get("input") is not None:
            await self._create_out_of_band(asked, changes, modality, outside, metadata)
            return
        await self._call.mcp.announce(servers)
        await self._call.open()
        busy = self._reading.busy or self._call.mcp.busy
        if not busy:
            await self._call.send_history()
        await self._call.listen(modality == "audio")
        response = await self._call.start_response(None, modality, metadata)
        if not busy:
            await self._call.send("respond", id=response.id, **changes)
            return
        task = asyncio.create_task(self._start_later(response, changes))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _start_later(self, response: Response, changes: Mapping[str, Any]) -> None:
        """The response starts when the audio in items is transcribed, and calls that were approved
        have their results, unless it was cancelled.
        """
        await self._reading.finished()
        await self._call.mcp.finished()
        if self._call.response is response:
            await self._call.send_history()
            await self._call.send("respond", id=response.id, **changes)

    async def cancel(self, given: dict[str, Any]) -> None:
        """`response.cancel`, `output_audio_buffer.clear`. Raises RealtimeError."""
        id, response = given.get("response_id"), self._call.response
        if response is not None and id in (None, response.id):
            await self._call.cancel()
        elif not isinstance(id, str) or not await self._out_of_band.cancel(id):
            raise RealtimeError(
                "response_cancel_not_active", "there is no active response to cancel"
            )

    async def _create_out_of_band(
        self,
        asked: Mapping[str, Any],
        changes: dict[str, Any],
        modality: str,
        outside: bool,
        metadata: Any,
    ) -> None:
        """A response to `input` alone, in a call of its own; `outside`: it does not become
        part of the conversation.
        """

        def keep(item: dict[str, Any]) -> None:
            self._items.keep(item)
            self._items.answered(response)
            self._items.sent = False

        place = self._out_of_band.place()
        try:
            lines = await self._lines(asked.get("input"))
            response = Response(
                self._send,
                self._call.session,
                modality,
                conversation=None if outside else self._call.conversation,
                previous=self._items.last,
                metadata=metadata,
                keep=keep,
            )
            await self._out_of_band.start(
                place, response, lines, reply_options(self._call.session), changes
            )
        except BaseException:
            place.close()
            raise

    async def _lines(self, given: Any) -> list[Line]:
        """The items that `input` lists; without a list, those of the conversation.

        Raises RealtimeError.
        """
        if not isinstance(given, list):
            return list(self._items.all())
        lines: list[Line] = []
        for one in given:
            if isinstance(one, dict) and one.get("type") == "item_reference":
                lines.append(self._items.get({"item_id": one.get("id")}, "invalid_value"))
                continue
            item = item_of(one)
            lines.append(await self._reading.start(item, one, self._call.session) or item)
        return lines
