"""Port 6006: the controls that a client sends after its handshake."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from whisperfusion.messages import ChatMessage
from whisperfusion.tools import Tools
from whisperfusion.tools.client_servers import ClientServer
from whisperfusion.wire import FrameError
from whisperfusion.wire.asr_handshake import MOST_TOKENS, Update, update_of
from whisperfusion.wire.dialogue_fields import LINE_LENGTH, history_field, tools_field
from whisperfusion.wire.fields import (
    FieldError,
    count_field,
    json_object,
    number_field,
    refuse,
    text_field,
)
from whisperfusion.wire.limits import INSTRUCTIONS_LENGTH, NAME_LENGTH
from whisperfusion.wire.mcp_fields import mcp_servers_field

SAY_LENGTH = 4096


@dataclass(frozen=True)
class Say:
    """The user typed a line: a whole turn."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    """Stop the reply."""


@dataclass(frozen=True)
class CommitTurn:
    """End the turn now."""


@dataclass(frozen=True)
class Respond:
    """Reply to the chat history so far.

    None = as the call has it; all hold for this reply only. `id`: the client's name for it.
    """

    instructions: str | None = None
    tools: Tools | None = None
    id: str = ""
    max_tokens: int | None = None
    mcp_servers: tuple[ClientServer, ...] | None = None


@dataclass(frozen=True)
class Clear:
    """Discard the audio of the present turn."""


@dataclass(frozen=True)
class History:
    """A chat history, from its first message on; it replaces that of the call."""

    lines: tuple[ChatMessage, ...]


@dataclass(frozen=True)
class Result:
    """The result of a tool call."""

    id: str
    output: str


@dataclass(frozen=True)
class Approve:
    """The client approves the tool call `id`, which waits for that, or does not."""

    id: str
    approve: bool


@dataclass(frozen=True)
class HeardUpTo:
    """Playback position: this much of the reply's audio was played to the user."""

    turn: int
    seconds: float


Control = (
    Say | Interrupt | CommitTurn | Update | HeardUpTo | Respond | Clear | History | Result | Approve
)


def parse_control(text: str, languages: Container[str] | None = None) -> Control | None:
    """A text frame after the handshake; None = an unknown type, to be ignored.

    Raises `FrameError`. Ask `is_end_of_audio` first.
    """
    values: dict[str, Any] = {}
    try:
        values = json_object(text)
        kind = values.get("type")
        if not isinstance(kind, str):
            raise refuse("type", kind, ", ".join(_READERS))
        reader = _READERS.get(kind)
        return reader(values, languages) if reader else None
    except FieldError as problem:
        id = values.get("id")
        raise FrameError("bad_frame", str(problem), id if isinstance(id, str) else None) from None


def _say(values: dict[str, Any], _: Container[str] | None) -> Say:
    text = text_field(values, "text", "", SAY_LENGTH).strip()
    if not text:
        raise refuse(
            "text", values.get("text"), f"1 to {SAY_LENGTH} characters that are not all blank"
        )
    return Say(text)


def _heard_up_to(values: dict[str, Any], _: Container[str] | None) -> HeardUpTo:
    turn, seconds = (
        count_field(values, "turn", None, 0, 2**31),
        number_field(values, "seconds", None, 0, 86_400),
    )
    if turn is None or seconds is None:
        raise refuse(
            "turn" if turn is None else "seconds", None, "a number from 0 up; both are needed"
        )
    return HeardUpTo(turn, seconds)


def _respond(values: dict[str, Any], _: Container[str] | None) -> Respond:
    instructions = (
        text_field(values, "instructions", "", INSTRUCTIONS_LENGTH)
        if "instructions" in values
        else None
    )
    tools = tools_field(values) if "tools" in values else None
    most = count_field(values, "max_tokens", MOST_TOKENS, 1, MOST_TOKENS)
    most = most if "max_tokens" in values else None
    servers = mcp_servers_field(values) if "mcp_servers" in values else None
    return Respond(instructions, tools, text_field(values, "id", "", NAME_LENGTH), most, servers)


def _result(values: dict[str, Any], _: Container[str] | None) -> Result:
    id = text_field(values, "id", "", NAME_LENGTH)
    if not id:
        raise refuse("id", values.get("id"), "the id of the call")
    return Result(id, text_field(values, "output", "", LINE_LENGTH))


def _approve(values: dict[str, Any], _: Container[str] | None) -> Approve:
    id = text_field(values, "id", "", NAME_LENGTH)
    if not id or not isinstance(values.get("approve"), bool):
        name = "approve" if id else "id"
        raise refuse(name, values.get(name), "the id of the call, and approve: true or false")
    return Approve(id, values["approve"])


_READERS: dict[str, Any] = {
    "say": _say,
    "interrupt": lambda values, languages: Interrupt(),
    "commit": lambda values, languages: CommitTurn(),
    "update": update_of,
    "heard": _heard_up_to,
    "respond": _respond,
    "clear": lambda values, languages: Clear(),
    "history": lambda values, languages: History(history_field(values, "lines")),
    "result": _result,
    "approve": _approve,
}
