"""Who may write now. All replies that are written at once share the processor, and not all of them are equally urgent.

Of a reply that begins somebody waits for the first words, in silence; of one that goes on somebody hears what was written
long ago. So whoever is ahead of his own voice waits while another begins, and goes on when nobody does, or before he
runs dry. On 2 cores four replies at once get 12 tokens a second each and one alone 45: its first clause comes after
0.2 s instead of 0.7 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BEGINNING = 12  # pieces, about as many words as the longest first clause
CHARACTERS_PER_S = 14.0  # of speech at normal pace
AHEAD_S = 2.5  # of speech that is written and not yet heard, the clause at hand included: less, and it goes on


class Pace:
    """Thread-safe. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beginning = 0
        self._changed = threading.Condition()

    def begin(self) -> Writing:
        """A reply begins; it must be ended, however it goes."""
        with self._changed:
            self._beginning += 1
        return Writing(self, self._clock)

    def begun(self) -> None:
        with self._changed:
            self._beginning -= 1
            self._changed.notify_all()

    @property
    def somebody_begins(self) -> bool:
        return self._beginning > 0

    def wait(self, timeout_s: float) -> None:
        """Until nobody begins, or for `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._beginning, timeout_s)


class Writing:
    """One reply on its way."""

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self._pace, self._clock = pace, clock
        self._begins, self._first_at = True, 0.0
        self.text, self.pieces = "", 0

    def wrote(self, piece: str) -> None:
        if not piece:
            return
        self._first_at = self._first_at or self._clock()
        self.text += piece
        self.pieces += 1
        if self.pieces >= BEGINNING:
            self.end()

    def end(self) -> None:
        if self._begins:
            self._begins = False
            self._pace.begun()

    @property
    def must_wait(self) -> bool:
        """Is another reply more urgent? Then this one shall stop, and go on with what it wrote when that is no longer so."""
        if self._begins or not self._pace.somebody_begins:
            return False
        return len(self.text) / CHARACTERS_PER_S - (self._clock() - self._first_at) > AHEAD_S
