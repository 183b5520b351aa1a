"""What is wrong with the configuration of MCP servers, before any is started."""

from __future__ import annotations

from importlib.util import find_spec

from whisperfusion.errors import SettingsError
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import tool_file

INSTALL = "pip install 'mcp>=2.3,<3'"


def check_file(settings: Settings) -> None:
    """Raises SettingsError for a file of MCP servers that cannot be used."""
    file = tool_file(settings)
    if file is None:
        return
    from whisperfusion.tools.mcp.configuration import read

    configuration = read(file)
    if configuration.servers and find_spec("mcp") is None:
        raise SettingsError(
            f"{file} names MCP servers, and the package for them is not installed: {INSTALL}. "
            "TOOLS_FILE= with nothing goes on without them"
        )
