"""What strangers can put into the two sockets, and into a call by them: each row of the field
cases with its right value.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cancelling import cancel_at_every_await
from client import Caller
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from whisperfusion.call.connection import IDLE_S, Connections
from whisperfusion.call.file_transcription import Reading
from whisperfusion.client import Failed
from whisperfusion.engines import create_utterances, load
from whisperfusion.engines.scripted import ScriptedASR, tone_speech
from whisperfusion.messages import CallEnded, CallStarted
from whisperfusion.runtime.incoming import (
    AHEAD_BYTES,
    ALL_CONNECTIONS,
    PORTION_BYTES,
    SMALL_BURST,
    TEXT_BYTES,
    ByteBudget,
    Incoming,
)
from whisperfusion.runtime.peers import Peer
from whisperfusion.runtime.sockets import Outgoing
from whisperfusion.runtime.worker import Worker
from whisperfusion.settings import Settings
from whisperfusion.synthesis.connection import serve as serve_8888
from whisperfusion.synthesis.listeners import Listener
from whisperfusion.turns.commands import TurnCounts
from whisperfusion.wire import FrameError

ROOT = Path(__file__).parent.parent


# --- words and texts of any length --------------------------------------------------------------

BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))  # a hundred times what it takes
from whisperfusion.text import segmentation as text
from whisperfusion.text import end_of_turn
from whisperfusion.text.backchannel import is_backchannel
from whisperfusion.text.echo import is_echo
from whisperfusion.text.normalization import spoken
"""


def ends_soon(code: str) -> str:
    """What `code` prints, run by a process that is killed for work that grows faster than its
    input.
    """
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{done.returncode} {done.stderr}"
    return done.stdout.strip()


def test_a2_a_spoken_email_address_is_judged_at_once():
    text_in = (
        "my email is christopher.robinson@universityhospital.org and I would like to know when "
        "my order arrives"
    )
    assert ends_soon(f"print(end_of_turn.ending({text_in!r}).value)") == "plain"
    longer = text_in.replace("universityhospital", "x" * 120)
    assert ends_soon(f"print(end_of_turn.ending({longer!r}).value)") == "plain"
    assert (
        ends_soon("print(end_of_turn.ending('my email is christopher.robinson at').value)")
        == "dictation"
    )


def test_a2_relative_any_ten_thousand_characters_are_judged_at_once():
    ends_soon("""
for unit in ("my email is ", "a@", "x", "a ", "- ", "1", "1 ", "what is the ", ", right", "... ", "spelled ", "you ", "at 1 oh ", "is "):
    said = unit * (10_000 // len(unit))
    for line in (said + "?", said + "  !"):
        end_of_turn.ending(line), is_backchannel(line), is_echo(line, line[::-1]), end_of_turn.goes_on(line, "de")
        is_echo("the " * 6, line, 0.6), text.same_words(line, line), text.played_text_of([(line, 1.0, 2.0)])
        text.StablePrefix().update(line)
""")


def test_a2_relative_words_that_come_again_in_another_order_are_compared_up_to_a_bound():
    ends_soon("""
words = [a + b + "xxxx" for a in "abcdefgh" for b in "abcdefghijklmnop"]
is_echo(" ".join(words * 20), " ".join(words[::-1] * 60), 0.6)
""")


def test_a6_texts_are_cut_into_clauses_in_time_that_grows_with_them():
    ends_soon("""
for unit in ("、", "a、", "a ", "好。", "— ", "(a, ", "and ", "x—", " and, but ", "a, ", "*", "[", "_", "a_", "<a", "1*"):
    spoken(unit * (1000 // len(unit)))
    for _ in range(4):
        clauses, said = text.Clauses(), unit * (4096 // len(unit))
        pieces = [*clauses.feed(said), clauses.flush()]
        assert "".join("".join(pieces).split()) == "".join(said.split()), unit
""")


# --- frames -------------------------------------------------------------------------------------


class FakeSocket:
    """A connection of `websockets` with frames of the test's own; when they are over, it waits,
    or is closed.
    """

    remote_address, peer = ("127.0.0.1", 1), Peer("127.0.0.1", -1, False)

    def __init__(
        self, frames: Iterable[str | bytes] = (), stays: bool = False, address: str = "/"
    ) -> None:
        self.frames, self.stays, self.sent, self.closed = (
            list(frames)[::-1],
            stays,
            [],
            asyncio.Event(),
        )
        self.request, self.transport, self.taken = (
            SimpleNamespace(path=address, headers={}),
            SimpleNamespace(abort=self.closed.set),
            0,
        )

    async def recv(self) -> str | bytes:
        if not self.frames:
            if not self.stays:
                self.closed.set()
            await self.closed.wait()
            raise ConnectionClosedOK(Close(1000, ""), Close(1000, ""), True)
        self.taken += 1
        return self.frames.pop()

    async def send(self, frame: str | bytes) -> None:
        await asyncio.sleep(0)
        self.sent.append(frame)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await asyncio.sleep(0)
        self.closed.set()

    async def wait_closed(self) -> None:
        await self.closed.wait()


