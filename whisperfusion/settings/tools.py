"""What the settings say about the server's own tools."""

from __future__ import annotations

from pathlib import Path

from whisperfusion.errors import SettingsError
from whisperfusion.settings.chosen import Settings

BUILTIN = ("time", "timers", "calculator", "end_call")
AUTO = "auto"  # those below, where they cost nothing
AUTO_TOOLS = ("time", "timers", "calculator")  # the end of a call is not to be had by mistake
SEARCH, MCP = "search", "mcp"  # groups of tools that come with what they ask
DEFAULT_FILE = "tools.toml"
ADDED_FILE = "mcp-servers.json"  # in the folder of the state


def builtin_tools(settings: Settings) -> tuple[str, ...]:
    """Groups of built-in tools that TOOLS names; `AUTO` where the language model process is to
    decide.
    """
    names = (part.strip() for part in settings.tools.split(","))
    return tuple(name for name in names if name and name != "none")


def search_engine(settings: Settings) -> str:
    """The engine of the web search; "" = none."""
    if settings.search_engine != "auto":
        return "" if settings.search_engine == "none" else settings.search_engine
    if settings.tavily_api_key:
        return "tavily"
    return "searxng" if settings.search_url else ""


def tool_file(settings: Settings) -> Path | None:
    """The file of MCP servers, where there is one."""
    path = Path(settings.tools_file).expanduser()
    return path if settings.tools_file and path.is_file() else None


def added_file(settings: Settings) -> Path:
    """The MCP servers that the page has added or switched off; it need not be there."""
    return settings.state_dir / ADDED_FILE


def has_servers(settings: Settings) -> bool:
    """Whether there may be an MCP server."""
    return tool_file(settings) is not None or added_file(settings).is_file()


def server_tools(settings: Settings) -> tuple[str, ...]:
    """What a call may use that chooses nothing itself: groups of tools, `MCP` for those of all MCP
    servers.
    """
    more = [SEARCH] * bool(search_engine(settings)) + [MCP] * has_servers(settings)
    return (*builtin_tools(settings), *more)


def check_tools(settings: Settings) -> None:
    """Raises SettingsError."""
    names = builtin_tools(settings)
    unknown = {*names} - {*BUILTIN, *([AUTO] if names == (AUTO,) else [])}
    if unknown:
        raise SettingsError(
            f"TOOLS={settings.tools!r}: {', '.join(sorted(unknown))} is not known; allowed: "
            f"{', '.join(BUILTIN)}, separated by commas, or auto, or none"
        )
    needed = {"tavily": ("TAVILY_API_KEY", settings.tavily_api_key)}
    needed["searxng"] = "SEARCH_URL", settings.search_url
    variable, value = needed.get(settings.search_engine, ("", "x"))
    if not value:
        raise SettingsError(
            f"SEARCH_ENGINE={settings.search_engine} needs {variable}; set it, or choose another"
        )
    url = settings.search_url
    if url and not url.startswith(("http://", "https://")):
        raise SettingsError("SEARCH_URL is not a URL; give one such as http://localhost:8080")
    if settings.tools_file not in ("", DEFAULT_FILE) and tool_file(settings) is None:
        raise SettingsError(
            f"TOOLS_FILE={settings.tools_file!r} is not there; give the path of a file such as "
            "deploy/tools.example.toml"
        )
