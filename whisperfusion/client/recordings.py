"""A whole recording to its transcript, over 6006."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from whisperfusion.client.connection import accepted
from whisperfusion.client.errors import ServerDown, TranscriptionFailed
from whisperfusion.client.sockets import open_socket, release
from whisperfusion.wire import WireError, asr_events
from whisperfusion.wire.asr_events import (
    LanguageDetected,
    RecordingDone,
    SampleQuality,
    Segment,
    SpeakerEmbedding,
    Speakers,
)

RecordingEvent = (
    LanguageDetected | Segment | Speakers | SpeakerEmbedding | SampleQuality | RecordingDone
)


async def transcribe(
    asr_url: str,
    pieces: AsyncGenerator[bytes, None],
    options: Mapping[str, Any] | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> AsyncGenerator[RecordingEvent, None]:
    """`LanguageDetected` if it was to be detected, a `Segment` for each, `Speakers` where they were
    asked for, then `RecordingDone`. Of the tasks embed and check only `SpeakerEmbedding` or
    `SampleQuality`, and that.

    `pieces` are s16 mono at 16 kHz; they are closed. `options` go into the handshake
    (docs/wire.md). Raises CallError, and what `pieces` raise.
    """
    socket = await open_socket(asr_url, headers)
    tasks: list[asyncio.Future[Any]] = []
    try:
        uid = str(uuid.uuid4())
        handshake = {"uid": uid, "file": True, "audio_format": "int16", **(options or {})}
        try:
            await socket.send(json.dumps(handshake))
            accepted(await socket.recv())
        except ConnectionClosed as error:
            raise ServerDown(f"the server at {asr_url} did not answer") from error
        sending = asyncio.create_task(_send(socket, pieces))
        while True:
            event = asyncio.ensure_future(_event(socket))
            tasks = [sending, event]
            await asyncio.wait(
                {event} if sending.done() else {event, sending},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if sending.done() and not sending.cancelled():
                sending.result()
            found = await event
            if found is not None:
                yield found
            if isinstance(found, RecordingDone):
                return
    finally:
        await release(socket, tasks=tasks)


async def _event(socket: ClientConnection) -> RecordingEvent | None:
    """The next event; None = one that says nothing about the recording."""
    try:
        frame = await socket.recv()
        event = None if isinstance(frame, bytes) else asr_events.parse(frame)
    except ConnectionClosed as error:
        raise ServerDown(
            "the server closed the connection before the recording was done"
        ) from error
    except WireError as error:
        raise TranscriptionFailed(str(error)) from None
    if isinstance(event, asr_events.Refused):
        raise TranscriptionFailed(event.message)
    return event if isinstance(event, RecordingEvent) else None


async def _send(socket: ClientConnection, pieces: AsyncGenerator[bytes, None]) -> None:
    """A frame is sent when the one before was read, so decoding waits for the recognizer."""
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                await socket.send(piece)
            await socket.send("END_OF_AUDIO")
        except ConnectionClosed:  # the reader of events knows why
            return
