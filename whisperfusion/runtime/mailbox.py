"""A job queue that keeps only the newest jobs of each call, and knows which are stale.

Staleness is a comparison: every ticket that is seen raises `newest` of its call, and older jobs are
dropped or refused. A job that was already started is not touched; its worker asks `stale` between
its steps. Knows neither threads nor clocks: its owner guards it.

Calls are served round-robin, and a call is busy from `pop` until `done`, so a caller with many jobs
delays no other caller, and the jobs of one call keep their order. Urgent jobs go before all others,
also before those of their own call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from whisperfusion.messages import Ticket

Job = TypeVar("Job")

# Messages of a call come from two processes and may arrive after its CallEnded. Call ids are never
# used twice, so those of a forgotten call are refused. They are at most seconds late, hence a
# bounded number of ids is enough.
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
        # without empty ones; the first is served next
        self._queues: OrderedDict[str, deque[_Entry[Job]]] = OrderedDict()
        self._busy: set[str] = set()
        self._forgotten: OrderedDict[str, None] = OrderedDict()

    def raise_to(self, ticket: Ticket) -> None:
        """Older tickets of the same call are stale from now on; their queued jobs are dropped."""
        if ticket.call in self._forgotten or self.stale(ticket):
            return
        self._newest[ticket.call] = ticket
        queue = self._queues.get(ticket.call, ())
        self._keep(ticket.call, [entry for entry in queue if not entry.ticket < ticket])

    def stale(self, ticket: Ticket) -> bool:
        """Whether there is a newer ticket of the call, or the call is over."""
        newest = self._newest.get(ticket.call)
        return ticket.call in self._forgotten or (newest is not None and ticket < newest)

    def put(
        self,
        ticket: Ticket,
        job: Job,
        replace: Hashable | None = None,
        urgent: bool = False,
        now: float = 0.0,
    ) -> bool:
        """Queue `job`; False if its ticket is stale.

        With a `replace` key, it replaces a waiting job of the same call and key, in its place of
        the queue and with its waiting time.
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

    def prioritize(self, ticket: Ticket, key: Hashable) -> None:
        """The job that was put with this ticket and `replace` key is urgent, if it still waits."""
        for entry in self._queues.get(ticket.call, ()):
            if entry.ticket == ticket and entry.key == key:
                entry.urgent = True

    def pop(self) -> tuple[Ticket, Job] | None:
        """The next job, whose call is busy until `done`; None: none, or only of busy calls."""
        free = [call for call in self._queues if call not in self._busy]
        urgent = next(
            (call for call in free if any(entry.urgent for entry in self._queues[call])), None
        )
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
        """The last popped job of `call` is finished. No effect if the call was forgotten."""
        self._busy.discard(call)

    def forget(self, call: str) -> None:
        """The call is over: drop its jobs and refuse later ones. A running job keeps it busy until
        `done`.
        """
        self._newest.pop(call, None)
        self._queues.pop(call, None)
        self._forgotten[call] = None
        if len(self._forgotten) > FORGOTTEN:
            self._forgotten.popitem(last=False)

    def calls(self) -> tuple[str, ...]:
        """The known calls that are not over."""
        return tuple(self._newest)

    def waits_since(self) -> float | None:
        """When the oldest waiting job was queued, including busy calls; None: none waits."""
        return min(
            (entry.since for queue in self._queues.values() for entry in queue), default=None
        )

    def __len__(self) -> int:
        """The number of waiting jobs, including busy calls."""
        return sum(map(len, self._queues.values()))

    def _keep(self, call: str, entries: list[_Entry[Job]]) -> None:
        if entries:
            self._queues[call] = deque(entries)
        else:
            self._queues.pop(call, None)
