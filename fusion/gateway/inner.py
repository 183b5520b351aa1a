"""The two sockets as the routes of the gateway use them: a recording to segments, a text to sound.

Like everybody else's, these connections carry the secret and are refused when the server is full.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.protocol import State

from fusion.settings import Settings
from fusion.wire.openai_rest import ApiError
from fusion.wire.pcm import encode

CONNECT_S = 5.0
CLOSE_S = 0.5
LARGEST = 16 * 2**20  # bytes of one message
BUSY_S = 10.0  # what a client is told to wait
SPARE = 4  # connections that are kept
SAY_S = 60.0  # without a sound of a text
DOWN = "the speech server is starting or down; try again in a few seconds"


class Inner:
    """`host` is where 6006 and 8888 are, ready for a URL."""

    def __init__(self, settings: Settings, host: str) -> None:
        self._settings, self._host = settings, host
        self._spare: list[ClientConnection] = []  # to 8888, at rest
        self._headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}

    async def words(self, address: str = "") -> ClientConnection:
        """An open connection to 6006. Raises ApiError."""
        return await self._open(self._settings.asr_port, "", address)

    async def sound(self, uid: str = "", address: str = "", audio_format: str = "int16") -> ClientConnection:
        """An open connection to 8888, for the replies of the caller `uid`."""
        query = f"uid={quote(uid or str(uuid.uuid4()))}&format={audio_format}&events=1"
        return await self._open(self._settings.tts_port, query, address)

    async def _open(self, port: int, query: str, address: str) -> ClientConnection:
        headers = {**self._headers, **({"X-Forwarded-For": address} if address else {})}
        try:
            return await connect(
                f"ws://{self._host}:{port}/?{query}",
                additional_headers=headers,
                compression=None,
                proxy=None,
                open_timeout=CONNECT_S,
                close_timeout=CLOSE_S,
                max_size=LARGEST,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise ApiError(503, DOWN, code="server_down", retry_after_s=BUSY_S) from error

    async def read(self, pcm: Iterator[np.ndarray], handshake: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The events of a recording (docs/wire.md): `language`, `segment`…, `done`. `pcm` is float32 at 16 kHz, taken in a thread.

        Raises ApiError, and what `pcm` raises.
        """
        connection = await self.words()
        sending: asyncio.Task[None] | None = None
        try:
            await connection.send(json.dumps({"uid": str(uuid.uuid4()), "file": True, "audio_format": "int16", **handshake}))
            ready = await _event(connection)
            if ready.get("message") != "SERVER_READY":
                raise ApiError(500, "the recognizer gave no answer that can be read", code="server_error")
            sending = asyncio.create_task(_send(connection, pcm))
            while True:
                event = asyncio.ensure_future(_event(connection, failed=500))
                await asyncio.wait({event} if sending.done() else {event, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done() and not sending.cancelled() and (problem := sending.exception()) is not None:
                    event.cancel()
                    await asyncio.gather(event, return_exceptions=True)
                    raise problem
                told = await event
                yield told
                if told.get("type") == "done":
                    return
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            await connection.close()

    async def say(self, text: str, voice: str = "", speed: float | None = None) -> AsyncIterator[bytes]:
        """`text` as s16 mono at 24 kHz, as it is made. Raises ApiError.

        Connections are kept for the next text: opening one takes 5 ms, a quarter of what the voice needs for its first words.
        """
        connection = self._spare.pop() if self._spare else await self.sound()
        if connection.state is not State.OPEN:
            connection = await self.sound()
        clean = False
        try:
            await connection.send(json.dumps({"type": "say", "text": text, **({"voice": voice} if voice else {}), "speed": speed}))
            while True:
                try:
                    frame = await asyncio.wait_for(connection.recv(), SAY_S)
                except (ConnectionClosed, TimeoutError, asyncio.TimeoutError) as error:
                    raise ApiError(503, DOWN, code="server_down", retry_after_s=BUSY_S) from error
                if isinstance(frame, bytes):
                    yield frame
                    continue
                told = json.loads(frame)
                if told.get("type") == "said":
                    clean = True
                    return
                if told.get("type") == "error":
                    raise ApiError(500 if told["code"] == "tts_failed" else 400, told["message"], code=told["code"])
        finally:
            if clean and len(self._spare) < SPARE:
                self._spare.append(connection)
            else:
                await connection.close()


async def _event(connection: ClientConnection, failed: int = 400) -> dict[str, Any]:
    """`failed`: the status of an error that the server tells; what it refuses before it is ready was asked wrongly."""
    try:
        told: dict[str, Any] = json.loads(await connection.recv())
    except ConnectionClosed as error:
        raise ApiError(503, DOWN, code="server_down", retry_after_s=BUSY_S) from error
    if told.get("status") == "WAIT":
        raise ApiError(
            429,
            "too many recordings are being read at once; try again in a minute",
            code="rate_limit_exceeded",
            retry_after_s=60 * float(told["message"]),
        )
    if told.get("status") == "ERROR":
        raise ApiError(failed, told["message"], code="invalid_value" if failed < 500 else "asr_failed")
    return told


async def _send(connection: ClientConnection, pcm: Iterator[np.ndarray]) -> None:
    """Decoding waits while the recognizer is behind: a frame is sent when the one before was taken."""
    while (piece := await asyncio.to_thread(next, pcm, None)) is not None:
        try:
            await connection.send(encode(piece, "int16"))
        except ConnectionClosed:  # the reader of events knows why
            return
    try:
        await connection.send("END_OF_AUDIO")
    except ConnectionClosed:
        return
