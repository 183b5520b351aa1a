"""Counts what the language model wrote for nothing."""

from __future__ import annotations

import threading

from whisperfusion.messages import Metrics, Ticket


class Waste:
    """Counts the pieces that the engine wrote, and those of replies that no user will hear: given
    up, or begun preemptively for other words. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written = self._wasted = 0
        # the last reply of each call, until the turn is past
        self._finished: dict[str, tuple[Ticket, int]] = {}

    def written(self, pieces: int = 1) -> None:
        with self._lock:
            self._written += pieces

    def given_up(self, pieces: int) -> None:
        with self._lock:
            self._wasted += pieces

    def finished(self, ticket: Ticket, pieces: int) -> None:
        with self._lock:
            self._finished[ticket.call] = ticket, pieces

    def newer(self, ticket: Ticket) -> None:
        """`ticket` was asked for.

        In the same turn as the reply before, it says that the preemptive reply was wasted.
        """
        with self._lock:
            before = self._finished.get(ticket.call)
            if before is not None and before[0] < ticket:
                del self._finished[ticket.call]
                self._wasted += before[1] if before[0].turn == ticket.turn else 0

    def forget(self, call: str | None = None) -> None:
        """The call is over; None: all are."""
        with self._lock:
            for name in [call] if call is not None else list(self._finished):
                self._finished.pop(name, None)

    def metrics(self) -> Metrics:
        with self._lock:
            return Metrics(
                "llm",
                (("llm_chunks_total", self._written), ("llm_chunks_wasted_total", self._wasted)),
            )
