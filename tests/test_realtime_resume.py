"""A Realtime client keeps its socket while a process behind the gateway dies, and its conversation
goes on.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from running import SCRIPTED, Server
from test_realtime import Client

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


@pytest.mark.parametrize("stage", ["asr", "tts"])
async def test_a_killed_process_cuts_one_response_and_the_session_goes_on(tmp_path: Path, stage):
    server = Server(*SCRIPTED, SLOW, STORE_URL=f"sqlite:///{tmp_path}/sessions.sqlite3")
    server.wait_ready()
    try:
        async with Client(server) as client:
            await ask(client, "alpha beta")
            assert (
                said(await client.until("response.done")) == "You said alpha beta. That is 2 words."
            )
            await ask(client, QUESTION)
            await client.until_sounded(2.5)  # of the second reply, too
            os.kill(server.pid(stage), signal.SIGKILL)
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
    finally:
        server.stop()
