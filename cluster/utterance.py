"""One utterance of live speech: a WebSocket that lives as long as it, each message one frame.

The audio is kept until both passes have it. The socket is closed when the utterance is over (by
the cell) or silent for `IDLE_S` (by the server: an utterance that goes on is opened again, and must
not occupy a place meanwhile). What exceeds the window waits in the network. The calls:
`wire/engine_server.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from cluster import calls
from cluster.decoding import Decode, Decoding, Skipped
from cluster.jobs import Ended, failure
from whisperfusion.audio import Samples
from whisperfusion.engines import ASROptions, Utterance, batching
from whisperfusion.engines.elsewhere.calls import asr_options
from whisperfusion.errors import EngineError, Refused
from whisperfusion.wire import engine_pipe as wire
from whisperfusion.wire.engine_server import ENDS, FINAL, INTERIM, WRONG

IDLE_S = 30.0  # without a call
LONGEST_S = 3600.0  # of audio, which only a mistake has


class Audio:
    """What the passes have not all been given; positions in samples from the utterance's start."""

    def __init__(self) -> None:
        self._kept: Samples = np.zeros(0, np.float32)
        self._start = 0
        self.length = 0

    def append(self, pcm: Samples) -> None:
        if pcm.ndim != 1 or pcm.dtype != np.float32:
            raise calls.BadCall(f"audio is float32 of one channel, not {pcm.dtype} {pcm.shape}")
        if self.length + len(pcm) > LONGEST_S * calls.RATE:
            raise Refused(f"an utterance of more than {LONGEST_S / 60:g} minutes is too long")
        self._kept = np.concatenate((self._kept, pcm))
        self.length += len(pcm)

    def between(self, start: int, end: int) -> Samples:
        return self._kept[start - self._start : end - self._start]

    def forget(self, before: int) -> None:
        self._kept = self._kept[before - self._start :]
        self._start = before


class Passes:
    """The engine's utterances, and how far each was given the audio."""

    def __init__(self, engine: Any, decode: Decode, ended: Ended) -> None:
        self._engine, self._decode, self._ended = engine, decode, ended
        self._utterances: dict[int, Utterance] = {}
        self._given: dict[int, int] = {}
        self._turns = {which: asyncio.Lock() for which in (INTERIM, FINAL)}
        self._asked_final = 0  # position up to which a final transcript was asked for
        self.audio = Audio()

    async def answer(self, call: wire.Call) -> wire.Message:
        """What the cell receives for `call`."""
        try:
            value = await self._value(call)
        except calls.BadCall as error:
            return wire.Failed(call.id, str(error), EngineError.__name__)
        except Exception as error:
            self._ended(self._engine, error)
            return failure(call, error)
        self._ended(self._engine, None)
        return wire.Done(call.id, value)

    async def _value(self, call: wire.Call) -> Any:
        given = call.arguments
        if call.method == "create_utterance":
            options = asr_options(given["options"])
            return await asyncio.to_thread(self._create, options, given["passes"])
        which = given["which"]
        if which not in self._utterances:
            raise calls.BadCall("create_utterance comes first, and names this pass")
        asked_before = self._asked_final
        if call.method == "accept_audio" and given["final"]:
            self._asked_final = max(self._asked_final, given["upto"])
        async with self._turns[which]:
            if call.method == "finish":
                return asdict(await asyncio.to_thread(self._utterances[which].finish))
            upto, final = given["upto"], given["final"]
            return asdict(
                await self._decoded(
                    which,
                    upto,
                    final,
                    # a final transcript of the same audio was asked for meanwhile
                    lambda: not final and self._asked_final >= upto > asked_before,
                )
            )

    def _create(self, options: ASROptions, passes: list[int]) -> None:
        if self._utterances:
            raise calls.BadCall("this utterance was created before")
        if len(passes) == 1:
            self._utterances = {passes[0]: self._engine.create_utterance(options)}
        else:
            self._utterances = dict(enumerate(batching.create_utterances(self._engine, options)))
        self._given = dict.fromkeys(self._utterances, 0)

    async def _decoded(
        self, which: int, upto: int, final: bool, obsolete: Callable[[], bool]
    ) -> Any:
        start = self._given[which]
        if not start <= upto <= self.audio.length:
            raise calls.BadCall(
                f"upto={upto} is out of range; allowed: {start} to {self.audio.length}, which is "
                "what came"
            )
        found = await self._decode(
            Decoding(
                self._engine,
                self._utterances[which],
                self.audio.between(start, upto),
                final,
                obsolete,
            )
        )
        if not isinstance(found, Skipped):
            self._given[which] = upto
            self.audio.forget(min(self._given.values()))
        if isinstance(found, Exception):
            raise found
        return found


async def serve(socket: Any, passes: Passes, draining: asyncio.Event) -> None:
    """Answer the calls of an accepted WebSocket until it ends."""
    room, running = asyncio.Semaphore(wire.WINDOW), set[asyncio.Task[None]]()

    async def answered(call: wire.Call) -> None:
        try:
            message = await passes.answer(call)
            await socket.send_bytes(b"".join(wire.encode(message)))
        finally:
            room.release()

    try:
        while True:
            await room.acquire()
            body = await _next(socket, running, draining)
            if body is None:
                return
            call = calls.read(body)
            calls.check(call, calls.UTTERANCE)
            if call.pcm is not None:
                passes.audio.append(call.pcm)
            if call.method == "audio":
                room.release()
                continue
            task = asyncio.create_task(answered(call))
            running.add(task)
            task.add_done_callback(running.discard)
            if call.method == "create_utterance":
                await task
    except (calls.BadCall, EngineError) as error:
        await socket.close(WRONG, str(error)[:100])
    finally:
        for task in running:
            task.cancel()


async def _next(
    socket: Any, running: set[asyncio.Task[None]], draining: asyncio.Event
) -> bytes | None:
    """The next message; None after the end, which may be this side's."""
    received = asyncio.ensure_future(socket.receive())
    drained = asyncio.ensure_future(draining.wait())
    try:
        while True:
            done, _ = await asyncio.wait(
                {received, drained, *running},
                timeout=IDLE_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if received in done:
                break
            if not running and (drained.done() or not done):
                await socket.close(ENDS if drained.done() else 1000, "open it again to go on")
                return None
            if drained.done() and running:
                await asyncio.wait({received, *running}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        drained.cancel()
        if not received.done():
            received.cancel()
    message = received.result()
    if message["type"] != "websocket.receive":
        return None
    body: bytes = message.get("bytes") or b""
    return body
