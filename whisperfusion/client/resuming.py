"""A call whose connection was lost: opening it again, at growing intervals, for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection

from whisperfusion.client.errors import CallError, ServerBusy, ServerDown

FIRST_DELAY_S, LONGEST_DELAY_S = 0.3, 5.0
# of a socket that its server did not mean to close: lost, restarting, broken, again later
ACCIDENTS = (None, 1001, 1006, 1011, 1012)


@dataclass(frozen=True)
class ConnectionLost:
    """The call is being opened again. What is said meanwhile is lost; typed lines wait."""


@dataclass(frozen=True)
class Reconnected:
    """The call is open again; turns are counted anew. `resumed`: it goes on with `messages` of
    its history, else the server has forgotten it.
    """

    resumed: bool
    messages: int = 0


def is_accident(socket: ClientConnection) -> bool:
    return socket.close_code in ACCIDENTS


async def opened_again(open: Callable[[], Awaitable[None]], seconds: float) -> str:
    """Calls `open` until it succeeds: "", or why it did not within that time."""
    loop = asyncio.get_running_loop()
    until, delay_s = loop.time() + seconds, FIRST_DELAY_S
    while True:
        try:
            await open()
            return ""
        except (ServerDown, ServerBusy) as error:
            if loop.time() + delay_s > until:
                return str(error)
        except CallError as error:
            return str(error)
        # spread, so that all callers of a server do not come back at once
        await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)
