"""One connection of /ws."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from anyio import fail_after
from fastapi import WebSocket, WebSocketDisconnect

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.client import Call, Closed, ConnectionLost, Reconnected, ReplyText
from whisperfusion.gateway import media
from whisperfusion.gateway.assistant.query import Query, message_type
from whisperfusion.gateway.assistant.reply import (
    NO_SPEECH,
    TURN,
    SpokenReply,
    TurnLost,
    asked_last,
    counts_as_played,
    send_turn,
)
from whisperfusion.gateway.assistant.turn_audio import TurnAudio
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.upstream import RESUME_S, Upstream
from whisperfusion.settings import Settings
from whisperfusion.wire.dialogue_fields import HISTORY_LINES, LINE_LENGTH
from whisperfusion.wire.openai_rest import ApiError

# of a connection; without a frame, after which its call is closed
LASTS_S, IDLE_S = 3600.0, 120.0
SEND_S = 30.0  # a client that reads nothing for so long is cut off
BYTES_A_SECOND = 2 * SPEECH_RATE
INTERRUPTED = {"type": "audio_complete", "interrupted": True}
INFO = {"sample_rate": SPEECH_RATE, "channels": 1, "sample_width": 2}


class Assistant:
    """One connection of /ws: a call that lives as long as it, one turn after the other. A call that
    is lost is opened again and goes on with its session.
    """

    def __init__(
        self,
        client: WebSocket,
        upstream: Upstream,
        decoders: DecoderPool,
        query: Query,
        settings: Settings,
        idle_s: float = IDLE_S,
    ) -> None:
        self._client, self._upstream, self._decoders, self._query, self._idle_s = (
            client,
            upstream,
            decoders,
            query,
            idle_s,
        )
        self._largest = int(settings.upload_mb * 1e6)
        self._address = client.client.host if client.client else ""
        self._expires_at = time.monotonic() + min(LASTS_S, settings.max_call_s)
        self._call: Call | None = None
        self._audio = TurnAudio(query, self._largest)  # of the turn that is being sent
        self._replying: asyncio.Task[None] | None = None  # or awaits what comes without a turn
        self._sounding = self._has_timers = False
        self._session = query.session  # of the newest call
        self._uid = ""  # of the call that the present turn began in
        self._turn = 0  # the last of the present call that had a reply
        # of this connection, for a next call whose session the server does not know any more
        self._history: deque[dict[str, str]] = deque(maxlen=HISTORY_LINES)

    def at_rest(self) -> bool:
        """Whether it is between two turns."""
        return not self._sounding and not self._audio.started

    async def serve(self, message: Any) -> None:
        """`message`: the first; None: the client goes on with an earlier conversation, whose last
        reply it may be waiting for.
        """
        receiving: asyncio.Future[Any] | None = None
        quiet = self._go_on
        try:
            while message is None or message["type"] != "websocket.disconnect":
                await (quiet() if message is None else self._receive(message))
                quiet = self._release
                left = self._expires_at - time.monotonic()
                if left <= 0:
                    await self._send(
                        {
                            "type": "error",
                            "code": "session_expired",
                            "message": "the connection has lasted its longest time",
                        }
                    )
                    return
                receiving = receiving or asyncio.ensure_future(self._client.receive())
                await asyncio.wait({receiving}, timeout=min(left, self._idle_s))
                message = None
                if receiving.done():
                    message, receiving = receiving.result(), None
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            if receiving is not None:
                receiving.cancel()
            try:
                await self._stop_reply(notify=False)
            finally:
                await self._hang_up()

    async def _go_on(self) -> None:
        """With the conversation that the client names: a reply that was cut off comes now."""
        try:
            ready = (await self._open(interrupts=False)).ready
        except ApiError as problem:
            await self._fail(problem)
            return
        if not ready.resumed:
            named = f"{self._query.session[:60]!r} is not known to this server and key"
            why = f"{named}, or not any more; the conversation starts anew"
            await self._fail(ApiError(404, why, code="session_not_found"))
        elif ready.pending:
            self._start_reply(SpokenReply(0, asked_last(ready), comes_again=True))
        else:
            self._start_reply(None)

    async def _release(self) -> None:
        """No frame for long: the call is closed, which frees its place, unless it has timers.

        The next one goes on with its session.
        """
        if self._sounding:
            return
        if self._audio.started:
            problem = (
                f"no end of the turn came for {self._idle_s:.0f} s; send end_stream after its sound"
            )
            await self._fail(ApiError(408, problem, code="timeout"))
            if self._has_timers and self._call is not None:
                await self._call.send("clear")
        if not self._has_timers:
            await self._hang_up()

    async def _hang_up(self) -> None:
        call, self._call, self._turn = self._call, None, 0
        self._has_timers = False
        if self._replying is not asyncio.current_task():
            await self._stop_reply(notify=False)
        if call is not None:
            await call.close()

    async def _send(self, message: dict[str, Any] | bytes) -> None:
        """Raises WebSocketDisconnect when the client reads nothing."""
        try:
            with fail_after(SEND_S):
                await (
                    self._client.send_bytes(message)
                    if isinstance(message, bytes)
                    else self._client.send_json(message)
                )
        except TimeoutError:
            raise WebSocketDisconnect(1008, f"nothing was read for {SEND_S:.0f} s") from None

    async def _receive(self, message: Any) -> None:
        try:
            if message.get("bytes") is not None:
                await self._stop_reply(notify=True)
                await self._accept_audio(message["bytes"])
                return
            kind = message_type(message.get("text") or "")
            if kind == "ping":
                await self._send({"type": "pong"})
            elif kind == "end_stream":
                await self._stop_reply(notify=True)
                await self._end_turn()
        except ApiError as problem:
            await self._fail(problem)

    async def _accept_audio(self, data: bytes) -> None:
        if not data:
            return
        begins = not self._audio.started
        samples = self._audio.accept(data)
        if samples is None:
            return
        if begins:
            self._uid = (await self._open()).uid
        if self._call is not None:
            await self._call.send_audio(samples)

    async def _end_turn(self) -> None:
        audio, self._audio = self._audio, TurnAudio(self._query, self._largest)
        if not audio.started:
            raise ApiError(400, NO_SPEECH, code="no_speech")
        rest, call = audio.rest(), self._call
        sent = rest is not None and call is not None and call.is_open and call.uid == self._uid
        if sent and rest is not None and call is not None:
            await call.send_audio(rest)
            await call.send("commit")
        else:  # a file, or samples of which a process took some with it
            await (await self._open()).send("clear")
        self._start_reply(SpokenReply(self._turn), audio, sent)

    async def _open(self, interrupts: bool = True) -> Call:
        """The call, which has no unread events. `interrupts`: a reply of it that was lost is not
        wanted any more, since the client was told so and goes on. Raises ApiError.
        """
        if self._call is not None and not await self._up_to_date(self._call):
            await self._hang_up()
        if self._call is None:
            options = {**TURN, "history": list(self._history), "session": self._session}
            self._call = call = await self._upstream.open_call(
                options, address=self._address, resume_s=RESUME_S
            )
            self._session = call.ready.session or ""
            if call.ready.resumed and not self._history:
                self._history.extend(asdict(line) for line in call.ready.history or ())
            if interrupts and call.ready.pending:
                await call.send("interrupt")
        return self._call

    async def _up_to_date(self, call: Call) -> bool:
        """Reads what came since the last reply; False where the call is over."""
        away = not call.is_open
        while away or call.has_events:
            match await call.receive():
                case ConnectionLost():
                    away = True
                case Reconnected():
                    away = False
                    await self._opened_again(call)
                case Closed():
                    return False
        return True

    async def _opened_again(self, call: Call) -> None:
        """With turns that are counted anew, and what the server remembers of the conversation."""
        self._turn, self._session = 0, call.ready.session or ""
        if not call.ready.resumed:
            await call.send("history", lines=list(self._history))
        elif call.ready.pending:
            await call.send("interrupt")

    def _start_reply(
        self, reply: SpokenReply | None, audio: TurnAudio | None = None, sent: bool = True
    ) -> None:
        """Then what the server says by itself, until the next turn."""

        async def reply_and_listen(call: Call) -> None:
            if reply is not None:
                await self._reply(call, reply, audio, sent)
            await self._announcements(call)

        if self._call is not None:
            self._sounding = reply is not None
            self._replying = asyncio.create_task(reply_and_listen(self._call))

    async def _announcements(self, call: Call) -> None:
        """Sends what the server says between two turns, such as a timer that is due."""
        while self._call is call:
            match await call.receive():
                case Closed():
                    return
                case Reconnected():
                    await self._opened_again(call)
                case ReplyText(turn, announced=True) as first if turn > self._turn:
                    await self._reply(call, SpokenReply.announced(first))

    async def _reply(
        self, call: Call, reply: SpokenReply, audio: TurnAudio | None = None, sent: bool = True
    ) -> None:
        """Sends the reply to a turn, whose `audio` may not have been `sent` yet; meanwhile the
        client may close the connection or send the next turn.
        """
        self._sounding = True
        try:
            if audio is not None and not sent:
                await self._send_turn(call, audio)
            try:
                await self._send_reply(call, reply)
            except TurnLost:
                if audio is None and not reply.is_announcement:
                    raise
                await self._opened_again(call)
                if audio is None:
                    await self._send(INTERRUPTED)
                else:
                    await self._send_turn(call, audio)
                    await self._send_reply(call, reply)
        except ApiError as problem:
            await self._fail(problem)
        except (WebSocketDisconnect, RuntimeError):
            self._expires_at = 0.0  # the client is gone, or reads nothing
        finally:
            self._sounding = False
            if self._call is call:
                self._turn = reply.turn
                self._has_timers = self._has_timers or reply.sets_timer
            self._remember(reply)

    async def _send_turn(self, call: Call, audio: TurnAudio) -> None:
        await send_turn(call, audio.pieces(self._decoders, self._address))

    async def _send_reply(self, call: Call, reply: SpokenReply) -> None:
        sent, played_bytes = 0, 0
        async for part in reply.audio(call):
            played_bytes += len(part)
            if not sent:
                await self._send(self._metadata(reply))
                if self._query.output == "wav":
                    part = media.wav_header(SPEECH_RATE) + part
            sent += len(part)
            await self._send(part)
        await counts_as_played(call, reply.turn)
        await self._send(
            {
                "type": "audio_complete",
                "transcript": reply.transcript,
                "reply": reply.text,
                "size": sent,
                "duration": round(played_bytes / BYTES_A_SECOND, 3),
            }
        )

    def _metadata(self, reply: SpokenReply) -> dict[str, Any]:
        kind = "wav" if self._query.output == "wav" else "pcm"
        return {
            "type": "metadata",
            "session": self._session,
            "transcript": reply.transcript,
            "reply": reply.text,
            "audio_info": {"format": kind, **INFO},
        }

    def _remember(self, reply: SpokenReply) -> None:
        for role, text in (("user", reply.transcript), ("assistant", reply.text)):
            line = {"role": role, "text": text[:LINE_LENGTH]}
            known = self._history and self._history[-1] == line  # of an earlier connection
            if text and not known:
                self._history.append(line)

    async def _stop_reply(self, *, notify: bool) -> None:
        """Audio arrived during a reply, or after it."""
        task, self._replying, sounded = self._replying, None, self._sounding
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._sounding = False  # it may not have begun
        if notify and sounded and self._call is not None:
            await self._call.send("interrupt")
            await self._call.send("clear")
            await self._send(INTERRUPTED)

    async def _fail(self, problem: ApiError) -> None:
        self._audio = TurnAudio(self._query, self._largest)
        if problem.status == 503:
            await self._hang_up()
        if self._replying is None or self._replying.done():
            self._start_reply(None)  # what the server says by itself still comes
        try:
            await self._send(
                {
                    "type": "error",
                    "code": problem.code or "invalid_value",
                    "message": problem.message,
                }
            )
        except (WebSocketDisconnect, RuntimeError):
            self._expires_at = 0.0  # the client is gone, or reads nothing
