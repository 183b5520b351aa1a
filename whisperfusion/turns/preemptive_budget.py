"""How many preemptive replies a turn may have, and to which transcripts."""

from __future__ import annotations

from whisperfusion.text.end_of_turn import Ending, ending
from whisperfusion.text.segmentation import same_words, words

# none in turns with more speech: they are rarely over at their first pause
MAX_SPEECH_S = 10.0
MAX_IN_PAUSES = 6  # of one turn
MAX_WHILE_SPEAKING = 2
MIN_WORDS = 3  # while the user speaks; "I see." sounds complete too


class PreemptiveBudget:
    """Of one turn. Each question that is answered with yes counts as a reply begun."""

    def __init__(self) -> None:
        self._in_pauses = self._while_speaking = 0

    def in_pause(self, text: str, speech_s: float, language: str | None) -> bool:
        """After `speech_s` seconds of the turn its sound stopped: is `text` worth a reply?"""
        if self._in_pauses >= MAX_IN_PAUSES or not _plausible(text, speech_s, language):
            return False
        self._in_pauses += 1
        return True

    def while_speaking(self, text: str, before: str, speech_s: float, language: str | None) -> bool:
        """The transcript is a complete question or request, or has not grown since the one
        `before`.

        A full stop says nothing here: recognizers put one at the end of whatever they heard so far.
        """
        if (
            self._while_speaking >= MAX_WHILE_SPEAKING
            or len(words(text)) < MIN_WORDS
            or not _plausible(text, speech_s, language)
        ):
            return False
        kind = ending(text, language)
        if kind is Ending.DICTATION or not (
            kind in (Ending.QUESTION, Ending.REQUEST) or same_words(before, text)
        ):
            return False
        self._while_speaking += 1
        return True


def _plausible(text: str, speech_s: float, language: str | None) -> bool:
    return (
        bool(words(text)) and speech_s <= MAX_SPEECH_S and ending(text, language) is not Ending.OPEN
    )
