"""What a model thinks, and what it acts out, is not seen, heard or remembered; cut anywhere, for
every way to mark it.
"""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whisperfusion.text.reply_pieces import Piece, ReplyPieces, pieces_of
from whisperfusion.text.stage_directions import StageDirections, without_stage_directions
from whisperfusion.text.thoughts import (
    LONGEST_MARK,
    Thoughts,
    looks_like_a_thought,
    opens_by_itself,
    without_thoughts,
)

EXAMPLES = int(os.environ.get("WHISPERFUSION_EXAMPLES", "75"))
THOUGHTS = [
    "<think>The user asks. Easy.</think>Paris.",
    "<think>\n\n</think>\n\nParis.",
    "<thinking>Hm, a < b?</thinking>Paris.",
    "<THINK>loud</THINK>Paris.",
    '<think type="long">x</think>Paris.',
    "<reasoning>So.</reasoning>Paris.",
    "<thought>So.</thought><answer>Paris.</answer>",
    "[THINK]So.[/THINK]Paris.",
    "◁think▷So.◁/think▷Paris.",
    "<|begin_of_thought|>So.<|end_of_thought|><|begin_of_solution|>Paris.<|end_of_solution|>",
    "<|START_THINKING|>So.<|END_THINKING|><|START_RESPONSE|>Paris.<|END_RESPONSE|>",
    "<|channel|>analysis<|message|>We need to answer.<|end|><|start|>assistant<|channel|>final<|"
    "message|>Paris.<|return|>",
    "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|"
    ">final<|message|>Paris.",
    "<|channel>thought\nSo.<channel|>Paris.",
    "analysisWe need to answer.assistantfinalParis.",
    "The user asks. It is easy, I know it.</think>Paris.",
    "Thought text</think>Paris.",
    "Hm.</thinking>\n\nParis.",
    "<think>a <think> b</think>Paris.",
    "<think>a</think>Par<think>b</think>is.",
]


def in_portions(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


def told(portions: list[str], held: bool = False, wary: bool = True) -> list[Piece]:
    """The pieces that are left when the reply is over: what was void is not counted."""
    reply, found = ReplyPieces(held, wary), []
    for portion in portions:
        found += reply.feed(portion)
    found += reply.flush()
    begins = max((at for at, piece in enumerate(found) if piece.afresh), default=0)
    return found[begins:]


def shown(portions: list[str], **how: bool) -> str:
    return " ".join(piece.text for piece in told(portions, **how) if piece.text)


@pytest.mark.parametrize("text", THOUGHTS)
def test_thoughts_are_taken_out_whole_and_letter_by_letter(text: str) -> None:
    for held in (False, True):
        assert shown([text], held=held) == shown(list(text), held=held) == "Paris."
    assert without_thoughts(text).strip() == "Paris."
    assert [piece.spoken for piece in pieces_of(text) if piece.spoken] == ["Paris."]


MIXED = st.lists(
    st.sampled_from(
        [
            *THOUGHTS,
            "Yes, it is. ",
            "a < b ",
            "<b>",
            "<",
            "[",
            "◁",
            "<|",
            "</",
            "`<think>` ",
            "*chuckles* ",
            "(sighs) ",
            "*so* ",
            "\n",
            "1. ",
        ]
    ),
    max_size=6,
).map("".join)


@settings(max_examples=EXAMPLES)
@given(
    MIXED | st.text("<>/|[]think◁▷ *()sigh.\n", max_size=60),
    st.lists(st.integers(0, 10_000), max_size=30),
)
@example("<|channel|>analysis<|message|>a</think>b<|end|>c", [3, 9, 20])
def test_any_cutting_gives_the_same(text: str, cuts: list[int]) -> None:
    for held in (False, True):
        thoughts = [Thoughts(held), Thoughts(held)]
        directions = [StageDirections(), StageDirections()]
        found = ["", ""]
        for which, portions in enumerate((in_portions(text, cuts), list(text))):
            for portion in portions:
                seen = thoughts[which].feed(portion)
                if thoughts[which].void:
                    thoughts[which].void, directions[which], found[which] = (
                        False,
                        StageDirections(),
                        "",
                    )
                found[which] += directions[which].feed(seen)
                assert len(thoughts[which]._undecided) <= LONGEST_MARK
            found[which] += (
                directions[which].feed(thoughts[which].flush()) + directions[which].flush()
            )
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "text",
    [
        "Use `<think>` and `</think>` here.",
        "If a < b then <i>c</i>.",
        "An array [1] of 3.",
        "It ends with <",
        "A <thin line.",
        "analysis is fun.",
        "analysis",
        "Final answer.",
    ],
)
def test_what_is_no_thought_stays(text: str) -> None:
    assert shown([text]) == shown(list(text)) == text


