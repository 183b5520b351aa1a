"""Three engines of web search, each a function from words to findings.

Sources: docs.tavily.com (POST /search), docs.searxng.org (GET /search, format=json), and the
package ddgs, which reads DuckDuckGo's page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from whisperfusion.settings import Settings
from whisperfusion.settings.tools import search_engine
from whisperfusion.tools.running import ToolError

TAVILY_URL = "https://api.tavily.com"
MOST = 5  # findings
MOST_BYTES = 2_000_000  # of a response
TIME_LIMIT_S = 10.0
NO_DDGS = "the package ddgs is not installed on the server: pip install ddgs"


@dataclass(frozen=True)
class Finding:
    title: str
    text: str
    url: str


@dataclass(frozen=True)
class Found:
    """`answer` is the engine's own, where it gives one."""

    answer: str
    findings: tuple[Finding, ...]


Search = Callable[[str], Awaitable[Found]]


def search_of(settings: Settings) -> Search | None:
    """None: no engine is configured. What a search raises is a ToolError."""
    url = settings.search_url.rstrip("/")
    match search_engine(settings):
        case "tavily":
            return tavily(settings.tavily_api_key, url or TAVILY_URL)
        case "searxng":
            return searxng(url)
        case "duckduckgo":
            return duckduckgo()
    return None


def tavily(key: str, url: str = TAVILY_URL) -> Search:
    async def search(query: str) -> Found:
        body = {"query": query, "max_results": MOST, "include_answer": True}
        headers = {"Authorization": f"Bearer {key}"}
        given = await _asked("POST", f"{url}/search", json=body, headers=headers)
        return Found(_text(given, "answer"), _findings(given, "content"))

    return search


def searxng(url: str) -> Search:
    async def search(query: str) -> Found:
        given = await _asked("GET", f"{url}/search", params={"q": query, "format": "json"})
        answers = [
            one if isinstance(one, str) else _text(one, "answer")
            for one in _list(given, "answers") + _list(given, "infoboxes")
        ]
        boxes = [_text(one, "content") for one in _list(given, "infoboxes")]
        answer = next(filter(None, (*answers, *boxes)), "")
        return Found(answer, _findings(given, "content"))

    return search


def duckduckgo(verify: bool | str = True) -> Search:
    """`verify` as ddgs takes it: False, or a file with certificates."""

    def ask(query: str) -> Found:
        try:
            from ddgs import DDGS
            from ddgs.exceptions import DDGSException
        except ImportError:
            raise ToolError(NO_DDGS) from None
        try:
            found = DDGS(timeout=int(TIME_LIMIT_S), verify=verify).text(
                query, max_results=MOST, backend="duckduckgo"
            )
        except DDGSException as error:
            if "No results" in str(error):
                return Found("", ())
            raise ToolError("DuckDuckGo did not answer; try again later") from None
        return Found(
            "",
            tuple(
                Finding(str(one.get("title")), str(one.get("body")), str(one.get("href")))
                for one in found[:MOST]
            ),
        )

    async def search(query: str) -> Found:
        return await asyncio.to_thread(ask, query)

    return search


async def _asked(method: str, url: str, **request: Any) -> dict[str, Any]:
    """The JSON object that the server sends. Raises ToolError, without the URL and the key."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=TIME_LIMIT_S) as client:
            async with client.stream(method, url, **request) as response:
                body = await _body(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ToolError(f"the search server is not reached ({type(error).__name__})") from None
    if response.status_code in (401, 403):
        raise ToolError(
            "the search server refuses the key, or answers in JSON (in SearXNG's settings: "
            "search.formats)"
        )
    if response.status_code == 429 or response.status_code in (432, 433):
        raise ToolError("the search server has had too many questions; try again later")
    if response.status_code != 200:
        raise ToolError(f"the search server failed (status {response.status_code})")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ToolError("the search server sent something else than JSON")
    return given


async def _body(response: Any) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise ToolError("the search server sent too much")
        parts.append(part)
    return b"".join(parts)


def _findings(given: dict[str, Any], text: str) -> tuple[Finding, ...]:
    found = [one for one in _list(given, "results") if isinstance(one, dict)]
    return tuple(
        Finding(_text(one, "title"), _text(one, text), _text(one, "url")) for one in found[:MOST]
    )


def _list(given: dict[str, Any], name: str) -> list[Any]:
    value = given.get(name)
    return value if isinstance(value, list) else []


def _text(given: Any, name: str) -> str:
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, str) else ""
