"""What a connection on 6006 goes through: the handshake, a place, and then frames until one of both sides ends it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine
from typing import Any, Protocol

from fusion.call import caller as calls
from fusion.call.caller import Caller, check_voice
from fusion.call.files import FileReader, Reading
from fusion.engines import ASR, EngineError
from fusion.model_table import WHISPER_SIZES, is_whisper_name
from fusion.sockets import Outgoing, address_of
from fusion.wire import asr_socket as wire
from fusion.worker import Worker

HANDSHAKE_S = 20.0  # for the first frame of a connection
TYPICAL_CALL_MIN = 5.0  # what a caller who must wait is told
MOST_FILES, TYPICAL_FILE_MIN = 16, 1.0  # recordings that are read at the same time; what the next one is told
FILE_IDLE_S = 60.0  # without a frame

log = logging.getLogger("asr")


class Service(calls.Service, Protocol):
    """The process behind the door."""

    asr: ASR
    languages: tuple[str, ...] | None  # None = any
    callers: dict[str, Caller]
    words: dict[bool, Worker[Any]]
    scores: Worker[Any]
    reading: Reading
    files: int  # connections that send whole recordings


class Door:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings

    async def serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        out = Outgoing(connection)
        try:
            await self._admit(connection, out)
        except ConnectionClosed:
            pass
        except wire.WireError as problem:
            out.send(wire.error(problem.uid, problem.message))
            out.close(1008, "see the message before")
        except (TimeoutError, asyncio.TimeoutError):
            out.send(wire.error("", f"no handshake came within {HANDSHAKE_S:.0f} s; send one JSON object with a uid first"))
            out.close(1008, "no handshake")
        if not out.closed:
            out.close()
        await out.finished()

    async def _admit(self, connection: Any, out: Outgoing) -> None:
        first = await asyncio.wait_for(connection.recv(), HANDSHAKE_S)
        default = None if self._settings.asr_language in ("auto", "") else self._settings.asr_language
        handshake = wire.parse_handshake(first, self._service.languages, default)
        uid = handshake.uid
        if handshake.dialect is wire.Dialect.FILE:
            await self._read_file(connection, handshake, out)
            return
        if len(self._service.callers) >= self._settings.max_callers:
            out.send(wire.wait(uid, TYPICAL_CALL_MIN))
            out.close(1013, "all lines are busy")
            return
        if any(caller.uid == uid for caller in self._service.callers.values()):
            raise wire.WireError("this uid is in use by another connection; choose one of your own", uid)
        try:
            check_voice(handshake.voice or "", self._service.stages)
        except wire.FrameError as problem:
            raise wire.WireError(problem.message, uid) from None
        self._check_model(handshake)
        call = new_call()
        caller = Caller(call, address_of(connection), handshake, self._service, out.send)
        self._service.callers[call] = caller
        try:
            try:
                caller.open()
            except EngineError as error:
                raise wire.WireError(str(error), uid) from None
            log.debug("%s joined as %s", call, handshake.dialect.value)
            await self._converse(connection, caller, out)
        finally:
            del self._service.callers[call]
            for worker in self._service.words.values():
                worker.forget(call)
            self._service.scores.forget(call)
            caller.hang_up()
            log.debug("%s left", call)

    async def _read_file(self, connection: Any, handshake: wire.Handshake, out: Outgoing) -> None:
        """A recording: segments while it is read, then `done`."""
        service = self._service
        if service.files >= MOST_FILES:
            out.send(wire.wait(handshake.uid, TYPICAL_FILE_MIN))
            out.close(1013, "too many recordings are being read")
            return
        reader = FileReader(new_call(), handshake, service.reading, out.send)
        service.files += 1
        try:
            service.asr.begin(reader.options)  # what it cannot do is refused at once
            out.send(wire.server_ready(handshake.uid))
            if not await while_there(connection, self._recording(connection, reader, handshake.uid), self._settings.max_call_s):
                raise wire.WireError(f"the recording was not read within {self._settings.max_call_s:.0f} s", handshake.uid)
        except EngineError as error:
            raise wire.WireError(str(error), handshake.uid) from None
        finally:
            service.files -= 1
            reader.hang_up()

    async def _recording(self, connection: Any, reader: FileReader, uid: str) -> None:
        while True:
            try:
                frame = await asyncio.wait_for(connection.recv(), FILE_IDLE_S)
            except (TimeoutError, asyncio.TimeoutError):
                raise wire.WireError(f"no audio came for {FILE_IDLE_S:.0f} s; END_OF_AUDIO ends a recording", uid) from None
            if wire.is_end_of_audio(frame):
                await reader.finish()
                return
            if isinstance(frame, bytes):
                await reader.hear(frame)

    def _check_model(self, handshake: wire.Handshake) -> None:
        """WhisperLive clients name a model. One model serves everybody, so another known name changes nothing; nonsense is refused."""
        name = handshake.model
        if handshake.dialect is not wire.Dialect.WHISPER_LIVE or not name:
            return
        if not is_whisper_name(name):
            raise wire.WireError(f"model {name!r} is not known; leave it out, or use one of {', '.join(WHISPER_SIZES)}", handshake.uid)
        log.debug("%s asked for the model %s and gets %s", handshake.uid, name, self._service.asr.model)

    async def _converse(self, connection: Any, caller: Caller, out: Outgoing) -> None:
        """Until the caller is done, gone (perhaps while audio that came too fast still waits for an answer), or out of time."""
        if not await while_there(connection, self._frames(connection, caller, out), self._settings.max_call_s):
            out.send(wire.disconnect(caller.uid))
            out.close(1000, "time limit")

    async def _frames(self, connection: Any, caller: Caller, out: Outgoing) -> None:
        async for frame in connection:
            if out.closed:
                return
            if wire.is_end_of_audio(frame):
                await caller.finish()
                return
            if isinstance(frame, bytes):
                await caller.hear(frame)
                continue
            if caller.dialect is not wire.Dialect.EVENTS:
                out.send(wire.warning(caller.uid, 'text frames are for clients that ask for them: put "events": true into the handshake'))
                continue
            try:
                control = wire.parse_control(frame, self._service.languages)
                if control is not None:
                    caller.control(control)
            except wire.FrameError as problem:
                which = {} if problem.id is None else {"id": problem.id}
                out.send(wire.event(caller.uid, "error", code=problem.code, message=problem.message, **which))


async def while_there(connection: Any, work: Coroutine[Any, Any, None], timeout_s: float) -> bool:
    """Do `work` until it is done or the client is gone. False: it took too long."""
    working, gone = asyncio.create_task(work), asyncio.create_task(connection.wait_closed())
    done, pending = await asyncio.wait((working, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if working in done:
        working.result()
    return bool(done)


def new_call() -> str:
    return f"{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:8]}"
