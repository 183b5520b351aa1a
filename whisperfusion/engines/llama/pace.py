"""Schedules the replies that are written at once.

They share the processor, and not all of them are equally urgent. For the first words of a reply a
user waits in silence; what comes later was written long before it is played. So replies that begin
go first, a few at a time (2 cores write 48 tokens a second for one reply and 94 for four). A reply
that is ahead of its own speech waits meanwhile, and goes on when no other begins, or before its
listener would notice. A long prompt takes seconds to read: beginnings with little to read do not
wait for it, but it for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BEGINNING = 10  # pieces, about as many words as a long first clause
CHARACTERS_PER_S = 14.0  # of speech at normal pace
# of speech that is written and not yet played, the clause at hand included: less, and it goes on
AHEAD_S = 2.5
MARKS = (".", ",", "!", "?", ":", ";")
LONG_PLACES = 2  # of those that begin at once, which a long prompt takes: its chunks hold up tokens
CLAUSE = 3  # pieces, after which such a mark ends the first clause


class Pace:
    """Thread-safe. `at_once`: beginnings that are written at the same time. `clock` in seconds."""

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._clock = at_once, clock
        # those with little to read, then the others; oldest first
        self._beginning: list[Writing] = []
        self._changed = threading.Condition()

    def start(self, long: bool = False) -> Writing:
        """A reply begins; it must be ended, however it goes. `long`: it has much to read."""
        with self._changed:
            writing = Writing(self, self._clock, long)
            at = len(self._beginning) if long else sum(not one.long for one in self._beginning)
            self._beginning.insert(at, writing)
            return writing

    @property
    def idle(self) -> bool:
        """No reply begins."""
        return not self._beginning

    def begun(self, writing: Writing) -> None:
        """`writing` begins no more; once or more often."""
        with self._changed:
            if writing in self._beginning:
                self._beginning.remove(writing)
                self._changed.notify_all()

    def before(self, writing: Writing) -> bool:
        """Is it the turn of others, who begin?"""
        with self._changed:
            if writing in self._beginning:
                places = min(LONG_PLACES, self._at_once) if writing.long else 1
                return self._beginning.index(writing) + places > self._at_once
            return bool(self._beginning)

    def wait(self, timeout_s: float) -> None:
        """Until one of those who begin has begun, or for `timeout_s`."""
        with self._changed:
            self._changed.wait(timeout_s)


class Writing:
    """One reply on its way."""

    def __init__(self, pace: Pace, clock: Callable[[], float], long: bool) -> None:
        self._pace, self._clock, self.long = pace, clock, long
        self._first_at: float | None = None
        self.text, self.pieces = "", 0

    def wrote(self, piece: str) -> None:
        if not piece:
            return
        if self._first_at is None:
            self._first_at = self._clock()
        self.text += piece
        self.pieces += 1
        if self.pieces >= BEGINNING or (self.pieces > CLAUSE and self.text.endswith(MARKS)):
            self.end()

    def end(self) -> None:
        self._pace.begun(self)

    @property
    def must_wait(self) -> bool:
        """Is another reply more urgent?

        Then this one should stop, and go on with what it wrote once none is.
        """
        if not self._pace.before(self):
            return False
        spoken_s = 0.0 if self._first_at is None else self._clock() - self._first_at
        return self._first_at is None or len(self.text) / CHARACTERS_PER_S - spoken_s > AHEAD_S
