"""Audio that a client puts into an item instead of the input audio buffer: it is transcribed like a
recording, and responses wait for it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from fastapi import WebSocketDisconnect

from whisperfusion.gateway.realtime.audio_input import in_turns, piece_bytes
from whisperfusion.gateway.realtime.items import Budget
from whisperfusion.gateway.realtime.response import Send
from whisperfusion.gateway.sound import InputConverter
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.wire.asr_events import Segment
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.realtime import RealtimeError, Session
from whisperfusion.wire.realtime_items import error, sounds_of, with_words
from whisperfusion.wire.realtime_options import transcription_options

AT_ONCE = 2  # recordings of one session
MOST_BYTES = 15 * 2**20  # of sound that waits to be read in one session


class Reading:
    """Use `close` at the end."""

    def __init__(self, upstream: Upstream, address: str, budget: Budget, send: Send) -> None:
        self._upstream, self._address, self._budget, self._send = upstream, address, budget, send
        self._held, self._places = 0, asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def start(
        self, item: dict[str, Any], given: Mapping[str, Any], session: Session
    ) -> asyncio.Task[dict[str, Any]] | None:
        """The item with the transcript of its audio, when it is known; None = it has no audio.
        Raises RealtimeError."""
        sounds = {at: await in_turns(pieces) for at, pieces in sounds_of(given).items()}
        if not sounds:
            return None
        size = sum(map(len, sounds.values()))
        self._budget.check(size)
        if self._held + size > MOST_BYTES:
            problem = (
                f"at most {MOST_BYTES // 2**20} MiB of sound in items are read at once; wait "
                "for an answer first"
            )
            raise RealtimeError("rate_limit_exceeded", problem, "item.content")
        self._held += size
        self._budget.held += size
        name = str(uuid.uuid4())
        task = self._tasks[name] = asyncio.create_task(self._read(item, sounds, session))

        def over(_: object) -> None:
            self._held -= size
            self._budget.held -= size
            self._tasks.pop(name, None)

        task.add_done_callback(over)
        return task

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    async def finished(self) -> None:
        """All that was started before is read."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(
        self, item: dict[str, Any], sounds: Mapping[int, bytes], session: Session
    ) -> dict[str, Any]:
        found = {}
        for at, data in sounds.items():
            try:
                found[at] = await self._transcript(data, session)
            except ApiError as problem:
                found[at] = ""
                with suppress(
                    WebSocketDisconnect, RuntimeError
                ):  # the client went, and the session ends
                    await self._send(
                        error(
                            RealtimeError(
                                problem.code or "server_error",
                                f"sound in an item: {problem.message}",
                            )
                        )
                    )
        return with_words(item, found)

    async def _transcript(self, data: bytes, session: Session) -> str:
        options, pieces = transcription_options(session), _pieces(data, session.input_format)
        texts = []
        async with (
            self._places,
            aclosing(self._upstream.transcribe(pieces, options, self._address)) as events,
        ):
            async for event in events:
                if isinstance(event, Segment):
                    texts.append(event.text.strip())
        return " ".join(filter(None, texts))


async def _pieces(data: bytes, kind: str) -> AsyncGenerator[bytes, None]:
    """s16 at 16 kHz."""
    decoder, size = InputConverter(kind), piece_bytes(kind)
    for start in range(0, len(data), size):
        yield decoder.feed(data[start : start + size])


async def read_all(
    lines: Iterable[dict[str, Any] | asyncio.Task[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Items, of which some are still being read."""
    return [await line if isinstance(line, asyncio.Task) else line for line in lines]
