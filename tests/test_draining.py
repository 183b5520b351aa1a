"""SIGTERM with DRAIN_S, at a real server with scripted engines: what runs ends in peace, and
nothing else begins.
"""

from __future__ import annotations

import asyncio
import json
import signal
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from client import PATIENCE_S, Caller, spoken
from running import SCRIPTED, Server
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from whisperfusion.client import Reconnected, ReplyDone, ServerBusy, UserTurn
from whisperfusion.client.sockets import within

pytestmark = pytest.mark.waits


@pytest.fixture
def cell(tmp_path):
    """A server that drains for so long that only the end of its work can end it."""
    server = Server(*SCRIPTED, DRAIN_S="600", STORE_URL=f"sqlite://{tmp_path}/s.sqlite3")
    try:
        yield server.wait_ready()
    finally:
        server.stop(signal.SIGINT)


def drain(cell: Server) -> None:
    cell.process.send_signal(signal.SIGTERM)
    cell.wait_for(lambda: "draining for up to" in cell.log)


async def exited(cell: Server) -> int:
    return await asyncio.wait_for(asyncio.to_thread(cell.process.wait), PATIENCE_S)


async def until_ready_says(http: httpx.AsyncClient, reason: str) -> httpx.Response:
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while (answer := await http.get("/ready")).json().get("reason") != reason:
        assert asyncio.get_running_loop().time() < deadline, answer.text
        await asyncio.sleep(0.05)
    return answer


async def test_what_runs_goes_on_and_nothing_else_begins(cell):
    address = cell.http_url.replace("http", "ws")
    async with (
        httpx.AsyncClient(base_url=cell.http_url) as http,
        Caller(cell) as caller,
        connect(f"{address}/v1/realtime") as realtime,
    ):
        await realtime.recv()  # session.created
        drain(cell)
        answer = await until_ready_says(http, "draining")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert answer.json()["load"] == 1.0
        speech = {"model": "tts-1", "input": "hello", "voice": "default"}
        answer = await http.post("/v1/audio/speech", json=speech)
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "server_draining"
        for path in ("/v1/realtime", "/ws"):
            with pytest.raises(Exception, match="503"):
                await connect(f"{address}{path}")
        with pytest.raises(ServerBusy):
            async with Caller(cell):
                pass
        assert (await http.get("/health")).status_code == 200
        # the call, and the session that had none yet, have their turns
        await caller.speak(spoken("alpha beta"))
        await caller.answered()
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
        await realtime.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await realtime.send(json.dumps({"type": "response.create"}))
        while (event := json.loads(await within(PATIENCE_S, realtime.recv())))["type"] != (
            "response.done"
        ):
            pass
        assert event["response"]["status"] == "completed"
        assert cell.process.poll() is None
    assert await exited(cell) == 0
    assert "stopped" in cell.lines[-1]


async def test_a_request_that_is_being_answered_ends(cell):
    pcm = (spoken("alpha beta gamma", 0.5) * 32767).astype(np.int16).tobytes()
    url = f"{cell.asr_url}/transcription".replace(str(cell.asr_port), str(cell.http_port))
    async with connect(url) as recording:
        await recording.send(json.dumps({"uid": "r", "file": True, "audio_format": "int16"}))
        assert "SERVER_READY" in await within(PATIENCE_S, recording.recv())
        drain(cell)
        await recording.send(pcm)
        await recording.send("END_OF_AUDIO")
        texts = [frame async for frame in recording]
    assert any("alpha beta gamma" in text for text in texts)
    assert await exited(cell) == 0


async def test_a_second_signal_does_not_wait(cell):
    async with Caller(cell) as caller:
        drain(cell)
        cell.process.send_signal(signal.SIGTERM)
        assert await exited(cell) == 0
        await caller.closed()


async def test_calls_that_are_left_at_the_end_go_on_elsewhere_between_their_turns(tmp_path):
    store = f"sqlite://{tmp_path}/s.sqlite3"
    old = Server(*SCRIPTED, DRAIN_S="1", STORE_URL=store)
    new = None
    try:
        old.wait_ready()
        query = urlencode({"uid": "quiet"})
        async with (
            Caller(old, resume_s=60.0) as caller,
            connect(f"{old.asr_url}?{query}") as quiet,
            connect(f"{old.http_url.replace('http', 'ws')}/v1/realtime") as realtime,
        ):
            await quiet.send(json.dumps({"uid": "quiet", "events": True}))
            await realtime.recv()
            await caller.call.say("one two three four")
            await caller.until(lambda: caller.of(UserTurn))
            drain(old)
            for socket in (quiet, realtime):
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await within(PATIENCE_S, socket.recv())
                assert closed.value.rcvd.code == 1012
            assert await exited(old) == 0
            new = Server(
                *(f"--{name}-port={getattr(old, f'{name}_port')}" for name in ("asr", "tts")),
                *SCRIPTED,
                STORE_URL=store,
            )
            await caller.until(lambda: caller.of(Reconnected))
            assert caller.of(Reconnected)[0].resumed
            assert len(caller.of(ReplyDone)) == 1  # it was not cut off
            assert caller.of(Reconnected)[0].messages == 2
    finally:
        for server in filter(None, (old, new)):
            server.stop(signal.SIGINT)
