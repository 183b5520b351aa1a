"""A whole cell whose three engines are those of a cluster, with its own behind them: it starts
without the cluster, uses it when it is there, and goes on without it.
"""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from client import Caller, spoken
from engine_server import EngineServer
from running import Server

from whisperfusion.client import Failed
from whisperfusion.engines import load
from whisperfusion.runtime.ports import free_ports

pytestmark = pytest.mark.sites
KINDS = ("asr", "llm", "tts")


def answers(server: Server, link: str) -> list[float]:
    """Of the link in the chain of each kind, by /metrics."""
    text = httpx.get(f"{server.http_url}/metrics").text
    found = [
        re.search(rf'{kind}_link_answers_total{{[^}}]*link="{link}"[^}}]*}} (\S+)', text)
        for kind in KINDS
    ]
    return [float(one[1]) if one else 0.0 for one in found]


async def test_a_cell_without_with_and_again_without_its_cluster(start_server):
    ports = dict(zip(KINDS, free_ports(3), strict=True))
    chains = [
        f"--{kind}-chain=ray@http://127.0.0.1:{port}?key={kind.upper()}_KEY, scripted"
        for kind, port in ports.items()
    ]
    keys = [f"--{kind}-key=sesame" for kind in KINDS]
    others = [f"--{stage}-engine=scripted" for stage in ("vad", "turn", "speaker")]
    server = start_server(*others, *chains, *keys)
    async with Caller(server) as caller:
        for turn in (1, 2):
            await caller.speak(spoken("alpha beta"))
            await caller.answered(turn)
        assert caller.reply(1) == "You said alpha beta. That is 2 words."
        assert answers(server, "ray") == [0, 0, 0]
        cluster = [
            EngineServer(kind, load(kind, "scripted"), port, key="sesame")
            for kind, port in ports.items()
        ]
        try:
            turn = 2
            while min(answers(server, "ray")) < 1:  # each rests for some seconds
                turn += 1
                assert turn < 60
                await caller.speak(spoken("alpha beta"))
                await caller.answered(turn)
        finally:
            for one in cluster:
                await asyncio.to_thread(one.stop)
        await caller.speak(spoken("gamma"))
        await caller.answered(turn + 1)
        assert caller.reply(turn + 1) == "You said gamma. That is 1 word."
        assert not caller.of(Failed)
    assert "sesame" not in server.log
