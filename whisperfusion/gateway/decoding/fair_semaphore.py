"""A semaphore whose slots are shared fairly: one name may hold a share of them, and names that wait
take turns.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque

from whisperfusion.errors import WhisperFusionError


class QueueFull(WhisperFusionError):
    """Too many of one name already wait."""


class FairSemaphore:
    """`most` slots, `share` for one name, of which `waiting` may wait."""

    def __init__(self, most: int, share: int, waiting: int) -> None:
        self._most, self._share, self._longest = most, share, waiting
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def acquire(self, name: str) -> None:
        """Returns with a place; `give_back` ends it. Raises Full."""
        if self._free(name) and not self._waiting.get(name):
            self._held[name] += 1
            return
        queue = self._waiting.setdefault(name, deque())
        if len(queue) >= self._longest:
            raise QueueFull
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # the slot was granted together with the cancellation
            if turn.done() and not turn.cancelled():
                self.release(name)
            else:
                self._forget(name, turn)
            raise

    def release(self, name: str) -> None:
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]
        for other in list(self._waiting):
            if self._free(other):
                self._admit(other)
                return

    def _free(self, name: str) -> bool:
        return self._held.total() < self._most and self._held[name] < self._share

    def _admit(self, name: str) -> None:
        """Wakes the longest waiting of `name`, which then goes to the end of the queue."""
        turn = self._waiting[name][0]
        self._held[name] += 1
        turn.set_result(None)
        self._forget(name, turn)
        if name in self._waiting:
            self._waiting.move_to_end(name)

    def _forget(self, name: str, turn: asyncio.Future[None]) -> None:
        self._waiting[name].remove(turn)
        if not self._waiting[name]:
            del self._waiting[name]
