"""OpenAI Realtime: a WebSocket client on one side, a call on the two sockets on the other.

The call decides whose turn it is, as for everybody; here its events become the client's, and the client's become its controls. What
the client sees of the conversation (`Items`) is kept here; when the client changes it, the call is told all of it anew.

Speech over an answer: the call's sound stops at once (it is at most 0.2 s ahead) and is judged by its words. Only an
interruption is told to the client: what was a cough or "mm-hmm" leaves a pause in the sound and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from fusion.gateway.inner import Inner
from fusion.gateway.inner_call import InnerCall
from fusion.gateway.realtime_input import Input, Items
from fusion.gateway.realtime_response import Response
from fusion.settings import Settings
from fusion.wire.languages import NAMES
from fusion.wire.openai_rest import ApiError
from fusion.wire.realtime import RealtimeError, Session, as_dict, hearing, manner, parsed_event, response_changes, updated
from fusion.wire.realtime_beta import Beta
from fusion.wire.realtime_items import error, event, history, item_of, new_id

LASTS_S = 3600.0
REMEMBERED = 200  # items that a call is told: what it keeps

log = logging.getLogger("realtime")


class Realtime:
    """One connection. `beta`: the older dialect, on which all is translated at the door."""

    def __init__(
        self, client: WebSocket, inner: Inner, settings: Settings, voices: Collection[str], session: Session, beta: Beta | None
    ) -> None:
        self._client, self._inner, self._voices, self._beta = client, inner, tuple(voices), beta
        self.session = session
        self._expires_at = int(time.time() + min(LASTS_S, settings.max_call_s))
        self._call: InnerCall | None = None
        self._reader: asyncio.Task[None] | None = None
        self._items = Items()
        self._input = Input(self._send, self._items, session)
        self._response: Response | None = None
        self._sounding = 0  # the turn whose sound comes
        self._early: list[bytes] = []  # sound that came before it was known whose it is: it has a socket of its own
        self._conversation = new_id("conv")
        self._aside: set[asyncio.Task[None]] = set()  # responses out of the conversation
        self._began_ms = 0.0  # of the sound before the present call
        self._over_answer: float | None = None  # where speech began that nobody was told of
        self._handlers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "session.update": self._update, "input_audio_buffer.append": self._append, "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear, "conversation.item.create": self._create,
            "conversation.item.retrieve": self._retrieve, "conversation.item.delete": self._delete,
            "conversation.item.truncate": self._truncate, "response.create": self._respond, "response.cancel": self._cancel,
            "output_audio_buffer.clear": self._cancel,
        }  # fmt: skip

    async def serve(self) -> None:
        await self._send(event("session.created", session=as_dict(self.session, self._expires_at)))
        try:
            while True:
                await self._take(await asyncio.wait_for(self._client.receive(), max(0.0, self._expires_at - time.time())))
        except (WebSocketDisconnect, RuntimeError):
            pass
        except (TimeoutError, asyncio.TimeoutError):
            await self._send(error(RealtimeError("session_expired", "the session has reached its longest duration")))
            await self._client.close(1000)
        finally:
            for task in self._aside:
                task.cancel()
            await self._hang_up()

    async def _take(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        given: dict[str, Any] = {}
        try:
            given = parsed_event(message.get("text"))
            if self._beta is not None:
                given = self._beta.incoming(given)
            handler = self._handlers.get(str(given.get("type")))
            if handler is None:
                known = ", ".join(self._handlers)
                raise RealtimeError("invalid_value", f"{str(given.get('type'))[:60]!r} is no event; known: {known}", "type")
            await handler(given)
        except RealtimeError as problem:
            await self._send(error(problem, given.get("event_id")))
        except ApiError as problem:
            await self._send(error(RealtimeError(problem.code or "server_error", problem.message), given.get("event_id")))

    async def _send(self, told: dict[str, Any]) -> None:
        for one in self._beta.outgoing(told) if self._beta is not None else (told,):
            await self._client.send_text(json.dumps(one))

    # --- the session --------------------------------------------------------------------------------------

    async def _update(self, given: dict[str, Any]) -> None:
        before = self.session
        self.session = updated(before, given.get("session"), self._voices, NAMES, spoke=self._items.spoke)
        self._input.configure(self.session)
        if self._call is not None:
            if self.session.kind != before.kind or hearing(self.session) != hearing(before):
                await self._hang_up()  # what is heard from now on is another call
            else:
                await self._call.tell("update", **manner(self.session))
                await self._call.listen(self.session.speaks)
        await self._send(event("session.updated", session=as_dict(self.session, self._expires_at)))

    async def _open(self) -> InnerCall:
        """The call, which begins when it is first needed: a session that only waits costs nobody anything."""
        if self._call is None:
            session = self.session
            handshake = {
                **manner(session), **hearing(session), "reply": session.kind == "realtime",
                "history": history(self._items.all())[-REMEMBERED:],
            }  # fmt: skip
            address = self._client.client.host if self._client.client else ""
            self._call = await InnerCall.opened(self._inner, handshake, sound=session.speaks, address=address)
            self._items.told, self._began_ms, self._sounding, self._early = True, self._input.total_ms, 0, []
            self._reader = asyncio.create_task(self._read(self._call))
        return self._call

    async def _hang_up(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._call is not None:
            await self._call.close()
        self._call = self._reader = None

    # --- the microphone and the conversation, as the client asks --------------------------------------------

    async def _append(self, given: dict[str, Any]) -> None:
        pcm = self._input.append(given)
        await (await self._open()).hear(pcm)

    async def _commit(self, given: dict[str, Any]) -> None:
        self._input.check_commit()
        await (await self._open()).tell("commit")
        await self._input.commit(None)

    async def _clear(self, given: dict[str, Any]) -> None:
        if self._call is not None:
            await self._call.tell("clear")
        self._over_answer = None
        await self._input.clear()

    async def _create(self, given: dict[str, Any]) -> None:
        item, previous = self._items.insert(given)
        await self._send(event("conversation.item.added", previous_item_id=previous, item=item))
        await self._send(event("conversation.item.done", previous_item_id=previous, item=item))

    async def _retrieve(self, given: dict[str, Any]) -> None:
        await self._send(event("conversation.item.retrieved", item=self._items.find(given, "item_retrieve_invalid_item_id")))

    async def _delete(self, given: dict[str, Any]) -> None:
        id = self._items.find(given, "item_delete_invalid_item_id")["id"]
        self._items.forget(id)
        self._items.told = False
        await self._send(event("conversation.item.deleted", item_id=id))

    async def _truncate(self, given: dict[str, Any]) -> None:
        """Of an answer only so much was heard: the call knows which words that was."""
        item, end_ms = self._items.find(given, "item_truncate_invalid_item_id"), given.get("audio_end_ms")
        if isinstance(end_ms, bool) or not isinstance(end_ms, (int, float)) or not 0 <= end_ms < 10**9:
            raise RealtimeError("invalid_value", "audio_end_ms must be a number from 0 up", "audio_end_ms")
        response = self._items.truncate(item, end_ms)
        if response is not None:
            end_ms = min(end_ms, response.sound_ms)
            if self._call is not None:
                await self._call.tell("heard", turn=response.turn, seconds=end_ms / 1000)
        place = {"item_id": item["id"], "content_index": given.get("content_index", 0)}
        await self._send(event("conversation.item.truncated", **place, audio_end_ms=round(end_ms)))

    # --- responses ----------------------------------------------------------------------------------------

    async def _respond(self, given: dict[str, Any]) -> None:
        asked = given.get("response") or {}
        if not isinstance(asked, dict):
            raise RealtimeError("invalid_type", "response must be an object", "response")
        if self.session.kind != "realtime":
            raise RealtimeError("invalid_value", "a transcription session gives no responses", "session.type")
        aside = asked.get("conversation") == "none"
        if self._response is not None and not aside:
            told = "there is an active response; cancel it or wait for its end"
            raise RealtimeError("conversation_already_has_active_response", told)
        changes, modality = response_changes(asked, self.session)
        if aside or asked.get("input") is not None:
            given_items = asked.get("input")
            lines = [item_of(one) for one in given_items] if isinstance(given_items, list) else list(self._items.all())
            task = asyncio.create_task(self._beside(lines, changes, modality, aside, asked.get("metadata")))
            self._aside.add(task)
            task.add_done_callback(self._aside.discard)
            return
        call = await self._open()
        if not self._items.told:  # the client changed the conversation
            await call.tell("history", lines=history(self._items.all())[-REMEMBERED:])
            self._items.told = True
        await call.listen(modality == "audio")
        await self._begin(None, modality, asked.get("metadata"))
        await call.tell("respond", id=self._response.id if self._response else "", **changes)

    async def _begin(self, turn: int | None, modality: str | None = None, metadata: Any = None) -> None:
        self._response = Response(
            self._send, self.session, modality or self.session.modality, conversation=self._conversation, previous=self._items.last,
            metadata=metadata, keep=self._items.keep,
        )  # fmt: skip
        await self._response.begin()
        if turn is not None:
            await self._found_turn(turn)

    async def _found_turn(self, turn: int) -> None:
        """The response is the answer of this turn of the call."""
        assert self._response is not None
        self._response.turn = turn
        early, self._early = self._early, []
        for pcm in early if turn == self._sounding else ():
            await self._response.sound(pcm)

    async def _cancel(self, given: dict[str, Any]) -> None:
        response = self._response
        if response is None or given.get("response_id") not in (None, response.id):
            raise RealtimeError("response_cancel_not_active", "there is no active response to cancel")
        if self._call is not None:
            await self._call.tell("interrupt")
        await self._end_response("cancelled", "client_cancelled")

    async def _end_response(
        self, status: str = "completed", reason: str | None = None, said: str | None = None, failure: Mapping[str, Any] | None = None
    ) -> None:
        response, self._response = self._response, None
        if response is None:
            return
        await response.end(self._items.all(), status, reason, failure, said)
        self._items.answered(response)
        if self._call is not None:
            await self._call.listen(self.session.speaks)
        if self._over_answer is not None:
            at_ms, self._over_answer = self._over_answer, None
            await self._input.began(at_ms)

    async def _beside(self, lines: list[dict[str, Any]], changes: dict[str, Any], modality: str, aside: bool, metadata: Any) -> None:
        """A response to `lines` alone, in a call of its own; `aside`: the conversation does not learn of it."""

        def keep(item: dict[str, Any]) -> None:
            self._items.keep(item)
            self._items.told = False

        response = Response(
            self._send, self.session, modality, conversation=None if aside else self._conversation, previous=self._items.last,
            metadata=metadata, keep=keep,
        )  # fmt: skip
        await response.begin()
        handshake = {**manner(self.session), "answers": "asked", "history": history(lines)[-REMEMBERED:], "paced": False}
        try:
            call = await InnerCall.opened(self._inner, handshake, sound=modality == "audio")
        except ApiError as problem:
            await response.end(lines, "failed", error=_failure({"code": problem.code, "message": problem.message}))
            return
        try:
            await call.tell("respond", **changes)
            while not response.over:
                await response.happened(await call.happened.get(), lines)
        finally:
            await call.close()

    # --- what happens in the call ---------------------------------------------------------------------------

    async def _read(self, call: InnerCall) -> None:
        try:
            while True:
                found = await call.happened.get()
                if isinstance(found, bytes):
                    await self._sound(found)
                    continue
                handler = self._HAPPENED.get(found["type"])
                if handler is not None:
                    await handler(self, found)
                if found["type"] == "gone":
                    return
        except (WebSocketDisconnect, RuntimeError):
            return  # the client went; `serve` ends
        except Exception:
            log.exception("a Realtime session broke down")
            await self._client.close(1011, "internal error")

    async def _speech_started(self, found: dict[str, Any]) -> None:
        if self.session.turns is None:
            return
        at_ms = self._began_ms + found["at"] * 1000
        if self._response is not None:
            self._over_answer = at_ms  # told when it turns out to be more than a sound
        elif not self._input.speaking:
            await self._input.began(at_ms)

    async def _resumed(self, found: dict[str, Any]) -> None:
        self._over_answer = None

    async def _interrupted(self, found: dict[str, Any]) -> None:
        """First that somebody speaks, then the end of the answer: older Agents SDKs neither stop nor truncate otherwise."""
        if not self._mine(found):
            return
        if not self._input.speaking and self.session.turns is not None:
            at_ms, self._over_answer = self._over_answer, None
            await self._input.began(self._input.total_ms if at_ms is None else at_ms)
        await self._end_response("cancelled", "turn_detected", said=found["heard"])

    async def _turn(self, found: dict[str, Any]) -> None:
        if self._input.awaits_words:
            await self._input.words(found["text"])
        else:
            await self._input.commit(found["text"])
        if self.session.answers and self._response is None:
            await self._begin(found["turn"])

    async def _answering(self, found: dict[str, Any]) -> None:
        """Whose answer it is that was asked for."""
        if self._response is not None and self._response.id == found["id"]:
            await self._found_turn(found["turn"])

    async def _sounds(self, found: dict[str, Any]) -> None:
        self._sounding, self._early = found["turn"], []

    async def _sound(self, pcm: bytes) -> None:
        if self._response is not None and self._response.turn == self._sounding:
            await self._response.sound(pcm)
        else:
            self._early.append(pcm)

    async def _caption(self, found: dict[str, Any]) -> None:
        if found["final"] and not found["text"]:
            await self._input.was_nothing()

    async def _reply(self, found: dict[str, Any]) -> None:
        if self._mine(found) and self._response is not None:
            self._response.cut = found.get("cut", False)
            await self._response.words(found["text"])
            self._response.written = found["last"]
            await self._perhaps_over()

    async def _called(self, found: dict[str, Any]) -> None:
        if self._mine(found) and self._response is not None:
            await self._response.call(found["id"], found["name"], found["arguments"])

    def _mine(self, found: dict[str, Any]) -> bool:
        """Is it the present response's?"""
        return self._response is not None and self._response.turn == found["turn"]

    async def _ended(self, found: dict[str, Any]) -> None:
        if found.get("last", True) and self._mine(found) and self._response is not None:
            self._response.sent = True
            await self._perhaps_over()

    async def _perhaps_over(self) -> None:
        """All of its words and all of its sound: two sockets, in any order."""
        if self._response is not None and self._response.written and self._response.sent:
            await self._end_response()

    async def _heard(self, found: dict[str, Any]) -> None:
        self._items.heard(found["turn"], found["heard"])

    async def _error(self, found: dict[str, Any]) -> None:
        if found["code"] == "nothing_said" and self._input.awaits_words:
            await self._input.words("")
        elif self._response is not None and (self._mine(found) if "turn" in found else found.get("id") == self._response.id):
            await self._end_response("failed", failure=_failure(found))
        elif "turn" in found and self._input.awaits_words:
            await self._input.failed(found["code"], found["message"])
        elif "turn" not in found:
            await self._send(error(RealtimeError(found["code"], found["message"])))

    async def _gone(self, found: dict[str, Any]) -> None:
        """The server closed the call. The next event of the client opens another, which knows the conversation."""
        await self._end_response("failed", failure=_failure(found))
        call, self._call, self._reader = self._call, None, None
        if call is not None:
            await call.close()
        await self._send(error(RealtimeError("server_down", found["message"])))

    _HAPPENED: dict[str, Any] = {
        "speech_started": _speech_started, "sound_resume": _resumed, "interrupted": _interrupted, "turn": _turn, "caption": _caption,
        "reply": _reply, "call": _called, "answering": _answering, "sound_start": _sounds, "sound_end": _ended, "spoken": _ended,
        "heard": _heard, "error": _error, "gone": _gone,
    }  # fmt: skip


def _failure(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "server_error", "code": str(found.get("code") or "server_error"), "message": str(found["message"])}
