from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.core.text import (
    MOST_CHARACTERS,
    MOST_WORDS,
    Clauses,
    StablePrefix,
    heard_text,
    is_backchannel,
    is_echo,
    same_words,
    speakable,
    unfinished,
    words,
)


def pieces(text: str, sizes: tuple[int, ...] = (1,)) -> list[str]:
    """The pieces of `text` when it arrives in portions of the given sizes, over and over."""
    clauses, out, turn = Clauses(), [], 0
    while text:
        size = sizes[turn % len(sizes)]
        out += clauses.feed(text[:size])
        text, turn = text[size:], turn + 1
    rest = clauses.flush()
    return [*out, *([rest] if rest else [])]


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.| It has two million people.| It is old.",
        "Yes, it is a good idea,| and I can help you with that.| Shall we start?",
        "Sure!| I can help you with that.",
        "Here is the plan:| we go there, then we come back.| Good?",
        "It rained all day long —| so we stayed inside.",
        "We like it (the old, and new) a lot,| really.| Yes.",
        "He is a really odd—|if kind—man.| So I think.",
        "It costs 3.14 euros,| not 1,000, now.| At 10:30 we leave.",
        "Dr. Smith and Mrs. J. R. Jones,| who live in the U.S. now, are e.g. Fans of St. Paul.| Well.",
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


def test_first_piece_is_cut_at_a_natural_place_when_no_clause_ends() -> None:
    text = "The Eiffel tower is located in the city of Paris where it has stood for very many years now."
    assert pieces(text) == ["The Eiffel tower is located", text[28:]]
    stubborn = "Most big giraffes never really like eating soft bright yellow bananas after midnight or so."
    assert pieces(stubborn) == [stubborn[:69], stubborn[70:]]
    whole = "Most big giraffes never really like eating soft bright yellow bananas."
    assert pieces(whole) == [whole]


def test_later_sentences_are_cut_only_when_very_long() -> None:
    start, clause = "Here we go.", "And then the old man walked to the very next town,"
    assert pieces(f"{start} {clause} {clause} ok.") == [start, f"{clause} {clause} ok."]
    long = " ".join([clause] * 4)
    assert pieces(f"{start} {long} ok.") == [start, f"{clause} {clause}", f"{clause} {clause} ok."]


def test_nothing_waits_for_ever() -> None:
    assert max(len(piece.split()) for piece in pieces("word " * 300)) <= MOST_WORDS
    assert max(map(len, pieces("!? - " * 1000))) <= MOST_CHARACTERS + 5


def test_a_stop_at_the_end_of_what_has_come_is_not_yet_an_end() -> None:
    clauses = Clauses()
    assert clauses.feed("It is exactly 3.") == []
    assert clauses.feed("14 and more. ") == []
    assert clauses.feed("S") == ["It is exactly 3.14 and more."]
    assert clauses.feed("o. ") == [] and clauses.flush() == "So." and clauses.flush() == ""


ALPHABET = st.text(st.sampled_from("abAB12  .,;:!?…—–-\"'()[]*`\n。，」é好 Dr.") | st.characters(codec="utf-8"), max_size=200)
TOKENS = "Yes the Dr. 3.14 U.S. and, so. (it is) “Hi!” e.g. … — end? 好。 a\n 1. in"
SENTENCES = st.lists(st.sampled_from(TOKENS.split(" ")), max_size=90).map(" ".join)


@given(ALPHABET | SENTENCES, st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_pieces_are_the_text_however_it_arrives(text: str, sizes: list[int]) -> None:
    found = pieces(text, tuple(sizes))
    assert "".join("".join(found).split()) == "".join(text.split())
    assert found == pieces(text, (1,)) == pieces(text, (1000,))
    assert all(piece and piece == piece.strip() for piece in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**Bold** and `code` and *that*", "Bold and code and that"),
        ("## Title", "Title"),
        ("- one\n* two\n• three", "one two three"),
        ("See [the page](https://example.com).", "See the page."),
        ("Hello 😀👍🏽 there ❤️ 👨‍👩‍👧 🇫🇷!", "Hello there !"),
        ("> quoted _words_ of snake_case", "quoted words of snake case"),
        ("2 * 3 is -6 + 12, isn't it?", "2 times 3 is -6 + 12, isn't it?"),
        ("---", ""),
        ("😀", ""),
    ],
)
def test_speakable(text: str, said: str) -> None:
    assert speakable(text) == said


@given(ALPHABET)
def test_speakable_has_no_markup_and_loses_no_word(text: str) -> None:
    assert not set(speakable(text)) & set("*`~|_\n")
    letters = [c for c in text if c in "abABé好"]
    assert "<" in text or "](" in text or [c for c in speakable(text) if c in "abABé好"] == letters


