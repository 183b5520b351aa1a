"""Field cases of /ws and Wyoming, and lines that idle connections give back: each with its right
value, and relatives of them.

What hangs up or is cancelled is in `test_cancellation.py` (A8).
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from answering_sockets import answering
from fake_sockets import READY, fake_server, serving
from fastapi import FastAPI, WebSocket
from running import SCRIPTED, Server
from test_assistant import answer, raw, ws
from test_field_realtime import user
from test_rest import speech_of
from test_wyoming import client as wyoming_client
from test_wyoming import until
from websockets.asyncio.client import connect
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop

from whisperfusion.agents import Agents
from whisperfusion.gateway.assistant.connection import Assistant
from whisperfusion.gateway.assistant.query import Query
from whisperfusion.gateway.assistant.reply import ALL_S
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.realtime.agents import SessionAgents
from whisperfusion.gateway.realtime.connection import Realtime
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.gateway.wyoming.server import Connection
from whisperfusion.runtime.devices import Devices
from whisperfusion.runtime.ports import free_ports
from whisperfusion.runtime.rate_limits import SCOPE, Limits, Quota
from whisperfusion.settings import Settings
from whisperfusion.wire.realtime import Session

PATIENCE_S = 30.0


# --- E8: /ws ------------------------------------------------------------------------------------


async def test_e8_the_second_turn_works_after_a_long_answer(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        for words in ("one two three four five six seven eight", "alpha"):
            await socket.send(raw(speech_of(words)))
            await socket.send('{"type": "end_stream"}')
            _, sound, told = await answer(socket)
            assert told["transcript"] == words and told["type"] == "audio_complete"
            if words != "alpha":
                assert told["duration"] > 1.8 and told["size"] == len(sound)


async def test_e8_relative_the_call_is_told_that_all_was_played():
    async with answering() as server, serving(server.settings(), READY) as address:
        async with connect(address.replace("http", "ws", 1) + "/ws?format=raw") as socket:
            await socket.send(bytes(32_000))
            await socket.send('{"type": "end_stream"}')
            _, sound, told = await answer(socket)
            assert (told["duration"], len(sound)) == (0.1, 4844)  # with its header
        (position,) = [one for one in server.told if one["type"] == "heard"]
        assert position["seconds"] == ALL_S  # which the server takes, and no more


# --- idle lines ---------------------------------------------------------------------------------


SOON_S = 0.05


@asynccontextmanager
async def patient(
    route: Callable[[WebSocket, Upstream, Settings], Any],
) -> AsyncIterator[tuple[Any, str]]:
    """Sockets that answer by themselves, and the address of `route` in front of them."""
    async with answering() as server:
        settings = server.settings()
        upstream, app = Upstream(settings, "127.0.0.1"), FastAPI()

        @app.websocket("/")
        async def visit(client: WebSocket) -> None:
            client.scope[SCOPE] = Quota(Limits(0, 0), ())
            await client.accept()
            await route(client, upstream, settings)

        listener = socket.create_server(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        task = asyncio.create_task(running.serve(sockets=[listener]))
        try:
            yield server, f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            running.should_exit = True
            await task


def no_agents(settings: Settings) -> SessionAgents:
    return SessionAgents(settings, Agents(settings.agents), Devices(settings.https_dir))


async def nobody_is_connected(server: Any) -> None:
    while server.open:
        await asyncio.sleep(0.005)


async def test_idle_a_session_that_says_nothing_gives_its_line_back():
    async def session(client: WebSocket, upstream: Upstream, settings: Settings) -> None:
        agents = no_agents(settings)
        await Realtime(
            client, upstream, settings, (), Session(), agents, None, idle_s=SOON_S
        ).serve()

    async with patient(session) as (server, address), connect(address) as socket:
        for count in (1, 2):
            await socket.send(
                json.dumps({"type": "conversation.item.create", "item": user("alpha")})
            )
            await socket.send(json.dumps({"type": "response.create"}))
            while (
                json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["type"]
                != "response.done"
            ):
                continue
            await asyncio.wait_for(nobody_is_connected(server), PATIENCE_S)
            assert len(server.handshakes) == count
        assert [line["text"] for line in server.handshakes[1]["history"]] == [
            "alpha",
            "You said alpha.",
            "alpha",
        ]


async def test_idle_relative_the_voice_assistant_goes_on_with_what_was_said():
    async def assistant(client: WebSocket, upstream: Upstream, settings: Settings) -> None:
        talk = Assistant(
            client, upstream, DecoderPool(), Query({"format": "raw"}), settings, idle_s=SOON_S
        )
        await talk.serve(await client.receive())

    async with patient(assistant) as (server, address), connect(address) as socket:
        for _ in range(2):
            await socket.send(bytes(32_000))
            await socket.send('{"type": "end_stream"}')
            assert (await answer(socket))[2]["type"] == "audio_complete"
            await asyncio.wait_for(nobody_is_connected(server), PATIENCE_S)
        assert [line["role"] for line in server.handshakes[1]["history"]] == ["user", "assistant"]
        await socket.send(bytes(32_000))  # and no end of the turn
        assert (await answer(socket))[2]["code"] == "timeout"


async def test_idle_relative_wyoming_gives_its_line_back():
    async with answering() as server:
        upstream = Upstream(server.settings(), "127.0.0.1")
        reader, written = asyncio.StreamReader(), Written()
        connection = Connection(reader, written, upstream, None, "127.0.0.1", audio_idle_s=SOON_S)  # type: ignore[arg-type]
        reader.feed_data(
            b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n'
        )
        await asyncio.wait_for(connection.serve(await connection.next()), PATIENCE_S)
        assert b"nothing came" in written.data
        await asyncio.wait_for(nobody_is_connected(server), PATIENCE_S)
        assert len(server.handshakes) <= 1


class Written:
    """Takes what a Wyoming connection writes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        """There is always room."""

    def can_write_eof(self) -> bool:
        return False


