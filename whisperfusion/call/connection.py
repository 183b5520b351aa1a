"""What a connection on 6006 goes through: the handshake, a place, and then frames until one of
both sides ends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from whisperfusion import json_log
from whisperfusion.agents import Agent, Agents, UnknownAgent
from whisperfusion.audio import Samples
from whisperfusion.call import service as calls
from whisperfusion.call.admission import Admission
from whisperfusion.call.caller import Caller
from whisperfusion.call.client_options import (
    check_model,
    check_voice,
    clones,
    usable,
    with_agents_speakers,
)
from whisperfusion.call.endings import LONGEST_REASON, break_off, move, send_away, while_there
from whisperfusion.call.file_transcription import FileReader, Reading
from whisperfusion.call.memory import CallMemory, Memory
from whisperfusion.call.speaker_sample import QualityReader, SampleReader
from whisperfusion.call.speakers import OFF, FileSpeakers
from whisperfusion.custom_voices import Usable
from whisperfusion.engines import ASR, EngineError
from whisperfusion.runtime.devices import Devices
from whisperfusion.runtime.incoming import TEXT_BYTES, Incoming
from whisperfusion.runtime.peers import Peer, is_local
from whisperfusion.runtime.rate_limits import Cost, Limits, TooMany, names_of
from whisperfusion.runtime.sockets import Outgoing, peer_of
from whisperfusion.runtime.worker import Worker
from whisperfusion.sessions import Session
from whisperfusion.turns.states import State
from whisperfusion.wire import asr_events
from whisperfusion.wire import asr_socket as wire
from whisperfusion.wire.asr_events import to_json
from whisperfusion.wire.languages import UnknownLanguage, spoken_languages
from whisperfusion.wire.trace import log_ids, merged, trace_of_headers

SAME_NAME_S = 1.0  # to wait for the end of another connection with the same uid
HANDSHAKE_S = 20.0  # for the first frame of a connection
ONLY_WHOM = (
    "known_speakers_only needs known_speakers: a list of objects with a name and a sample of their "
    'speech ("audio_base64", or "embedding" by the task embed)'
)
TYPICAL_CALL_MIN = 5.0  # the wait that a refused client is given
# recordings that are read at the same time; the wait that the next one is given
MOST_FILES, TYPICAL_FILE_MIN = 16, 1.0
FILES = Cost("recordings", MOST_FILES, MOST_FILES - MOST_FILES // 4)
FILE_IDLE_S = 60.0  # without a frame
IDLE_S = 600.0  # of a call without a frame, a turn or a reply: then its place is free for others

log = logging.getLogger("asr")


class Service(calls.Service, Protocol):
    """The process behind the connections."""

    asr: ASR
    callers: dict[str, Caller]
    admission: Admission
    agents: Agents
    memory: Memory | None  # None: nothing is kept
    transcribers: dict[bool, Worker[Any]]  # final (True) and interim ones
    turn_detector: Worker[Any]
    reading: Reading


class Connections:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._limits = Limits(0, 0)
        self._devices = Devices(self._settings.https_dir)
        self._custom = Usable(self._settings)
        self.recordings: set[Any] = set()  # connections of those that are being read
        # uids of the callers, each with what is set when it has left
        self._names: dict[str, asyncio.Event] = {}
        most = self._settings.max_callers
        self._calls = Cost("calls", most, most - most // 4)

    async def serve(self, connection: Any) -> None:
        with json_log.scope(ids=log_ids(trace_of_headers(connection.request.headers))):
            await self._serve(connection)

    async def _serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        out = Outgoing(connection)
        try:
            await self._admit(connection, out)
        except ConnectionClosed:
            pass
        except wire.WireError as problem:
            out.send(to_json(problem.uid, asr_events.Refused(problem.message)))
            out.close(1008, "see the message before")
        except (TimeoutError, asyncio.TimeoutError):
            reason = (
                f"no handshake came within {HANDSHAKE_S:.0f} s; send one JSON object with a uid "
                "first"
            )
            out.send(to_json("", asr_events.Refused(reason)))
            out.close(1008, "no handshake")
        except Exception:
            log.exception("a connection is ended by an error of this server")
            break_off(out)
        except asyncio.CancelledError:
            out.abandon()
            raise
        out.close()
        await out.finished()

    async def _admit(self, connection: Any, out: Outgoing) -> None:
        first = await asyncio.wait_for(connection.recv(), HANDSHAKE_S)
        if isinstance(first, str) and len(first) > TEXT_BYTES:
            raise wire.WireError(
                f"the handshake has {len(first)} characters; send at most {TEXT_BYTES}"
            )
        peer = peer_of(connection)
        handshake, agent = self._handshake(first, peer)
        sent = trace_of_headers(connection.request.headers)
        handshake = replace(handshake, trace=merged(handshake.trace, sent))
        file = handshake.dialect is wire.Dialect.FILE
        loop = asyncio.get_running_loop()
        admission = self._service.admission
        if admission.draining:
            # what the gateway does not pass through belongs to a request that it has admitted
            admitted = peer.from_gateway and urlsplit(connection.request.path).path == "/"
        else:
            admitted = file
        if not admitted and (minutes := admission.wait_min(loop.time())):
            if not file:
                admission.turned_away(loop.time())
            send_away(out, handshake.uid, minutes, admission.reason)
            return
        try:
            with self._limits.hold(FILES if file else self._calls, counted(peer)):
                if file:
                    self.recordings.add(connection)
                    try:
                        await self._read_file(connection, handshake, out)
                    finally:
                        self.recordings.discard(connection)
                else:
                    await self._call(connection, first, handshake, agent, peer, out)
        except TooMany as problem:
            minutes = TYPICAL_FILE_MIN if file else TYPICAL_CALL_MIN
            if not file:
                admission.turned_away(loop.time())
            send_away(out, handshake.uid, minutes, problem.message)

    def _handshake(self, first: str | bytes, peer: Peer) -> tuple[wire.Handshake, Agent | None]:
        """Read the first frame, and choose the agent of the call. Raises WireError."""
        languages = self._service.languages
        default = _default_language(self._settings.asr_language, languages)
        handshake = wire.parse_handshake(first, languages, default)
        agent = self._agent(handshake, peer)
        if agent is None or agent.language is None:
            return handshake, agent
        default = _default_language(agent.language, languages)
        return wire.parse_handshake(first, languages, default), agent

    def _agent(self, handshake: wire.Handshake, peer: Peer) -> Agent | None:
        """Only calls that are replied to have one. Raises WireError."""
        if not handshake.reply:
            return None
        device = self._devices.name_of(peer.key)
        agents, stages = self._service.agents, self._service.stages
        try:
            agent = agents.choose(handshake.agent, handshake.number, peer.key, device)
        except UnknownAgent as problem:
            raise wire.WireError(f"handshake: {problem}", handshake.uid) from None
        custom = self._custom.all(clones(stages))
        return agent and usable(agent, self._settings, stages, custom)

    async def _call(
        self,
        connection: Any,
        first: str | bytes,
        handshake: wire.Handshake,
        agent: Agent | None,
        peer: Peer,
        out: Outgoing,
    ) -> None:
        uid = handshake.uid
        stages = self._service.stages
        custom = self._custom.of(clones(stages), peer.key)
        if agent is not None:
            custom += (agent.default_voice(self._settings) or "",)
        try:
            check_voice(handshake.voice, stages, custom)
        except wire.FrameError as problem:
            raise wire.WireError(problem.message, uid) from None
        check_model(handshake, self._service.asr.model)
        handshake = self._with_speakers(handshake, agent)
        call = new_call()
        async with self._remembered(handshake, call, agent, peer) as memory:
            if memory is not None and memory.resumed:
                handshake, agent = self._as_before(first, handshake, memory.session, peer)
                memory.of_agent("" if agent is None else agent.name)
                handshake = self._with_speakers(handshake, agent)
            await self._name_is_free(uid)
            more = (peer.key, agent, memory)
            known = await self._enrolled(call, handshake)
            caller = Caller(call, peer.address, handshake, self._service, out.send, *more, known)
            await self._serve_call(connection, caller, out)

    def _with_speakers(self, handshake: wire.Handshake, agent: Agent | None) -> wire.Handshake:
        """Which speakers are told apart and listened to. Raises WireError."""
        handshake = with_agents_speakers(handshake, agent)
        only = handshake.known_speakers_only
        if only and not handshake.known_speakers:
            raise wire.WireError(ONLY_WHOM, handshake.uid)
        if self._service.speakers is not None or not (handshake.enable_diarization or only):
            return handshake
        if only or handshake.dialect is wire.Dialect.EVENTS:
            raise wire.WireError(OFF, handshake.uid)
        # WhisperLive's own server transcribes without speakers then
        log.info("%s: %s", handshake.uid, OFF)
        return replace(handshake, enable_diarization=False)

    async def _serve_call(self, connection: Any, caller: Caller, out: Outgoing) -> None:
        call, uid, service = caller.call, caller.uid, self._service
        self._names[uid] = left = asyncio.Event()

        def leave() -> None:
            if self._names.get(uid) is left:
                del self._names[uid]
            left.set()

        def end(reason: str) -> None:
            leave()  # a client that is not there any more may be long in closing
            out.close(1000, reason[:LONGEST_REASON])

        caller.on_broken, caller.on_ended = lambda error: break_off(out, uid), end
        caller.on_moved = lambda: move(out)
        service.callers[call] = caller
        service.admission.started(call, asyncio.get_running_loop().time())
        try:
            try:
                caller.open()
            except EngineError as error:
                raise wire.WireError(str(error), uid) from None
            with caller.log_scope():
                log.debug("%s joined as %s, uid %s", call, caller.dialect.value, uid)
                await self._converse(connection, caller, out)
        finally:
            del service.callers[call]
            service.admission.ended(call, asyncio.get_running_loop().time())
            leave()
            for worker in (*service.transcribers.values(), service.turn_detector):
                worker.forget(call)
            caller.hang_up()
            log.debug("%s left", call)

    @asynccontextmanager
    async def _remembered(
        self, handshake: wire.Handshake, call: str, agent: Agent | None, peer: Peer
    ) -> AsyncIterator[CallMemory | None]:
        """Only of a conversation whose client can know of it."""
        memory = self._service.memory
        if memory is None or handshake.dialect is not wire.Dialect.EVENTS or not handshake.reply:
            yield None
            return
        name = agent.name if agent is not None else ""
        kept = await memory.open(handshake.session, call, peer.key, name, handshake.caller)
        try:
            yield kept
        finally:
            memory.forget(kept)

    def _as_before(
        self, first: str | bytes, handshake: wire.Handshake, session: Session, peer: Peer
    ) -> tuple[wire.Handshake, Agent | None]:
        """The language and the agent of the session, where the client names none. A
        client that has lost its call is not refused because this server does not have its agent.
        """
        again, languages = handshake, self._service.languages
        detects = _default_language(self._settings.asr_language, languages) is None
        several = detects and "," in self._settings.asr_language
        if several:  # it goes on detecting, from the session's language
            again = handshake
        elif languages is None or not session.language or session.language in languages:
            again = wire.parse_handshake(first, languages, session.language or None)
        again = replace(again, trace=handshake.trace)
        if handshake.agent is None and session.agent:
            again = replace(again, agent=session.agent)
        try:
            return again, self._agent(again, peer)
        except wire.WireError:
            return again, self._agent(replace(again, agent=""), peer)

    async def _name_is_free(self, uid: str) -> None:
        """Waits a moment for a connection that was lost and whose end is on its way: its client
        comes back under the same name.
        """
        until = asyncio.get_running_loop().time() + SAME_NAME_S
        while (left := self._names.get(uid)) is not None:
            try:
                await asyncio.wait_for(left.wait(), until - asyncio.get_running_loop().time())
            except (TimeoutError, asyncio.TimeoutError):
                raise wire.WireError(
                    "this uid is in use by another connection; choose one of your own", uid
                ) from None

    async def _read_file(self, connection: Any, handshake: wire.Handshake, out: Outgoing) -> None:
        """A recording: segments while it is read, then `done`."""
        reader = await self._reader(handshake, out)
        try:
            if isinstance(reader, FileReader):  # what it cannot do is refused at once
                self._service.asr.create_utterance(reader.options)
            out.send(to_json(handshake.uid, asr_events.Ready()))
            if not await while_there(
                connection,
                self._recording(connection, reader, handshake.uid),
                self._settings.max_call_s,
            ):
                raise wire.WireError(
                    f"the recording was not read within {self._settings.max_call_s:.0f} s",
                    handshake.uid,
                )
        except EngineError as error:
            raise wire.WireError(str(error), handshake.uid) from None
        finally:
            reader.hang_up()

    async def _enrolled(self, call: str, handshake: wire.Handshake) -> dict[str, Samples]:
        """The embeddings of known speakers. Raises WireError."""
        speakers = self._service.speakers
        if speakers is None or not handshake.enable_diarization:
            return {}
        try:
            return await speakers.enroll(call, handshake.known_speakers)
        except EngineError as error:
            raise wire.WireError(str(error), handshake.uid) from None

    async def _reader(self, handshake: wire.Handshake, out: Outgoing) -> FileReader | SampleReader:
        """Raises WireError."""
        call, speakers = new_call(), self._service.speakers
        if handshake.task == wire.CHECK:
            detector = self._service.create_detector
            return QualityReader(call, handshake, speakers, out.send, detector)
        embeds = handshake.task == wire.EMBED
        if not (embeds or handshake.enable_diarization):
            return FileReader(call, handshake, self._service.reading, out.send)
        if speakers is None:
            raise wire.WireError(OFF, handshake.uid)
        if embeds:
            return SampleReader(call, handshake, speakers, out.send)
        known = await self._enrolled(call, handshake)
        beside = FileSpeakers(call, speakers, known, handshake.max_speakers)
        return FileReader(call, handshake, self._service.reading, out.send, beside)

    async def _recording(
        self, connection: Any, reader: FileReader | SampleReader, uid: str
    ) -> None:
        async with Incoming(connection) as frames:
            while True:
                try:
                    frame = await asyncio.wait_for(frames.__anext__(), FILE_IDLE_S)
                except (TimeoutError, asyncio.TimeoutError):
                    raise wire.WireError(
                        f"no audio came for {FILE_IDLE_S:.0f} s; END_OF_AUDIO ends a recording", uid
                    ) from None
                except StopAsyncIteration:
                    return
                if isinstance(frame, (str, bytes)) and wire.is_end_of_audio(frame):
                    await reader.finish()
                    return
                if isinstance(frame, bytes):
                    await reader.accept_audio(frame)

    async def _converse(self, connection: Any, caller: Caller, out: Outgoing) -> None:
        """Until the caller is done, gone (perhaps while audio that came too fast still waits for
        an answer), or out of time.
        """
        async with Incoming(connection) as frames:
            idle = frames.idle(IDLE_S, lambda: caller.conversation.state is not State.IDLE)
            if not await while_there(
                connection, self._frames(frames, caller, out), self._settings.max_call_s, idle
            ):
                out.send(to_json(caller.uid, asr_events.TimeLimit()))
                out.close(
                    1000,
                    (
                        f"time limit: {self._settings.max_call_s:.0f} s, or {IDLE_S:.0f} s "
                        "without a frame"
                    ),
                )

    async def _frames(self, frames: Incoming, caller: Caller, out: Outgoing) -> None:
        async for frame in frames:
            if out.closed:
                return
            if isinstance(frame, wire.FrameError):
                out.send(to_json(caller.uid, asr_events.Failed(frame.code, frame.message)))
                continue
            if wire.is_end_of_audio(frame):
                await caller.finish()
                return
            if isinstance(frame, bytes):
                await caller.accept_audio(frame)
                continue
            if caller.dialect is not wire.Dialect.EVENTS:
                warning = (
                    'text frames are for clients that ask for them: put "events": true into the '
                    "handshake"
                )
                out.send(to_json(caller.uid, asr_events.Warned(warning)))
                continue
            try:
                control = wire.parse_control(frame, self._service.languages)
                if control is not None:
                    caller.control(control)
            except wire.FrameError as problem:
                refused = asr_events.Failed(problem.code, problem.message, id=problem.id)
                out.send(to_json(caller.uid, refused))


def counted(peer: Peer) -> tuple[str, ...]:
    """Whose share a call or a recording is taken from: an address's.

    This machine is its owner's, and may have them all.
    """
    return () if is_local(peer.address) else names_of(None, peer.address)


def new_call() -> str:
    return f"{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:8]}"


def _default_language(setting: str, languages: tuple[str, ...] | None) -> str | None:
    """ASR_LANGUAGE as a code; None = detect, which a list of them asks for, too.

    What is not known is left to the recognizer, which says so.
    """
    try:
        found = spoken_languages(setting, languages)
    except UnknownLanguage:
        return setting
    return found[0] if len(found) == 1 else None
