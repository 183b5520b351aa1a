"""Rate and concurrency limits for each key and each address, counted in the process that accepts
the connection.

Two kinds. `admitted` counts requests and connections, in a sliding minute (package `limits`) and
concurrently, as RATE_LIMIT and CALLS_LIMIT say; 0 = no limit. `hold` limits expensive work: of each
`Cost` there are `most` in the server, of which one address gets `each` and one key three quarters,
so that no client takes all. A route uses its `Quota`:

    RESPONSES = Cost("responses", most=32, each=8)
    with quota_of(request.scope).hold(RESPONSES):  # raises TooMany
        ...
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from whisperfusion.errors import WhisperFusionError
from whisperfusion.runtime.peers import is_local, network

WAIT_S = 5.0  # Retry-After for concurrency limits, whose end is unknown
KEY = "whisperfusion.key"  # where it stores the number of its key
SCOPE = "whisperfusion.quota"  # where the access middleware stores the `Quota` of a request


class TooMany(WhisperFusionError):
    """A limit was reached; try again in `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.message, self.retry_after_s = message, retry_after_s


@dataclass(frozen=True)
class Cost:
    """Work of which the server does `most` concurrently, and `each` for one address. `name` is
    plural, for messages: "responses".
    """

    name: str
    most: int
    each: int

    def share(self, name: str) -> int:
        """The limit of a key or an address, as `names_of` writes them. A key and this machine stand
        for many clients, and get three quarters.
        """
        address = name.removeprefix("address ")
        if address != name and not is_local(address):
            return self.each
        return max(self.each, self.most - self.most // 4)


@dataclass(frozen=True)
class Quota:
    """The limits of one client. `names` are its key and its address, as limits count them."""

    limits: Limits
    names: tuple[str, ...]

    def hold(self, cost: Cost) -> AbstractContextManager[None]:
        """One piece of `cost`, until the context ends. Raises TooMany."""
        return self.limits.hold(cost, self.names)


class Limits:
    def __init__(self, per_minute: int, at_once: int) -> None:
        self._per_minute, self._at_once = per_minute, at_once
        self._rate = MovingWindowRateLimiter(MemoryStorage()) if per_minute else None
        self._item = RateLimitItemPerMinute(max(1, per_minute))
        self._open: Counter[str] = Counter()
        self._held: Counter[tuple[str, str]] = (
            Counter()
        )  # (name of the cost, of its holder); "" = all clients

    @contextmanager
    def admitted(self, names: Iterable[str]) -> Iterator[None]:
        """Counts a request or a connection of `names` (a key, an address) while it lasts. Raises
        TooMany.
        """
        held = [name for name in names if name]
        for name in held:
            if self._at_once and self._open[name] >= self._at_once:
                raise TooMany(
                    f"{self._at_once} connections or requests at once are allowed; end one first",
                    WAIT_S,
                )
        for name in held:
            if self._rate is not None and not self._rate.hit(self._item, name):
                reset = self._rate.get_window_stats(self._item, name).reset_time
                raise TooMany(
                    f"{self._per_minute} requests a minute are allowed",
                    max(1, math.ceil(reset - time.time())),
                )
        with _counted(self._open, held):
            yield

    @contextmanager
    def hold(self, cost: Cost, names: Iterable[str]) -> Iterator[None]:
        """One piece of `cost` for the client of `names`.

        Raises TooMany: its share, or all of it, is in use.
        """
        held = [name for name in names if name]
        for name in held:
            if self._held[cost.name, name] >= cost.share(name):
                raise TooMany(
                    f"{cost.share(name)} {cost.name} at once are allowed for one client; "
                    "end one first",
                    WAIT_S,
                )
        if self._held[cost.name, ""] >= cost.most:
            raise TooMany(
                f"all {cost.most} {cost.name} that this server allows at once are in use", WAIT_S
            )
        with _counted(self._held, [(cost.name, name) for name in (*held, "")]):
            yield


@contextmanager
def _counted(counter: Counter[Any], held: list[Any]) -> Iterator[None]:
    counter.update(held)
    try:
        yield
    finally:
        counter.subtract(held)
        for name in held:
            if counter[name] <= 0:
                del counter[name]


def names_of(key: int | None, address: str) -> tuple[str, ...]:
    """The names that limits count for a client: `key` is its number
    (`whisperfusion.runtime.devices.Keys`), None without one; IPv6 is counted by network.
    """
    of_key = (f"key {key}",) if key is not None else ()
    of_address = (f"address {network(address)}",) if address else ()
    return of_key + of_address


def key_of_scope(scope: Mapping[str, Any]) -> int | None:
    """The number of the key that a request came with, set by the access middleware; None: none."""
    key: int | None = scope.get(KEY)
    return key


def quota_of(scope: Mapping[str, Any]) -> Quota:
    """The quota of a request or a WebSocket (`request.scope`), set by the access middleware."""
    quota: Quota = scope[SCOPE]
    return quota
