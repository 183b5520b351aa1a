"""One answer on its way from the engine to those who show it and say it, as sentences."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from whisperfusion.engines import Interrupted, Progress, Thought, ToolCall, Truncated
from whisperfusion.errors import EngineError
from whisperfusion.generation.limits import BRIEF_PIECES
from whisperfusion.messages import Sentence, Ticket, ToolCalled
from whisperfusion.text.reply_pieces import Piece, ReplyPieces
from whisperfusion.text.thoughts import opens_by_itself

Post = Callable[[ToolCalled | Sentence], object]

ALIVE_S = 5.0  # while a model thinks, how often its caller's process gets a sign of life


class ThoughtHabit:
    """How the replies of one engine show their thoughts, learned from them: see `ReplyPieces`.

    A model whose name or last thought says that its prompt opens one is held from its first word
    on, and so is a `server`'s until its first reply shows its ways: the model may have any name
    there. Of others a beginning that reads like a thought is kept back, until one such reply turned
    out to be the answer.
    """

    def __init__(self, model: str, server: bool = False) -> None:
        # None: not known yet
        self._opens: bool | None = opens_by_itself(model) or (None if server else False)
        self._wary = True

    def pieces(self) -> ReplyPieces:
        return ReplyPieces(self._opens is not False, self._wary, sure=self._opens is True)

    def go_on(self, pieces: ReplyPieces, said: str) -> None:
        """The model of this habit goes on behind `said`, in `pieces` of another."""
        pieces.go_on(said, self._opens is not False, self._wary, self._opens is True)

    def learn(self, pieces: ReplyPieces, separated: bool) -> None:
        if separated:
            self._opens = self._wary = False
        elif pieces.preopened or self._opens is not False:
            self._opens = pieces.preopened
        elif pieces.suspected:
            self._wary = False

    def expect_thought(self) -> None:
        """The next reply should be so short that it is a thought if it is cut."""
        self._opens = True if self._opens is None else self._opens

    def forget(self) -> None:
        """That reply did not come."""
        self._opens = None


class Writer(str):
    """An empty piece: who writes what follows. `model` is the name for the listener, "" where
    there is only one.
    """

    habit: ThoughtHabit
    model: str


class Answer:
    """`post` gets each `ToolCalled` and `Sentence`, the last of which ends the answer."""

    def __init__(
        self, ticket: Ticket, brief: bool, habit: ThoughtHabit, post: Post, language: str = ""
    ) -> None:
        self._ticket, self._brief, self._habit, self._post = ticket, brief, habit, post
        self._language = language
        self._pieces, self._separated = habit.pieces(), False
        self._began = self._told_at = time.monotonic()
        self._first_token_s = 0.0
        self._index = 0
        self._empty, self._cut = True, False
        self._since_pause: list[str] = []
        self._model, self._interrupted = "", False
        self.count = 0  # pieces that the engine wrote
        self.spoke = False  # there is something to hear

    def _written_by(self, writer: Writer) -> None:
        self._model = writer.model
        if self._interrupted:
            writer.habit.go_on(self._pieces, self._said())
            self._separated = False
        elif writer.habit is not self._habit:
            self._pieces, self._separated = writer.habit.pieces(), False
        self._habit, self._interrupted = writer.habit, False

    def _interrupt(self, piece: Interrupted) -> None:
        """The model is gone in the middle of its text, of which whole clauses stand."""
        piece.said = self._said()
        self._interrupted = True

    def _said(self) -> str:
        return " ".join(filter(None, map(str.strip, self._since_pause)))

    def wrote(self) -> None:
        self._first_token_s = self._first_token_s or time.monotonic() - self._began
        self.count += 1

    def feed(self, piece: str | ToolCall) -> bool:
        """True: it is long enough, and its last sentence has been sent."""
        match piece:
            case ToolCall():
                self._empty = False
                self._post(ToolCalled(self._ticket, piece.id, piece.name, piece.arguments))
            case Interrupted():
                self._interrupt(piece)
            case Writer():
                self._written_by(piece)
            case _:
                return self._text(piece)
        return False

    def _text(self, piece: str) -> bool:
        self._cut = self._cut or isinstance(piece, Truncated)
        thinks = isinstance(piece, Thought)
        self._separated = self._separated or thinks
        for one in self._pieces.feed(piece, self._separated):
            ends = one.text.rstrip("\"'”’)*").endswith((".", "!", "?"))
            enough = self._brief and self.count >= BRIEF_PIECES and ends
            self._sentence(one, last=enough)
            if enough:
                self._habit.learn(self._pieces, self._separated)
                return True
        works = thinks or isinstance(piece, Progress) or self._pieces.thinking
        if works and time.monotonic() - self._told_at >= ALIVE_S:
            self._sentence(Piece("", ""))
        return False

    def pause(self) -> None:
        """The model waits for its tools, and goes on with a new text."""
        for one in self._pieces.flush():
            if one.text:
                self._sentence(replace(one, last=False))
        self._habit.learn(self._pieces, self._separated)
        self._pieces = self._habit.pieces()
        self._empty = self._cut = False

    def say(self, text: str) -> None:
        """A sentence that is not the model's, between two of its texts."""
        self._sentence(Piece(text, text))
        self._since_pause.clear()

    def said_since_pause(self) -> str:
        """The model's own text since this was last asked for."""
        said = self._said()
        self._since_pause.clear()
        return said

    def end(self) -> None:
        *before, last = self._pieces.flush(self._cut)
        self._habit.learn(self._pieces, self._separated)
        thought = self._separated or self._pieces.thought
        if self._empty and thought and not any(one.text for one in (*before, last)):
            raise EngineError(
                "the model thought and gave no answer"
                + (
                    " within its tokens; raise LLM_MAX_TOKENS, or choose a model that answers "
                    "without thinking"
                    if self._cut
                    else "; ask again, or choose a model that answers without thinking"
                )
            )
        for one in before:
            self._sentence(one)
        self._sentence(last, last=True, cut=self._cut)

    def _sentence(self, piece: Piece, last: bool = False, cut: bool = False) -> None:
        self._empty = self._empty and not piece.text
        self.spoke = self.spoke or bool(piece.spoken.strip())
        self._since_pause = [*([] if piece.afresh else self._since_pause), piece.text]
        self._told_at = time.monotonic()
        self._post(
            Sentence(
                self._ticket,
                self._index,
                piece.text,
                last=last,
                first_token_s=self._first_token_s,
                cut=cut,
                spoken=piece.spoken,
                afresh=piece.afresh,
                model=self._model,
                language=self._language,
            )
        )
        self._index += 1
