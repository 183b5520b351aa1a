"""The engine loop of a process: pop the next job that is not stale, run it, mark it as done.

An engine thread pops jobs from a `Mailbox`; other threads queue them and raise tickets. Stale jobs
are never started, and long work asks `stale(ticket)` between its steps.

An exception from `work` fails the jobs in hand, and only those: `failed` notifies their callers,
the log has the traceback, and the thread goes on. The process ends, and main starts a new one, for
what cannot recover: the GPU, memory, or an engine that also fails at `probe` after a streak of
failed calls (whisperfusion/runtime/failure_streak.py). The log says which.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from whisperfusion import json_log
from whisperfusion.errors import (
    EngineError,
    Refused,
    failed_on_input,
    first_line,
    lost_for_good,
    without_words,
)
from whisperfusion.messages import Ticket
from whisperfusion.runtime.failure_streak import IN_A_ROW, FailureStreak
from whisperfusion.runtime.mailbox import Mailbox

Job = TypeVar("Job")
log = logging.getLogger("worker")

PLACES = 64  # locations of failures whose traceback is logged once
ENGINE_LOST = 70  # exit status of a process whose engine is lost


class Worker(Generic[Job]):
    """`threads` engine threads on one mailbox. The jobs of one call run one after the other.

    `work` returns False when it did not use the engine, which proves nothing about it.
    `failed(ticket, job, error)` is called in the engine thread. `probe` is a job that a healthy
    engine succeeds at; None: there is none, and a suspected engine counts as lost.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Ticket, Job], object],
        threads: int = 1,
        *,
        failed: Callable[[Ticket, Job, EngineError], object] = lambda ticket, job, error: None,
        probe: Callable[[], object] | None = None,
    ) -> None:
        self._name, self._work, self._failed, self._probe = name, work, failed, probe
        self._streak = FailureStreak()
        self._logged: set[object] = set()  # locations whose traceback is logged
        self._faulty: set[int] = set()  # threads whose current work reported a failure
        self.served = 0  # jobs that succeeded
        self._mailbox: Mailbox[Job] = Mailbox()
        self._changed = threading.Condition()
        self._stopping = False
        self._since: dict[int, float] = {}  # thread -> when its job last made progress
        # thread -> the jobs that it is running
        self._running: dict[int, list[tuple[Ticket, Job]]] = {}
        self._threads = [
            threading.Thread(target=self._loop, name=f"{name}-{i}", daemon=True)
            for i in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new jobs; running jobs end when they next ask `stale`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def put(
        self, ticket: Ticket, job: Job, *, replace: Hashable | None = None, urgent: bool = False
    ) -> bool:
        with self._changed:
            accepted = self._mailbox.put(
                ticket, job, replace=replace, urgent=urgent, now=time.monotonic()
            )
            self._changed.notify()
            return accepted

    def prioritize(self, ticket: Ticket, key: Hashable) -> None:
        """The job that was put with this ticket and `replace` key is urgent, if it still waits."""
        with self._changed:
            self._mailbox.prioritize(ticket, key)

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
        """Also a sign of progress: work that asks is not stuck."""
        with self._changed:
            ident = threading.get_ident()
            if ident in self._since:
                self._since[ident] = time.monotonic()
            return self._stopping or self._mailbox.stale(ticket)

    def more(self, most: int) -> list[tuple[Ticket, Job]]:
        """For `work` that can batch jobs: up to `most` waiting ones of other calls, to run with the
        current one.
        """
        with self._changed:
            taken = [job for job in (self._mailbox.pop() for _ in range(most)) if job is not None]
            self._running.setdefault(threading.get_ident(), []).extend(taken)
            return taken

    def fail(self, ticket: Ticket, job: Job, error: BaseException) -> None:
        """For `work` with a batch: this job failed, the others go on. Ends the process if the
        engine is lost.
        """
        self._report_failure(ticket, error)
        reason = lost_for_good(error)
        try:
            self._failed(ticket, job, _as_engine_error(self._name, error))
        except Exception:  # the thread must survive it
            log.exception(
                "%s: the failure of a job of %s was not reported", self._name, ticket.call
            )
        with self._changed:
            self._faulty.add(threading.get_ident())
            suspected = not isinstance(error, Refused) and self._streak.failed(ticket.call)
        reason = reason or (self._suspect(error) if suspected else "")
        if reason:
            self._end(f"{reason} ({first_line(error)})")

    def waiting(self) -> int:
        with self._changed:
            return len(self._mailbox)

    def oldest_s(self) -> float:
        """How long the job has waited that waits longest; 0 when none does."""
        with self._changed:
            since = self._mailbox.waits_since()
        return 0.0 if since is None else time.monotonic() - since

    def busy_since(self) -> float | None:
        """When the job that has gone longest without a sign of life gave its last; None when all
        are idle.
        """
        with self._changed:
            return min(self._since.values(), default=None)

    def _loop(self) -> None:
        ident = threading.get_ident()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping or bool(len(self._mailbox)), timeout=1.0
                )
                if self._stopping:
                    return
                taken = self._mailbox.pop()
                if taken is None:
                    # only jobs of busy calls: their done() will notify
                    if len(self._mailbox):
                        self._changed.wait(timeout=1.0)
                    continue
                self._since[ident] = time.monotonic()
                self._running[ident] = [taken]
            self._do(*taken)
            with self._changed:
                self._since.pop(ident, None)
                for ticket, _ in self._running.pop(ident):
                    self._mailbox.done(ticket.call)
                if len(self._mailbox):  # a job of the same call may wait
                    self._changed.notify_all()

    def _do(self, ticket: Ticket, job: Job) -> None:
        with json_log.scope(ticket.call, lambda: ticket.turn):
            self._do_logged(ticket, job)

    def _do_logged(self, ticket: Ticket, job: Job) -> None:
        ident = threading.get_ident()
        try:
            proven = self._work(ticket, job) is not False
        except BaseException as error:  # a panic of a Rust library is not an Exception
            for one in self._running[ident]:
                self.fail(*one, error)
            proven = False
        with self._changed:
            if proven and ident not in self._faulty:
                self.served += 1
                self._streak.succeeded()
            self._faulty.discard(ident)

    def _report_failure(self, ticket: Ticket, error: BaseException) -> None:
        """One line for a job that the engine refused; a traceback, once per location, for errors
        of its library.
        """
        if isinstance(error, EngineError):
            log.warning("%s: a job of %s failed: %s", self._name, ticket.call, without_words(error))
            return
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        place = (type(error), at and (at.tb_frame.f_code, at.tb_lineno))
        first = place not in self._logged and len(self._logged) < PLACES
        if first:
            self._logged.add(place)
        log.error(
            "%s: a job of %s failed: %s",
            self._name,
            ticket.call,
            first_line(error),
            exc_info=error if first else None,
        )

    def _suspect(self, error: BaseException) -> str:
        """After a streak of failures: why the engine is lost, "" when it is healthy."""
        row = f"{IN_A_ROW} jobs of different calls failed in a row"
        if self._probe is None:
            return row
        try:
            self._probe()
        except Refused:  # by an engine that is busy with other calls
            return ""
        except BaseException as again:
            return f"{row}, and so did a job that is known to be good: {first_line(again)}"
        log.warning(
            "%s: %s; a job that is known to be good succeeded, so it was their input",
            self._name,
            row,
        )
        return ""

    def _end(self, reason: str) -> None:
        log.critical("%s: %s: the process ends and will be restarted", self._name, reason)
        logging.shutdown()
        os._exit(ENGINE_LOST)


def _as_engine_error(name: str, error: BaseException) -> EngineError:
    """The error that the caller gets."""
    return error if isinstance(error, EngineError) else failed_on_input(error, name)


def queues(workers: Iterable[Worker[Any]]) -> tuple[tuple[str, float], ...]:
    """The waiting jobs of all `workers`, for `Metrics`."""
    workers = tuple(workers)
    return (
        ("queue_jobs", float(sum(worker.waiting() for worker in workers))),
        ("queue_oldest_job_seconds", max((worker.oldest_s() for worker in workers), default=0.0)),
    )
