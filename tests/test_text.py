from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.text.segmentation import (
    MOST_CHARACTERS,
    MOST_WORDS,
    Clauses,
    StablePrefix,
    played_text_of,
    same_words,
    words,
)


def pieces(*portions: str) -> list[str]:
    """The pieces of a text that arrives in `portions`."""
    clauses = Clauses()
    out = [piece for portion in portions for piece in clauses.feed(portion)]
    rest = clauses.flush()
    return [*out, *([rest] if rest else [])]


def divided(text: str, sizes: list[int], between: str) -> Iterator[str]:
    """`text` in portions of the given sizes, over and over, but none that ends with a character
    of `between`.
    """
    start = turn = 0
    while start < len(text):
        end = start + sizes[turn % len(sizes)]
        while end < len(text) and text[end - 1] in between:
            end += 1
        yield text[start:end]
        start, turn = end, turn + 1


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.| It has two million people.| It is old.",
        "Yes,| it is a good idea,| and I can help you with that.| Shall we start?",
        "Sure!| I can help you with that.",
        "Here is the plan:| we go there, then we come back.| Good?",
        "It rained all day long —| so we stayed inside.",
        "We like it (the old, and new) a lot,| really.| Yes.",
        "He is a really odd—|if kind—man.| So I think.",
        "It costs 3.14 euros,| not 1,000, now.| At 10:30 we leave.",
        (
            "Dr. Smith and Mrs. J. R. Jones,| who live in the U.S. now, are e.g. Fans of St. "
            "Paul.| Well."
        ),
        "We met at 5 p.m.| Then we left.",
        "On May 5, 1990,| it began.| No. 5 won.| He said no.| Five people left.",
        'He said "Stop right there."| Then he left.| (It was late.)| So it went.',
        "'What?' he asked me then.| “Why not?” she said.",
        "Well... maybe not so fast.| Wait ... what?| Hmm…| Really?!| Yes!!!| Right.",
        "See https://example.com/a.b?c=1,2;d:3 for the details.| And v2.0.1 is out.",
        "It is called Yahoo! by all of them.| Is it?",
        "你好，我是助手。|今天天气很好，我们去公园吧！|“好的。”|他说。",
        "क्या हाल है आपका।| मैं ठीक हूँ।",
        "# The title\n|First line\n\n|- one item\n|- **another** one\n|1. Open it.\n|2. Close it.",
        "😀 \n Hello there friend.| Bye.",
    ],
)
def test_cuts(text: str) -> None:
    assert pieces(text.replace("|", "")) == [piece.strip() for piece in text.split("|")]


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry,| but I cannot help you with that.",
        "Of course,| here you are.",
        "Good question!| Nobody knows it.",
        "To cook rice,| you need water.",
        "The rain has gone now —| at last.",  # a clause
        "I set a timer| for ten minutes.",
        "The sky is blue| because it scatters light.",
        "People love dogs| who bark.",
        "The Eiffel Tower is located| in Paris, France.",
        "Romeo and Juliet were written| by William Shakespeare.",
        "Airplanes are powered by electricity| and use propellers.",
        "The president of the United States| is not known here.",
        "Most of the cheap cars| can go fast.",
        "They drove two hundred kilometers| without a stop.",
    ],
)
def test_the_first_piece_ends_where_a_speaker_could_breathe(text: str) -> None:
    first, _, rest = text.partition("|")
    assert pieces(text.replace("|", ""))[0] == first if rest else pieces(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        # too little to the left
        "It is called the best of all.",
        "The capital of France is Paris.",
        "I set timers for ten minutes.",
        "The large dog called Tim and Tom the cat slept.",  # a name
        "They live there in a very old and small house.",  # "very old", "a … house"
        # an auxiliary and its verb, a verb with its word
        "It really does cost two dollars maybe.",
        "We will have been looking for it.",
        "The new museum opened about 50 years ago.",
        "Do you think that he is at home?",
        "We met on the way to Paris, Texas.",
        "It began on May 5, 1990.",
    ],
)
def test_the_first_piece_is_not_cut_inside_what_belongs_together(text: str) -> None:
    assert pieces(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "Save money by making it a habit| to cut back today.",
        "A lake is a body of water| that is quite large.",
        "The meaning of life| is the sum of all good things.",
        "Six plates fall| from most big new round oak tables daily.",
        "Most big giraffes never really like eating soft bright yellow bananas.|",
    ],
)
def test_a_first_piece_that_finds_no_such_place_takes_the_best_there_is(text: str) -> None:
    assert pieces(text.replace("|", ""))[0] == text.partition("|")[0]


def test_what_follows_a_short_first_piece_comes_before_it_has_been_spoken() -> None:
    rest = "I would be really happy if you called her tomorrow, and she would be very happy too."
    assert pieces(f"Sure! {rest}") == [
        "Sure!",
        "I would be really happy if you called her tomorrow,",
        "and she would be very happy too.",
    ]
    long = "Let me think about what we all know of it."
    assert pieces(f"{long} {rest}") == [long, rest]


def test_later_sentences_are_cut_only_when_very_long() -> None:
    start, clause = (
        "Here we all go to see it now.",
        "And then the old man walked to the very next town,",
    )
    assert pieces(f"{start} {clause} {clause} ok.") == [start, f"{clause} {clause} ok."]
    long = " ".join([clause] * 4)
    assert pieces(f"{start} {long} ok.") == [start, f"{clause} {clause}", f"{clause} {clause} ok."]


