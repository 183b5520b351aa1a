"""What a store has of a call, read by a test beside the servers of that store."""

from __future__ import annotations

import asyncio

from whisperfusion.sessions import open_store
from whisperfusion.settings import Settings


async def written(store: str, session: str, messages: int, after: str = "") -> str:
    """Until the store has so many of the session, and nothing that is unfinished, of another call
    than `after`. The id of that call.
    """
    opened = open_store(Settings(store_url=store))
    assert opened is not None
    try:
        while True:
            found = await asyncio.to_thread(opened.load, session)
            whole = found and len(found.history) == messages and found.pending is None
            if found and whole and found.call != after:
                return found.call
            await asyncio.sleep(0.05)
    finally:
        opened.close()
