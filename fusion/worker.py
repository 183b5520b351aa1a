"""The one loop that every engine runs in: take the next job that is not stale, work, say that it is done.

An engine thread takes jobs from a `Mailbox`; other threads put them in and raise tickets. What is stale is
never started, and long work asks `stale(ticket)` between its steps. An exception out of `work` is a bug,
not a bad turn (that is an EngineError, handled by the work itself): it ends the process, and main
starts a new one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from fusion.core.mailbox import Mailbox
from fusion.messages import Ticket

Job = TypeVar("Job")
log = logging.getLogger("worker")


class Worker(Generic[Job]):
    """`threads` engine threads around one mailbox. The jobs of one call run one after the other."""

    def __init__(self, name: str, work: Callable[[Ticket, Job], None], threads: int = 1) -> None:
        self._work = work
        self._mailbox: Mailbox[Job] = Mailbox()
        self._changed = threading.Condition()
        self._stopping = False
        self._since: dict[int, float] = {}  # thread -> when its job last made progress
        self._more: dict[int, list[str]] = {}  # thread -> calls of the jobs that it took with `more`
        self._threads = [threading.Thread(target=self._loop, name=f"{name}-{i}", daemon=True) for i in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new jobs; jobs that are running end by themselves when they next ask `stale`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def put(self, ticket: Ticket, job: Job, *, replace: Hashable | None = None, urgent: bool = False) -> bool:
        with self._changed:
            accepted = self._mailbox.put(ticket, job, replace=replace, urgent=urgent, now=time.monotonic())
            self._changed.notify()
            return accepted

    def raise_to(self, ticket: Ticket) -> None:
        with self._changed:
            self._mailbox.raise_to(ticket)

    def forget(self, call: str) -> None:
        with self._changed:
            self._mailbox.forget(call)

    def forget_all(self) -> None:
        with self._changed:
            for call in self._mailbox.calls():
                self._mailbox.forget(call)

    def stale(self, ticket: Ticket) -> bool:
        """Also a sign of life: work that asks is not stuck."""
        with self._changed:
            ident = threading.get_ident()
            if ident in self._since:
                self._since[ident] = time.monotonic()
            return self._stopping or self._mailbox.stale(ticket)

    def more(self, most: int) -> list[tuple[Ticket, Job]]:
        """For `work` that can do several jobs at once: up to `most` that wait, of other calls, to be done with the one at hand."""
        with self._changed:
            taken = [job for job in (self._mailbox.take() for _ in range(most)) if job is not None]
            self._more.setdefault(threading.get_ident(), []).extend(ticket.call for ticket, _ in taken)
            return taken

    def waiting(self) -> int:
        with self._changed:
            return len(self._mailbox)

    def oldest_s(self) -> float:
        """How long the job has waited that waits longest; 0 when none does."""
        with self._changed:
            since = self._mailbox.waits_since()
        return 0.0 if since is None else time.monotonic() - since

    def busy_since(self) -> float | None:
        """When the job that has gone longest without a sign of life gave its last; None when all are idle."""
        with self._changed:
            return min(self._since.values(), default=None)

    def _loop(self) -> None:
        ident = threading.get_ident()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or bool(len(self._mailbox)), timeout=1.0)
                if self._stopping:
                    return
                taken = self._mailbox.take()
                if taken is None:
                    if len(self._mailbox):  # only calls that are at work already: their done() will notify
                        self._changed.wait(timeout=1.0)
                    continue
                self._since[ident] = time.monotonic()
            try:
                self._work(*taken)
            except BaseException:
                log.exception("this is a bug: the process ends and will be started again")
                logging.shutdown()
                os._exit(70)
            with self._changed:
                self._since.pop(ident, None)
                for call in (taken[0].call, *self._more.pop(ident, ())):
                    self._mailbox.done(call)
                self._changed.notify_all()


def queues(workers: Iterable[Worker[Any]]) -> tuple[tuple[str, float], ...]:
    """What waits for `workers` together, for `Metrics`."""
    workers = tuple(workers)
    return (
        ("queue_waiting", float(sum(worker.waiting() for worker in workers))),
        ("queue_oldest_seconds", max((worker.oldest_s() for worker in workers), default=0.0)),
    )
