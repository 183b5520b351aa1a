"""A call: both sockets of a server as one connection.

    async with connect("ws://127.0.0.1:6006", "ws://127.0.0.1:8888") as call:
        await call.send_audio(pcm)
        async for event in call:
            match event:
                case UserTurn(turn, text): ...
                case ReplyAudio(turn, pcm): ...

Events come in the order of `whisperfusion.client.ordering`. A client that is slow to read them
slows both sockets down.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from whisperfusion.client.errors import CallRefused, ServerBusy, ServerDown
from whisperfusion.client.events import Closed, Event
from whisperfusion.client.ordering import EventOrder
from whisperfusion.client.resuming import ConnectionLost, Reconnected, is_accident, opened_again
from whisperfusion.client.sockets import open_socket, release, within
from whisperfusion.wire import WireError, asr_events, tts_events

READY_S = 10.0
LAST_AUDIO_S = 1.0  # for what is still on its way on 8888 when the server has closed 6006
AUDIO_FRAME = 2**20  # bytes
QUEUED = 256  # events that wait for the client; then the sockets are not read


def connect(
    asr_url: str,
    tts_url: str | None = None,
    *,
    key: str = "",
    options: Mapping[str, Any] | None = None,
    audio: bool = True,
    audio_format: str = "int16",
    headers: Iterable[tuple[str, str]] = (),
    resume_s: float = 0.0,
) -> Call:
    """A call to be opened by `async with`.

    Without `tts_url`, or without `audio`, replies are text alone (`Call.listen`). `options` go into
    the handshake (docs/wire.md). `audio_format` is that of audio in both directions, "int16" or
    "float32", mono, 16 kHz to the server and 24 kHz from it. `resume_s`: for how many seconds a
    call whose connection is lost is opened again, to go on where it was (`ConnectionLost`,
    `Reconnected`); 0 = it ends with `Closed`.
    """
    all_headers = [*([("Authorization", f"Bearer {key}")] if key else []), *headers]
    call = Call((asr_url, tts_url), dict(options or {}), audio, audio_format, all_headers)
    call.resume_s = resume_s
    return call


class Call:
    """One call, opened by `async with` or `open` and `close`.

    `uid` is its name at the server; `ready` is the server's message that accepted the call.
    """

    ready: asr_events.Ready

    def __init__(
        self,
        urls: tuple[str, str | None],
        options: dict[str, Any],
        audio: bool,
        audio_format: str,
        headers: list[tuple[str, str]],
    ) -> None:
        self.uid = str(options.pop("uid", "") or uuid.uuid4())
        self._asr_url, self._tts_url = urls
        self._wants_audio = audio and self._tts_url is not None
        self._options, self._format, self._headers = options, audio_format, headers
        self._asr: ClientConnection | None = None
        self._tts: ClientConnection | None = None
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._order = EventOrder(audio=self._wants_audio)
        self._events: deque[Event] = deque()
        self._arrived, self._room, self._audio_came = (asyncio.Event() for _ in range(3))
        self.resume_s = 0.0
        self._resuming: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._reason = ""  # why the server ends the call
        self._closed = False

    # --- opening and closing ---------------------------------------------------------------------

    async def __aenter__(self) -> Call:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Raises ServerDown, KeyRefused, ServerBusy and CallRefused."""
        try:
            await self._open()
        except BaseException:  # a cancellation too: only this method knows what is open already
            await self.close()
            raise

    async def _open(self) -> None:
        if self._wants_audio:
            self._tts = await self._connect_audio()
        asr = self._asr = await open_socket(self._named(self._asr_url), self._headers)
        handshake = {"uid": self.uid, "events": True, "audio_format": self._format}
        try:
            await asr.send(json.dumps({**handshake, **self._options}))
            first = await within(READY_S, asr.recv())
        except (ConnectionClosed, TimeoutError) as error:
            raise ServerDown(f"the server at {self._asr_url} did not answer") from error
        self.ready = accepted(first)
        await self._prove()
        self._readers["asr"] = asyncio.create_task(self._read_asr(asr))
        if self._tts is not None:
            self._readers["tts"] = asyncio.create_task(self._read_tts(self._tts))
        self._connected.set()

    def _named(self, url: str, **more: str) -> str:
        """Both addresses have the uid, by which a balancer keeps them on one server."""
        joined = "&" if "?" in url else "?"
        return f"{url}{joined}{urlencode({'uid': self.uid, **more})}"

    async def _connect_audio(self) -> ClientConnection:
        url = self._named(str(self._tts_url), events="1", format=self._format)
        return await open_socket(url, self._headers)

    async def _prove(self) -> None:
        """Shows on 8888 that this client is the caller: no other connection gets its audio."""
        if self._tts is not None and self.ready.listen_secret:
            own = {"uid": self.uid, "listen_secret": self.ready.listen_secret}
            await _send(self._tts, json.dumps({**own, "format": self._format, "events": True}))

    async def listen(self, audio: bool) -> None:
        """From now on replies come with audio, or as text alone.

        Raises ServerDown and KeyRefused.
        """
        if audio and self._tts is None:
            tts = self._tts = await self._connect_audio()
            self._emit(self._order.listen(True))
            await self._prove()
            self._readers["tts"] = asyncio.create_task(self._read_tts(tts))
        elif not audio and self._tts is not None:
            connection, self._tts = self._tts, None
            await release(connection, tasks=[self._readers.pop("tts")])
            self._emit(self._order.listen(False))

    async def close(self) -> None:
        """Hang up. Cancelled in the meantime, it leaves nothing open either."""
        resuming, self._resuming, self.resume_s = self._resuming, None, 0.0
        if resuming is not None:
            await release(tasks=[resuming])
        await self._release()
        self._connected.set()

    async def _release(self) -> None:
        connections = [socket for socket in (self._asr, self._tts) if socket is not None]
        readers, self._readers = self._readers, {}
        self._asr = self._tts = None
        await release(*connections, tasks=readers.values())

    # --- going on --------------------------------------------------------------------------------

    def _lost(self, socket: ClientConnection) -> bool:
        """Whether the call is opened again, after this socket was closed."""
        if self._resuming is not None and not self._resuming.done():
            return True
        known = self.resume_s > 0 and self.ready.session is not None
        if not known or self._reason or self._closed or not is_accident(socket):
            return False
        self._connected.clear()
        self._resuming = asyncio.create_task(self._go_on())
        return True

    async def _go_on(self) -> None:
        self._emit([ConnectionLost()])
        await self._release()
        self._options["session"] = self.ready.session
        why = await opened_again(self._open_again, self.resume_s)
        if why:
            self._connected.set()
            self._end(why)

    async def _open_again(self) -> None:
        self.uid = str(uuid.uuid4())  # the server may not know yet that the old one is gone
        self._order = EventOrder(audio=self._wants_audio)
        try:
            await self._open()
        except BaseException:
            await self._release()
            raise
        self._emit([Reconnected(bool(self.ready.resumed), self.ready.messages)])

    # --- from the server -------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """False while the call is being opened again: audio that is sent then is lost. An opened
        call has another `uid` than before.
        """
        return self._connected.is_set()

    @property
    def has_events(self) -> bool:
        """Whether `receive` returns at once."""
        return bool(self._events)

    async def receive(self) -> Event:
        """The next event; after the last one, `Closed` again and again."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events[0]
        if not isinstance(event, Closed):
            self._events.popleft()
        if len(self._events) < QUEUED:
            self._room.set()
        return event

    async def __aiter__(self) -> AsyncIterator[Event]:
        """All events, of which `Closed` is the last."""
        while True:
            event = await self.receive()
            yield event
            if isinstance(event, Closed):
                return

    def _emit(self, events: Iterable[Event]) -> None:
        if self._closed:
            return
        for event in events:
            self._events.append(event)
        self._arrived.set()

    async def _until_room(self) -> None:
        while len(self._events) >= QUEUED:
            self._room.clear()
            await self._room.wait()

    def _end(self, reason: str = "") -> None:
        self._emit([Closed(self._reason or reason)])
        self._closed = True
        self._audio_came.set()

    async def _read_asr(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                event = None if isinstance(frame, bytes) else asr_events.parse(frame)
                match event:
                    case None:
                        continue
                    case asr_events.Refused(message):
                        self._reason = message
                    case asr_events.TimeLimit():
                        self._reason = "the call reached its time limit"
                    case asr_events.CallEnded(reason):
                        self._reason = reason
                self._emit(self._order.receive_asr(event))
                await self._until_room()
        except WireError as error:
            self._end(str(error))
        except ConnectionClosed:
            pass
        with suppress(TimeoutError):
            await within(LAST_AUDIO_S, self._last_audio())
        if not self._lost(socket):
            self._end()

    async def _last_audio(self) -> None:
        while self._order.awaits_audio and not self._reason and not self._closed:
            self._audio_came.clear()
            await self._audio_came.wait()

    async def _read_tts(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                message = frame if isinstance(frame, bytes) else tts_events.parse(frame)
                if message is None:
                    continue
                if isinstance(message, tts_events.Rejected) and message.code == "refused":
                    self._reason = message.message
                self._emit(self._order.receive_tts(message))
                self._audio_came.set()
                await self._until_room()
        except WireError as error:
            self._end(str(error))
        except ConnectionClosed:
            pass
        if not self._lost(socket):
            self._end()

    # --- to the server ---------------------------------------------------------------------------

    async def send_audio(self, pcm: bytes) -> None:
        """Microphone audio: 16 kHz mono in the format of the call."""
        for start in range(0, len(pcm), AUDIO_FRAME):
            await self._send(pcm[start : start + AUDIO_FRAME])

    async def end_audio(self) -> None:
        """No more audio comes: the server replies to the last turn and closes the call."""
        await self._send("END_OF_AUDIO")

    async def send(self, type: str, **fields: Any) -> None:
        """A control frame of docs/wire.md, such as "commit", "interrupt" or "update"."""
        await self._send(json.dumps({"type": type, **fields}))

    async def say(self, text: str) -> None:
        """A whole turn of the user as text."""
        await self.send("say", text=text)

    async def _send(self, frame: str | bytes) -> None:
        """After the end of the call nothing is sent: `Closed` tells."""
        if isinstance(frame, str):
            await self._connected.wait()
        if self._asr is not None:
            await _send(self._asr, frame)


def accepted(frame: str | bytes) -> asr_events.Ready:
    """The first frame of 6006, when it accepts the call. Raises ServerBusy and CallRefused."""
    try:
        first = None if isinstance(frame, bytes) else asr_events.parse(frame)
    except WireError as error:
        raise CallRefused(str(error)) from None
    match first:
        case asr_events.Ready():
            return first
        case asr_events.ServerFull(minutes):
            raise ServerBusy(minutes)
        case asr_events.Refused(message):
            raise CallRefused(message)
    raise CallRefused(f"the server's first frame was {frame[:200]!r}")


async def _send(socket: ClientConnection, frame: str | bytes) -> None:
    try:
        await socket.send(frame)
    except ConnectionClosed:  # the reader gives `Closed`
        return
