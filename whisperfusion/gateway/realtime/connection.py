"""OpenAI Realtime: a WebSocket client on one side, a call on the two sockets on the other.

The call decides whose turn it is; here its events become the client's, and the client's become
control frames of the call. The conversation as the client sees it (`Items`) is kept here; when the
client changes it, all of it is sent to the call again.

Speech that overlaps a response: the call pauses the audio at once (the client is little ahead of
it, whisperfusion/gateway/realtime/pacing.py) and classifies the overlap by its words. The client
learns only of an interruption, for no client of this protocol resumes what it has thrown away; a
cough or a backchannel leaves a pause in the audio and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection
from typing import Any

from anyio import fail_after, move_on_after
from fastapi import WebSocket, WebSocketDisconnect

from whisperfusion.gateway.realtime.agents import SessionAgents
from whisperfusion.gateway.realtime.audio_input import Input
from whisperfusion.gateway.realtime.call import RealtimeCall
from whisperfusion.gateway.realtime.items import ALL_BYTES, Budget, Items
from whisperfusion.gateway.realtime.out_of_band import OutOfBand
from whisperfusion.gateway.realtime.reading import Reading
from whisperfusion.gateway.realtime.responses import Responses
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.runtime.rate_limits import quota_of
from whisperfusion.settings import Settings
from whisperfusion.wire.languages import NAMES
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.realtime import RealtimeError, Session, as_dict
from whisperfusion.wire.realtime_beta import Beta, flat_fields
from whisperfusion.wire.realtime_fields import parsed_event
from whisperfusion.wire.realtime_items import error, event, item_of
from whisperfusion.wire.realtime_mcp import APPROVAL_RESPONSE
from whisperfusion.wire.realtime_options import changed_language, reply_options, speaker_options
from whisperfusion.wire.realtime_update import updated

LASTS_S = 3600.0
IDLE_S = 120.0  # without an event of the client, after which its line is for others
# a client that reads no event for so long is cut off; and how long its closing handshake may take
SEND_S, CLOSE_S = 30.0, 1.0
# so long a call that begins by itself waits for the options of its client
BEGIN_S = 0.5
BUDGET = Budget(ALL_BYTES)


class Realtime:
    """One connection. `beta`: the older dialect; events are translated on their way in and out."""

    def __init__(
        self,
        client: WebSocket,
        upstream: Upstream,
        settings: Settings,
        voices: Collection[str],
        session: Session,
        agents: SessionAgents,
        beta: Beta | None,
        *,
        earlier: str = "",
        idle_s: float = IDLE_S,
        send_s: float = SEND_S,
    ) -> None:
        self._client, self._voices, self._beta = client, tuple(voices), beta
        self._idle_s, self._send_s = idle_s, send_s
        self.session = self._began = session
        self._agents = agents
        # a call that is not opened by what the client says: an agent greets, a conversation goes on
        self._begins, self._goes_on = agents.greets(session) or bool(earlier), bool(earlier)
        self._expires_at = int(time.time() + min(LASTS_S, settings.max_call_s))
        self._lost = asyncio.Event()  # nothing more can be done for the client
        address = client.client.host if client.client else ""
        self._items = Items(BUDGET)
        self._input = Input(self._send, self._items, session)
        self._call = RealtimeCall(
            upstream,
            address,
            self._send,
            self._items,
            self._input,
            session,
            self._lost.set,
            earlier,
        )
        self._reading, self._out_of_band = (
            Reading(upstream, address, BUDGET, self._send),
            OutOfBand(upstream, address, quota_of(client.scope)),
        )
        self._responses = Responses(
            self._send,
            self._items,
            self._call,
            self._reading,
            self._out_of_band,
            settings.mcp_hosts,
        )
        self._hosts = settings.mcp_hosts
        self._handlers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create,
            "conversation.item.retrieve": self._retrieve,
            "conversation.item.delete": self._delete,
            "conversation.item.truncate": self._truncate,
            "response.create": self._responses.create,
            "response.cancel": self._responses.cancel,
            "output_audio_buffer.clear": self._responses.cancel,
        }

    def at_rest(self) -> bool:
        """Whether it is between two turns."""
        return self._call.at_rest

    async def serve(self) -> None:
        try:
            await self._send(
                event("session.created", session=as_dict(self.session, self._expires_at))
            )
            await self._name_servers()
            await self._converse()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._items.close()
            await self._release()

    async def _release(self) -> None:
        """Each step comes although the one before was cancelled."""
        self._responses.stop()
        try:
            await self._out_of_band.close()
        finally:
            try:
                await self._reading.close()
            finally:
                try:
                    await self._call.close()
                finally:
                    await self._responses.stopped()

    async def _converse(self) -> None:
        lost = asyncio.create_task(self._lost.wait())
        receiving: asyncio.Task[Any] | None = None
        try:
            while not lost.done():
                left = self._expires_at - time.time()
                idle_s = BEGIN_S if self._begins else self._idle_s
                if left <= 0:
                    await self._send(
                        error(
                            RealtimeError(
                                "session_expired", "the session has reached its longest duration"
                            )
                        )
                    )
                    await self._close(1000)
                    return
                receiving = receiving or asyncio.create_task(self._client.receive())
                await asyncio.wait(
                    {receiving, lost},
                    timeout=min(left, idle_s),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if receiving.done():
                    message, receiving = receiving.result(), None
                    await self._receive(message)
                    await self._start_call()
                elif self._begins:
                    await self._start_call()
                elif left > self._idle_s and not lost.done():
                    await self._call.rest()
            await self._close(1011, "this session cannot go on; connect again")
        finally:
            for task in filter(None, (lost, receiving)):
                task.cancel()

    async def _start_call(self) -> None:
        """The agent speaks first, or the conversation goes on, so the call begins with the
        session."""
        if not self._begins:
            return
        self._begins = False
        try:
            await self._call.open()
        except ApiError as problem:
            await self._send(error(RealtimeError(problem.code or "server_error", problem.message)))

    async def _close(self, code: int, reason: str = "") -> None:
        with move_on_after(CLOSE_S):  # a client that reads nothing reads no close frame either
            await self._client.close(code, reason)

    async def _receive(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        given: dict[str, Any] = {}
        try:
            # large events are not kept while they are worked on
            given = parsed_event(message.pop("text", None))
            given = flat_fields(given) if self._beta is None else self._beta.incoming(given)
            handler = self._handlers.get(str(given.get("type")))
            if handler is None:
                known = ", ".join(self._handlers)
                problem = (
                    f"{str(given.get('type'))[:60]!r} is not an event that clients send; "
                    f"known: {known}"
                )
                raise RealtimeError("invalid_value", problem, "type")
            if self._goes_on and given.get("type") != "session.update":
                self._goes_on = False
                await self._start_call()  # what was said before comes before what the client says
            await handler(given)
        except RealtimeError as problem:
            await self._send(error(problem, given.get("event_id")))
        except ApiError as problem:
            await self._send(
                error(
                    RealtimeError(problem.code or "server_error", problem.message),
                    given.get("event_id"),
                )
            )

    async def _send(self, message: dict[str, Any]) -> None:
        """Raises WebSocketDisconnect when the client is gone, or reads nothing."""
        for one in self._beta.outgoing(message) if self._beta is not None else (message,):
            try:
                with fail_after(self._send_s):
                    await self._client.send_text(json.dumps(one))
            except TimeoutError:
                self._lost.set()
                raise WebSocketDisconnect(
                    1008, f"no event was read for {self._send_s:.0f} s"
                ) from None

    # --- the session -----------------------------------------------------------------------------

    async def _update(self, given: dict[str, Any]) -> None:
        before = self.session
        base = self._agents.changed(before, given.get("session"), self._began)
        self.session = updated(
            base,
            given.get("session"),
            self._voices,
            NAMES,
            spoke=self._items.spoke,
            hosts=self._hosts,
        )
        self._input.configure(self.session)
        self._call.session = self.session
        language = changed_language(before, self.session)
        if (
            self.session.kind != before.kind
            or language is None
            or self.session.agent != before.agent
            or speaker_options(self.session) != speaker_options(before)
        ):
            # another recognizer's options are another call, and so are another agent and other
            # known speakers
            await self._call.end("the session was changed")
        else:
            await self._call.send("update", **reply_options(self.session), **language)
            await self._call.listen(self.session.speaks)
        await self._send(event("session.updated", session=as_dict(self.session, self._expires_at)))
        await self._name_servers()

    async def _name_servers(self) -> None:
        """A session with MCP servers has a call at once, which lists their tools."""
        if not self.session.mcp_servers or self.session.kind != "realtime":
            return
        await self._call.mcp.announce(self.session.mcp_servers)
        try:
            await self._call.open()
        except ApiError as problem:
            await self._send(error(RealtimeError(problem.code or "server_error", problem.message)))

    # --- the microphone and the conversation, as the client asks ---------------------------------

    async def _append(self, given: dict[str, Any]) -> None:
        await self._call.accept_audio(await self._input.append(given))

    async def _commit(self, given: dict[str, Any]) -> None:
        self._input.check_commit()
        await (await self._call.open()).send("commit")
        await self._input.commit(None)

    async def _clear(self, given: dict[str, Any]) -> None:
        await self._call.clear()
        await self._input.clear()

    async def _create(self, given: dict[str, Any]) -> None:
        if isinstance(given.get("item"), dict) and given["item"].get("type") == APPROVAL_RESPONSE:
            await self._decide(given)
            return
        item, previous = self._items.insert(given)
        try:
            reading = await self._reading.start(item, given["item"], self.session)
        except RealtimeError:
            self._items.forget(item["id"])
            raise
        if reading is not None:
            reading.add_done_callback(self._read)
        await self._send(event("conversation.item.added", previous_item_id=previous, item=item))
        await self._send(event("conversation.item.done", previous_item_id=previous, item=item))

    async def _decide(self, given: dict[str, Any]) -> None:
        """The client approves a call of a tool, or does not."""
        self._call.mcp.check(item_of(given["item"]))
        await self._call.open()  # its history has the call that waits
        if self._call.response is None:
            await self._call.send_history()
        known = self._items.sent
        item, previous = self._items.insert(given)
        self._items.sent = known  # the call learns of the decision itself
        await self._send(event("conversation.item.added", previous_item_id=previous, item=item))
        await self._send(event("conversation.item.done", previous_item_id=previous, item=item))
        self._call.mcp.decide(item["approval_request_id"], item["approve"])
        await self._call.send_decisions()

    def _read(self, reading: asyncio.Task[dict[str, Any]]) -> None:
        if not reading.cancelled() and reading.exception() is None:
            self._items.replace(reading.result())
            self._items.sent = False

    async def _retrieve(self, given: dict[str, Any]) -> None:
        await self._send(
            event(
                "conversation.item.retrieved",
                item=self._items.get(given, "item_retrieve_invalid_item_id"),
            )
        )

    async def _delete(self, given: dict[str, Any]) -> None:
        id = self._items.get(given, "item_delete_invalid_item_id")["id"]
        self._items.forget(id)
        self._items.sent = False
        await self._send(event("conversation.item.deleted", item_id=id))

    async def _truncate(self, given: dict[str, Any]) -> None:
        """The user heard only so much of a response, which may still be under way: the call
        knows which words that was.
        """
        present = self._call.response.item if self._call.response is not None else None
        if present is None or present["id"] != given.get("item_id"):
            present = self._items.get(given, "item_truncate_invalid_item_id")
        end_ms, index = given.get("audio_end_ms"), given.get("content_index", 0)
        if (
            isinstance(end_ms, bool)
            or not isinstance(end_ms, (int, float))
            or not 0 <= end_ms < 10**9
        ):
            raise RealtimeError(
                "invalid_value", "audio_end_ms must be a number from 0 up", "audio_end_ms"
            )
        if isinstance(index, bool) or index != 0:
            raise RealtimeError(
                "invalid_value",
                f"content_index is {str(index)[:40]}; an answer has one part, 0",
                "content_index",
            )
        end_ms = await self._call.truncate(present, end_ms)
        await self._send(
            event(
                "conversation.item.truncated",
                item_id=present["id"],
                content_index=0,
                audio_end_ms=round(end_ms),
            )
        )
