"""Agents over Realtime, and by keys: one server with two keys."""

from __future__ import annotations

import json

import httpx
import pytest
from running import SCRIPTED
from test_agents import PLAIN, folder_of
from test_realtime import UPPER, Client
from websockets.asyncio.client import connect

from whisperfusion.engines.scripted import read_tones

PATIENCE_S = 60.0
KEYS = ("sesame-one", "sesame-two")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from running import Server

    folder = folder_of(
        tmp_path_factory.mktemp("agents"),
        parrot=PLAIN + 'greeting = "Hello there. I am a parrot."\nvoice = "soft"\nspeed = 1.0',
        owl='instructions = "You are an owl."\nkeys = [2]\neagerness = 0.9',
    )
    running = Server(*SCRIPTED, f"--agents-dir={folder}", f"--shared-secret={','.join(KEYS)}")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def realtime(server, key: str, model: str = "gpt-realtime") -> Client:
    path = f"/v1/realtime?model={model}"
    return Client(server, path, additional_headers=bearer(key))


async def answer(client: Client, text: str, count: int = 1) -> str:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")
    done = await client.until("response.done", count)
    return done["response"]["output"][0]["content"][0]["transcript"]


async def test_the_model_of_a_session_is_an_agent_that_greets(server):
    async with realtime(server, KEYS[0], "parrot") as client:
        session = client.of("session.created")[0]["session"]
        assert (session["model"], session["instructions"]) == ("parrot", "You are a parrot.")
        assert session["audio"]["output"]["voice"] == "soft"
        greeting = await client.until("response.done")
        said = greeting["response"]["output"][0]["content"][0]["transcript"]
        assert said == "Hello there. I am a parrot."
        heard = read_tones(client.sound() * 3, UPPER)  # the soft voice
        assert heard.replace(".", " ").split() == ["hello", "there", "i", "am", "a", "parrot"]
        assert "You are a parrot." in await answer(client, "instructions", 2)
        assert "Hello there. I am a parrot." in await answer(client, "recall", 3)


async def test_what_the_client_says_wins_and_another_model_is_another_agent(server):
    async with realtime(server, KEYS[0]) as client:
        await client.update(model="owl", instructions="You are a cat.")
        assert "You are a cat." in await answer(client, "instructions")
        await client.update(model="parrot")
        session = client.of("session.updated")[-1]["session"]
        assert session["instructions"] == "You are a cat."
        assert session["audio"]["output"]["voice"] == "soft"


async def test_a_key_has_an_agent_over_every_interface(server):
    async with realtime(server, KEYS[1]) as client:
        assert client.of("session.created")[0]["session"]["instructions"] == "You are an owl."
        assert "You are an owl." in await answer(client, "instructions")
    async with realtime(server, KEYS[0]) as client:
        assert "friendly assistant" in await answer(client, "instructions")
    async with httpx.AsyncClient(base_url=server.http_url, timeout=PATIENCE_S) as http:
        made = await http.post("/v1/realtime/client_secrets", json={}, headers=bearer(KEYS[1]))
        assert made.json()["session"]["instructions"] == "You are an owl."
        listed = (await http.get("/v1/models", headers=bearer(KEYS[0]))).json()["data"]
        assert {"owl", "parrot"} <= {one["id"] for one in listed}
        config = (await http.get("/config.json", headers=bearer(KEYS[0]))).json()
        assert config["agents"] == [
            {"name": "owl", "title": "owl"},
            {"name": "parrot", "title": "parrot"},
        ]
    # 6006 itself, and the page's way through the gateway
    for url in (server.asr_url, f"{server.http_url.replace('http', 'ws', 1)}/transcription"):
        async with connect(url, additional_headers=bearer(KEYS[1])) as socket:
            await socket.send(json.dumps({"uid": url, "events": True}))
            await socket.recv()
            await socket.send(json.dumps({"type": "say", "text": "instructions"}))
            told = ""
            while "You are an owl." not in told:
                told += json.loads(await socket.recv()).get("text", "")
