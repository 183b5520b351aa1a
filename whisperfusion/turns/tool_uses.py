"""What a reply has used of the server's own tools: for the client, and for the history.

The model calls them, the language process runs them, and what they gave stands in the history
before the text that was made of it, in the order in which it happened.
"""

from __future__ import annotations

import json
from dataclasses import replace

from whisperfusion.messages import ChatMessage, ToolFinished, ToolStarted
from whisperfusion.turns.commands import ReplyToolUsed

# of a tool that was still at work when its reply ended: it may have acted
UNKNOWN = "The user went on before there was a result."


class ToolUses:
    """Of one reply."""

    def __init__(self, turn: int) -> None:
        self._turn = turn
        self._begun: dict[str, ToolStarted] = {}
        self._order: list[ToolStarted | ToolFinished] = []

    def __bool__(self) -> bool:
        return bool(self._begun)

    @property
    def hands_back(self) -> bool:
        """Their results are the end of the reply: what was said came before."""
        return any(one.hands_back for one in self._begun.values())

    def add(self, message: ToolStarted | ToolFinished) -> list[ReplyToolUsed]:
        """What the client learns: nothing of a result without its call, or of a second one."""
        if isinstance(message, ToolStarted):
            if message.id in self._begun:
                return []
            self._begun[message.id] = message
        elif message.id not in self._open():
            return []
        self._order.append(message)
        return [self._shown(message)]

    def shown(self) -> list[ReplyToolUsed]:
        """All that is known of them."""
        return [self._shown(one) for one in self._order]

    def lines(self) -> list[ChatMessage]:
        """For the history: each call, and the result that every call must have."""
        unknown = [
            ToolFinished(self._begun[id].ticket, id, UNKNOWN, failed=True) for id in self._open()
        ]
        return [_line(one) for one in (*self._order, *unknown)]

    def _open(self) -> list[str]:
        finished = {one.id for one in self._order if isinstance(one, ToolFinished)}
        return [id for id in self._begun if id not in finished]

    def _shown(self, message: ToolStarted | ToolFinished) -> ReplyToolUsed:
        begun = self._begun[message.id]
        shown = ReplyToolUsed(
            self._turn, begun.id, begun.name, begun.arguments, approval=begun.approval
        )
        if isinstance(message, ToolStarted):
            return shown
        if message.failed:
            return replace(shown, error=message.output)
        return replace(shown, output=message.output)


def _line(message: ToolStarted | ToolFinished) -> ChatMessage:
    if isinstance(message, ToolStarted):
        values = {"id": message.id, "name": message.name, "arguments": message.arguments}
        return ChatMessage("call", json.dumps(values))
    return ChatMessage("result", json.dumps({"id": message.id, "output": message.output}))
