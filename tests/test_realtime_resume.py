"""Clients of the gateway keep their sockets while a process behind it dies, and their conversation
goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from urllib.parse import unquote

import httpx
import pytest
from running import SCRIPTED, Server
from test_assistant import PATIENCE_S, answer, raw, ws
from test_realtime import Client
from test_rest import speech_of, wav
from websockets.asyncio.client import connect

from whisperfusion.turns.announcements import INTERRUPTED

pytestmark = pytest.mark.waits
SLOW = "--tts-option=delay_s=0.3"  # so that a reply can be cut off
QUESTION = "one two three four five six seven eight"
REPLY = f"You said {QUESTION}. That is 8 words."


async def ask(client: Client, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")


def said(done: dict) -> str:
    return done["response"]["output"][0]["content"][0]["transcript"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Its processes may be killed."""
    folder = tmp_path_factory.mktemp("store")
    running = Server(*SCRIPTED, SLOW, STORE_URL=f"sqlite:///{folder}/sessions.sqlite3")
    yield running.wait_ready()
    running.stop()


def kill(server: Server, stage: str) -> None:
    server.wait_for(lambda: server.health()[0] == 200, what="to be whole again")
    os.kill(server.pid(stage), signal.SIGKILL)


@pytest.mark.parametrize("stage", ["asr", "tts"])
async def test_a_killed_process_cuts_one_response_and_the_session_goes_on(server: Server, stage):
    async with Client(server) as client:
        await ask(client, "alpha beta")
        assert said(await client.until("response.done")) == "You said alpha beta. That is 2 words."
        await ask(client, QUESTION)
        await client.until_sounded(2.5)  # of the second reply, too
        kill(server, stage)
        cut = await client.until("response.done", 2)
        assert cut["response"]["status"] == "failed"
        assert said(await client.until("response.done", 3)) == INTERRUPTED.text
        assert said(await client.until("response.done", 4)) == REPLY
        await ask(client, "recall")
        recalled = said(await client.until("response.done", 5))
        assert "You said alpha beta. That is 2 words." in recalled and REPLY in recalled
        assert not client.of("error") and not client.closed
        created = [one["response"]["id"] for one in client.of("response.created")]
        done = [one["response"]["id"] for one in client.of("response.done")]
        assert created == done and len(set(done)) == 5  # each begins and ends, one by one


def over_http(server: Server) -> httpx.AsyncClient:
    headers = {"Content-Type": "audio/wav"}
    return httpx.AsyncClient(base_url=server.http_url, headers=headers, timeout=PATIENCE_S)


async def ask_ws(socket, text: str, *, file: bool = False) -> None:
    await socket.send(wav(speech_of(text)) if file else raw(speech_of(text)))
    await socket.send('{"type": "end_stream"}')


async def sounds(socket) -> dict:
    """The metadata of an answer, when some of its sound has come."""
    metadata: dict = {}
    while not isinstance(frame := await asyncio.wait_for(socket.recv(), PATIENCE_S), bytes):
        metadata = json.loads(frame)
    return metadata


async def test_the_voice_assistant_goes_on_with_its_answer_and_its_memory(server: Server):
    async with connect(ws(server)) as socket:
        await ask_ws(socket, "alpha beta")
        metadata, _, told = await answer(socket)
        assert told["reply"] == "You said alpha beta. That is 2 words."
        await ask_ws(socket, QUESTION)
        await sounds(socket)
        kill(server, "asr")
        _, _, told = await answer(socket)  # the same one goes on
        assert (told["transcript"], told["reply"]) == (QUESTION, REPLY)
        await ask_ws(socket, "gamma", file=True)
        kill(server, "asr")  # which had the question, or not yet
        assert (await answer(socket))[2]["reply"] == "You said gamma. That is 1 word."
        await ask_ws(socket, QUESTION)
        await sounds(socket)
    # its own connection is lost: a new one gets the answer
    async with connect(ws(server, f"?session={metadata['session']}")) as socket:
        metadata, sound, told = await answer(socket)
        assert (metadata["transcript"], told["reply"]) == (QUESTION, REPLY) and sound
    # and over HTTP
    async with over_http(server) as client:
        session = {"session": metadata["session"]}
        done = await client.post("/interact", content=wav(speech_of("recall")), params=session)
    recalled = unquote(done.headers["X-Reply"])
    assert done.headers["X-Session"] == metadata["session"]
    assert "You said alpha beta. That is 2 words." in recalled and recalled.count(REPLY) == 2
    assert "You said gamma. That is 1 word." in recalled


async def test_a_question_over_http_outlives_a_process(server: Server):
    async with over_http(server) as client:

        async def stored() -> int:
            return (await client.get("/v1/sessions")).json()["total"]

        before, sent = await stored(), wav(speech_of(QUESTION))
        asking = asyncio.create_task(client.post("/interact", content=sent))
        while await stored() == before and not asking.done():
            await asyncio.sleep(0.05)
        kill(server, "asr")
        done = await asking
    assert unquote(done.headers["X-Reply"]) == REPLY and done.status_code == 200


async def test_a_session_that_is_not_known_starts_anew(server: Server):
    async with connect(ws(server, f"?session={'x' * 32}")) as socket:
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert told["code"] == "session_not_found"
        await ask_ws(socket, "alpha")
        assert (await answer(socket))[2]["transcript"] == "alpha"
