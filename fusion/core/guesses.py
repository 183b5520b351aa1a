"""When an answer is begun before the turn is over.

A guess costs the machine a prompt and some words, and gains its caller a few tenths of a second. It is made in each pause,
and while somebody still speaks as soon as the words sound whole: then the answer may be ready when the turn is decided.
"""

from __future__ import annotations

from fusion.core.text import same_words, words
from fusion.core.witness import Ending, ending

GUESS_SPEECH_S = 10.0  # no guesses in turns with more speech: they are rarely over at their first pause
GUESSES = 6  # at most, in the pauses of one turn
EARLY_GUESSES = 2  # at most, while the person speaks
EARLY_GUESS_WORDS = 3  # "I see." sounds whole too


class Guesses:
    """Of one turn. Each question that is answered with yes counts as a guess made."""

    def __init__(self) -> None:
        self._in_pauses = self._early = 0

    def in_pause(self, text: str, speech_s: float, language: str) -> bool:
        """After `speech_s` seconds of the turn its sound stopped: is `text` worth a guess?"""
        if self._in_pauses >= GUESSES or not _meant(text, speech_s, language):
            return False
        self._in_pauses += 1
        return True

    def while_speaking(self, text: str, before: str, speech_s: float, language: str) -> bool:
        """The words are a whole question or request, or have not grown since the partial transcript `before`.

        A full stop says nothing here: recognizers put one at the end of whatever they heard so far.
        """
        if self._early >= EARLY_GUESSES or len(words(text)) < EARLY_GUESS_WORDS or not _meant(text, speech_s, language):
            return False
        whole = ending(text, language)
        if whole is Ending.SPELLING or not (whole in (Ending.QUESTION, Ending.REQUEST) or same_words(before, text)):
            return False
        self._early += 1
        return True


def _meant(text: str, speech_s: float, language: str) -> bool:
    return bool(words(text)) and speech_s <= GUESS_SPEECH_S and ending(text, language) is not Ending.OPEN
