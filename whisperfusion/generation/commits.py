"""Which replies were committed: their user's turn is over, so what they do may take effect."""

from __future__ import annotations

import threading

from whisperfusion.messages import Ticket


class Commits:
    """The newest committed ticket of each call. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[str, Ticket] = {}

    def add(self, ticket: Ticket) -> None:
        with self._lock:
            self._newest[ticket.call] = max(ticket, self._newest.get(ticket.call, ticket))

    def has(self, ticket: Ticket) -> bool:
        with self._lock:
            return self._newest.get(ticket.call) == ticket

    def forget(self, call: str | None = None) -> None:
        """The call is over; None: all are."""
        with self._lock:
            for name in [call] if call is not None else list(self._newest):
                self._newest.pop(name, None)
