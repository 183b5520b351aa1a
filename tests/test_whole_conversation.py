"""Conversations that search the web, set a timer, and outlive their processes and their server:
real processes with scripted engines, a scripted search server, both stores. Three forms at once,
on the same servers: the two sockets, the page in Chromium, and OpenAI Realtime.

Each process is killed once, then all of the first server; the second is another one, on other
ports. The page reaches them by one address, as behind a proxy.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Protocol

import pytest
from chromium import browser_with, bubble, opened, type_line
from client import PATIENCE_S, Caller
from fake_search_servers import FakeSearchServer
from forwarder import Forwarder
from running import SCRIPTED, Server
from test_realtime import Client
from test_realtime_resume import ask as ask_realtime
from test_resume import resumed, store

from whisperfusion.client import ReplyText

pytestmark = pytest.mark.waits
__all__ = ["store"]  # a fixture
TOWER = "828"  # what only the search server knows
TEA = "The tea is ready."
TIMER_S = 40  # about as long as the deaths and the new starts take
SEARCH = 'use web_search {"query": "tallest tower"}'
TIMER = f"use set_timer {json.dumps({'seconds': TIMER_S, 'say': TEA})}"
TIMER_IS_SET = "The timer is set"
STAGES = ("asr", "llm", "tts", "gateway")


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    running = FakeSearchServer(tmp_path_factory.mktemp("search"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def serving(store, search):
    """Servers of one store, each on its own ports."""
    running: list[Server] = []

    def start() -> Server:
        running.append(Server(*SCRIPTED, STORE_URL=store, SEARXNG_URL=search.url, TOOLS="timers"))
        return running[-1]

    yield start
    for server in running:
        server.stop(signal.SIGKILL if server.process.poll() is not None else signal.SIGINT)


class Form(Protocol):
    """One conversation, whose connections come and go."""

    async def say(self, text: str) -> None: ...
    async def said(self) -> str:
        """All that the server has said in it."""
        ...

    async def rests(self) -> None:
        """Until the last reply was played."""
        ...

    async def go_on(self, server: Server) -> None:
        """At `server`, after something has died there or at another one."""
        ...


class Sockets:
    """Each time with a new caller."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._callers: list[Caller] = []

    async def begin(self, server: Server) -> None:
        self._callers.append(await self._stack.enter_async_context(Caller(server)))

    async def say(self, text: str) -> None:
        await self._callers[-1].send("say", text=text)

    async def said(self) -> str:
        replies = [one.reply(turn) for one in self._callers for turn in range(1, 12)]
        return " ".join(replies)

    async def rests(self) -> None:
        last = self._callers[-1]
        await last.answered(last.of(ReplyText)[-1].turn)

    async def go_on(self, server: Server) -> None:
        caller = await resumed(server, self._callers[0].call.ready.session)
        self._stack.push_async_exit(caller)
        assert caller.call.ready.resumed is True
        self._callers.append(caller)


