"""Who may write now. All replies that are written at once share the processor, and not all of them are equally urgent.

Of a reply that begins somebody waits for the first words, in silence; of one that goes on somebody hears what was written
long ago. So those who begin go first, one after the other: on few cores two at once take as long as the later of them,
which helps nobody (2 cores write 32 tokens a second for one reply and 37 for four). Whoever is ahead of his own voice
waits meanwhile, and goes on when nobody begins, or before he runs dry.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BEGINNING = 10  # pieces, about as many words as a long first clause
CHARACTERS_PER_S = 14.0  # of speech at normal pace
AHEAD_S = 2.5  # of speech that is written and not yet heard, the clause at hand included: less, and it goes on
MARKS = (".", ",", "!", "?", ":", ";")
CLAUSE = 3  # pieces, after which such a mark ends the first clause


class Pace:
    """Thread-safe. `at_once`: beginnings that are written at the same time. `clock` in seconds."""

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._clock = at_once, clock
        self._beginning: list[Writing] = []  # oldest first
        self._changed = threading.Condition()

    def begin(self) -> Writing:
        """A reply begins; it must be ended, however it goes."""
        with self._changed:
            self._beginning.append(Writing(self, self._clock))
            return self._beginning[-1]

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
                return self._beginning.index(writing) >= self._at_once
            return bool(self._beginning)

    def wait(self, timeout_s: float) -> None:
        """Until one of those who begin has begun, or for `timeout_s`."""
        with self._changed:
            self._changed.wait(timeout_s)


class Writing:
    """One reply on its way."""

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self._pace, self._clock = pace, clock
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
        """Is another reply more urgent? Then this one shall stop, and go on with what it wrote when that is no longer so."""
        if not self._pace.before(self):
            return False
        heard_s = 0.0 if self._first_at is None else self._clock() - self._first_at
        return self._first_at is None or len(self.text) / CHARACTERS_PER_S - heard_s > AHEAD_S