async def portions(*frames: str | bytes, held: ByteBudget | None = None) -> list[Any]:
    async with Incoming(FakeSocket(frames), held or ByteBudget()) as incoming:
        return [frame async for frame in incoming]


async def test_a6_tiny_frames_come_joined_and_large_ones_divided():
    sound = bytes(range(256)) * 900
    tiny = await portions(*(sound[at : at + 1] for at in range(900)))
    assert b"".join(tiny) == sound[:900] and len(tiny) < 90
    large = await portions(sound, sound)
    assert b"".join(large) == sound * 2 and max(map(len, large)) <= PORTION_BYTES
    mixed = await portions(b"ab", "text", b"cd", b"END_OF_AUDIO", b"ef")
    assert mixed == [b"ab", "text", b"cd", b"END_OF_AUDIO", b"ef"]


async def test_a6_every_portion_gives_the_loop_to_others():
    turns, told = 0, asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not told.is_set():
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = await portions(bytes(4 * 1024 * 1024), *('{"type": "clear"}' for _ in range(100)))
    told.set()
    await beside
    assert turns >= len(found) == 4 * 1024 * 1024 // PORTION_BYTES + 100


async def test_a6_relative_a_text_that_is_too_long_is_refused_before_it_is_parsed():
    long = '{"type": "say", "text": "' + "x" * TEXT_BYTES + '"}'
    refused, after = await portions(long, '{"type": "interrupt"}')
    assert (
        isinstance(refused, FrameError)
        and str(TEXT_BYTES) in refused.message
        and after == '{"type": "interrupt"}'
    )


async def test_a6_relative_a_client_that_sends_many_tiny_frames_is_read_more_slowly():
    socket = FakeSocket([b"x"] * 5000, stays=True)
    async with Incoming(socket, ByteBudget()):
        for _ in range(20_000):  # turns of the loop: time enough for all, were it not slowed
            await asyncio.sleep(0)
        assert SMALL_BURST <= socket.taken < 4000


