"""Keeps sessions while their calls go on, in a thread of its own.

Of each session only the newest record matters, so records wait in a dictionary: a slow store makes
fewer writes, never a longer queue. What cannot be written now is tried again. The thread also tells
the store which calls are alive, and purges what has expired, so that nothing stays longer because
no call comes. It does so about once a minute, also where nothing has expired: an outage of the
store is noticed before the next call needs it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from whisperfusion.sessions.guarded import RETRY_S
from whisperfusion.sessions.protocol import Facts, Store, StoreError
from whisperfusion.sessions.session import Session

PURGE_S = 30.0  # between two purges, at least; twice that at most
TOUCH_S = 60.0  # between two signs of life of a call, at most
MOST_WAITING = 1000  # records, while the store is away; the oldest is given up first

log = logging.getLogger("sessions")


class SessionWriter:
    """The writing side of `store`, for one process. No method blocks, except `close`.

    `resume_s`: as the setting; `remember_callers`: whether facts are kept at all; `retry_s`: the
    pause after an error of the store. `taken` is called, in the thread of the writer, with a record
    that is not written, because another call has taken the session over since, here or at another
    server of the same store; None: nobody looks. `up`: whether the store did what it was last asked
    for.
    """

    def __init__(
        self,
        store: Store,
        resume_s: float,
        remember_callers: bool = False,
        retry_s: float = RETRY_S,
        taken: Callable[[Session], object] | None = None,
        purge_s: float = PURGE_S,
    ) -> None:
        self.up = True
        self._taken = taken
        self._store, self._remember_callers, self._retry_s = store, remember_callers, retry_s
        self._purge_s = purge_s
        self._touch_s = min(TOUCH_S, max(0.5, resume_s / 4))
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[Session, frozenset[str]]] = {}
        self._writing: set[str] = set()
        self._facts: dict[tuple[str, str], Facts] = {}
        self._alive: set[str] = set()  # sessions whose calls go on
        self._closing = False
        self._purge_at = self._retry_at = 0.0  # monotonic, like `_touch_at`; at once
        self._touch_at = time.monotonic() + self._touch_s
        self._thread = threading.Thread(target=self._run, name="session-writer", daemon=True)
        self._thread.start()

    def save(self, session: Session, after: frozenset[str] = frozenset()) -> None:
        """Write this record soon. One with `ended` is the last of its call. `after`: the calls that
        this one took the session over from.
        """
        with self._changed:
            self._waiting.pop(session.id, None)  # the newest goes to the end
            self._waiting[session.id] = session, after
            if session.ended is None:
                self._alive.add(session.id)
            else:
                self._alive.discard(session.id)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.pop(next(iter(self._waiting)))
            self._changed.notify_all()

    def settled(self, id: str, timeout_s: float) -> bool:
        """Waits until nothing of this session waits to be written. Blocks."""
        with self._changed:
            return self._changed.wait_for(
                lambda: id not in self._waiting and id not in self._writing, timeout_s
            )

    def save_facts(self, owner: str, caller: str, facts: Facts) -> None:
        """Replace what is known of a caller, where REMEMBER_CALLERS allows it."""
        if not (self._remember_callers and caller):
            return
        with self._changed:
            self._facts[owner, caller] = facts
            if len(self._facts) > MOST_WAITING:
                self._facts.pop(next(iter(self._facts)))
            self._changed.notify_all()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits and close the store; gives up after `timeout_s` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("the newest records of sessions were not written before the stop")

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._wait()
            try:
                self._write()
                if not closing:
                    self._touch()
                    self._purge()
                self.up = True
            except StoreError:  # the guard of the store has logged it
                self._on_failure()
            except Exception:
                log.exception("sessions could not be written")
                self._on_failure()
        self._store.close()

    def _on_failure(self) -> None:
        self.up, self._retry_at = False, time.monotonic() + self._retry_s

    def _wait(self) -> bool:
        """Until there is something to do; whether that is to close."""
        with self._changed:
            while not self._closing and (delay := self._delay_s(time.monotonic())) > 0:
                self._changed.wait(None if math.isinf(delay) else delay)
            return self._closing

    def _delay_s(self, now: float) -> float:
        due = [self._purge_at]
        if self._waiting or self._facts:
            due.append(now)
        if self._alive:
            due.append(self._touch_at)
        return max(min(due), self._retry_at) - now

    def _write(self) -> None:
        """Raises StoreError; what was not written waits on, unless something newer came."""
        with self._changed:
            sessions, self._waiting = self._waiting, {}
            self._writing = set(sessions)
            facts, self._facts = self._facts, {}
        if sessions or facts:
            self._purge_at = min(self._purge_at, time.monotonic() + self._purge_s)
        try:
            for key in list(facts):
                self._store.save_facts(*key, facts[key])
                del facts[key]
            for id in list(sessions):
                self._write_one(*sessions[id])
                del sessions[id]
        except StoreError:
            with self._changed:
                self._waiting = {**sessions, **self._waiting}
                self._facts = {**facts, **self._facts}
            raise
        finally:
            with self._changed:
                self._writing = set()
                self._changed.notify_all()

    def _write_one(self, session: Session, after: frozenset[str]) -> None:
        if self._taken is not None:
            stored = self._store.load(session.id)
            if stored is not None and stored.call not in {session.call, *after}:
                with self._changed:
                    self._alive.discard(session.id)
                self._taken(session)
                return
        try:
            self._store.save(session)
        except (ValueError, TypeError, RecursionError) as error:  # a tool keeps what is not JSON
            log.error("a session cannot be written: %s", error)

    def _touch(self) -> None:
        """Raises StoreError."""
        with self._changed:
            alive = tuple(self._alive)
        if alive and time.monotonic() >= self._touch_at:
            self._store.touch(alive)
            self._touch_at = time.monotonic() + self._touch_s

    def _purge(self) -> None:
        """Raises StoreError."""
        if time.monotonic() < self._purge_at:
            return
        self._purge_at = time.monotonic() + self._purge_s
        self._store.purge()
        expiry = self._store.next_expiry()
        due_s = math.inf if expiry is None else expiry - time.time()
        delay_s = min(max(self._purge_s, due_s), 2 * self._purge_s)
        self._purge_at = time.monotonic() + delay_s
