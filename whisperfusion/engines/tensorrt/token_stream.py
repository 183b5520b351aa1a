"""Token ids as they come, made into text that never has to be taken back.

One token is not one piece of text: a character may need several (bytes of an emoji), and a
SentencePiece decoder drops the space of whatever it believes to be first. So a short window of
tokens is decoded twice, without and with the new ones, and only the difference is given out; a text
that ends in U+FFFD is an unfinished character and waits. `tokenizers` is older than its own
DecodeStream in the set that the GPU image needs, so this is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

UNFINISHED = "\ufffd"


class TokenStream:
    """One reply's tokens. `tokenizer` is a `tokenizers.Tokenizer`; control tokens give no text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []  # tokens since the last but one time that text was given out
        self._shown = 0  # of these, how many gave the last text: the context of the next

    def feed(self, ids: Sequence[int]) -> str:
        """The text that `ids` add; "" while a character is unfinished."""
        self._window.extend(ids)
        text = self._difference()
        return "" if text.endswith(UNFINISHED) else self._emit(text)

    def flush(self) -> str:
        """What was held back: an unfinished character is U+FFFD for good."""
        return self._emit(self._difference())

    def _difference(self) -> str:
        before, now = self._decode(self._window[: self._shown]), self._decode(self._window)
        return now[len(before) :]

    def _emit(self, text: str) -> str:
        # a window that gave nothing stays: without it the next token would look like the first
        if text:
            self._window = self._window[self._shown :]
            self._shown = len(self._window)
        return text

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""


class StopText:
    """Cuts a stream of text at the first of `stops`, also one that comes in pieces; a possible
    beginning waits.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held, self.found = stops, "", False

    def feed(self, text: str) -> str:
        """What of `text` can be passed on already; nothing any more once `found`."""
        if self.found:
            return ""
        self._held += text
        at = min(
            (place for stop in self._stops if (place := self._held.find(stop)) >= 0), default=-1
        )
        self.found = at >= 0
        sure = at if self.found else len(self._held) - self._begun()
        certain, self._held = self._held[:sure], self._held[sure:]
        return certain

    def flush(self) -> str:
        """The end of the stream: what was held back was no stop."""
        held, self._held = self._held, ""
        return "" if self.found else held

    def _begun(self) -> int:
        """Characters at the end that may become a stop."""
        longest = min(len(self._held), max(map(len, self._stops), default=1) - 1)
        return next(
            (
                n
                for n in range(longest, 0, -1)
                if any(stop.startswith(self._held[-n:]) for stop in self._stops)
            ),
            0,
        )
