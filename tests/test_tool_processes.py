"""The real processes use tools: built in, of an MCP server, of a search server; interrupted, and
killed in the middle.
"""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from pathlib import Path

import pytest
from client import Caller, spoken
from engine_checks import eventually
from fake_search_servers import FakeSearchServer
from hostile_results import RESULTS
from running import SCRIPTED, Server, alive
from test_assistant import answer, ws
from test_rest import speech_of, wav, words_in
from websockets.asyncio.client import connect

from whisperfusion.client import CallEnded, Failed, ReplyInterrupted, ReplyText, ToolUsed

MCP_SERVER = str(Path(__file__).with_name("mcp_server.py"))
TOKEN = "token-of-the-lamp"


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    pages = [("Towers", f"They are tall. {RESULTS[0]}", "https://towers.example")]
    running = FakeSearchServer(tmp_path_factory.mktemp("search"), pages)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tools")


@pytest.fixture(scope="module")
def server(search, folder):
    file = folder / "tools.toml"
    file.write_text(f"""
        [servers.home]
        command = ["{sys.executable}", "{MCP_SERVER}"]
        env = {{ TOKEN = "${{LAMP}}", STARTS = "{folder}/starts", SWITCHED = "{folder}/switched" }}
        time_limit_s = 300
        [servers.home.tool.switch]
        question = "Switch on the lamp in the {{room}}?"
    """)
    running = Server(
        *SCRIPTED,
        "--tools=time,timers,calculator,end_call",
        f"--tools-file={file}",
        LAMP=TOKEN,
        TAVILY_API_KEY=search.key,
        SEARCH_URL=search.url,
    )
    try:
        running.wait_ready().wait_for(lambda: "MCP server home: 9 of 9" in running.log)
        yield running
    finally:
        running.stop()


def used(caller: Caller) -> list[tuple[str, str | None]]:
    return [(one.name, one.output) for one in caller.of(ToolUsed)]


def metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=30) as answer:
        return answer.read().decode()


async def test_a_tool_is_used_within_the_reply(server):
    async with Caller(server) as caller:
        await caller.send("say", text='use calculate {"expression": "6 * 7"}')
        await caller.answered()
        assert used(caller) == [("calculate", None), ("calculate", "42")]
        assert caller.reply(1) == "The result is 42."
        await caller.send("say", text="alpha")
        await caller.answered(2)
        assert caller.reply(2) == "You said alpha. That is 1 word."
    line = 'tool_calls_total{stage="llm",tool="calculate"} 1.0'
    eventually(lambda: line in metrics(server))  # the process tells them every second


async def test_a_timer_speaks_up(server):
    async with Caller(server) as caller:
        await caller.send("say", text='use set_timer {"seconds": 1, "say": "eggs are done."}')
        await caller.until(lambda: "eggs are done." in [one.text for one in caller.of(ReplyText)])


async def test_a_timer_speaks_up_on_ws(server):
    """Of a conversation that goes on there, and is silent."""
    async with Caller(server) as caller:
        await caller.send("say", text='use set_timer {"seconds": 2, "say": "eggs are done."}')
        await caller.answered()
        session = caller.call.ready.session
    async with connect(ws(server, f"?session={session}")) as socket:
        metadata, sound, _ = await answer(socket)
        assert (metadata["transcript"], metadata["reply"]) == ("", "eggs are done.")
        assert words_in(sound) == "eggs are done."
        await socket.send(wav(speech_of("alpha")))
        await socket.send('{"type": "end_stream"}')
        assert (await answer(socket))[2]["reply"].startswith("You said alpha.")


async def test_the_call_ends_after_its_last_words(server):
    async with Caller(server) as caller:
        await caller.send("say", text="use end_call {}")
        await caller.until(lambda: caller.of(CallEnded))
        await caller.closed()
        assert "Say goodbye" in caller.reply(1)


async def test_a_hostile_page_runs_nothing(server, search):
    async with Caller(server) as caller:
        await caller.send("say", text='use web_search {"query": "tall towers"}')
        await caller.answered()
        assert caller.reply(1).startswith("One moment. The result is")
        assert {name for name, _ in used(caller)} == {"web_search"}
        assert not caller.of(CallEnded)
    assert search.requests[-1][1]["query"] == "tall towers"


async def test_an_mcp_tool_asks_and_then_acts(server, folder):
    async with Caller(server) as caller:
        await caller.send("say", text='use home_switch {"room": "kitchen"}')
        await caller.answered()
        assert caller.reply(1) == "Switch on the lamp in the kitchen?"
        assert not (folder / "switched").exists()
        await caller.send("say", text="no thanks")
        await caller.answered(2)
        await caller.send("say", text='use home_switch {"room": "hall"}')
        await caller.answered(3)
        await caller.send("say", text="yes please")
        await caller.answered(4)
        assert (folder / "switched").read_text() == "hall\n"
        assert "The lamp in the hall is on." in caller.reply(4)


async def test_a_secret_that_a_tool_tells_is_hidden(server):
    async with Caller(server) as caller:
        await caller.send("say", text="use home_reveal {}")
        await caller.answered()
        assert "The token is ***." in caller.reply(1) and TOKEN not in caller.reply(1)
    assert TOKEN not in server.log


async def test_speaking_over_a_tool_cancels_it(server):
    async with Caller(server) as caller:
        await caller.send("say", text="use home_slow {}")
        await caller.until(lambda: any("moment" in one.text for one in caller.of(ReplyText)))
        await caller.speak(spoken("stop it please"), live=True)
        await caller.until(lambda: caller.of(ReplyInterrupted))
        await caller.until(lambda: caller.reply(2).endswith("words."))
        assert caller.reply(2) == "You said stop it please. That is 3 words."


async def test_the_language_process_is_killed_while_a_tool_runs(server, folder):
    starts = folder / "starts"
    async with Caller(server) as caller:
        await caller.send("say", text="use home_slow {}")
        await caller.until(lambda: caller.of(ToolUsed))
        before = int(starts.read_text().split()[-1])
        os.kill(server.pid("llm"), signal.SIGKILL)
        await caller.until(lambda: caller.of(Failed) or caller.of(ReplyInterrupted))
        eventually(lambda: not alive(before))  # its input has ended
        eventually(lambda: server.log.count("MCP server home: 9 of 9") > 1)
        assert int(starts.read_text().split()[-1]) != before
    async with Caller(server) as caller:
        await caller.send("say", text='use home_add {"a": 1, "b": 2}')
        await caller.answered()
        assert ("home_add", None) in used(caller) and "3" in caller.reply(1)
