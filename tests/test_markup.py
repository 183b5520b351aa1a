"""Markup is not read aloud, wherever a reply is cut."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperfusion.text.markup import LONGEST_HELD, Markup
from whisperfusion.text.reply_pieces import pieces_of, spoken_text

EXAMPLES = int(os.environ.get("WHISPERFUSION_EXAMPLES", "75"))
CASES = [
    ("**Bold** and `code` and *that*", "Bold and code and that"),
    ("## Title", "Title"),
    ("- one\n* two\n• three", "one two three"),
    ("See [the page](https://example.com).", "See the page."),
    ('See [the page](https://en.example.org/a_(b) "title") now.', "See the page now."),
    ("![a cat](cat.png) sleeps", "a cat sleeps"),
    ("As [said][1] before.\n\n[1]: https://example.com", "As said before."),
    ("> quoted _words_ of it", "quoted words of it"),
    ("2 * 3 is -6 + 12, isn't it?", "2 × 3 is -6 + 12, isn't it?"),
    ("---", ""),
    ("<break/>", ""),
    ('<break time="1s"/> Hi.', "Hi."),
    (
        "See <https://example.com> or <bob@example.com>.",
        "See https://example.com or bob@example.com.",
    ),
    ("It is so[^1] and so [2], or [1, 3].", "It is so and so , or ."),
    ("- [x] done\n- [ ] open", "done open"),
    ("Salt &amp; pepper &lt;3 &quot;so&quot;", 'Salt & pepper <3 "so"'),
    ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a, b 1, 2"),
    ("Look:\n```python\nprint(1)  # no\n```\nDone.", "Look: Done."),
    ("Look: ```print(1)``` done.", "Look: done."),
    ("~~~\ncode\n~~~\nDone.", "Done."),
    ("Open ```\ncode without an end", "Open"),
    ("Before <!-- not\nthis --> after", "Before after"),
    ("It is \\(x^2\\) or $x_1$ and costs $5 or $6.", "It is x^2 or x_1 and costs $5 or $6."),
    ("Half is \\frac{1}{2}.", "Half is 1/2."),
    ("A \\*star\\* and \\_more", "A star and more"),
    ("~~gone~~ ***both***", "gone both"),
    ("1. Open it.\n2. Close it.", "1. Open it. 2. Close it."),
    ("Title\n=====\nText", "Title Text"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_markup_is_not_said(text: str, expected: str) -> None:
    assert spoken_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Look at this:\n```python\nprint(1)\nfor a in b:\n    go. And on. Yes.\n```\nThat "
            "is all of it.",
            "Look at this: That is all of it.",
        ),
        (
            "See [the page. It is good](https://example.com/a) for it.",
            "See the page. It is good for it.",
        ),
        ("It is <!-- one. Two. Three. Four. --> really so.", "It is really so."),
        (
            "This is it. [a note without an end. And more of it.",
            "This is it. [a note without an end. And more of it.",
        ),
    ],
)
def test_spans_that_cross_pieces_are_not_said(text: str, expected: str) -> None:
    pieces = list(pieces_of(text))
    assert (
        len(pieces) > 1 and " ".join(piece.spoken for piece in pieces if piece.spoken) == expected
    )
    assert "".join("".join(piece.text for piece in pieces).split()) == "".join(
        text.split()
    )  # the page shows it all


@settings(max_examples=EXAMPLES)
@given(
    st.lists(
        st.sampled_from(
            "a b. ``` ~~~ [t](u) [ ]( ) <b <!-- --> $$ * ** _ x_y | # - 1 & &amp; \n".split(" ")
        ),
        max_size=40,
    ),
    st.integers(1, 9),
)
def test_any_text_in_any_pieces_is_read_without_marks(bits: list[str], size: int) -> None:
    markup, expected = Markup(), []
    for at in range(0, len(bits), size):
        expected.append(markup.feed(" ".join(bits[at : at + size])))
        assert len(markup._held) <= LONGEST_HELD
    expected.append(markup.feed("", last=True))
    assert "```" not in " ".join(expected) and "**" not in " ".join(expected)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000,
        "<a " * 3_000,
        "`" * 10_000,
        "[a](" * 2_500,
        "**" * 5_000,
        "|" * 10_000,
        "\\frac{" * 2_000,
        "$a" * 5_000,
        "&" * 10_000,
        "![x" * 3_000,
        "<!--" * 2_500,
        "*a* " * 2_500,
        "(sighs " * 1_500,
    ],
)
def test_hostile_texts_are_divided(text: str) -> None:
    assert list(pieces_of(text))[-1].last
