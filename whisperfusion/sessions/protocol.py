"""What every store of sessions can do. Its methods block, so they are called in a thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from whisperfusion.errors import WhisperFusionError
from whisperfusion.sessions.session import Session

FACTS_DAYS = 365  # facts of a caller that nobody called with for so long are deleted
Facts = tuple[str, ...]


class StoreError(WhisperFusionError):
    """The store cannot be used now; its text is for a person and has no key in it."""


class Store(Protocol):
    """Sessions by id, and facts of callers by identity. All methods may raise StoreError.

    Safe with several threads and several processes. A session is kept for a fixed time after its
    last `save` or `touch` (see `open_store`), and is never returned after that.
    """

    def load(self, id: str) -> Session | None:
        """The session; None = unknown, expired or deleted."""

    def save(self, session: Session) -> None:
        """Insert or replace. A session that was deleted stays deleted, also while its call goes
        on.
        """

    def touch(self, ids: Iterable[str]) -> None:
        """These are still alive: `updated` becomes now, and they expire later."""

    def delete(self, id: str) -> bool:
        """Delete what is stored; whether anything was."""

    def list(
        self, owner: str | None = None, offset: int = 0, limit: int = 20
    ) -> tuple[Session, ...]:
        """The newest first. `owner`: only those that were made with this key; None = all."""

    def count(self, owner: str | None = None) -> int:
        """How many `list` would have without a limit."""

    def facts(self, owner: str, caller: str) -> Facts:
        """What is known about a caller of this owner; () = nothing."""

    def save_facts(self, owner: str, caller: str, facts: Facts) -> None:
        """Replace what is known; () deletes it."""

    def delete_facts(self, owner: str, caller: str) -> bool:
        """Forget the caller; whether anything was known."""

    def purge(self) -> int:
        """Delete what has expired; how many sessions and callers that were."""

    def next_expiry(self) -> float | None:
        """Unix time at which a further `purge` is due; None = the store needs none."""

    def close(self) -> None: ...
