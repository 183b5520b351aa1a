"""Openings of replies ("Sure,"), so that none is heard twice in a row.

A user who had not finished speaks over the beginning of a reply, which is then broken off. The
model does not know of it (the history has nothing of such a reply), so the next one often begins
with the same opening. If the listener has heard that to its end, the voice leaves it out.
"""

from __future__ import annotations

from whisperfusion.messages import PlaybackProgress, Sentence, Ticket
from whisperfusion.text.segmentation import words

MOST_WORDS = 3  # of an opening: longer first sentences say something
# of a reply that was broken off, played at most: what comes after more of it is no repetition
BROKEN_OFF_S = 1.5


class Openings:
    """Of one call. `left_out`: the newest reply whose first sentence is not spoken."""

    def __init__(self) -> None:
        self.left_out: Ticket | None = None
        self._heard: tuple[str, ...] = ()  # of replies that were broken off
        self._ticket: Ticket | None = None  # the newest reply
        self._opening: tuple[str, ...] = ()  # its own
        self._played_s: dict[int, float] = {}  # of its sentences

    def heard_again(self, first: Sentence) -> bool:
        """Would the first sentence of a reply repeat what has just been heard?"""
        found = words(first.text)
        self._opening = () if first.last or len(found) > MOST_WORDS else tuple(found)
        self._ticket, self._played_s = first.ticket, {}
        again = bool(self._opening) and self._opening == self._heard
        self.left_out = first.ticket if again else None
        return again

    def played(self, progress: PlaybackProgress) -> None:
        if progress.ticket != self._ticket or progress.index < 0:
            return
        self._played_s[progress.index] = progress.played_s
        if progress.last or sum(self._played_s.values()) > BROKEN_OFF_S:
            self._heard = ()
        elif progress.index == 0 and 0 < progress.total_s <= progress.played_s:
            self._heard = self._opening
