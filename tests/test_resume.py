"""Real processes that are killed in the middle of a reply, and callers who go on: on the same
server, and on another one, on other ports, of the same store.
"""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from client import PATIENCE_S, Caller
from redis_server import RedisServer
from running import SCRIPTED, Server
from stored_sessions import written

from whisperfusion.client import (
    CallEnded,
    Closed,
    ConnectionLost,
    Reconnected,
    ReplyPlayed,
    ServerDown,
)
from whisperfusion.turns.announcements import INTERRUPTED
from whisperfusion.turns.reply import APOLOGY

pytestmark = pytest.mark.waits
SLOW = "--tts-option=delay_s=0.3"  # so that a reply can be cut off
QUESTION = "one two three four five six seven eight"
REPLY = f"You said {QUESTION}. That is 8 words."


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/s.sqlite3"
        return
    redis = RedisServer(folder)
    redis.start()
    yield redis.url
    redis.kill()


def serving(store: str, *flags: str) -> Server:
    return Server(*SCRIPTED, SLOW, *flags, STORE_URL=store)


@pytest.fixture(scope="module")
def pair(store: str) -> Iterator[tuple[Server, Server]]:
    """Two of the same store."""
    both = (serving(store), serving(store))
    try:
        yield both[0].wait_ready(), both[1].wait_ready()
    finally:
        for server in both:
            server.stop()


@pytest.fixture
def servers(pair: tuple[Server, Server]) -> tuple[Server, Server]:
    """Whole again, after what the tests before did to them."""
    for server in pair:
        server.wait_for(lambda server=server: server.health()[0] == 200, 120.0, "to be whole")
    return pair


async def resumed(server: Server, session: str, **options: Any) -> Caller:
    """A call that goes on, opened as soon as the server takes calls again."""
    while True:
        caller = Caller(server, session=session, **options)
        with suppress(ServerDown):
            return await caller.__aenter__()
        await asyncio.sleep(0.1)


def replies(caller: Caller) -> list[str]:
    return [caller.reply(turn) for turn in range(1, 9)]


async def cut_off(caller: Caller) -> str:
    """The session of a call with a reply behind it, in the middle of the next."""
    await caller.send("say", text="alpha beta")
    await caller.answered()
    await caller.send("say", text=QUESTION)
    await caller.until(lambda: any(one.turn == 2 for one in caller.of(ReplyPlayed)))
    assert caller.call.ready.session
    return caller.call.ready.session


async def is_taken_up(caller: Caller) -> None:
    ready = caller.call.ready
    assert ready.resumed is True and ready.pending is True and ready.messages == 3
    await caller.answered(2)
    assert [caller.reply(1), caller.reply(2)] == [INTERRUPTED.text, REPLY]
    await caller.send("say", text="recall")
    await caller.answered(3)
    assert caller.reply(3) == f"I said: You said alpha beta. That is 2 words. {REPLY}"
    await caller.__aexit__()


async def test_a_killed_recognizer_loses_no_word(servers):
    server, _ = servers
    async with Caller(server) as caller:
        session = await cut_off(caller)
        os.kill(server.pid("asr"), signal.SIGKILL)
        await caller.closed()
    await is_taken_up(await resumed(server, session))


@pytest.mark.parametrize("stage", ["llm", "tts"])
async def test_a_killed_model_or_voice_fails_its_turn_and_the_call_goes_on(servers, stage):
    """The reply is written long before it is heard, so only a voice that dies fails this turn."""
    server, other = servers
    async with Caller(server) as caller:
        session, killed = await cut_off(caller), server.pid(stage)
        os.kill(killed, signal.SIGKILL)
        if stage == "tts":
            await caller.closed()  # its sound is gone
        else:
            await caller.answered(2)
            await caller.send("say", text="gamma")
            await caller.answered(3)
            assert caller.reply(3) in (APOLOGY, "You said gamma. That is 1 word.")
    again = await resumed(other, session)
    assert again.call.ready.resumed is True
    await again.send("say", text="recall")
    recalled = "I said: You said alpha beta. That is 2 words."
    await again.until(lambda: any(recalled in one for one in replies(again)))
    await again.__aexit__()
    # the next test needs it
    await asyncio.to_thread(server.wait_for, lambda: server.pid(stage) != killed)


