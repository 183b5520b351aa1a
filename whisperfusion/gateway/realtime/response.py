"""One response of a Realtime session: events of a call become the events of a response, in
OpenAI's order.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisperfusion.client import ReplyAudio, ReplyText, ToolCall, ToolUsed
from whisperfusion.gateway.sound import OutputConverter
from whisperfusion.tools.data_marks import unmarked
from whisperfusion.wire.realtime import Session, format_dict
from whisperfusion.wire.realtime_history import usage
from whisperfusion.wire.realtime_items import announced, answer_item, call_item, event, new_id
from whisperfusion.wire.realtime_mcp import mcp_call_item, request_item

LOST = "The user went on, or the connection was lost, before there was a result."
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass
class Use:
    """A tool of an MCP server, at `index` of the response. `waits` for the client's approval."""

    item: dict[str, Any]
    index: int
    waits: bool = False
    over: bool = False


class Response:
    """`previous`: the item after which its own come; `keep` is called with each item that is
    added to the conversation.
    """

    def __init__(
        self,
        send: Send,
        session: Session,
        modality: str,
        *,
        conversation: str | None,
        previous: str | None,
        metadata: Any = None,
        keep: Callable[[dict[str, Any]], object],
    ) -> None:
        self.id = new_id("resp")
        self.turn: int | None = None  # of the call, once it is known
        self.over = False
        self.item: dict[str, Any] | None = None  # the message
        self.text, self.audio_ms = "", 0.0
        self.cut = False  # by its greatest length
        self.played_ms: float | None = None  # where the client has truncated it while it came
        self.modality = modality
        self._send, self._session = send, session
        self._conversation, self._previous, self._metadata, self._keep = (
            conversation,
            previous,
            metadata,
            keep,
        )
        self._output: dict[int, dict[str, Any]] = {}
        self._count = self._index = 0  # items that were begun; where the message is among them
        self._uses: dict[str, Use] = {}  # of tools of MCP servers, by call
        self._encoder = OutputConverter(session.output_format)

    @property
    def calls_tool(self) -> bool:
        items = self._output.values()
        return bool(self._uses) or any(item["type"] == "function_call" for item in items)

    def _as_dict(
        self, status: str, details: Mapping[str, Any] | None, used: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        session = self._session
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [self._output[at] for at in sorted(self._output)],
            "conversation_id": self._conversation,
            "output_modalities": [self.modality],
            "max_output_tokens": session.max_output_tokens,
            "usage": used,
            "metadata": self._metadata,
            "audio": {
                "output": {"format": format_dict(session.output_format), "voice": session.voice}
            },
        }

    async def start(self) -> None:
        await self._send(
            event("response.created", response=self._as_dict("in_progress", None, None))
        )

    # --- what the reply says ---------------------------------------------------------------------

    async def receive(self, event: ReplyText | ToolCall | ReplyAudio) -> None:
        match event:
            case ReplyText():
                self.cut = event.cut
                await self._add_text(event.text, event.afresh)
            case ToolCall():
                await self._add_call(event.id, event.name, event.arguments)
            case ReplyAudio():
                await self.add_audio(event.pcm)

    async def _add_text(self, text: str, afresh: bool) -> None:
        """The next piece; `afresh`: what came before is void, though its deltas were sent."""
        if afresh:
            self.text = ""
        if self.over or not text:
            return
        await self._open()
        piece = f" {text}" if self.text else text
        self.text += piece
        kind = "audio_transcript" if self.modality == "audio" else "text"
        await self._send(event(f"response.output_{kind}.delta", **self._place(), delta=piece))

    async def add_audio(self, pcm: bytes) -> None:
        """s16 at 24 kHz: what the client plays."""
        if self.over or self.modality != "audio":
            return
        await self._open()
        self.audio_ms += len(pcm) / 48
        data = self._encoder.feed(pcm)
        if data:
            await self._send(
                event(
                    "response.output_audio.delta",
                    **self._place(),
                    delta=base64.b64encode(data).decode(),
                )
            )

    async def _add_call(self, call_id: str, name: str, arguments: str) -> None:
        """A tool call, announced in progress: clients run it at every event that shows it
        completed.
        """
        if self.over:
            return
        id = new_id("item")
        index = await self._add_item(call_item(id, call_id, name, "", "in_progress"))
        place = {"response_id": self.id, "item_id": id, "output_index": index, "call_id": call_id}
        await self._send(event("response.function_call_arguments.delta", **place, delta=arguments))
        await self._send(
            event("response.function_call_arguments.done", **place, name=name, arguments=arguments)
        )
        await self._finish_item(call_item(id, call_id, name, arguments, "completed"), index)

    async def use_tool(self, used: ToolUsed, label: str, name: str) -> Use | None:
        """A tool of the MCP server `label` is used, or has its result. The item is done after the
        response: that is when clients may ask for the answer.
        """
        if self.over:
            return None
        use = self._uses.get(used.id)
        if use is None:
            use = self._uses[used.id] = await self._start_use(used, label, name)
        elif not use.waits:
            await self._result(use, used.output, used.error)
        return use

    async def _start_use(self, used: ToolUsed, label: str, name: str) -> Use:
        id, arguments = new_id("mcp"), used.arguments
        index = await self._add_item(mcp_call_item(id, label, name, ""))
        place = {"response_id": self.id, "item_id": id, "output_index": index}
        await self._send(event("response.mcp_call_arguments.delta", **place, delta=arguments))
        await self._send(event("response.mcp_call_arguments.done", **place, arguments=arguments))
        use = Use(mcp_call_item(id, label, name, arguments), index, waits=used.approval)
        if used.approval:
            await self._item_done(use.item, index)
            request = request_item(used.id, label, name, arguments)
            await self._finish_item(request, await self._add_item(request))
        else:
            await self._send(event("response.mcp_call.in_progress", item_id=id, output_index=index))
        return use

    async def _result(self, use: Use, output: str | None, error: str | None) -> None:
        failed = None if error is None else {"message": unmarked(error)}
        use.item |= {
            "output": None if output is None else unmarked(output),
            "error": failed and {"type": "tool_execution_error", **failed},
        }
        use.over = True
        await self._item_done(use.item, use.index)

    async def _uses_done(self) -> None:
        """The items of tools that were used, after the response."""
        for use in self._uses.values():
            if use.waits:
                continue
            kind = "completed" if use.item["error"] is None else "failed"
            place = {"item_id": use.item["id"], "output_index": use.index}
            await self._send(event(f"response.mcp_call.{kind}", **place))
            await self._kept(use.item)

    async def _add_item(self, item: dict[str, Any]) -> int:
        """Where the item is in the response."""
        index, self._count = self._count, self._count + 1
        await self._send(
            event("response.output_item.added", response_id=self.id, output_index=index, item=item)
        )
        await self._added(item)
        return index

    async def _open(self) -> None:
        if self.item is not None:
            return
        self.item = answer_item(new_id("item"), self.modality, None, "in_progress")
        self._index = await self._add_item(self.item)
        await self._send(
            event("response.content_part.added", **self._place(), part=announced(self.modality, ""))
        )

    def _place(self) -> dict[str, Any]:
        assert self.item is not None
        return {
            "response_id": self.id,
            "item_id": self.item["id"],
            "output_index": self._index,
            "content_index": 0,
        }

    async def _added(self, item: dict[str, Any]) -> None:
        if self._conversation is not None:
            await self._send(
                event("conversation.item.added", previous_item_id=self._previous, item=item)
            )

    async def _finish_item(self, item: dict[str, Any], index: int) -> None:
        await self._kept(item)
        await self._item_done(item, index)

    async def _kept(self, item: dict[str, Any]) -> None:
        """It is part of the conversation, unless the response is none."""
        if self._conversation is not None:
            await self._send(
                event("conversation.item.done", previous_item_id=self._previous, item=item)
            )
            self._previous = item["id"]
            self._keep(item)

    async def _item_done(self, item: dict[str, Any], index: int) -> None:
        await self._send(
            event("response.output_item.done", response_id=self.id, output_index=index, item=item)
        )
        self._output[index] = item

    # --- its end ---------------------------------------------------------------------------------

    async def end(
        self,
        items: Sequence[Mapping[str, Any]],
        status: str = "completed",
        reason: str | None = None,
        error: Mapping[str, Any] | None = None,
        played_text: str | None = None,
    ) -> None:
        """`items`: those that it answers, to count tokens; `played_text`: what the user heard of
        it, if not all.
        """
        if self.over:
            return
        self.over = True
        for use in self._uses.values():
            if not use.waits and not use.over:
                await self._result(use, None, LOST)
        if status == "completed" and self.cut:
            status, reason = "incomplete", "max_output_tokens"
        if self.item is not None:
            await self._close_item(
                "completed" if status == "completed" else "incomplete",
                self.text if played_text is None else played_text,
            )
        details: dict[str, Any] | None = None
        if status != "completed":
            more = {"reason": reason, "error": error}
            details = {"type": status, **{key: given for key, given in more.items() if given}}
        await self._send(
            event(
                "response.done",
                response=self._as_dict(status, details, usage(items, self.text, self.audio_ms)),
            )
        )
        await self._uses_done()

    async def _close_item(self, status: str, text: str) -> None:
        place = self._place()
        if self.modality == "audio":
            rest = self._encoder.close()
            if rest and status == "completed":
                await self._send(
                    event(
                        "response.output_audio.delta",
                        **place,
                        delta=base64.b64encode(rest).decode(),
                    )
                )
            await self._send(event("response.output_audio.done", **place))
            await self._send(
                event("response.output_audio_transcript.done", **place, transcript=self.text)
            )
        else:
            await self._send(event("response.output_text.done", **place, text=self.text))
        await self._send(
            event("response.content_part.done", **place, part=announced(self.modality, self.text))
        )
        self.item = answer_item(place["item_id"], self.modality, text, status)
        await self._finish_item(self.item, self._index)


def failure(code: str | None, message: str) -> dict[str, Any]:
    """Why a response failed, in OpenAI's form."""
    return {"type": "server_error", "code": code or "server_error", "message": message}
