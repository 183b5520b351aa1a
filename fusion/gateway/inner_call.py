"""A whole call on the two sockets, for the routes that hold conversations in another protocol.

All that happens comes out of one queue, in the order in which it arrived: events of 6006 as they are, those of 8888 with
"sound_" before their type, and sound as bytes. A route that is slow to take them slows the sockets down.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from fusion.gateway.inner import BUSY_S, DOWN, Inner
from fusion.wire.openai_rest import ApiError

QUEUED = 256  # events and frames
READY_S = 10.0
Happened = dict[str, Any] | bytes


class InnerCall:
    """Use `opened`. `happened` ends with {"type": "gone", "message"} when the server closes the call."""

    def __init__(self, inner: Inner, address: str) -> None:
        self._inner, self._address = inner, address
        self.uid = str(uuid.uuid4())
        self.happened: asyncio.Queue[Happened] = asyncio.Queue(QUEUED)
        self._words: ClientConnection | None = None
        self._sound: ClientConnection | None = None
        self._readers: dict[str, asyncio.Task[None]] = {}

    @classmethod
    async def opened(cls, inner: Inner, handshake: Mapping[str, Any], *, sound: bool = True, address: str = "") -> InnerCall:
        """A call that has been accepted. Raises ApiError."""
        call = cls(inner, address)
        try:
            if sound:
                await call.listen(True)
            call._words = await inner.words(address)
            await call._words.send(json.dumps({"uid": call.uid, "events": True, "audio_format": "int16", **handshake}))
            ready = json.loads(await asyncio.wait_for(call._words.recv(), READY_S))
        except (ConnectionClosed, TimeoutError, asyncio.TimeoutError) as error:
            await call.close()
            raise ApiError(503, DOWN, code="server_down", retry_after_s=BUSY_S) from error
        except ApiError:
            await call.close()
            raise
        if ready.get("message") != "SERVER_READY":
            await call.close()
            if ready.get("status") == "WAIT":
                raise ApiError(429, "all lines are busy; try again later", code="rate_limit_exceeded", retry_after_s=BUSY_S)
            raise ApiError(400, str(ready.get("message")), code="invalid_value")
        call._readers["words"] = asyncio.create_task(call._read_words(call._words))
        return call

    async def listen(self, sound: bool) -> None:
        """Whether replies are to be spoken: without a listener they are text only."""
        if sound and self._sound is None:
            self._sound = await self._inner.sound(self.uid, self._address)
            self._readers["sound"] = asyncio.create_task(self._read_sound(self._sound))
        elif not sound and self._sound is not None:
            connection, self._sound = self._sound, None
            await self._end_reader("sound")
            await connection.close()

    async def hear(self, pcm: bytes) -> None:
        """s16 mono at 16 kHz."""
        await self._send(pcm)

    async def tell(self, type: str, **fields: Any) -> None:
        """A control frame of docs/wire.md."""
        await self._send(json.dumps({"type": type, **fields}))

    async def close(self) -> None:
        for name in list(self._readers):
            await self._end_reader(name)
        for connection in (self._words, self._sound):
            if connection is not None:
                await connection.close()

    async def _send(self, frame: str | bytes) -> None:
        try:
            if self._words is not None:
                await self._words.send(frame)
        except ConnectionClosed:  # the reader tells
            return

    async def _end_reader(self, name: str) -> None:
        task = self._readers.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read_words(self, connection: ClientConnection) -> None:
        why = DOWN
        try:
            async for frame in connection:
                event = json.loads(frame)
                if "type" in event:
                    await self.happened.put(event)
                else:
                    why = "the call reached its time limit" if event.get("message") == "DISCONNECT" else str(event.get("message"))
        except ConnectionClosed:
            pass
        await self.happened.put({"type": "gone", "message": why})

    async def _read_sound(self, connection: ClientConnection) -> None:
        try:
            async for frame in connection:
                if isinstance(frame, bytes):
                    await self.happened.put(frame)
                else:
                    event = json.loads(frame)
                    await self.happened.put({**event, "type": f"sound_{event['type']}"})
        except ConnectionClosed:
            pass
        await self.happened.put({"type": "gone", "message": DOWN})