def test_words_and_same_words() -> None:
    assert words(" Hello, WORLD! It’s 1,000 -- 3.14 (ok?) ") == ("hello", "world", "its", "1000", "3", "14", "ok")
    assert words("今天 好。") == ("今", "天", "好") and words("आपका हाल") == ("आपका", "हाल") and words("… !") == ()
    assert same_words("What's the time?", "whats THE time") and same_words("ice cream", "Icecream.") and same_words("1,000", "1000")
    assert not same_words("1 2", "12") and not same_words("turn it on", "turn it off") and not same_words("", "a")


def test_stable_prefix_follows_two_hypotheses_that_agree() -> None:
    stable = StablePrefix()
    assert stable.update("What is") == ("", "What is")
    assert stable.update("what is, the cap") == ("what is,", "the cap")
    assert stable.update("What is the capital") == ("what is, the", "capital")
    assert stable.update("Who was the capital of") == ("what is, the capital", "of")
    assert stable.update("Hm") == ("what is, the capital", "")
    assert stable.update("What was the capital?", final=True) == ("What was the capital?", "")


@given(st.lists(st.lists(st.sampled_from("a b c. 好".split()), max_size=6).map(" ".join), max_size=8))
def test_stable_only_grows(hypotheses: list[str]) -> None:
    prefix, before = StablePrefix(), ""
    for text in hypotheses:
        stable, unstable = prefix.update(text)
        assert stable.startswith(before) and len(words(f"{stable} {unstable}")) >= len(words(text))
        before = stable


@pytest.mark.parametrize("text", ["mm-hmm", "Uh-huh.", "Mmmm.", "Yeah, right, okay.", "yeahhh", "I see.", "Got it!", "うん", "Good."])
def test_backchannels(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", "...", "stop", "No.", "wait", "yeah but", "right stop", "okay yeah right yes", "see", "What?"])
def test_no_backchannels(text: str) -> None:
    assert not is_backchannel(text)


def test_echo() -> None:
    spoken = "The capital of France is Paris. It has two million people, so please do not stop there."
    for echo in ("the capital of France", "capitol of france is paris", "it had two million", "Paris it has", "people"):
        assert is_echo(echo, spoken), echo
    for own in ("", "stop", "please stop", "what is the capital of Spain", "two questions about the people", "no wait a second"):
        assert not is_echo(own, spoken), own
    assert not is_echo("the capital", "")


@pytest.mark.parametrize(
    "text",
    [
        "What is the", "What is the …", "How old is", "How old is?", "Is it safe to.", "Um", "I was thinking, uh", "I went to...",
        "Tell me about", "and", "My", "What's", "Where is", "My name is", "The capital of France is", "This is",
        "What is the meaning of", "How do I get to", "Who are you going to",
        "I would like a", "Can you", "How do you", "Why don't", "I like it, and so", "What do you want to —", "Do you like tea or",
    ],
)
def test_unfinished(text: str) -> None:
    assert unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "What is it?", "Who are you?", "I can", "Yes, I do.", "No, I don't", "What do you have?", "What does the store have?",
        "Tell me where the station is", "I don't know what that is", "What are you looking for?", "Where are you from?",
        "Who are you talking to?", "Turn it on", "turn the lights on", "Come in", "vitamin A", "at 10 am", "for a while", "I think so",
        "You saw it, did you?", "What time is it", "Stop.", "How are you doing today?",
    ],
)
def test_finished(text: str) -> None:
    assert not unfinished(text)


def test_unfinished_knows_only_english_words() -> None:
    assert not unfinished("Mach das Licht an", "de") and unfinished("Mach das Licht an")
    assert unfinished("Ich möchte ...", "de")


def test_heard_text() -> None:
    assert heard_text([("Hello there.", 1.0, 1.0), ("The capital of Rome", 0.6, 1.0), ("is ...", 0.0, 1.0)]) == "Hello there. The capital"
    assert heard_text([]) == "" and heard_text([("Hello.", 0.0, 0.0)]) == ""
    assert heard_text([("Seven words that take a few seconds.", 1.0, 0.0)]) == "Seven words"
    assert heard_text([("你好，", 1.0, 1.0), ("我是助手。", 1.0, 2.0)]) == "你好，我是"


@given(st.text("ab .", max_size=40), st.floats(0, 2), st.floats(0, 2))
def test_more_time_is_never_fewer_words(text: str, a: float, b: float) -> None:
    less, more = heard_text([(text, min(a, b), 1.0)]), heard_text([(text, max(a, b), 1.0)])
    assert more.startswith(less) and text.strip().startswith(more)
    assert heard_text([(text, 1.0, 1.0)]) == text.strip()
