"""The typed client on scripted sockets: opening, one stream of events, the end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from fake_sockets import PATIENCE_S, FakeServer, fake_server
from running import ROOT
from websockets.asyncio.server import serve

from whisperfusion.client import (
    Call,
    CallRefused,
    Closed,
    KeyRefused,
    Paused,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ServerBusy,
    ServerDown,
    UserTurn,
    connect,
)


def to(server: FakeServer, **call) -> Call:
    asr, tts = server.ports
    return connect(f"ws://127.0.0.1:{asr}", f"ws://127.0.0.1:{tts}", **call)


@asynccontextmanager
async def opened(**options):
    """A call, and its other end."""
    async with fake_server() as server, to(server, options=options) as call:
        yield call, await server.call()


async def events_until(call: Call, kind: type) -> list:
    found = []

    async def read() -> list:
        async for event in call:
            found.append(event)
            if isinstance(event, kind):
                break
        return found

    return await asyncio.wait_for(read(), PATIENCE_S)


async def test_both_sockets_become_one_stream():
    async with opened() as (call, server):
        await server.order("start", turn=1)
        await server.tts.send(b"ab")
        await server.event("turn", turn=1, text="hello")
        await server.event("reply", turn=1, index=0, text="Hi!", last=True)
        await server.order("hold")
        await server.tts.send(b"cd")
        await server.order("end", turn=1)
        await server.event("spoken", turn=1, seconds=0.1, last=True)
        events = await events_until(call, ReplyDone)
    assert events[0] == UserTurn(1, "hello") and events[-1] == ReplyDone(1)
    of_audio = [one for one in events if isinstance(one, (ReplyAudio, Paused))]
    assert of_audio == [ReplyAudio(1, b"ab"), Paused(), ReplyAudio(1, b"cd")]
    assert ReplyText(1, 0, "Hi!", True) in events


async def test_what_the_client_says_arrives_as_docs_wire_md_has_it():
    async with fake_server() as server, to(server, options={"uid": "me", "voice": "v"}) as call:
        other = await server.call()
        await call.send_audio(b"\1" * (2**20 + 2))
        await call.say("good morning")
        await call.send("respond", id="r1", instructions="Be brief.")
        await call.end_audio()
        await server.until(lambda: len(other.said) + len(other.audio) >= 4)
    assert other.uid == call.uid == "me"
    assert other.handshake == {
        "uid": "me",
        "events": True,
        "audio_format": "int16",
        "voice": "v",
    }
    assert [len(frame) for frame in other.audio] == [2**20, 2]
    assert other.said == [
        {"type": "say", "text": "good morning"},
        {"type": "respond", "id": "r1", "instructions": "Be brief."},
    ]


async def test_it_shows_on_8888_that_the_call_is_its_own():
    async with fake_server() as server:
        server.ready_fields = {"listen_secret": "s3cret"}
        async with to(server, audio_format="float32"):
            other = await server.call()
            await server.until(lambda: other.said)
    assert other.said[0] == {
        "uid": other.uid,
        "listen_secret": "s3cret",
        "format": "float32",
        "events": True,
    }


@pytest.mark.parametrize(
    ("greeting", "error", "says"),
    [
        ({"status": "WAIT", "message": 2.5}, ServerBusy, "2.5 minutes"),
        ({"status": "ERROR", "message": "field speed"}, CallRefused, "field speed"),
        ({"status": "RIDDLE"}, CallRefused, "RIDDLE"),
    ],
)
async def test_a_call_that_is_not_accepted_is_an_error_that_says_why(greeting, error, says):
    async with fake_server() as server:
        server.greeting = greeting
        with pytest.raises(error, match=says):
            await to(server).open()


async def test_no_server_and_a_wrong_key_are_errors_of_their_own():
    with pytest.raises(ServerDown, match="no server answers at ws://127.0.0.1:1"):
        await connect("ws://127.0.0.1:1").open()
    with pytest.raises(CallRefused, match="not the address of a server"):
        await connect("gopher://127.0.0.1").open()

    def wrong_key(connection, request):
        return connection.respond(401, "no")

    async with serve(lambda socket: None, "127.0.0.1", 0, process_request=wrong_key) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(KeyRefused, match="key is missing or wrong"):
            await connect(f"ws://127.0.0.1:{port}", key="x").open()


async def test_a_server_that_hangs_up_before_it_is_ready_is_down():
    async def hang_up(socket) -> None:
        await socket.recv()
        await socket.close()

    async with serve(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServerDown, match="did not answer"):
            await connect(f"ws://127.0.0.1:{port}").open()


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"status": "ERROR", "message": "the server made a mistake"}, "the server made a mistake"),
        ({"message": "DISCONNECT"}, "the call reached its time limit"),
        ({"type": "turn", "text": "without its number"}, "field 'turn' is missing"),
        (None, ""),
    ],
)
async def test_the_end_says_why_and_nothing_follows(frame, reason):
    async with opened() as (call, server):
        if frame is not None:
            await server.asr.send(json.dumps({"uid": call.uid, **frame}))
        await server.asr.close()
        last = (await events_until(call, Closed))[-1]
        assert last.reason.endswith(reason + ")") or last.reason == reason
        assert await call.receive() == last


async def test_the_refusal_of_a_listener_ends_the_call():
    async with opened() as (call, server):
        await server.order("error", id=None, code="refused", message="not yours")
        await server.tts.close(1008)
        assert (await events_until(call, Closed))[-1] == Closed("not yours")


async def test_audio_that_is_on_its_way_when_6006_is_closed_is_waited_for():
    async with opened() as (call, server):
        await server.event("turn", turn=1, text="hello")
        await server.event("reply", turn=1, index=0, text="Hi!", last=True)
        await server.event("spoken", turn=1, seconds=0.1, last=True)
        await server.asr.close()
        for frame in ('{"type": "start", "turn": 1}', b"ab", '{"type": "end", "turn": 1}'):
            await server.tts.send(frame)
        events = await events_until(call, Closed)
    assert events[-3:] == [ReplyAudio(1, b"ab"), ReplyDone(1), Closed()]


async def test_audio_can_be_given_up_and_taken_up_again_in_a_call():
    async with fake_server() as server:
        asr, tts = (f"ws://127.0.0.1:{port}" for port in server.ports)
        async with connect(asr, tts, audio=False) as call:
            other = server.calls[0]
            assert other.tts is None
            await call.listen(True)
            await server.until(lambda: other.tts)
            await other.event("turn", turn=1, text="hello")
            await other.order("start", turn=1)
            await other.tts.send(b"ab")
            await events_until(call, ReplyAudio)
            await call.listen(False)
            await asyncio.wait_for(other.tts.wait_closed(), PATIENCE_S)
            await other.event("reply", turn=1, index=0, text="Hi!", last=True)
            await other.event("spoken", turn=1, seconds=1.0, last=True)
            assert (await events_until(call, ReplyDone))[-1] == ReplyDone(1)


def test_it_needs_nothing_of_the_server_but_the_wire():
    script = (
        "import sys, whisperfusion.client; "
        "print(*sorted(name for name in sys.modules if name.startswith('whisperfusion.')), "
        "*(name for name in ('numpy', 'fastapi', 'pydantic', 'av') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert rooms <= {"audio", "client", "errors", "wire"}, done.stdout
