"""How texts are read aloud: a table of inputs and what is to be said, and what holds for every
text.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperfusion.text.normalization import spoken
from whisperfusion.text.numbers import cardinal, ordinal, roman, year

TABLE = Path(__file__).parent / "data" / "normalization.tsv"
CASES = [
    line.split("\t")
    for line in TABLE.read_text(encoding="utf-8").split("\n")
    if line and not line.startswith("# ")
]
EXAMPLES = int(os.environ.get("WHISPERFUSION_EXAMPLES", "75"))
BITS = (
    "0 1 2 3 5 10 12 99 007 1990 2026 3.14 1,234 $ € £ % ° km kg GB Mbit/s m/s ² x + - – = < > "
    "/ : , . ; ( ) @ # & pm a.m. May Nov. No. Dr. "
    "St. VIII Henry example.com http:// www. a.b src/ .ts C# v2 5th 1/2 ½ √ π 555-0134 'e ' \" "
    "_ ~ * ^ | \\ é 好 no. e.g. w/ AM T Z min ext. x"
).split(" ")


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_table(text: str, expected: str) -> None:
    assert spoken(text) == expected


def test_the_table_is_long_enough() -> None:
    assert len({text for text, _ in CASES}) >= 200


@settings(max_examples=EXAMPLES)
@given(
    st.lists(
        st.tuples(st.sampled_from(BITS) | st.text(max_size=3), st.sampled_from(["", "", " "])),
        max_size=25,
    )
)
def test_every_text_has_a_reading_without_digits_that_is_its_own_reading(
    bits: list[tuple[str, str]],
) -> None:
    expected = spoken("".join(a + b for a, b in bits))
    assert spoken(expected) == expected == " ".join(expected.split())
    assert not set(expected) & set("0123456789")
    expected.encode()  # no half of a surrogate pair is left


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=60))
def test_languages_without_rules_only_lose_what_no_voice_can_say(text: str) -> None:
    expected = spoken(text, "nl")
    assert spoken(expected, "nl") == expected
    if "://" not in text and "www." not in text:
        assert [c for c in expected if c.isalnum()] == [
            c for c in text if c.isalnum() and c in expected
        ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Op 5-3 om 15:30 voor € 3,50.", "Op 5-3 om 15:30 voor € 3,50."),
        ("Zie https://example.com/a/b?c=d 😀.", "Zie example.com ."),
    ],
)
def test_dutch_stays_dutch(text: str, expected: str) -> None:
    assert spoken(text, "nl") == expected


@pytest.mark.parametrize(
    "text",
    [
        "1" * 10_000,
        "1," * 5_000,
        "a." * 5_000,
        "$" * 10_000,
        "1-" * 5_000,
        "x@" * 5_000,
        "/a" * 5_000,
        "+1 " * 3_000,
        "www." * 2_500,
        " " * 10_000,
        "May 5 " * 1_500,
        "A" * 10_000,
        "((" * 5_000,
        "1:" * 5_000,
        "_a" * 5_000,
    ],
)
def test_hostile_texts_have_a_reading(text: str) -> None:
    assert len(spoken(text)) < 20 * len(text)


def test_numbers() -> None:
    assert (
        cardinal(0) == "zero"
        and cardinal(1_000_000_001) == "one billion one"
        and cardinal(-45) == "minus forty-five"
    )
    assert [ordinal(n) for n in (1, 12, 20, 21, 103)] == [
        "first",
        "twelfth",
        "twentieth",
        "twenty-first",
        "one hundred third",
    ]
    assert [year(n) for n in (1900, 2000, 2009, 2010)] == [
        "nineteen hundred",
        "two thousand",
        "two thousand nine",
        "twenty ten",
    ]
    assert [roman(text) for text in ("XIV", "IIII", "IC", "CLX", "Q", "")] == [14, 0, 0, 160, 0, 0]
