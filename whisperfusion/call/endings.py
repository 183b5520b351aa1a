"""How a connection on 6006 ends before its client ends it, and work that ends with its client."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from whisperfusion.runtime.sockets import Outgoing
from whisperfusion.wire import asr_events
from whisperfusion.wire.asr_events import to_json

LONGEST_REASON = 120  # bytes of a close frame


def send_away(out: Outgoing, uid: str, minutes: float, reason: str) -> None:
    """Close a connection that is not admitted; the client may try again after `minutes`."""
    out.send(to_json(uid, asr_events.ServerFull(minutes)))
    out.close(1013, f"busy: {reason}"[:LONGEST_REASON])


def break_off(out: Outgoing, uid: str = "") -> None:
    """End a connection after an error of this server, and say so."""
    mistake = (
        "the server made a mistake and ends this connection; its log tells more. Please connect "
        "again"
    )
    out.send(to_json(uid, asr_events.Refused(mistake)))
    out.close(1011, "see the message before")


def move(out: Outgoing) -> None:
    """End a connection whose client goes on at another server, with its session."""
    out.close(1012, "this server is being restarted; connect again to go on")


async def while_there(
    connection: Any,
    work: Coroutine[Any, Any, None],
    timeout_s: float,
    idle: Coroutine[Any, Any, None] | None = None,
) -> bool:
    """Do `work` until it is done or the client is gone.

    False: it took too long, or `idle` ended before. Cancelled, it ends all of them.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(connection.wait_closed())
    idling = [] if idle is None else [asyncio.create_task(idle)]
    try:
        await asyncio.wait(
            (working, gone, *idling), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        done = working.done() or gone.done()
    finally:
        for task in (working, gone, *idling):
            task.cancel()
        await asyncio.gather(working, gone, *idling, return_exceptions=True)
    if not working.cancelled():
        working.result()
    return done
