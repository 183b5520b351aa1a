"""The command line of `main.py`: its commands and their arguments. Importing it loads no engine."""

from __future__ import annotations

import argparse

from whisperfusion import __version__, settings
from whisperfusion.paths import COMMAND

PORTS = "page on 8000, microphone on 6006, speech on 8888"
SOURCES = (
    "Settings come from flags, then the environment, then .env; docs/settings.md has the table, "
    f"and `{COMMAND} doctor` shows what they result in."
)


def parser() -> argparse.ArgumentParser:
    from whisperfusion.cli import sessions, talk
    from whisperfusion.cli.tool_arguments import add_arguments as add_tools

    top = argparse.ArgumentParser(
        prog=COMMAND,
        description=f"Speak to it and it answers. Without a command, runs the server: {PORTS}.",
        epilog=SOURCES,
    )
    top.add_argument("--version", action="version", version=f"whisperfusion {__version__}")
    settings.add_flags(top)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    serve = commands.add_parser(
        "run",
        help="run the server (the default)",
        description=f"Run the server: {PORTS}.",
        epilog=SOURCES,
    )
    settings.add_flags(serve, of_command=True)
    talk.add_arguments(
        commands.add_parser("talk", help="speak a recording or the microphone to a running server")
    )
    _add_replay(commands)
    _add_models(commands)
    sessions.add_arguments(
        commands.add_parser("sessions", help="list, show, export or delete the memory of calls")
    )
    add_tools(commands.add_parser("tools", help="list the server's own tools, or try one"))
    commands.add_parser(
        "doctor", help="ports, cores, memory, models, GPU: what will be used and why"
    )
    return top


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    replay = commands.add_parser(
        "replay", help="replay a recorded call through the core (RECORD_DIR records calls)"
    )
    replay.add_argument(
        "file",
        metavar="FILE",
        help="a recording; exit status 1: the core decides otherwise now, 2: not a recording",
    )


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser("models", help="list, fetch, verify or remove models")
    models.add_argument(
        "action", nargs="?", default="list", choices=["list", "fetch", "verify", "remove"]
    )
    models.add_argument(
        "names", nargs="*", metavar="ID", help="model ids; none = the ones the settings need"
    )
