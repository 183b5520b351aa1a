"""Everybody who calls, and what they got."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from bench.faults.account import Account
from bench.faults.interfaces import VISITS, Visitor
from bench.faults.material import Material
from bench.faults.people import Person
from bench.faults.topology import Front

SOCKETS, BY_GATEWAY = "sockets", "page"
LAST_S = 200.0  # for the turns that are open at the end: each may take STUCK_S


class Client(Protocol):
    code: str
    interface: str
    uid: str

    async def live(self, over: asyncio.Event) -> None: ...


class Crowd:
    """`interfaces`: one for each caller, `sockets`, `page` (the sockets through port 8000) or one
    of `VISITS`. `line`: what stands between a caller and the server, by the caller's number.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        front: Front,
        account: Account,
        material: Material,
        seed: int,
        line: Callable[[int, Front], Front] = lambda number, front: front,
    ) -> None:
        self.account = account
        self.clients: list[Client] = []
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        for number, interface in enumerate(interfaces):
            kind = Visitor if interface in VISITS else Person
            place = front.by_gateway() if interface == BY_GATEWAY else front
            chance = random.Random(f"{seed}/{number}")
            code = account.codes.new()
            self.clients.append(
                kind(code, interface, line(number, place), account, material, chance)
            )

    def start(self) -> None:
        self._tasks = [asyncio.create_task(one.live(self._over)) for one in self.clients]

    def check(self) -> None:
        """Raises what a caller's own code raised: a fault of the bench."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Turns that are open end first."""
        self._over.set()
        done, open_tasks = await asyncio.wait(self._tasks, timeout=LAST_S)
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)
        for task in done:
            task.result()
