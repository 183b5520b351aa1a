"""Calls of tools that the client of a call has to approve: they wait in the chat history. One that
is approved runs within a reply of its own (`CreateReply.approved`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from whisperfusion.messages import ChatMessage
from whisperfusion.tools.client_servers import APPROVAL_PENDING, APPROVED, DECLINED
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command


def decided(call: Call, id: str, approve: bool) -> list[Command]:
    """From now on the history says what the client decided."""
    messages = call.replies.history.messages
    at = waiting_at(messages, id)
    if at is None:
        return []
    output = APPROVED if approve else DECLINED
    messages[at] = ChatMessage("result", json.dumps({"id": id, "output": output}))
    return call.replies.cancel_preemptive()


def waiting_at(messages: Sequence[ChatMessage], id: str) -> int | None:
    """Where in the history the call `id` waits for approval; None: it does not."""
    waits = {"id": id, "output": APPROVAL_PENDING}
    results = (at for at, one in enumerate(messages) if one.role == "result")
    return next((at for at in results if _given(messages[at]) == waits), None)


def _given(message: ChatMessage) -> object:
    try:
        return json.loads(message.text)
    except (ValueError, RecursionError):  # a client's own; the engine refuses it, with words
        return None
