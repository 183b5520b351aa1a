"""In which order passes over utterances go to a server.

A final pass goes at once, and ends the interim ones that are under way: many servers stop working
when the connection closes. An interim pass waits while a final one runs. There is never a queue of
old ones: a pass that was ended is not repeated, because the next one has its audio and more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from whisperfusion.errors import GaveWay

LONGEST_WAIT_S = 5.0  # of an interim pass
T = TypeVar("T")


class Passes:
    """Both methods are called on the event loop of the requests."""

    def __init__(self) -> None:
        import asyncio

        self._asyncio = asyncio
        self._finals = 0
        self._none_final = asyncio.Event()
        self._none_final.set()
        self._interim: set[asyncio.Task[Any]] = set()
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """The server asked for fewer requests: no interim pass for so long."""
        self._paused_until = self._asyncio.get_running_loop().time() + seconds

    async def final(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._finals += 1
        self._none_final.clear()
        for task in self._interim:
            task.cancel()
        try:
            return await work()
        finally:
            self._finals -= 1
            if not self._finals:
                self._none_final.set()

    async def interim(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises GaveWay."""
        if self._asyncio.get_running_loop().time() < self._paused_until:
            raise GaveWay("the speech to text server asked for fewer requests")
        try:
            await self._asyncio.wait_for(self._none_final.wait(), LONGEST_WAIT_S)
        except (TimeoutError, self._asyncio.TimeoutError):
            raise GaveWay("final passes take all the time of the speech to text server") from None
        task = self._asyncio.ensure_future(work())
        self._interim.add(task)
        try:
            return await task
        except self._asyncio.CancelledError:
            raise GaveWay("an interim pass gave way to a final one") from None
        finally:
            self._interim.discard(task)