async def test_idle_relative_a_call_that_the_server_ends_at_rest_is_no_error():
    sound = base64.b64encode(bytes(4800)).decode()
    async with fake_server() as server, serving(server.settings(), READY) as address:
        async with connect(address.replace("http", "ws", 1) + "/v1/realtime") as socket:
            await socket.recv()
            for number in range(2):
                while (
                    len(server.calls) <= number
                ):  # the end of the one before may still be on its way
                    await socket.send(
                        json.dumps({"type": "input_audio_buffer.append", "audio": sound})
                    )
                    await asyncio.sleep(0.01)
                await (await server.call(number)).die()
            await socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
            assert (
                json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["type"]
                == "input_audio_buffer.cleared"
            )


async def test_b7_slow_readers_are_cut_off():
    async with answering() as server:
        settings = server.settings()
        upstream = Upstream(settings, "127.0.0.1")
        client = Stuck(
            *(
                json.dumps({"type": "conversation.item.create", "item": user("alpha")}),
                '{"type": "response.create"}',
            )
        )
        agents = no_agents(settings)
        session = Realtime(client, upstream, settings, (), Session(), agents, None, send_s=SOON_S)  # type: ignore[arg-type]
        await asyncio.wait_for(session.serve(), PATIENCE_S)
        assert server.handshakes and client.taken == Stuck.TAKES
        await asyncio.wait_for(nobody_is_connected(server), PATIENCE_S)


class Stuck:
    """A WebSocket whose client stops reading in the middle of an answer, and stays."""

    TAKES = 5

    def __init__(self, *frames: str) -> None:
        self._frames = list(frames)
        self.taken = 0
        self.client = None
        self.scope = {SCOPE: Quota(Limits(0, 0), ())}

    async def receive(self) -> dict[str, Any]:
        if not self._frames:
            await asyncio.Event().wait()
        return {"type": "websocket.receive", "text": self._frames.pop(0)}

    async def send_text(self, text: str) -> None:
        if self.taken == self.TAKES:
            await asyncio.Event().wait()
        self.taken += 1

    async def close(self, code: int, reason: str = "") -> None:
        await asyncio.Event().wait()