def test_a_closing_mark_at_the_end_of_an_answer_takes_nothing_away() -> None:
    assert shown(["<think>a</think>Paris.</think>"]) == "Paris."


def test_what_was_given_out_before_a_closing_mark_is_void() -> None:
    reply = ReplyPieces(wary=False)
    first = reply.feed("It is a city in the north. It has a tower. ")
    assert " ".join(piece.text for piece in first) == "It is a city in the north."
    rest = [*reply.feed("</think>Paris."), *reply.flush()]
    assert [(piece.text, piece.afresh) for piece in rest if piece.text] == [
        ("Paris.", True)
    ] and reply.preopened


def test_a_beginning_like_a_thought_is_kept_back_until_it_is_known() -> None:
    reply = ReplyPieces(wary=True)
    assert reply.feed("The user asks for a city. I know it. ") == [] and reply.thinking
    assert [piece.text for piece in [*reply.feed("</think>Paris."), *reply.flush()]] == ["Paris."]
    assert shown(["Let me think. ", "It is Paris."]) == "Let me think. It is Paris."  # it was none


def test_a_reply_that_begins_inside_a_thought_shows_nothing_before_its_end() -> None:
    reply = ReplyPieces(held=True)
    assert reply.feed("It is a city in the north. It has a tower. ") == []
    assert [piece.text for piece in reply.feed("</think>It is Paris.")] == ["It is Paris."]
    assert (
        shown(["It is Paris. ", "It is old."], held=True) == "It is Paris. It is old."
    )  # the model did without
    separate = ReplyPieces(held=True)
    assert [piece.text for piece in separate.feed("It is Paris.", separated=True)] == [
        "It is Paris."
    ]


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("deepseek-r1:7b", True),
        ("Qwen3-4B-Thinking-2507", True),
        ("QwQ-32B", True),
        ("phi-4-reasoning-plus", True),
        ("qwen2.5:3b", False),
        ("gpt-4o", False),
        ("llama3.1", False),
        ("SmolLM2-360M", False),
    ],
)
def test_names_that_tell_of_thoughts(name: str, opens: bool) -> None:
    assert opens_by_itself(name) is opens


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("Okay, so the user wants a city.", True),
        ("Hmm, the answer.", True),
        ("We need to answer in one word.", True),
        ("The capital of France is Paris.", False),
        ("Sure!", False),
        ("I can help you with that.", False),
        ("You should see it.", False),
    ],
)
def test_what_a_thought_sounds_like(text: str, like: bool) -> None:
    assert looks_like_a_thought(text) is like


# --- stage directions


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("*chuckles* Well, hello", "Well, hello"),
        ("(sighs) I see.", "I see."),
        ("Well (laughs softly), no.", "Well, no."),
        ("[laughs] Yes. [pause] No.", "Yes. No."),
        ("*leans back in the chair* Hm.", "Hm."),
        ("*Clears throat.* Now.", "Now."),
        ("_smiles_ Good morning.", "Good morning."),
        ("Good. *adjusts glasses*", "Good."),
        ("*softly chuckles* Oh.", "Oh."),
        ("So <laugh> it is. <sigh>", "So it is."),
        ("*nods* *smiles* Right.", "Right."),
        ("(whispering) Come here.", "Come here."),
        ("（laughs）Yes.", "Yes."),
        # what the model is told beside the user's words
        ("¡Hola! ¿Cómo estás? (Responde en español.)", "¡Hola! ¿Cómo estás?"),
        ("元気です（日本語で答えてください。）", "元気です"),
    ],
)
def test_stage_directions_are_taken_out(text: str, left: str) -> None:
    assert without_stage_directions(text).strip() == left
    assert shown(list(text)) == left


@pytest.mark.parametrize(
    "text",
    [
        "I *really* mean it.",
        "**Bold** and *this is important* too.",
        "The *waves* were high.",
        "I was *thinking* of you.",
        "2 * 3 * 4 is 24.",
        "(see the next page) for more.",
        "It was late (about ten) and cold.",
        "* one\n* two",
        "[1] says so.",
        "*Moby Dick* is a book.",
        "*always* be kind",
        "He (Smith) laughs.",
        "It is f(x) here.",
        "a_b_c and _so_ on",
        "*cats and dogs* are pets",
        "Dijo (Responde en serio.) y (Responde en español) más.",
    ],
)
def test_emphasis_and_brackets_stay(text: str) -> None:
    assert without_stage_directions(text) == text
