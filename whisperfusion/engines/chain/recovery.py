"""The links of a chain of engines at run time: loaded, left alone after a failure, asked again.

A link that cannot be loaded costs the start nothing, as long as another one can: it is tried again
in a thread of its own. What a link fails at is told once, when the next one takes over, and once
more when it answers again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from whisperfusion.engines.chain.breaker import Breaker
from whisperfusion.errors import EngineError, Refused, first_line, lost_for_good

E = TypeVar("E")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built(Generic[E]):
    """One link: its name, and how its engine is built. `remote`: a server elsewhere."""

    name: str
    build: Callable[[], E]
    remote: bool = False


class Links(Generic[E]):
    """Thread-safe. `verb` is what a link does ("transcribes"); `notify` gets sentences for callers.

    `answers` and `failures` are counted for each link.
    """

    def __init__(
        self,
        links: Sequence[Built[E]],
        verb: str,
        notify: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._links, self._verb, self._notify = tuple(links), verb, notify
        self.names = tuple(link.name for link in links)
        self._breakers = [Breaker(clock) for _ in links]
        self._engines: list[E | None] = [None] * len(links)
        self._counting = threading.Lock()
        self.answers, self.failures = [0] * len(links), [0] * len(links)
        self._told: set[int] = set()  # links whose failure callers know of

    def load(self) -> None:
        """All of them; those that cannot be loaded are tried again in a thread of their own.

        Raises EngineError where none can.
        """
        reasons = [self._load(at) for at in range(len(self._links))]
        missing = [at for at, reason in enumerate(reasons) if reason]
        if len(missing) == len(self._links):
            each = zip(self.names, reasons, strict=True)
            raise EngineError("; ".join(f"{name}: {reason}" for name, reason in each))
        for at in missing:
            self._say(at, f"cannot be used ({reasons[at]})", ())
            threading.Thread(
                target=self._load_again, args=(at,), name=f"load {self.names[at]}", daemon=True
            ).start()

    def loaded(self) -> list[int]:
        return [at for at, engine in enumerate(self._engines) if engine is not None]

    def engine(self, at: int) -> Any:
        return self._engines[at]

    def remote(self, at: int) -> bool:
        return self._links[at].remote

    def closed(self, at: int) -> bool:
        """Whether it is loaded and has not failed since it last answered."""
        return self._engines[at] is not None and self._breakers[at].closed

    def choose(self, tried: Sequence[int]) -> int:
        """The first link that is admitted and not `tried`; where none is admitted, the first that
        is not. Raises EngineError when all were.
        """
        left = [at for at in self.loaded() if at not in tried]
        for at in left:
            if self._breakers[at].admits():
                return at
        if not left:
            raise EngineError(f"none of the links can answer now: {', '.join(self.names)}")
        return left[0]

    def succeeded(self, at: int) -> None:
        """It did a job to its end."""
        with self._counting:
            self.answers[at] += 1
        log.debug("%s %s", self.names[at], self._verb)
        if self._breakers[at].succeeded():
            self._back(at)

    def failed(self, at: int, error: Exception, tried: Sequence[int]) -> None:
        """Raises `error` where no other link is left, and where the process is to blame."""
        if lost_for_good(error) and not self.remote(at):
            raise error
        if not isinstance(error, Refused):  # else it is busy, and not broken
            with self._counting:
                self.failures[at] += 1
            rest_s = self._breakers[at].failed(error)
            log.warning("%s failed and rests for %.0f s: %s", self.names[at], rest_s, said(error))
        left = [one for one in self.loaded() if one not in tried and one != at]
        if not left:
            raise error
        self._say(at, f"failed ({said(error)})", (*tried, at))

    def counted(self, stage: str) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
        """Name, labels and value of what /metrics has of each link."""
        found: list[tuple[str, tuple[tuple[str, str], ...], float]] = []
        for at, name in enumerate(self.names):
            labels = (("link", name),)
            found += [
                (f"{stage}_link_answers_total", labels, float(self.answers[at])),
                (f"{stage}_link_failures_total", labels, float(self.failures[at])),
                (f"{stage}_link_open", labels, float(not self.closed(at))),
            ]
        return found

    # ---------------------------------------------------------------------------------------------

    def _say(self, at: int, why: str, tried: Sequence[int]) -> None:
        with self._counting:
            if at in self._told:
                return
            self._told.add(at)
        left = [one for one in self.loaded() if one not in tried]
        instead = f"; {self.names[left[0]]} {self._verb} instead" if left and left[0] != at else ""
        self._notify(f"{self.names[at]} {why}{instead}")

    def _back(self, at: int) -> None:
        with self._counting:
            if at not in self._told:
                return
            self._told.discard(at)
        log.info("%s answers again", self.names[at])
        self._notify(f"{self.names[at]} answers again")

    def _load(self, at: int) -> str:
        """Why it failed; "" = it did not."""
        try:
            self._engines[at] = self._links[at].build()
            return ""
        except Exception as error:
            if lost_for_good(error) and not self.remote(at):
                raise
            log.warning("%s cannot be loaded: %s", self.names[at], said(error))
            self._breakers[at].failed(error)
            return said(error)

    def _load_again(self, at: int) -> None:
        while self._engines[at] is None:
            time.sleep(self._breakers[at].rest_s)
            if not self._load(at):
                self._breakers[at].succeeded()
                self._back(at)


def said(error: Exception) -> str:
    return str(error) if isinstance(error, EngineError) else first_line(error)
