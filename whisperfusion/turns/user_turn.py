"""The user's present turn: its transcript, how far that reaches, and whether speech goes on."""

from __future__ import annotations

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.turns.endpointing import TAIL
from whisperfusion.turns.preemptive_budget import PreemptiveBudget

LONG_S = 5.0  # of speech: a question or a request is shorter, so this is a story


class UserTurn:
    """Positions are samples of the call's audio."""

    def __init__(self, began: int = 0) -> None:
        self.began, self._stopped = began, began - 1
        self.text = ""
        self.end_of_turn: float | None = None  # by the recognizer, of the audio of `text`
        self.known_to = -1  # position up to which the transcript reaches
        self.known_speaker: bool | None = None  # whose voice it has; None = that cannot be told
        self.speaker_to = -1  # position up to which that was listened for
        self.over = False  # it has surely ended
        self.accepted = False  # the client knows that it is over
        self.preemptive = PreemptiveBudget()
        self.pauses = 0  # after which the user went on

    @property
    def speaking(self) -> bool:
        return self._stopped < self.began

    @property
    def complete(self) -> bool:
        """Has speech stopped, and does the transcript reach to there?"""
        return not self.speaking and self.known_to >= self._stopped + TAIL

    @property
    def identified(self) -> bool:
        """Has speech stopped, and was its voice listened for up to there?"""
        return not self.speaking and self.speaker_to >= self._stopped + TAIL

    def stop(self, at: int) -> None:
        self._stopped = at

    def go_on(self, at: int) -> None:
        """There is speech again, from sample `at` on (its pre-roll): the transcript so far decides
        nothing yet.
        """
        # shorter than the pre-roll, it was no pause but a plosive or a breath
        self.pauses += not self.speaking and at >= self._stopped
        self._stopped = self.began - 1
        self.over = self.accepted = False

    def update(self, text: str, upto: int, end_of_turn: float | None = None) -> bool:
        """The transcript of all audio up to `upto`; False: it is older than the present one."""
        if upto <= max(self.known_to, self.began):
            return False
        self.text, self.known_to, self.end_of_turn = text, upto, end_of_turn
        return True

    def from_here(self, overlap: int) -> UserTurn:
        """The same speech, of which only what comes now counts, and the last `overlap` samples: a
        word may have begun in them.
        """
        return UserTurn(max(self.began, self.known_to - overlap))

    def as_new_turn(self, pauses: int) -> UserTurn:
        """The same words, as a turn of their own, or the rest of one that had `pauses` so far."""
        new = UserTurn(self.began)
        new.pauses = pauses
        new._stopped, new.text, new.known_to = self._stopped, self.text, self.known_to
        new.over, new.end_of_turn = self.over, self.end_of_turn
        new.known_speaker, new.speaker_to = self.known_speaker, self.speaker_to
        return new

    def after(self, earlier: UserTurn) -> UserTurn:
        """The same speech, with the words of an earlier one before its own."""
        new = self.as_new_turn(self.pauses)
        new.text = f"{earlier.text} {self.text}".strip()
        return new

    @property
    def narration(self) -> int:
        """Signs that the user tells a story: pauses after which more came, and length."""
        return self.pauses + int(self.speech_s() // LONG_S)

    def speech_s(self) -> float:
        """Seconds from the beginning to the end of the speech, or to where it is known while it
        goes on.
        """
        return ((self.known_to if self.speaking else self._stopped) - self.began) / MICROPHONE_RATE
