"""An answer that another model goes on with: nothing that was said is said again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.text.continuation import Continuation
from whisperfusion.text.reply_pieces import ReplyPieces

SAID = "Paris is the capital of France, and it is old."


def went_on(said: str, text: str, size: int = 4) -> str:
    continuation = Continuation(said)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return "".join(map(continuation.feed, pieces)) + continuation.flush()


@pytest.mark.parametrize(
    ("said", "text", "new"),
    [
        (SAID, " It has a tower.", " It has a tower."),
        (SAID, f"{SAID} It has a tower.", " It has a tower."),
        (SAID, "and it is old. It has a tower.", " It has a tower."),
        (SAID, "old. It has a tower.", " It has a tower."),
        # in the second model's own case and punctuation
        (SAID, "PARIS is the capital of France and it is old! It has a tower.", " It has a tower."),
        (SAID, "**Paris is the capital of France, and it is old.**\n\nIt has.", "\n\nIt has."),
        # another answer is none of it
        (SAID, "Paris has a tower.", "Paris has a tower."),
        ("I know that,", "that is all.", "that is all."),
        # nothing else comes
        (SAID, SAID, ""),
        (SAID, "", ""),
        ("", "Paris.", "Paris."),
        ("Yes.", "Yes. It is.", " It is."),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_is_repeated_is_cut_off(said: str, text: str, new: str, size: int) -> None:
    assert went_on(said, text, size) == new


def test_a_thought_that_shows_late_takes_back_no_word_of_another_model() -> None:
    pieces = ReplyPieces()
    shown = pieces.feed("Paris is old, and ")
    pieces.go_on("Paris is old,", held=False, wary=False, sure=False)
    rest = [*pieces.feed("They ask. It is a town. </think>"), *pieces.feed("and it is big.")]
    rest += pieces.flush()
    assert [piece.text.strip() for piece in shown] == ["Paris is old,"]
    assert not any(piece.afresh for piece in rest)
    assert " ".join(piece.text for piece in rest).strip().endswith("and it is big.")


WORDS = st.lists(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6), unique=True, min_size=2
)


def unlike(words: list[str]) -> bool:
    """No two are the same word to a reader."""
    return len({re.sub(r"[\W_]+", "", word.casefold()) or word for word in words}) == len(words)


@given(WORDS.filter(unlike), st.data())
def test_every_word_of_a_text_that_was_cut_anywhere_is_there_once(words, data) -> None:
    """Said up to one cut, gone on with from any place before it, and in pieces of any size."""
    cut = data.draw(st.integers(1, len(words) - 1))
    back = data.draw(st.integers(0, cut))
    size = data.draw(st.integers(1, 12))
    said = " ".join(words[:cut])
    new = went_on(said, " ".join(words[back:]), size)
    assert f"{said} {new}".split() == words


@given(st.text("ab .,", max_size=40), st.text("ab .,", max_size=40), st.integers(1, 9))
def test_of_any_two_texts_the_second_loses_at_most_its_beginning(said, text, size) -> None:
    new = went_on(said, text, size)
    assert text.endswith(new)
    lost = text[: len(text) - len(new)].split()
    assert len(lost) <= len(said.split())


@given(WORDS.filter(unlike), st.data())
def test_a_reply_goes_on_where_its_last_whole_clause_ended(words, data) -> None:
    """As it is shown: clauses of the first model, then of the second, who begins anew."""
    text = "".join(f"{word}, " if at % 3 == 2 else f"{word} " for at, word in enumerate(words))
    cut = data.draw(st.integers(0, len(text)))
    pieces = ReplyPieces()
    shown = [piece.text for piece in pieces.feed(text[:cut])]
    said = " ".join(filter(None, map(str.strip, shown)))
    pieces.go_on(said, held=False, wary=False, sure=False)
    again = data.draw(st.sampled_from((text, text[len(said) :])))
    rest = [*pieces.feed(again), *pieces.flush()]
    assert not any(piece.afresh for piece in rest)
    found = " ".join(filter(None, map(str.strip, (*shown, *(piece.text for piece in rest)))))
    assert found.split() == text.split()
