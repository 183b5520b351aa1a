"""The call of a Realtime session: its replies become responses, with OpenAI's order of events.

The call is opened when it is first needed and may end before the session does: the conversation is
kept in `Items`, and the next call is opened with it. The events of the call are read by a task of
its own; the client's requests come from the session.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import WebSocketDisconnect

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.client import (
    Call,
    Closed,
    ConnectionLost,
    Event,
    Failed,
    Flushed,
    Paused,
    PlayedText,
    Reconnected,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyStarted,
    ReplyText,
    Resumed,
    SpeechStarted,
    ToolCall,
    ToolsListed,
    ToolUsed,
    Transcript,
    UserTurn,
)
from whisperfusion.gateway.realtime.audio_input import Input
from whisperfusion.gateway.realtime.earlier import (
    conversation_of,
    go_on,
    handshake_of,
    new_conversation,
)
from whisperfusion.gateway.realtime.items import Items
from whisperfusion.gateway.realtime.mcp import McpTools
from whisperfusion.gateway.realtime.pacing import Pacing
from whisperfusion.gateway.realtime.response import Response, Send, failure
from whisperfusion.gateway.upstream import DOWN, RESUME_S, Upstream, api_errors
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.realtime import RealtimeError, Session
from whisperfusion.wire.realtime_history import history
from whisperfusion.wire.realtime_items import error
from whisperfusion.wire.realtime_options import (
    reply_options,
    speaker_options,
    transcription_options,
)

log = logging.getLogger("realtime")


class RealtimeCall:
    """Use `close` at the end. `lost` is called when the client is gone, or the session cannot go
    on."""

    def __init__(
        self,
        upstream: Upstream,
        address: str,
        send: Send,
        items: Items,
        input: Input,
        session: Session,
        lost: Callable[[], None],
        earlier: str = "",
    ) -> None:
        """`earlier`: the conversation of another connection, to go on with."""
        self._upstream, self._address, self._send, self._lost = upstream, address, send, lost
        self._items, self._input, self.session = items, input, session
        self._call: Call | None = None
        self._reader: asyncio.Task[None] | None = None
        self.response: Response | None = None
        self.mcp = McpTools(send, items)
        self._earlier, self.conversation = earlier, new_conversation()
        self._began_ms = 0.0  # of the audio before the present call
        self._pacing = Pacing()
        self._away = False  # the call was lost and is being opened again
        self._takes_up = False  # the reply that a lost call was cut off in comes again
        # where speech over a response began, of which the client does not know yet, in ms
        self._overlap: float | None = None
        self._said: Transcript | None = None  # the words of the turn that is to come

    async def open(self) -> Call:
        """The call: a session that only waits has none. Raises ApiError."""
        if self._call is None:
            session = self.session
            options = {
                **reply_options(session),
                **transcription_options(session),
                **speaker_options(session),
                "reply": session.kind == "realtime",
                "agent": session.agent,
                "caller": session.caller,
                "history": history(self._items.dialogue()),
                **handshake_of(self._earlier),
            }
            try:
                self._call = await self._upstream.open_call(
                    options, audio=session.speaks, address=self._address, resume_s=RESUME_S
                )
            except ApiError as problem:
                await self.mcp.unreachable(problem.message)
                raise
            self._items.sent, self._began_ms = True, self._input.total_ms
            ready, earlier, self._earlier = self._call.ready, self._earlier, ""
            self._takes_up = ready.pending
            self.conversation = conversation_of(ready) or self.conversation
            if earlier:
                await go_on(self._send, self._items, earlier, ready)
            self._reader = asyncio.create_task(self._read(self._call))
        return self._call

    async def send(self, type: str, **fields: Any) -> None:
        """A control frame of docs/wire.md, if there is a call."""
        if self._call is not None:
            await self._call.send(type, **fields)

    async def send_history(self) -> None:
        """The conversation, if the client changed it."""
        if self._call is not None and not self._items.sent:
            self._items.sent = True
            await self._call.send("history", lines=history(self._items.dialogue()))

    async def accept_audio(self, data: bytes) -> None:
        """Audio in the session's format. Raises ApiError."""
        call = await self.open()
        if self.response is None and not self._input.speaking:
            await self.send_history()  # a response that begins by itself must know it
        now, samples = time.monotonic(), 0
        for pcm in self._input.pieces(data):
            samples += len(pcm) // 2
            await call.send_audio(pcm)
            await asyncio.sleep(0)
        self._pacing.line.received(samples / MICROPHONE_RATE, now)

    async def listen(self, audio: bool) -> None:
        """Whether replies come with audio. Raises ApiError."""
        # while it is opened again, it would open a second connection for its audio
        if self._call is not None and not self._away:
            with api_errors():
                await self._call.listen(audio)

    async def end(self, why: str) -> None:
        """The call ends before the session does, with all that was on its way in it."""
        if self._call is None:
            return
        await self.close()
        await self._broke_off(why)

    async def _broke_off(self, why: str) -> None:
        """Nothing more comes of what was on its way."""
        self._overlap = None
        await self.end_response(
            "failed", failure={"type": "server_error", "code": "server_down", "message": why}
        )
        await self.mcp.call_ended()
        self._items.call_ended()
        await self._input.call_ended(why)

    async def _goes_on(self, resumed: bool) -> None:
        """The call is open again, with the options that it began with. One that the server has
        forgotten gets the conversation from here."""
        assert self._call is not None
        self._away = False
        self._began_ms, self._takes_up = self._input.total_ms, self._call.ready.pending
        self._items.sent = self._items.sent and resumed
        await self._call.send("update", **reply_options(self.session))
        await self.listen(self.session.speaks)
        await self.send_history()

    async def rest(self) -> None:
        """The client has sent nothing for long: its place is for others, unless something would be
        lost."""
        if self.at_rest:
            await self.end("the session was idle")

    @property
    def at_rest(self) -> bool:
        """Whether no turn, response or tool is under way."""
        busy = self.response is not None or self.mcp.busy
        return not busy and self._overlap is None and self._input.at_rest

    async def close(self) -> None:
        call, reader, self._call, self._reader = self._call, self._reader, None, None
        self._away = False
        readers = [] if reader is None or reader is asyncio.current_task() else [reader]
        for task in readers:
            task.cancel()
        try:
            await asyncio.gather(*readers, return_exceptions=True)
        finally:
            if call is not None:
                await call.close()

    # --- responses, as the client asks -----------------------------------------------------------

    async def start_response(
        self, turn: int | None, modality: str | None = None, metadata: Any = None
    ) -> Response:
        response = self.response = Response(
            self._send,
            self.session,
            modality or self.session.modality,
            conversation=self.conversation,
            previous=self._items.last,
            metadata=metadata,
            keep=self._items.keep,
        )
        await response.start()
        response.turn = turn
        return response

    async def cancel(self) -> None:
        """What was played of the response is known by what was sent, unless the client has
        truncated it: it comes back with `ReplyInterrupted`."""
        self._note_played()
        await self._report_playback(self.response)
        await self.send("interrupt")
        await self.end_response("cancelled", "client_cancelled")

    async def truncate(self, item: Mapping[str, Any], end_ms: float) -> float:
        """The user heard `item` up to `end_ms`, and no further: the call knows which words that
        was. Raises RealtimeError."""
        response = self.response
        if response is None or response.item is None or response.item["id"] != item["id"]:
            response = self._items.truncate(item, end_ms)
            if response is None:
                return end_ms
        end_ms = response.played_ms = min(end_ms, response.audio_ms)
        await self._report_playback(response)
        return end_ms

    async def _report_playback(self, response: Response | None) -> None:
        """Where the client stopped playing. Of a reply that goes on it is sent again at the end:
        only then does the call remember it."""
        if response is not None and response.played_ms is not None and response.turn is not None:
            await self.send("heard", turn=response.turn, seconds=response.played_ms / 1000)

    async def end_response(
        self,
        status: str = "completed",
        reason: str | None = None,
        played_text: str | None = None,
        failure: Mapping[str, Any] | None = None,
    ) -> None:
        response, self.response = self.response, None
        rest = self._pacing.clear()
        if response is None:
            return
        if rest and status == "completed":
            await response.add_audio(rest)
        await response.end(self._items.all(), status, reason, failure, played_text)
        self._items.answered(response)
        await self._report_playback(response)
        await self.listen(self.session.speaks)
        await self.send_decisions()
        if self._overlap is not None:
            at_ms, self._overlap = self._overlap, None
            await self._input.speech_started(at_ms)

    async def send_decisions(self) -> None:
        """What the client approved, when no response is under way."""
        if self.response is None:
            for id, approve in await self.mcp.due():
                await self.send("approve", id=id, approve=approve)

    async def clear(self) -> None:
        await self.send("clear")
        self._overlap = None

    # --- events of the call ----------------------------------------------------------------------

    async def _read(self, call: Call) -> None:
        """One task for both: a response's audio never overtakes what the call says of it."""
        receiving: asyncio.Task[Event] | None = None
        event: Event | None = None
        try:
            while not isinstance(event, Closed):
                receiving, event = receiving or asyncio.create_task(call.receive()), None
                due = self._pacing.due(now := time.monotonic())
                wait_s = None if due is None else due - now
                await asyncio.wait({receiving}, timeout=wait_s)
                await self._send_audio()
                if receiving.done():
                    event, receiving = receiving.result(), None
                    await self._receive(event)
        except (WebSocketDisconnect, RuntimeError):
            self._lost()
        except Exception:
            log.exception("a Realtime session broke down")
            self._lost()
        finally:
            if receiving is not None:
                receiving.cancel()

    async def _send_audio(self) -> None:
        """What is due of the present response."""
        while self.response is not None:
            piece = self._pacing.next_piece(time.monotonic())
            if not piece:
                return
            await self.response.add_audio(piece)

    async def _receive(self, event: Event) -> None:
        match event:
            case SpeechStarted(at):
                await self._speech_started(self._began_ms + at * 1000)
            case Paused():
                self._pacing.pause()
            case Resumed():
                self._pacing.resume()
                self._overlap = None
            case Flushed():
                self._pacing.clear()
            case Transcript("", final=True):
                await self._input.was_nothing()
            case Transcript(final=True, ignored=True):
                self._overlap = None
                await self._input.ignored(event)
            case Transcript(final=True):
                self._said = event
            case UserTurn(turn, text):
                await self._user_turn(turn, text)
            case ReplyStarted(turn, id) if self.response is not None and self.response.id == id:
                self.response.turn = turn
            case ReplyStarted(turn, id):
                self.mcp.started(turn, id)
            case ToolsListed():
                await self.mcp.listed(event)
            case ToolUsed(turn) if self.mcp.is_mine(turn):
                await self.mcp.used(event)
            case ToolUsed(turn) if self._is_mine(turn):
                await self._tool_used(event)
            case ReplyAudio(turn, pcm) if self._is_mine(turn):
                self._pacing.put(pcm)
                await self._send_audio()
            case ReplyText() if self.response is None and self._comes_by_itself(event):
                await (await self.start_response(event.turn)).receive(event)
            case ReplyText() | ToolCall() if self._is_mine(event.turn):
                await self._mine.receive(event)
            case ReplyDone(turn) if self._is_mine(turn):
                await self.end_response()
            case ReplyDone(turn) if self.mcp.is_mine(turn):
                await self.mcp.ended(turn)
            case ReplyPlayed(turn, last=True) if not self._is_mine(turn):
                await self._report_playback(self._items.of_turn(turn))
            case ReplyInterrupted(turn, played):
                await self._interrupted(turn, played)
            case PlayedText(turn, played):
                self._items.played(turn, played)
            case Failed():
                await self._failed(event)
            case ConnectionLost():
                self._away = True
                await self._broke_off(DOWN)
            case Reconnected(resumed):
                await self._goes_on(resumed)
            case Closed(reason):
                await self._closed(reason or DOWN)

    def _comes_by_itself(self, reply: ReplyText) -> bool:
        """An announcement, or once the reply that was cut off."""
        if reply.announced:
            return True
        taken_up, self._takes_up = self._takes_up, False
        return taken_up

    def _note_played(self) -> None:
        """The client falls silent now; it may have said how much it played."""
        response, ahead_ms = self.response, self._pacing.ahead_s(time.monotonic()) * 1000
        if response is not None and response.played_ms is None and response.modality == "audio":
            response.played_ms = max(0.0, response.audio_ms - ahead_ms)

    @property
    def _mine(self) -> Response:
        assert self.response is not None
        return self.response

    def _is_mine(self, turn: int) -> bool:
        """Is it the present response's?"""
        return self.response is not None and self.response.turn == turn

    async def _speech_started(self, at_ms: float) -> None:
        if self.session.turns is None:
            return
        if self.response is not None:
            self._overlap = at_ms  # the client learns of it when it is more than a sound
        elif not self._input.speaking:
            await self._input.speech_started(at_ms)

    async def _tool_used(self, event: ToolUsed) -> None:
        """Others than those of the client's MCP servers are the server's own affair."""
        named = self.mcp.named(event.name)
        use = named and await self._mine.use_tool(event, *named)
        if use and use.waits:
            self.mcp.asked(event.id, use)

    async def _interrupted(self, turn: int, played_text: str) -> None:
        """First that the user speaks, then the end of the response: older Agents SDKs neither stop
        nor truncate otherwise."""
        await self.mcp.ended(turn)
        if not self._is_mine(turn):  # the client has cancelled it; its item has the whole text
            self._items.played(turn, played_text)
            return
        if not self._input.speaking and self.session.turns is not None:
            at_ms, self._overlap = self._overlap, None
            await self._input.speech_started(self._input.total_ms if at_ms is None else at_ms)
        self._note_played()
        self._items.broke_off(self._mine)
        await self.end_response("cancelled", "turn_detected", played_text=played_text)

    async def _user_turn(self, turn: int, text: str) -> None:
        said, self._said = self._said, None
        if self._input.awaits_transcript:
            await self._input.transcribed(text, said)
        else:
            await self._input.commit(text, said)
        if self.session.answers and self.response is None:
            await self.start_response(turn)

    async def _failed(self, event: Failed) -> None:
        if isinstance(event.id, str) and await self.mcp.failed(event.id, event.message):
            return
        if event.turn is not None:
            await self.mcp.ended(event.turn)
        if event.code == "nothing_said" and self._input.awaits_transcript:
            await self._input.transcribed("")
        elif self.response is not None and (
            event.id == self.response.id if event.turn is None else self._is_mine(event.turn)
        ):
            await self.end_response("failed", failure=failure(event.code, event.message))
        elif event.turn is not None and self._input.awaits_transcript:
            await self._input.failed(event.code, event.message)
        elif event.turn is None:
            await self._send(error(RealtimeError(event.code, event.message)))

    async def _closed(self, reason: str) -> None:
        """The server ended the call. The next event of the client opens another, which knows the
        conversation."""
        idle = self.at_rest
        await self.end(reason)
        if not idle:
            await self._send(error(RealtimeError("server_down", reason)))
