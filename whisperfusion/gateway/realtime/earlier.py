"""A conversation that goes on in another connection, perhaps at another server of the same store.

The server's session is what is kept of a conversation (docs/sessions.md), so a conversation has its
name: a client reads it as `conversation_id` in each response, and puts it into the address of its
next connection (`?conversation=`). It then gets the items of what was said, as the server remembers
it.
"""

from __future__ import annotations

from typing import Any

from whisperfusion.gateway.realtime.items import Items
from whisperfusion.gateway.realtime.response import Send
from whisperfusion.wire import asr_events
from whisperfusion.wire.realtime import RealtimeError
from whisperfusion.wire.realtime_items import error, event, new_id, remembered_item

PREFIX = "conv_"
SUMMARY = "What was said before, summed up:"


def new_conversation() -> str:
    """Of a conversation that is kept nowhere."""
    return new_id(PREFIX.removesuffix("_"))


def handshake_of(conversation: str) -> dict[str, Any]:
    """The fields by which a call goes on with it; "" = with none."""
    if not conversation:
        return {}
    return {"session": conversation.removeprefix(PREFIX), "send_history": True}


def conversation_of(ready: asr_events.Ready) -> str | None:
    """The name of a new call's conversation, where the server keeps it."""
    return f"{PREFIX}{ready.session}" if ready.session else None


async def go_on(send: Send, items: Items, earlier: str, ready: asr_events.Ready) -> None:
    """Of the conversation `earlier`, which a call has been opened for, the client gets the items,
    or that it is not known.
    """
    if not ready.resumed:
        problem = f"{earlier[:60]!r} is not known to this server and key, or not any more"
        how = "the conversation starts anew; one can go on for RESUME_S seconds"
        await send(
            error(RealtimeError("conversation_not_found", f"{problem}; {how}", "conversation"))
        )
        return
    before = [remembered_item(one.role, one.text) for one in ready.history or ()]
    if ready.summary:
        before.insert(0, remembered_item("system", f"{SUMMARY} {ready.summary}"))
    items.remembered(before)
    previous: str | None = None
    for item in before:
        for kind in ("added", "done"):
            fields = {"previous_item_id": previous, "item": item}
            await send(event(f"conversation.item.{kind}", **fields))
        previous = item["id"]
