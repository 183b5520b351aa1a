"""One caller of 6006 without its socket: what its audio does when the event loop was held."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, TypeVar

from test_field_sockets import Listening

from whisperfusion.call.caller import GOODBYE, Caller
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.messages import (
    CancelTimer,
    Commit,
    EndCall,
    Generate,
    PlaybackProgress,
    Sentence,
    SetTimer,
    Ticket,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.turns.audio_source import GAP_S
from whisperfusion.wire import asr_socket
from whisperfusion.wire.asr_handshake import parse_handshake

PATIENCE_S = 20.0  # bound of a test that fails
T = TypeVar("T")


async def test_audio_that_a_held_loop_has_not_read_is_no_silence():
    """Timers that are due run before what came meanwhile is read from the socket. A microphone
    that has sent nothing is silent all the same, a moment later.
    """
    hello = parse_handshake('{"uid": "u", "events": true}')
    caller = Caller("c", "127.0.0.1", hello, Listening(), lambda frame: None)
    await caller.accept_audio(tone_speech("alpha").tobytes())
    received = caller.audio.position
    time.sleep(GAP_S + 0.2)  # holds the loop
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert caller.audio.position == received

    async def silence_is_counted() -> None:
        while caller.audio.position == received:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(silence_is_counted(), PATIENCE_S)
    caller.hang_up()


class Told:
    """A caller, what it posts to the other processes, and the frames that its client gets."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.posted: list[object] = []
        service = Listening()
        service.post = self.posted.append
        service.estimate_wait, service.replied = lambda: None, lambda latency: None
        hello = parse_handshake('{"uid": "u", "events": true}')
        self.caller = Caller("c", "127.0.0.1", hello, service, self._frame)
        self.ended: list[str] = []
        self.caller.on_ended = self.ended.append

    def _frame(self, frame: str) -> None:
        self.frames.append(json.loads(frame))

    def of(self, kind: type[T]) -> list[T]:
        return [one for one in self.posted if isinstance(one, kind)]


async def test_a_timer_that_is_due_is_said_and_the_model_knows_those_to_come():
    told = Told()
    ticket = Ticket("c", 1, 1)
    told.caller.message(SetTimer(ticket, "late", "Never.", 3600.0))
    told.caller.message(SetTimer(ticket, "tea", "The tea is ready.", 0.0))
    told.caller.message(SetTimer(ticket, "no", "Not this.", 7200.0))
    told.caller.message(CancelTimer(ticket, "no"))

    async def said() -> None:
        while not told.of(Commit):
            await asyncio.sleep(0.001)

    await asyncio.wait_for(said(), PATIENCE_S)
    assert "".join(one.text for one in told.of(Sentence)) == "The tea is ready."
    assert [one["text"] for one in told.frames if one["type"] == "reply"] == ["The tea is ready."]
    told.caller.control(asr_socket.Say("hello"))
    assert [[timer.id for timer in one.timers] for one in told.of(Generate)] == [["late"]]
    told.caller.hang_up()


async def test_the_client_learns_of_tools_and_of_the_end_of_its_call():
    told = Told()
    told.caller.control(asr_socket.Say("goodbye"))
    (asked,) = told.of(Generate)
    for message in (
        ToolStarted(asked.ticket, "t1", "end_call", "{}"),
        ToolFinished(asked.ticket, "t1", "", failed=True),
        EndCall(asked.ticket),
        Sentence(asked.ticket, 0, "Bye.", last=True),
    ):
        told.caller.message(message)
    assert [one.get("error") for one in told.frames if one["type"] == "tool"] == [None, ""]
    assert told.ended == []
    told.caller.message(PlaybackProgress(asked.ticket, 0, 0.5, 0.5, last=True))
    assert told.frames[-1] == {"uid": "u", "type": "ended", "reason": GOODBYE, "turn": 1}
    assert told.ended == [GOODBYE]
    told.caller.hang_up()


async def test_what_comes_late_from_a_thread_changes_nothing_in_a_call_that_is_over():
    told = Told()
    caller = told.caller
    await caller.accept_audio(tone_speech("alpha").tobytes())
    assert caller.audio.transcription is not None
    caller.hang_up()
    assert caller.audio.transcription is None
    told.posted.clear()
    told.frames.clear()
    caller.guarded(caller.control, asr_socket.Say("hello"))
    assert told.posted == [] and told.frames == []
