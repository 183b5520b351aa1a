"""What the user has said in the present turn: its words, up to where they are known, and whether the sound has stopped."""

from __future__ import annotations

from fusion.core.endpoint import RATE, TAIL
from fusion.core.guesses import Guesses

LONG_S = 5.0  # of speech: nobody asks or orders for so long, so it is being told something


class Said:
    """Positions are samples of the call's audio."""

    def __init__(self, began: int = 0) -> None:
        self.began, self._stopped = began, began - 1
        self.text = ""
        self.heard_to = -1  # up to which the words are known
        self.over = False  # the turn has surely ended
        self.told = False  # the caller knows that it ended
        self.guesses = Guesses()
        self.pauses = 0  # after which more came

    @property
    def sounding(self) -> bool:
        return self._stopped < self.began

    @property
    def known(self) -> bool:
        """Has the sound stopped, and are all words up to there known?"""
        return not self.sounding and self.heard_to >= self._stopped + TAIL

    def stops(self, at: int) -> None:
        self._stopped = at

    def goes_on(self, at: int) -> None:
        """There is sound again, heard from sample `at` on (its pre-roll): what was heard so far decides nothing yet."""
        self.pauses += not self.sounding and at >= self._stopped  # shorter than the pre-roll, it was no pause but a plosive or a breath
        self._stopped = self.began - 1
        self.over = self.told = False

    def take(self, text: str, upto: int) -> bool:
        """The words of all the audio up to `upto`; False: they are older than those that are known."""
        if upto <= max(self.heard_to, self.began):
            return False
        self.text, self.heard_to = text, upto
        return True

    def from_here(self, overlap: int) -> Said:
        """The same sound, of which what was heard so far is of no interest, but for `overlap` samples: a word may have begun in them."""
        return Said(max(self.began, self.heard_to - overlap))

    def as_new_turn(self, pauses: int) -> Said:
        """The same words, which turn out to be a turn of their own, or the rest of one that had `pauses` so far."""
        new = Said(self.began)
        new.pauses = pauses
        new._stopped, new.text, new.heard_to, new.over = self._stopped, self.text, self.heard_to, self.over
        return new

    @property
    def telling(self) -> int:
        """Signs that the user tells a story."""
        return self.pauses + int(self.speech_s() // LONG_S)

    def speech_s(self) -> float:
        """Seconds from the beginning to the end of the sound, or to where it is known while it goes on."""
        return ((self.heard_to if self.sounding else self._stopped) - self.began) / RATE
