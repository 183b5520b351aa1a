"""Web search by each engine, against servers that speak as theirs do."""

from __future__ import annotations

import asyncio
import json

import pytest
from fake_search_servers import FakeSearchServer

from whisperfusion.errors import SettingsError
from whisperfusion.messages import Ticket
from whisperfusion.settings import build
from whisperfusion.tools.runner import Runner, checked
from whisperfusion.tools.running import Invocation, ToolError
from whisperfusion.tools.search import web
from whisperfusion.tools.search.engines import Finding, Found, duckduckgo

WORDS = "The tallest tower is 828 m tall."


@pytest.fixture
def server(tmp_path):
    running = FakeSearchServer(tmp_path)
    yield running
    running.stop()


def tool(**environment: str):
    found = web.bound(build({}, environment, {}))
    return found[0] if found else None


def search(bound, query: str) -> str:
    given = checked(bound, json.dumps({"query": query}))
    return asyncio.run(bound.run(Invocation(Ticket("a", 1), given, (), print)))


def tavily(server):
    return tool(TAVILY_API_KEY=server.key, SEARCH_URL=server.url)


def searxng(server):
    return tool(SEARXNG_URL=server.url + "/")


def test_tavily(server):
    text = search(tavily(server), "tall towers")
    assert text == f"About 828 m.\n- Tall towers: {WORDS} (towers.example)"
    assert server.requests == [
        ("tavily", {"query": "tall towers", "max_results": 5, "include_answer": True})
    ]


def test_searxng(server):
    text = search(searxng(server), "tall towers")
    assert text == f"- Tall towers: {WORDS} (towers.example)"
    assert server.requests == [("searxng", {"q": ["tall towers"], "format": ["json"]})]
    assert search(searxng(server), "nothing") == "Nothing was found."


def test_duckduckgo(server, monkeypatch):
    monkeypatch.setenv("DDGS_PROXY", server.proxy)
    found = asyncio.run(duckduckgo(server.certificate)("tall towers"))
    assert found == Found("", (Finding("Tall towers", WORDS, "https://towers.example/tall"),))
    assert server.requests == [("duckduckgo", "tall towers")]
    assert asyncio.run(duckduckgo(server.certificate)("nothing")).findings == ()
    server.stop()
    with pytest.raises(ToolError):
        asyncio.run(duckduckgo(server.certificate)("tall towers"))


@pytest.mark.parametrize(
    ("query", "words"),
    [("busy", "too many"), ("broken", "JSON"), ("endless", "too much")],
)
def test_servers_that_fail(server, query, words):
    for bound in (tavily(server), searxng(server)):
        with pytest.raises(ToolError, match=words):
            search(bound, query)


def test_a_wrong_key_is_told_without_the_key(server):
    bound = tool(TAVILY_API_KEY="tvly-wrong", SEARCH_URL=server.url)
    with pytest.raises(ToolError) as error:
        search(bound, "towers")
    assert "key" in str(error.value) and "tvly" not in str(error.value)


def test_a_server_that_is_silent_costs_the_time_limit(server):
    from dataclasses import replace

    bound = searxng(server)
    bound = replace(bound, tool=replace(bound.tool, time_limit_s=0.3))
    runner = Runner()
    given = Invocation(Ticket("a", 1), {"query": "silent"}, (), print)
    outcome = runner.start(bound, given).result(60)
    runner.stop()
    assert outcome.failed and outcome.own and "0.3 s" in outcome.output


def test_a_server_that_is_not_there():
    with pytest.raises(ToolError, match="not reached"):
        search(tool(SEARXNG_URL="http://127.0.0.1:9"), "towers")


def test_which_engine():
    assert tool() is None
    assert tool(TAVILY_API_KEY="x", SEARCH_ENGINE="none") is None
    assert tool(SEARCH_ENGINE="duckduckgo").tool.source == "search"
    for wrong in ({"SEARCH_ENGINE": "tavily"}, {"SEARCH_ENGINE": "searxng"}, {"SEARCH_URL": "x"}):
        with pytest.raises(SettingsError):
            tool(**wrong)


def test_findings_are_short():
    long = Finding("t" * 500, "word " * 500, "http://[bad")
    text = web.told(Found("a" * 2000, (long,)))
    assert len(text) < 1400 and "(unknown)" in text
