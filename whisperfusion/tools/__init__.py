"""Functions that a language model may call: the client's own, and tools of this server.

A client's JSON is read and checked once, in `wire`; from there on `Tools` travels, and becomes JSON
again only where a model or a server wants it. A `ServerTool` describes a tool of this server to the
loop that runs it (generation/tool_loop.py), to the router that chooses for small models, and to the
model itself; `catalog.py` knows what it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Function:
    """`definition` is what chat completions nest in a tool: name, description, parameters (a JSON
    schema), and whatever else the client wrote there.
    """

    name: str
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class Tools:
    """Without functions it is false. `choice` is "auto" or "required": a client's "none" offers
    nothing.
    """

    functions: tuple[Function, ...] = ()
    choice: str = "auto"

    def __bool__(self) -> bool:
        return bool(self.functions)

    def for_chat_completions(self) -> dict[str, Any]:
        """The fields "tools" and "tool_choice" of a request for chat completions."""
        tools = [{"type": "function", "function": dict(one.definition)} for one in self.functions]
        return {"tools": tools, "tool_choice": self.choice}


NO_TOOLS = Tools()


@dataclass(frozen=True)
class ServerTool:
    """A tool that this server runs. `parameters` is a JSON schema.

    `source` is the name by which settings choose it: its group ("time", "search"), or the label of
    an MCP server. `acts`: it has an effect, and runs only once the user's turn is known to be over
    (`Commit`). `trusted`: its results are this server's own words; others may hold anything, and
    what they say is never done. `follows`: it may run after an untrusted result of the same turn,
    whatever that was; `chains`: only after results of its own source. `asks`: it runs only after
    the user agreed to a spoken question, which is `question` or made from its name.

    `filler`: it takes long enough for a word meanwhile. `silent`: nothing has to be said of its
    success. `time_limit_s` in seconds, `output_limit` in characters.

    Of MCP servers: `own_name` is what the server calls it. `by_client`: where it `asks`, the client
    of the call approves, not the user's words. `hands_back`: the reply ends with its result.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    source: str
    acts: bool = False
    trusted: bool = True
    follows: bool = False
    chains: bool = False
    asks: bool = False
    question: str = ""
    filler: bool = False
    silent: bool = False
    time_limit_s: float = 10.0
    output_limit: int = 2000
    own_name: str = ""
    by_client: bool = False
    hands_back: bool = False

    @property
    def function(self) -> Function:
        """As the model is told of it."""
        return Function(
            self.name,
            {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        )


def from_chat_completions(fields: Mapping[str, Any]) -> Tools:
    """From checked fields "tools" and "tool_choice"."""
    offered = [tool["function"] for tool in fields.get("tools") or ()]
    choice = fields.get("tool_choice") or "auto"
    if not offered or choice == "none":
        return NO_TOOLS
    return Tools(tuple(Function(one["name"], one) for one in offered), choice)
