"""MCP servers that a client names for its own call, as values, and approval by the client.

A client that names such servers approves their tools itself, by the id of a call, instead of with
the user's spoken yes. What stands in the chat history for a call that waits tells the language
process that the call was not made; only the exact text counts, and no result of a tool can be it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
PREFIX = "call."  # of a label, where tools are named: never the name of an operator's group
APPROVAL_PENDING = "Not done yet: the application was asked for approval."
APPROVED = "Approved: it is done in the next call."
DECLINED = "Not done: the application did not approve it."


@dataclass(frozen=True)
class ToolFilter:
    """Tools of one server: by name (None: any), and by whether they only read (None: any)."""

    names: tuple[str, ...] | None = None
    read_only: bool | None = None

    def matches(self, name: str, reads: bool) -> bool:
        named = self.names is None or name in self.names
        return named and self.read_only in (None, reads)


@dataclass(frozen=True)
class ClientServer:
    """`url` "": the operator's server of that label.

    `always` and `never`: which tools need approval; None and None: as the operator has it, or
    always where the client gave the URL. `answers` "asked": the reply ends with a tool's result,
    and the client asks for the next one. `only`: the one tool that a reply may use.
    """

    label: str
    url: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # they hold keys
    allowed: ToolFilter = ToolFilter()
    always: ToolFilter | None = None
    never: ToolFilter | None = None
    answers: str = "auto"
    only: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Of its tools, among those that a reply may use."""
        return PREFIX + self.label + (f"/{self.only}" if self.only else "")

    @property
    def secrets(self) -> tuple[str, ...]:
        values = [value for _, value in self.headers]
        return tuple(values + [value.partition(" ")[2] for value in values if " " in value])

    def needs_approval(self, name: str, reads: bool, otherwise: bool) -> bool:
        if self.never is not None and self.never.matches(name, reads):
            return False
        if self.always is not None:
            return self.always.matches(name, reads) or self.never is not None
        return True if self.never is not None or self.url else otherwise


@dataclass(frozen=True)
class ListedTool:
    """`name` is what the model calls it, `own_name` what its server does. `parameters` is its
    JSON schema as text.
    """

    name: str
    own_name: str
    description: str
    parameters: str
    read_only: bool = False


def name_of(label: str, name: str) -> str:
    """What the model calls a tool; engines take 1 to 64 letters, digits, _ and -."""
    return f"{label}_{UNFIT.sub('_', name)}"[:64]


def named_in(label: str, names: Collection[str]) -> tuple[str, ...] | None:
    """Which tools of the server `label` are among `names`; None: all, () none."""
    every = PREFIX + label
    if every in names:
        return None
    return tuple(one[len(every) + 1 :] for one in names if one.startswith(f"{every}/"))


def names_of(servers: Sequence[ClientServer]) -> tuple[str, ...]:
    return tuple(one.name for one in servers)


def without_servers(names: Sequence[str]) -> tuple[str, ...]:
    """`names` of tools without those of a call's own servers."""
    return tuple(name for name in names if not name.startswith(PREFIX))
