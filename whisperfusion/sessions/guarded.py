"""A store that is broken for a while: one line in the log when that begins, one when it ends.

Between them most requests are refused at once instead of being tried, so that a store that does
not answer costs its callers nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from whisperfusion.sessions.protocol import Facts, Store, StoreError
from whisperfusion.sessions.session import Session

RETRY_S = 5.0
T = TypeVar("T")

log = logging.getLogger("sessions")


class GuardedStore:
    """Passes everything on to `store`; `clock` is monotonic, in seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._failed: StoreError | None = None  # the outage
        self._retry_at = 0.0

    def load(self, id: str) -> Session | None:
        return self._guard(lambda: self._store.load(id))

    def save(self, session: Session) -> None:
        self._guard(lambda: self._store.save(session))

    def touch(self, ids: Iterable[str]) -> None:
        self._guard(lambda: self._store.touch(ids))

    def delete(self, id: str) -> bool:
        return self._guard(lambda: self._store.delete(id))

    def list(
        self, owner: str | None = None, offset: int = 0, limit: int = 20
    ) -> tuple[Session, ...]:
        return self._guard(lambda: self._store.list(owner, offset, limit))

    def count(self, owner: str | None = None) -> int:
        return self._guard(lambda: self._store.count(owner))

    def facts(self, owner: str, caller: str) -> Facts:
        return self._guard(lambda: self._store.facts(owner, caller))

    def save_facts(self, owner: str, caller: str, facts: Facts) -> None:
        self._guard(lambda: self._store.save_facts(owner, caller, facts))

    def delete_facts(self, owner: str, caller: str) -> bool:
        return self._guard(lambda: self._store.delete_facts(owner, caller))

    def purge(self) -> int:
        return self._guard(self._store.purge)

    def next_expiry(self) -> float | None:
        return self._guard(self._store.next_expiry)

    def close(self) -> None:
        self._store.close()

    def _guard(self, request: Callable[[], T]) -> T:
        """Raises StoreError."""
        with self._lock:
            if self._failed is not None:
                if self._clock() < self._retry_at:
                    raise StoreError(str(self._failed))
                self._retry_at = self._clock() + RETRY_S  # one thread tries, the others do not
        try:
            answer = request()
        except StoreError as error:
            self._on_failure(error)
            raise
        self._on_success()
        return answer

    def _on_failure(self, error: StoreError) -> None:
        with self._lock:
            first, self._failed = self._failed is None, error
            self._retry_at = self._clock() + RETRY_S
        if first:
            log.warning("sessions are not kept at the moment, and calls go on: %s", error)

    def _on_success(self) -> None:
        with self._lock:
            was, self._failed = self._failed, None
        if was is not None:
            log.info("sessions are kept again")