class Realtime:
    """A client that connects again with the name of its conversation when its socket is gone."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._clients: list[Client] = []

    async def begin(self, server: Server) -> None:
        self._server = server
        self._clients.append(await self._stack.enter_async_context(Client(server)))

    async def say(self, text: str) -> None:
        await self.rests()
        await ask_realtime(self._clients[-1], text)

    async def said(self) -> str:
        kind = "response.output_audio_transcript.delta"
        return " ".join(
            "".join(event["delta"] for event in client.of(kind)) for client in self._clients
        )

    async def rests(self) -> None:
        last = self._clients[-1]
        if begun := len(last.of("response.created")):
            await last.until("response.done", begun)

    async def go_on(self, server: Server) -> None:
        if not self._clients[-1].closed and server is self._server:
            return  # the gateway goes on with the call
        created = [one for client in self._clients for one in client.of("response.created")]
        conversation = created[-1]["response"]["conversation_id"]
        path = f"/v1/realtime?model=gpt-realtime&conversation={conversation}"
        self._server = server
        while True:
            client = Client(server, path)
            with suppress(OSError):
                self._clients.append(await self._stack.enter_async_context(client))
                break
            await asyncio.sleep(0.1)
        added = await client.until("conversation.item.added")
        assert added["item"]["role"] == "user" and not client.of("error")


class Page:
    """It connects again by itself."""

    def __init__(self, page, forwarder: Forwarder) -> None:
        self._page, self._forwarder = page, forwarder

    async def say(self, text: str) -> None:
        await type_line(self._page, text)

    async def said(self) -> str:
        return " ".join(await bubble(self._page, "assistant").locator(".text").all_text_contents())

    async def rests(self) -> None:
        """All of the sound has come, whether or not this machine is fast enough to play it."""
        count = "whisperfusion.log.filter(({ what }) => what === `sound ${kind}`).length"
        counts = f"['start', 'end'].map((kind) => {count})"
        while (await self._page.evaluate(counts))[0] > (await self._page.evaluate(counts))[1]:
            await asyncio.sleep(0.1)

    async def go_on(self, server: Server) -> None:
        self._forwarder.port = server.http_port
        ready = "until(() => whisperfusion.call?.ready)"
        await asyncio.wait_for(self._page.evaluate(ready), PATIENCE_S)


async def until_said(form: Form, text: str, times: int = 1) -> None:
    async def look() -> None:
        while (await form.said()).count(text) < times:
            await asyncio.sleep(0.1)

    try:
        await asyncio.wait_for(look(), PATIENCE_S)
    except asyncio.TimeoutError:
        name, said = type(form).__name__, await form.said()
        raise AssertionError(f"{name}: {text!r} is not {times} times in {said!r}") from None


async def asked(form: Form, text: str, awaited: str) -> None:
    """Once more than before, which the page may still show."""
    before = (await form.said()).count(awaited)
    await form.say(text)
    await until_said(form, awaited, before + 1)


async def killed(server: Server, stage: str) -> None:
    """Until its successor is there."""
    before = server.pid(stage)
    os.kill(before, signal.SIGKILL)
    while server.pid(stage) == before or (await asyncio.to_thread(server.health))[0] != 200:
        await asyncio.sleep(0.1)


async def together(forms: list[Form], do: Callable[[Form], Awaitable[None]]) -> None:
    await asyncio.gather(*(do(form) for form in forms))


async def test_it_searches_sets_a_timer_and_outlives_everything(serving, search):
    first, second = serving(), serving()
    search.requests.clear()
    first.wait_ready()
    async with AsyncExitStack() as stack:
        forwarder = await stack.enter_async_context(Forwarder(first.http_port))
        browser = await stack.enter_async_context(browser_with())
        page = await stack.enter_async_context(
            opened(browser, forwarder.url, allowed=["Failed to load resource"])
        )
        sockets, realtime = Sockets(stack), Realtime(stack)
        await sockets.begin(first)
        await realtime.begin(first)
        forms: list[Form] = [sockets, realtime, Page(page, forwarder)]
        await together(forms, lambda form: asked(form, SEARCH, TOWER))
        await together(forms, lambda form: form.rests())  # else it would not be heard
        await together(forms, lambda form: asked(form, TIMER, TIMER_IS_SET))
        await together(forms, lambda form: form.rests())
        for stage in STAGES:
            await killed(first, stage)
            await together(forms, lambda form: form.go_on(first))
        second.wait_ready()
        first.process.send_signal(signal.SIGKILL)
        await together(forms, lambda form: form.go_on(second))
        await together(forms, lambda form: until_said(form, TEA))
        await forms[-1].rests()
        await page.reload()
        await until_said(forms[-1], TOWER)  # what was said is shown again
        await together(forms, lambda form: asked(form, "recall", TOWER))
    assert len(search.requests) == len(forms)
