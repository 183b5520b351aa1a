"""The arguments of `whisperfusion tools`, apart from what it imports."""

from __future__ import annotations

import argparse

from whisperfusion.paths import COMMAND

ACTIONS = ("list", "try")
DESCRIPTION = """\
The server's own tools (docs/tools.md):

  list                  all that there are, from where, and which are on (the default)
  try NAME [ARGUMENTS]  use one now; ARGUMENTS is a JSON object. It has its effect, without a
                        question, except on calls: there is none here
"""
EXAMPLES = f"""\
examples:
  {COMMAND} tools
  {COMMAND} tools try calculate '{{"expression": "15% of 80"}}'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS, metavar="ACTION")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="of a tool")
    parser.add_argument("arguments", nargs="?", default="{}", metavar="ARGUMENTS", help="JSON")