def test_nothing_waits_for_ever() -> None:
    assert max(len(piece.split()) for piece in pieces("word " * 300)) <= MOST_WORDS
    assert max(map(len, pieces("!? - " * 1000))) <= MOST_CHARACTERS + 5


def test_a_stop_at_the_end_of_what_has_come_is_not_yet_an_end() -> None:
    clauses = Clauses()
    assert clauses.feed("It is exactly 3.") == []
    assert clauses.feed("14 and more") == []
    assert clauses.feed(". ") == []
    assert clauses.feed("S") == ["It is exactly 3.14 and more."]
    assert clauses.feed("o. ") == [] and clauses.flush() == "So." and clauses.flush() == ""


@pytest.mark.parametrize(
    "sure",
    [
        "It is Paris.",
        "Good morning!",
        "Sure!",
        "You did what?",
        'He said "go" now.',
        "It is (really) good.",
    ],
)
def test_a_sure_end_of_the_first_sentence_waits_for_nothing(sure: str) -> None:
    assert Clauses().feed(sure) == [sure]


@pytest.mark.parametrize(
    "unsure",
    [
        "Node.",
        "Hi!",
        "No.",
        "It is 3.",
        "See Dr.",
        "So it is. ",
        "He met prof.",
        "In the U.S.",
        "It is no.",
        'He said "stop.',
        "It is (really.",
        "Use a **bold.",
        "See my.a.",
        "Wait...",
        "I like apples etc.",
    ],
)
def test_an_end_that_may_be_none_waits(unsure: str) -> None:
    assert Clauses().feed(unsure) == []


def test_later_sentences_wait_for_certainty() -> None:
    clauses = Clauses()
    assert (
        clauses.feed("It is Paris. It is old.") == ["It is Paris."]
        and clauses.flush() == "It is old."
    )


ALPHABET = st.text(
    st.sampled_from("abAB12  .,;:!?…—–-\"'()[]*`\n。，」é好 Dr.") | st.characters(codec="utf-8"),
    max_size=200,
)
TOKENS = "Yes the Dr. 3.14 U.S. and, so. (it is) “Hi!” e.g. … — end? 好。 a\n 1. in"
SENTENCES = st.lists(st.sampled_from(TOKENS.split(" ")), max_size=90).map(" ".join)


@given(ALPHABET | SENTENCES, st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_pieces_are_the_text_however_it_arrives(text: str, sizes: list[int]) -> None:
    for between in ("", ".!?"):
        found = pieces(*divided(text, sizes, between))
        assert "".join("".join(found).split()) == "".join(text.split())
        assert all(piece and piece == piece.strip() for piece in found)
    assert found == pieces(text) == pieces(*divided(text, [1], ".!?"))


def test_words_and_same_words() -> None:
    assert words(" Hello, WORLD! It’s 1,000 -- 3.14 (ok?) ") == (
        "hello",
        "world",
        "its",
        "1000",
        "3",
        "14",
        "ok",
    )
    assert (
        words("今天 好。") == ("今", "天", "好")
        and words("आपका हाल") == ("आपका", "हाल")
        and words("… !") == ()
    )
    assert (
        same_words("What's the time?", "whats THE time")
        and same_words("ice cream", "Icecream.")
        and same_words("1,000", "1000")
    )
    assert (
        not same_words("1 2", "12")
        and not same_words("turn it on", "turn it off")
        and not same_words("", "a")
    )


def test_stable_prefix_follows_two_hypotheses_that_agree() -> None:
    stable = StablePrefix()
    assert stable.update("What is") == ("", "What is")
    assert stable.update("what is, the cap") == ("what is,", "the cap")
    assert stable.update("What is the capital") == ("what is, the", "capital")
    assert stable.update("Who was the capital of") == ("what is, the capital", "of")
    assert stable.update("Hm") == ("what is, the capital", "")
    assert stable.update("What was the capital?", final=True) == ("What was the capital?", "")


@given(
    st.lists(st.lists(st.sampled_from("a b c. 好".split()), max_size=6).map(" ".join), max_size=8)
)
def test_stable_only_grows(hypotheses: list[str]) -> None:
    prefix, before = StablePrefix(), ""
    for text in hypotheses:
        stable, unstable = prefix.update(text)
        assert stable.startswith(before) and len(words(f"{stable} {unstable}")) >= len(words(text))
        before = stable


def test_played_text_of() -> None:
    assert (
        played_text_of(
            [("Hello there.", 1.0, 1.0), ("The capital of Rome", 0.6, 1.0), ("is ...", 0.0, 1.0)]
        )
        == "Hello there. The capital"
    )
    assert played_text_of([]) == "" and played_text_of([("Hello.", 0.0, 0.0)]) == ""
    assert played_text_of([("Seven words that take a few seconds.", 1.0, 0.0)]) == "Seven words"
    assert played_text_of([("你好，", 1.0, 1.0), ("我是助手。", 1.0, 2.0)]) == "你好，我是"


@given(st.text("ab .", max_size=40), st.floats(0, 2), st.floats(0, 2))
def test_more_time_is_never_fewer_words(text: str, a: float, b: float) -> None:
    less, more = played_text_of([(text, min(a, b), 1.0)]), played_text_of([(text, max(a, b), 1.0)])
    assert more.startswith(less) and text.strip().startswith(more)
    assert played_text_of([(text, 1.0, 1.0)]) == text.strip()
