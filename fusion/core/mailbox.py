"""The newest jobs of each call, and what is stale.

Staleness is a comparison: every ticket that is seen raises `newest` of its call, and whatever is older is
dropped or refused. The mailbox knows neither threads nor clocks; its owner guards it. A job that was taken
is not touched: who works on it asks `stale` between its steps.

Calls are served in turn, and a call is busy from `take` until `done`, so one caller with many jobs delays
nobody, and the jobs of one call keep their order. Urgent jobs go before all others, also of their own call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fusion.messages import Ticket

Job = TypeVar("Job")

# Messages of one call come from two processes and may arrive after its Hangup. Names of calls are never used
# twice, so a forgotten one is refused; late messages are at most seconds late, hence a bounded memory is enough.
FORGOTTEN = 1024


@dataclass
class _Entry(Generic[Job]):
    ticket: Ticket
    job: Job
    key: Hashable | None
    urgent: bool
    since: float


class Mailbox(Generic[Job]):
    """Jobs by call. Not thread safe."""

    def __init__(self) -> None:
        self._newest: dict[str, Ticket] = {}
        self._queues: OrderedDict[str, deque[_Entry[Job]]] = OrderedDict()  # none is empty; the first is served next
        self._busy: set[str] = set()
        self._forgotten: OrderedDict[str, None] = OrderedDict()

    def raise_to(self, ticket: Ticket) -> None:
        """Everything older than `ticket` in its call is stale from now on; what is queued of it is dropped."""
        if ticket.call in self._forgotten or self.stale(ticket):
            return
        self._newest[ticket.call] = ticket
        queue = self._queues.get(ticket.call, ())
        self._keep(ticket.call, [entry for entry in queue if not entry.ticket < ticket])

    def stale(self, ticket: Ticket) -> bool:
        """Is there a newer ticket of the call, or is the call over?"""
        newest = self._newest.get(ticket.call)
        return ticket.call in self._forgotten or (newest is not None and ticket < newest)

    def put(self, ticket: Ticket, job: Job, replace: Hashable | None = None, urgent: bool = False, now: float = 0.0) -> bool:
        """Queue `job`; False if its ticket was stale already.

        With a `replace` key, a waiting job of the same call and key gives its place to this one, and the time that it waited.
        """
        if self.stale(ticket):
            return False
        self.raise_to(ticket)
        entry = _Entry(ticket, job, replace, urgent, now)
        queue = self._queues.setdefault(ticket.call, deque())
        for i, waiting in enumerate(queue):
            if replace is not None and waiting.key == replace:
                entry.since = waiting.since
                queue[i] = entry
                return True
        queue.append(entry)
        return True

    def take(self) -> tuple[Ticket, Job] | None:
        """The next job, whose call is busy until `done`; None if there is none or only of busy calls."""
        free = [call for call in self._queues if call not in self._busy]
        urgent = next((call for call in free if any(entry.urgent for entry in self._queues[call])), None)
        call = urgent if urgent is not None else next(iter(free), None)
        if call is None:
            return None
        queue = self._queues[call]
        entry = next((entry for entry in queue if entry.urgent), queue[0])
        self._keep(call, [waiting for waiting in queue if waiting is not entry])
        if call in self._queues:
            self._queues.move_to_end(call)
        self._busy.add(call)
        return entry.ticket, entry.job

    def done(self, call: str) -> None:
        """The job of `call` that was taken last is finished. Harmless if the call was forgotten meanwhile."""
        self._busy.discard(call)

    def forget(self, call: str) -> None:
        """The call is over: drop its jobs and refuse later ones. A job at work keeps it busy until `done`."""
        self._newest.pop(call, None)
        self._queues.pop(call, None)
        self._forgotten[call] = None
        if len(self._forgotten) > FORGOTTEN:
            self._forgotten.popitem(last=False)

    def calls(self) -> tuple[str, ...]:
        """The calls that were seen and are not over."""
        return tuple(self._newest)

    def waits_since(self) -> float | None:
        """When the job was put that has waited longest, of busy calls too; None: none waits."""
        return min((entry.since for queue in self._queues.values() for entry in queue), default=None)

    def __len__(self) -> int:
        """Jobs that wait, of busy calls too."""
        return sum(map(len, self._queues.values()))

    def _keep(self, call: str, entries: list[_Entry[Job]]) -> None:
        if entries:
            self._queues[call] = deque(entries)
        else:
            self._queues.pop(call, None)