async def test_a_dropped_socket_goes_on_at_another_server(servers):
    server, other = servers
    async with Caller(server) as caller:
        session = await cut_off(caller)
        caller.asr_socket.transport.abort()
        await caller.closed()
    await is_taken_up(await resumed(other, session))


async def test_a_call_that_is_live_at_another_server_is_taken_over(store, servers):
    server, other = servers
    async with Caller(server) as caller:
        await caller.send("say", text="alpha beta")
        await caller.answered()
        session = caller.call.ready.session
        call = await written(store, session, 2)
        again = await resumed(other, session)
        assert again.call.ready.resumed is True and again.call.ready.messages == 2
        await written(store, session, 2, after=call)  # which the first server sees when it writes
        await caller.send("say", text="is anybody there")
        await caller.closed()
        assert [one.reason for one in caller.of(CallEnded)]
        await again.send("say", text="recall")
        await again.answered()
        assert again.reply(1) == "I said: You said alpha beta. That is 2 words."
        await again.__aexit__()


async def test_a_killed_server_is_gone_on_with_at_another_one(store, servers):
    _, other = servers
    killed = serving(store)
    try:
        killed.wait_ready()
        async with Caller(killed) as caller:
            session = await cut_off(caller)
            killed.process.send_signal(signal.SIGKILL)
            await caller.closed()
    finally:
        killed.stop(signal.SIGKILL)
    await is_taken_up(await resumed(other, session))


async def test_without_a_store_nothing_is_offered(start_server):
    server = start_server(*SCRIPTED, STORE_URL="none")
    async with Caller(server) as caller:
        assert (caller.call.ready.session, caller.call.ready.resumed) == (None, None)
    async with Caller(server, session="x" * 32) as caller:
        assert (caller.call.ready.session, caller.call.ready.resumed) == (None, False)
        await caller.send("say", text="alpha")
        await caller.answered()
    assert "session_store_up" not in scraped(server)


def test_a_store_that_cannot_be_used_is_a_metric(start_server, tmp_path):
    (tmp_path / "s.sqlite3").write_bytes(b"no database " * 400)
    server = start_server(*SCRIPTED, STORE_URL=f"sqlite:///{tmp_path}/s.sqlite3")
    server.wait_for(lambda: 'session_store_up{stage="asr"} 0.0' in scraped(server))


def scraped(server: Server) -> str:
    with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


async def test_the_client_goes_on_by_itself(servers):
    """Its socket is dropped, then the recognizer's process dies under it."""
    server, _ = servers
    async with Caller(server, resume_s=PATIENCE_S) as caller:
        await caller.send("say", text="alpha beta")
        await caller.answered()
        session = caller.call.ready.session
        caller.asr_socket.transport.abort()
        await caller.until(lambda: len(caller.of(Reconnected)) == 1)
        os.kill(server.pid("asr"), signal.SIGKILL)
        await caller.until(lambda: len(caller.of(Reconnected)) == 2)
        assert len(caller.of(ConnectionLost)) == 2 and not caller.of(Closed)
        assert [one.resumed for one in caller.of(Reconnected)] == [True, True]
        assert caller.call.ready.session == session
        await caller.send("say", text="recall")
        recalled = "I said: You said alpha beta. That is 2 words."
        await caller.until(lambda: any(recalled in one for one in replies(caller)))


async def test_a_client_that_may_not_come_back_ends_with_the_reason(start_server):
    """Its server is gone for good; one that is ended on purpose does not come back at all."""
    server = start_server(*SCRIPTED)
    async with Caller(server, resume_s=0.5) as caller, Caller(server, resume_s=60.0) as polite:
        await polite.call.end_audio()
        await polite.closed()
        assert not polite.of(ConnectionLost)
        server.stop(signal.SIGKILL)
        await caller.closed()
        assert caller.of(ConnectionLost) and "no server answers" in caller.of(Closed)[0].reason
