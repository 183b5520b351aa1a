"""What the runner, the catalog and the tools of this server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whisperfusion.errors import WhisperFusionError
from whisperfusion.messages import CancelTimer, EndCall, SetTimer, Ticket, Timer
from whisperfusion.tools import ServerTool

Effect = SetTimer | CancelTimer | EndCall


class ToolError(WhisperFusionError):
    """One use of a tool failed; the text is for the model, and without secrets."""


class ReportedError(ToolError):
    """The same, in words from elsewhere: those of the server that was asked."""


@dataclass(frozen=True)
class Invocation:
    """One use of a tool. `timers` are those of the call; `post` sends an effect to it."""

    ticket: Ticket
    arguments: Mapping[str, Any]
    timers: tuple[Timer, ...]
    post: Callable[[Effect], object]


@dataclass(frozen=True)
class BoundTool:
    """A tool with what it does.

    `check` gets the model's arguments, and returns them as `run` takes them; both may raise
    `ToolError`. `run` is awaited in the runner's event loop and must not block it. `counted_as`: in
    metrics, in place of its name.
    """

    tool: ServerTool
    check: Callable[[dict[str, Any]], dict[str, Any]]
    run: Callable[[Invocation], Awaitable[str]]
    counted_as: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a tool returned, or with `failed` the reason why it returned nothing.

    `own`: the text is this server's, whatever the tool. `seconds`: how long it took.
    """

    output: str
    failed: bool = False
    own: bool = False
    seconds: float = 0.0
