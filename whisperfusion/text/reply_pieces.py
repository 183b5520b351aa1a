"""A streamed reply as pieces: the text to show and remember, each with the text to speak.

The order is fixed: thoughts (reasoning) are removed first, since they may contain anything; then
stage directions; the rest is cut where a voice may pause (`segmentation.Clauses`) and shown as it
is, and `Markup` gives the text to speak. So no later stage sees, speaks or remembers what was
removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from whisperfusion.text.continuation import Continuation
from whisperfusion.text.markup import Markup
from whisperfusion.text.segmentation import Clauses
from whisperfusion.text.stage_directions import StageDirections, without_stage_directions
from whisperfusion.text.thoughts import Thoughts, looks_like_a_thought, without_thoughts


@dataclass(frozen=True)
class Piece:
    """`text` for page and chat history, `spoken` for the voice. `afresh`: all earlier pieces
    were a thought, and are void.
    """

    text: str
    spoken: str
    last: bool = False
    afresh: bool = False


class ReplyPieces:
    """The pieces of one reply. `held`: it starts inside a thought, or may do so if not `sure`;
    `wary`: a start that reads like a thought is kept back until it is known not to be one.
    """

    def __init__(self, held: bool = False, wary: bool = False, sure: bool = True) -> None:
        self._thoughts, self._wary, self._sure = Thoughts(held), wary, sure
        self._start()
        self._returned = False  # a piece has been returned
        self._afresh = False
        self._continuation: Continuation | None = None
        self.suspected = False  # a start was kept back

    def _start(self) -> None:
        self._directions, self._clauses, self._markup = StageDirections(), Clauses(), Markup()
        self._kept: list[str] = []
        self._checked = False

    @property
    def thinking(self) -> bool:
        """Whether the model is writing what will not be shown."""
        return self._thoughts.thinking or bool(self._kept)

    @property
    def thought(self) -> bool:
        """Whether the reply contained a thought."""
        return self._thoughts.seen

    @property
    def preopened(self) -> bool:
        return self._thoughts.preopened

    def go_on(self, said: str, held: bool, wary: bool, sure: bool) -> None:
        """Another model goes on behind `said`, the pieces so far; all else is dropped. The
        arguments are those of the constructor, for that model.
        """
        self._thoughts, self._wary, self._sure = Thoughts(held), wary, sure
        self._start()
        self._continuation = Continuation(said)

    def feed(self, text: str, separated: bool = False) -> list[Piece]:
        """More of the reply. `separated`: the engine returns thoughts separately."""
        if separated:
            self._wary = False
            text = self._thoughts.release() + text
        seen = self._thoughts.feed(text)
        if self._thoughts.void:
            self._thoughts.void = False
            self._start()
            # what another model said before stands
            self._wary, self._afresh = False, self._returned and self._continuation is None
        if self._continuation is not None:
            seen = self._continuation.feed(seen)
        return self._pieces(self._clauses.feed(self._directions.feed(seen)))

    def flush(self, cut: bool = False) -> list[Piece]:
        """The end of the reply: at least one piece; `last` is set on the last one. `cut`: it is
        not the end that the model wanted.
        """
        unended = cut and (self._sure or looks_like_a_thought(self._thoughts.kept))
        left = self._thoughts.flush(unended)
        if self._continuation is not None:
            left = self._continuation.feed(left) + self._continuation.flush()
        rest = self._directions.feed(left) + self._directions.flush()
        self._wary = False
        clauses = [*self._clauses.feed(rest), self._clauses.flush()]
        if len(clauses) > 1 and not clauses[-1]:
            clauses.pop()
        return self._pieces(clauses, last=True)

    def _pieces(self, clauses: list[str], last: bool = False) -> list[Piece]:
        if not self._checked and clauses:
            self._checked = True
            self.suspected = self.suspected or (self._wary and looks_like_a_thought(clauses[0]))
            self._wary = self.suspected and self._wary
        if self._wary and self._checked:
            self._kept += clauses
            return []
        clauses, self._kept = [*self._kept, *clauses], []
        return [
            self._piece(clause, last and at == len(clauses) - 1)
            for at, clause in enumerate(clauses)
        ]

    def _piece(self, text: str, last: bool) -> Piece:
        afresh, self._afresh, self._returned = self._afresh, False, True
        return Piece(text, self._markup.feed(text, last), last, afresh)


def pieces_of(text: str) -> Iterator[Piece]:
    """The pieces of a complete text, without thoughts and stage directions."""
    clauses, markup = Clauses(), Markup()
    found = [*clauses.feed(without_stage_directions(without_thoughts(text))), clauses.flush()]
    for at, clause in enumerate(found):
        yield Piece(clause, markup.feed(clause, at == len(found) - 1), at == len(found) - 1)


def spoken_text(text: str) -> str:
    """The text to speak of a complete text."""
    return Markup().feed(text, last=True)