async def test_b7_what_waits_is_counted_in_bytes_for_each_connection_and_for_all():
    held = ByteBudget(3 * AHEAD_BYTES)
    sockets = [FakeSocket([bytes(AHEAD_BYTES // 4)] * 40, stays=True) for _ in range(8)]
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(Incoming(socket, held)) for socket in sockets]
        for _ in range(200):
            await asyncio.sleep(0)
        assert held.bytes <= held.most + 8 * AHEAD_BYTES // 4 and all(
            1 <= socket.taken <= 6 for socket in sockets
        )
        got = 0
        # one that is worked on gets all of its own, whatever the others hold
        while got < AHEAD_BYTES * 10:
            got += len(await readers[0].__anext__())
        for _ in range(200):
            await asyncio.sleep(0)
        assert held.bytes <= held.most + 8 * AHEAD_BYTES // 4  # one frame each may always wait
    assert held.bytes == 0


async def test_b7_relative_slow_readers_are_cut_by_bytes_each_and_in_all():
    stuck = [FakeSocket(stays=True) for _ in range(40)]
    for socket in stuck:
        socket.send = lambda frame: asyncio.Event().wait()
    outs = [Outgoing(socket) for socket in stuck]
    for _ in range(6 * 40):
        for out in outs:
            out.send("é" * 512 * 1024)  # a megabyte
    assert (
        all(out.size <= 8 * 1024 * 1024 for out in outs)
        and sum(out.size for out in outs) <= 128 * 1024 * 1024
    )
    assert any(out.closed for out in outs)
    for out in outs:
        out.abandon()
    await asyncio.gather(*(out.finished() for out in outs), return_exceptions=True)
    assert not Outgoing._all


async def test_6006_a_call_without_frames_is_idle_unless_it_is_busy():
    busy = [True]
    async with Incoming(FakeSocket(stays=True), ByteBudget()) as incoming:
        idle = asyncio.create_task(incoming.idle(0.0, lambda: busy[0]))
        await asyncio.sleep(0)
        assert not idle.done()
        busy[0] = False
        await asyncio.wait_for(idle, 40)
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(incoming.idle(600.0, lambda: False), 0.01)
    assert IDLE_S >= 300


# --- beside others, and cancelled ---------------------------------------------------------------


async def test_a6_floods_of_frames_and_texts_stop_nobody(scripted_server):
    deep = '{"type": "say", "text": "' + "x" * 300_000 + '"}'
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(Caller(scripted_server)) for _ in range(2)]
        bystander = await stack.enter_async_context(Caller(scripted_server))
        mouth = await stack.enter_async_context(connect(scripted_server.tts_url))
        floods = [
            asyncio.create_task(_flood(caller.asr_socket, [b"x"] * 3000)) for caller in callers
        ]
        await callers[0].asr_socket.send(deep)
        for n in range(80):
            await mouth.send(json.dumps({"type": "say", "id": n, "text": "、" * 4096}))
        await bystander.send("say", text="are you there")
        await bystander.answered()
        await callers[0].until(
            lambda: any(failed.code == "bad_frame" for failed in callers[0].of(Failed))
        )
        told = [
            json.loads(frame)
            for frame in [await asyncio.wait_for(mouth.recv(), 40) for _ in range(3)]
            if isinstance(frame, str)
        ]
        assert {one["type"] for one in told} <= {"said", "error"}
        for flood in floods:
            flood.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
    assert scripted_server.process.poll() is None and "restart" not in scripted_server.log


async def _flood(socket: Any, frames: list[bytes]) -> None:
    for frame in frames:
        await socket.send(frame)


class Listening:
    """The recognizer's process, as far as its connections looks."""

    sample_rate, scored, languages, stages = 24_000, False, None, {}
    settings = Settings(max_callers=3, record_dir="")
    memory = None

    def __init__(self) -> None:
        self.asr, self.callers, self.posted = ScriptedASR(), {}, []
        self.transcribers, self.turn_detector = (
            {True: Worker("asr", print), False: Worker("partial", print)},
            Worker("turn", print),
        )
        self.reading, self.counts = Reading(self.asr), TurnCounts()

    def post(self, message: object) -> None:
        self.posted.append(message)

    def create_utterance(self, options: Any) -> Any:
        return self.asr.create_utterance(options)

    def create_utterances(self, options: Any) -> Any:
        return create_utterances(self.asr, options)

    def create_detector(self) -> Any:
        return load("vad", "scripted").create_stream()

    def request_transcript(self, *_: object, **__: object) -> None: ...
    def request_end_of_turn(self, *_: object) -> None: ...


HELLO = {"uid": "u", "events": True}
SOUND = np.concatenate((tone_speech("alpha"), np.zeros(20_000, np.float32))).tobytes()


@pytest.mark.parametrize(
    "frames",
    [
        [json.dumps(HELLO), SOUND, '{"type": "say", "text": "hello"}', "{"],
        [json.dumps({**HELLO, "file": True}), SOUND[:4000]],
        ["{}"],
    ],
    ids=["call", "file", "refused"],
)
async def test_a_connection_of_6006_that_is_cancelled_anywhere_leaves_nothing(frames):
    service = Listening()
    connections, held = Connections(service), ALL_CONNECTIONS.bytes

    def check(at: int) -> None:
        assert (
            not service.callers
            and not connections._names
            and not Outgoing._all
            and ALL_CONNECTIONS.bytes == held
        ), at
        joined, left = (
            sum(isinstance(one, kind) for one in service.posted)
            for kind in (CallStarted, CallEnded)
        )
        assert joined <= left

    assert await cancel_at_every_await(lambda: connections.serve(FakeSocket(frames)), check) > 3


async def test_a_listener_of_8888_that_is_cancelled_anywhere_leaves_nothing():
    here: list[Listener] = []
    listeners = SimpleNamespace(
        listen=here.append,
        leave=lambda one: here.remove(one) if one in here else None,
    )
    texts = SimpleNamespace(
        add=lambda listener, request: listener.out.send("said"), sent=lambda one: None
    )
    service = SimpleNamespace(listeners=listeners, texts=texts)

    def check(at: int) -> None:
        assert not here and not Outgoing._all, at

    say = json.dumps({"type": "say", "text": "hello"})
    assert (
        await cancel_at_every_await(
            lambda: serve_8888(service, FakeSocket([say, "{", say], address="/?uid=u")), check
        )
        > 3
    )
