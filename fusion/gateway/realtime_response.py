"""One response of a Realtime session: from what happens in an inner call to the events of a response, in upstream's order."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fusion.gateway.sound import FromSpoken
from fusion.wire.realtime import Session, format_dict
from fusion.wire.realtime_items import announced, answer_item, call_item, event, new_id, usage

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Response:
    """`previous`: the item after which its own come; `keep` is called with each item that is added to the conversation."""

    def __init__(
        self, send: Send, session: Session, modality: str, *, conversation: str | None, previous: str | None, metadata: Any = None,
        keep: Callable[[dict[str, Any]], object],
    ) -> None:  # fmt: skip
        self.id = new_id("resp")
        self.turn: int | None = None  # of the inner call, once it is known
        self.over = False
        self.item: dict[str, Any] | None = None  # the message
        self.text, self.sound_ms = "", 0.0
        self.written = self.sent = False  # all of its words, all of its sound
        self.cut = False  # by its greatest length
        self.modality = modality
        self._send, self._session = send, session
        self._conversation, self._previous, self._metadata, self._keep = conversation, previous, metadata, keep
        self._output: list[dict[str, Any]] = []
        self._sound = FromSpoken(session.spoken)

    def _as_dict(self, status: str, details: Mapping[str, Any] | None, used: Mapping[str, Any] | None) -> dict[str, Any]:
        session = self._session
        return {
            "object": "realtime.response", "id": self.id, "status": status, "status_details": details, "output": list(self._output),
            "conversation_id": self._conversation, "output_modalities": [self.modality],
            "max_output_tokens": session.max_output_tokens, "usage": used, "metadata": self._metadata,
            "audio": {"output": {"format": format_dict(session.spoken), "voice": session.voice}},
        }  # fmt: skip

    async def begin(self) -> None:
        await self._send(event("response.created", response=self._as_dict("in_progress", None, None)))

    # --- what the answer says -----------------------------------------------------------------------------

    async def words(self, text: str) -> None:
        """The next piece of the answer."""
        if self.over or not text:
            return
        await self._open()
        piece = f" {text}" if self.text else text
        self.text += piece
        await self._send(
            event(f"response.output_{'audio_transcript' if self.modality == 'audio' else 'text'}.delta", **self._place(), delta=piece)
        )

    async def sound(self, pcm: bytes) -> None:
        """s16 at 24 kHz."""
        if self.over or self.modality != "audio":
            return
        await self._open()
        self.sound_ms += len(pcm) / 48
        data = self._sound.feed(pcm)
        if data:
            await self._send(event("response.output_audio.delta", **self._place(), delta=base64.b64encode(data).decode()))

    async def call(self, call_id: str, name: str, arguments: str) -> None:
        """The answer uses a function. It is announced in progress: clients run it at every event that shows it completed."""
        if self.over:
            return
        id, index = new_id("item"), len(self._output) + (self.item is not None)
        empty = call_item(id, call_id, name, "", "in_progress")
        await self._send(event("response.output_item.added", response_id=self.id, output_index=index, item=empty))
        await self._added(empty)
        place = {"response_id": self.id, "item_id": id, "output_index": index, "call_id": call_id}
        await self._send(event("response.function_call_arguments.delta", **place, delta=arguments))
        await self._send(event("response.function_call_arguments.done", **place, name=name, arguments=arguments))
        await self._finish_item(call_item(id, call_id, name, arguments, "completed"), index)

    async def _open(self) -> None:
        if self.item is not None:
            return
        self.item = answer_item(new_id("item"), self.modality, None, "in_progress")
        await self._send(event("response.output_item.added", response_id=self.id, output_index=self._index, item=self.item))
        await self._added(self.item)
        await self._send(event("response.content_part.added", **self._place(), part=announced(self.modality, "")))

    @property
    def _index(self) -> int:
        return len(self._output)

    def _place(self) -> dict[str, Any]:
        assert self.item is not None
        return {"response_id": self.id, "item_id": self.item["id"], "output_index": self._index, "content_index": 0}

    async def _added(self, item: dict[str, Any]) -> None:
        if self._conversation is not None:
            await self._send(event("conversation.item.added", previous_item_id=self._previous, item=item))

    async def _finish_item(self, item: dict[str, Any], index: int) -> None:
        if self._conversation is not None:
            await self._send(event("conversation.item.done", previous_item_id=self._previous, item=item))
            self._previous = item["id"]
            self._keep(item)
        await self._send(event("response.output_item.done", response_id=self.id, output_index=index, item=item))
        self._output.append(item)

    async def happened(self, found: dict[str, Any] | bytes, lines: Sequence[Mapping[str, Any]]) -> None:
        """An event of a call that gives nothing but this response, to `lines`."""
        if isinstance(found, bytes):
            await self.sound(found)
        elif found["type"] == "reply":
            await self.words(found["text"])
            self.written, self.cut = found["last"], found.get("cut", False)
        elif found["type"] == "call":
            await self.call(found["id"], found["name"], found["arguments"])
        elif found["type"] == "sound_sent" or found["type"] == "spoken" and found["last"]:
            self.sent = True
        elif found["type"] in ("error", "gone"):
            failure = {"type": "server_error", "code": str(found.get("code") or "server_error"), "message": str(found["message"])}
            await self.end(lines, "failed", error=failure)
        if self.written and self.sent:  # two sockets, in any order
            await self.end(lines)

    # --- its end ------------------------------------------------------------------------------------------

    async def end(
        self,
        heard: Sequence[Mapping[str, Any]],
        status: str = "completed",
        reason: str | None = None,
        error: Mapping[str, Any] | None = None,
        said: str | None = None,
    ) -> None:
        """`heard`: the items that it answers, for the count; `said`: what was heard of it, if not all."""
        if self.over:
            return
        self.over = True
        if status == "completed" and self.cut:
            status, reason = "incomplete", "max_output_tokens"
        if self.item is not None:
            await self._close_item("completed" if status == "completed" else "incomplete", self.text if said is None else said)
        details = (
            None
            if status == "completed"
            else {"type": status, **({"reason": reason} if reason else {}), **({"error": error} if error else {})}
        )
        await self._send(event("response.done", response=self._as_dict(status, details, usage(heard, self.text, self.sound_ms))))

    async def _close_item(self, status: str, said: str) -> None:
        place = self._place()
        if self.modality == "audio":
            rest = self._sound.close()
            if rest and status == "completed":
                await self._send(event("response.output_audio.delta", **place, delta=base64.b64encode(rest).decode()))
            await self._send(event("response.output_audio.done", **place))
            await self._send(event("response.output_audio_transcript.done", **place, transcript=self.text))
        else:
            await self._send(event("response.output_text.done", **place, text=self.text))
        await self._send(event("response.content_part.done", **place, part=announced(self.modality, self.text)))
        self.item = answer_item(place["item_id"], self.modality, said, status)
        await self._finish_item(self.item, self._index)