# --- Wyoming: B4, C4, E9 ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port():
    """With a key and on every network: Wyoming stays on this machine."""
    (number,) = free_ports(1)
    running = Server(
        *SCRIPTED,
        f"--wyoming-port={number}",
        "--host=0.0.0.0",
        "--shared-secret=sesame",
        "--calls-limit=3",
    )
    try:
        running.wait_ready()
        yield number
    finally:
        running.stop()


async def test_b4_wyoming_listens_on_this_machine_alone(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write_eof()
    assert await reader.read() == b""  # the server closed: this connection counts no more
    writer.close()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.2", port)  # an address that 0.0.0.0 would answer on


async def test_b4_relative_its_connections_count(port):
    async with (
        wyoming_client(port) as one,
        wyoming_client(port) as two,
        wyoming_client(port) as three,
    ):
        for peer in (one, two, three):
            await peer.write_event(Transcribe().event())
            await peer.write_event(AudioStop().event())
            await until(peer, "transcript")
        async with wyoming_client(port) as four:
            told = await asyncio.wait_for(four.read_event(), PATIENCE_S)
            assert (
                told is not None
                and told.type == "error"
                and told.data["code"] == "rate_limit_exceeded"
            )


async def test_b4_relative_the_operator_opens_it(start_server):
    (number,) = free_ports(1)
    start_server(*SCRIPTED, f"--wyoming-port={number}", "--wyoming-host=0.0.0.0")
    _, writer = await asyncio.open_connection("127.0.0.2", number)
    writer.close()


@pytest.mark.parametrize(
    "language", ["nb", "nb-NO", "fil", "cmn", "eng", "deu", "zh-Hant-HK", "und", None]
)
async def test_c4_wyoming_understands_home_assistants_languages(port, language):
    async with wyoming_client(port) as peer:
        await peer.write_event(Transcribe(language=language).event())
        await peer.write_event(AudioStop().event())
        assert [event.type for event in await until(peer, "transcript")] == ["transcript"]


async def test_c4_relative_an_unknown_language_is_told_and_detected(port):
    async with wyoming_client(port) as peer:
        await peer.write_event(Transcribe(language="klingon").event())
        (told,) = await until(peer, "error")
        assert "klingon" in told.data["text"]
        await spoken_to(peer, "alpha")
        assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == "alpha"


async def spoken_to(peer: Any, text: str) -> None:
    """Chunks without a start, and the end."""
    data = (speech_of(text) * 32767).astype("<i2").tobytes()
    for start in range(0, len(data), 3200):
        await peer.write_event(
            AudioChunk(rate=16_000, width=2, channels=1, audio=data[start : start + 3200]).event()
        )
    await peer.write_event(AudioStop().event())


async def test_e9_audio_stop_alone_gives_an_empty_transcript(port):
    async with wyoming_client(port) as peer:
        for _ in range(2):
            await peer.write_event(AudioStop().event())
            assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == ""
        await spoken_to(peer, "alpha beta")
        assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == "alpha beta"
        await peer.write_event(AudioStart(rate=16_000, width=2, channels=1).event())
        await peer.write_event(AudioStart(rate=16_000, width=2, channels=1).event())
        await peer.write_event(Transcribe().event())
        await peer.write_event(Transcribe().event())
        await spoken_to(peer, "gamma")
        assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == "gamma"


async def test_e9_relative_other_orders_are_answered(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for type, data, says in (
        ("synthesize-stop", {}, b"synthesize-start first"),
        ("synthesize-chunk", {"text": "alpha"}, b"synthesize-start first"),
        ("synthesize", {}, b"it is missing"),
        ("audio-chunk", {"rate": 5}, b"rate 5"),
        ("audio-start", {"channels": True}, b"channels True"),
        ("audio-start", {"rate": "x" * 300}, b"send s16"),
    ):
        writer.write(json.dumps({"type": type, "data": data}).encode() + b"\n")
        told = b""
        while says not in told:
            part = await asyncio.wait_for(reader.read(65536), PATIENCE_S)
            assert part, told
            told += part
        assert b'"error"' in told
    writer.close()
