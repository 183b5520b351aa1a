"""The server's own tools: which are on, and whether what they need is there."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.errors import SettingsError
from whisperfusion.paths import COMMAND
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import AUTO, AUTO_TOOLS, builtin_tools, search_engine, tool_file
from whisperfusion.tools.mcp.checks import check_file

SEARCH_EXTRA = "pip install ddgs"


def check_tools(settings: Settings) -> Iterator[Finding]:
    """MCP servers are not started here; `tools` on the command line does that."""
    names = builtin_tools(settings)
    if names == (AUTO,):
        yield good(f"built in (TOOLS=auto): {', '.join(AUTO_TOOLS)} with a small embedded model")
    elif names:
        yield good(f"built in (TOOLS): {', '.join(names)}")
    engine = search_engine(settings)
    if engine == "duckduckgo" and find_spec("ddgs") is None:
        yield Finding("bad", "the web search by DuckDuckGo lacks its package", SEARCH_EXTRA)
    elif engine:
        yield good(f"web search: {engine}")
    file = tool_file(settings)
    if file is None:
        return
    try:
        check_file(settings)
    except SettingsError as error:
        yield Finding("bad", str(error), f"correct {file}; docs/tools.md describes it")
        return
    from whisperfusion.tools.mcp.configuration import read

    labels = ", ".join(read(file).servers) or "none"
    yield good(f"MCP servers ({file}): {labels}; `{COMMAND} tools` shows their tools")
