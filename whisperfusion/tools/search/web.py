"""The tool that searches the web."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from whisperfusion.settings import Settings
from whisperfusion.settings.tools import SEARCH
from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin.arguments import check_of, schema_of
from whisperfusion.tools.running import BoundTool, Invocation
from whisperfusion.tools.search.engines import TIME_LIMIT_S, Finding, Found, search_of

SHOWN = 350  # characters of one finding, and of its engine's answer twice that


class Query(BaseModel):
    query: str = Field(
        min_length=1, max_length=300, description="What to search for, in a few words."
    )


TOOL = ServerTool(
    "web_search",
    "Search the web: news, weather, prices, facts of today, whatever you do not know.",
    schema_of(Query),
    SEARCH,
    trusted=False,
    filler=True,
    time_limit_s=TIME_LIMIT_S,
)


def bound(settings: Settings) -> tuple[BoundTool, ...]:
    """Empty where no engine is configured."""
    search = search_of(settings)
    if search is None:
        return ()

    async def run(invocation: Invocation) -> str:
        return told(await search(invocation.arguments["query"]))

    return (BoundTool(TOOL, check_of(Query), run),)


def told(found: Found) -> str:
    lines = [found.answer[: 2 * SHOWN]] if found.answer else []
    lines += [_line(one) for one in found.findings]
    return "\n".join(lines) or "Nothing was found."


def _line(one: Finding) -> str:
    text = " ".join(one.text.split())
    if len(text) > SHOWN:
        text = text[:SHOWN].rsplit(" ", 1)[0] + " …"
    return f"- {' '.join(one.title.split())[:150]}: {text} ({_host(one.url)})"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "unknown"
    except ValueError:
        return "unknown"
