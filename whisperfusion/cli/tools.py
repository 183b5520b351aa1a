"""`whisperfusion tools [list|try] [NAME] [ARGUMENTS]`: the server's own tools, without a server."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import TimeoutError as TooLate

from whisperfusion.messages import Ticket
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import AUTO, AUTO_TOOLS, server_tools
from whisperfusion.tools.catalog import Catalog
from whisperfusion.tools.mcp.checks import check_file
from whisperfusion.tools.runner import Runner, checked
from whisperfusion.tools.running import BoundTool, Invocation, ToolError

WAIT_S = 25.0  # for MCP servers


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The exit status: 0 done, 1 the tool failed or is unknown. Raises SettingsError."""
    check_file(settings)
    runner = Runner()
    catalog = Catalog(settings, runner)
    wait_for_servers(catalog)
    if arguments.action == "list":
        show(catalog, settings)
        return 0
    found = {one.tool.name: one for one in catalog.all()}
    if arguments.name not in found:
        print(f"{arguments.name or 'that'} is not a tool here: {', '.join(found)}", file=sys.stderr)
        return 1
    return use(found[arguments.name], arguments.arguments, runner)


def wait_for_servers(catalog: Catalog) -> None:
    """Until each MCP server was reached or was tried."""
    deadline = time.monotonic() + WAIT_S
    while catalog.waiting() and time.monotonic() < deadline:
        time.sleep(0.05)


def show(catalog: Catalog, settings: Settings) -> None:
    names = server_tools(settings)
    on = {one.tool.name for one in catalog.chosen(names)}
    usual = {one.tool.name for one in catalog.chosen(AUTO_TOOLS if AUTO in names else ())}
    for one in catalog.all():
        tool = one.tool
        marks = [
            _state(tool.name, on, usual),
            *["has an effect"] * tool.acts,
            *["asks first"] * tool.asks,
            *["results from elsewhere"] * (not tool.trusted),
        ]
        print(f"{tool.name:24} {tool.source:12} {', '.join(marks)}")
        print(f"{'':24} {tool.description[:100]}")
    servers = catalog.states()
    for label, state in servers.items():
        print(f"MCP server {label}: {state}")
    if not servers:
        print(f"no MCP servers, in {settings.tools_file or 'TOOLS_FILE'} or of the page /tools")


def _state(name: str, on: set[str], usual: set[str]) -> str:
    if name in usual:
        return "on with a small embedded model"
    return "on" if name in on else "off"


def use(bound: BoundTool, arguments: str, runner: Runner) -> int:
    try:
        given = checked(bound, arguments)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1
    effects: list[object] = []
    invocation = Invocation(Ticket("tools", 0), given, (), effects.append)
    try:
        outcome = runner.start(bound, invocation).result(bound.tool.time_limit_s + WAIT_S)
    except TooLate:
        print("it gave no result", file=sys.stderr)
        return 1
    print(outcome.output, file=sys.stderr if outcome.failed else sys.stdout)
    for effect in effects:
        print(f"(a call would get: {effect})")
    print(f"({outcome.seconds:.2f} s)")
    return int(outcome.failed)
