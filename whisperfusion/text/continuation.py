"""An answer that one model began and another goes on with: what the second repeats is cut off.

Models often begin such an answer anew, or with the last words of what was said. Words are compared
without case and punctuation, since a second model sets its own; a single word counts only as it
stands, for "that" after "that," is not a repetition. Text is held while it may still be one.
"""

from __future__ import annotations

import re

WORD, NOT_A_LETTER = re.compile(r"\S+"), re.compile(r"[\W_]+")
LONGEST_HELD = 4000  # characters


class Continuation:
    """`said` is what the listener has already. The longest repetition counts: of the whole, or of
    any end of it.
    """

    def __init__(self, said: str) -> None:
        self._said: list[str] = WORD.findall(said)
        self._plain = [_plain(word) for word in self._said]
        self._held = ""
        self._over = not self._said

    def feed(self, text: str) -> str:
        """More of the second model's text; what of it is new."""
        if self._over:
            return text
        self._held += text
        words = self._words(whole=False)
        if not words and len(self._held) <= LONGEST_HELD:
            return ""
        longest_open = self._may_repeat(words)
        if longest_open and len(self._held) <= LONGEST_HELD:
            return ""
        return self._rest()

    def flush(self) -> str:
        """The end of the text."""
        return "" if self._over else self._rest(ended=True)

    def _rest(self, ended: bool = False) -> str:
        self._over, held, self._held = True, self._held, ""
        words = list(WORD.finditer(held))
        if not ended and words and words[-1].end() == len(held):
            words = words[:-1]  # it may go on
        for length in range(min(len(words), len(self._said)), 0, -1):
            if self._is_end([word[0] for word in words[:length]]):
                return held[words[length - 1].end() :]
        return held

    def _words(self, whole: bool) -> list[str]:
        """The words of the held text; the last one only if it has ended."""
        words = WORD.findall(self._held)
        return words if whole or not words or self._held[-1].isspace() else words[:-1]

    def _may_repeat(self, words: list[str]) -> bool:
        """Whether the words so far are in the middle of what was said, so that more may follow."""
        plain = [_plain(word) for word in words]
        count = len(plain)
        return any(self._plain[at : at + count] == plain for at in range(len(self._said) - count))

    def _is_end(self, words: list[str]) -> bool:
        """Whether `words` are the last ones that were said."""
        if len(words) == 1 and len(self._said) > 1:
            return words[0].casefold() == self._said[-1].casefold()
        return [_plain(word) for word in words] == self._plain[-len(words) :]


def _plain(word: str) -> str:
    return NOT_A_LETTER.sub("", word.casefold()) or word
