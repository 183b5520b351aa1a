"""Few words that answer what the assistant has just asked are complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from room import Utterance
from world import World

from whisperfusion.messages import ChatMessage
from whisperfusion.text.answers import Question, is_answer, last_question, question
from whisperfusion.text.end_of_turn import Ending, ending
from whisperfusion.turns.commands import UserTurnFinal
from whisperfusion.turns.history import ChatHistory
from whisperfusion.turns.turn_detection import (
    ANSWER_S,
    PLAIN_S,
    SILENCE_S,
    TURN_DETECTION_S,
    silence_needed,
    stretch,
)

ASKED = {
    Question.YES_OR_NO: (
        "Shall I go on?",
        "It is a long story. Would you like to hear it?",
        "So, are you ready, John?",
        "That is in Rome, right?",
        "You live in Rome?",
        "How about pizza?",
        "Do you want it or not? 🙂",
        "“Shall I?”",
    ),
    Question.CHOICE: ("Do you prefer tea or coffee?", "What would you like, tea or coffee?"),
    Question.DETAIL: (
        "Where do you live?",
        "Great! And which city are you in?",
        "In which country is it?",
        "What is your name?",
        "Could you tell me your name?",
        "May I have your name, please?",
        "And your name?",
        "What kind of music do you like?",
        "What's the capital of France?",
    ),
    Question.AMOUNT: ("How old are you?", "What time should I set it for?"),
}
# open ones, and those that ask for a dictation
NONE = (
    "Why do you ask?",
    "How can I help you?",
    "What would you like to know?",
    "What is your question?",
    "What is your phone number?",
    "May I have your last name, please?",
    "And your address?",
    "I see.",
    "",
)
EVERY = [one for ones in ASKED.values() for one in ones]


@pytest.mark.parametrize(("kind", "asked"), [(k, one) for k, ones in ASKED.items() for one in ones])
def test_what_a_question_asks_for(kind, asked):
    assert question(last_question(asked)) is kind


@pytest.mark.parametrize("asked", NONE)
def test_what_no_few_words_can_answer(asked):
    assert not last_question(asked) or question(last_question(asked)) is None
    assert not any(is_answer(text, asked) for text in ("Yes.", "No.", "Chicago.", "four", "tea"))


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        (Question.YES_OR_NO, "Yes.|Yes, please.|sure|Okay|Please do.|Um, yes|Yeah, that's right."),
        (Question.YES_OR_NO, "Yes I do|I think so.|No, it isn't.|no thanks|Not really|Go ahead."),
        (Question.CHOICE, "Tea.|coffee please|the first|the second one|both"),
        (Question.DETAIL, "Chicago|In Chicago.|tomorrow|Tomorrow morning.|the red one|um, Rome"),
        (Question.DETAIL, "I'm from Chicago|New York City|San Francisco, California"),
        (Question.AMOUNT, "four|Twenty five.|Ten past eight|at noon"),
    ],
)
def test_a_short_answer_that_fits_is_complete(kind, answers):
    for asked in ASKED[kind]:
        for text in answers.split("|"):
            assert is_answer(text, asked), (asked, text)
            assert not is_answer(text, "I see."), text


@pytest.mark.parametrize("asked", EVERY)
def test_no_is_an_answer_to_everything(asked):
    for text in ("No.", "No, thank you.", "I don't know.", "not sure"):
        assert is_answer(text, asked)


@pytest.mark.parametrize(
    ("kind", "begun"),
    [
        (Question.YES_OR_NO, "Yes, I|Yes and|I would|Chicago|yes but|I|Yes, I want to|because|Um"),
        (Question.CHOICE, "Yes.|the|I would like|a big|Chicago|tea or|well"),
        (
            Question.DETAIL,
            "yes|I|the|maybe|New|San|a big|to the|I really like|Rome, in|Rome,|and|um",
        ),
        (Question.DETAIL, "four|five five|J|it was|my|going to|some of the people that I know"),
        (Question.AMOUNT, "about|four five|around|maybe|at|I think|a"),
    ],
)
def test_what_asks_for_more_is_none(kind, begun):
    for asked in ASKED[kind]:
        for text in begun.split("|"):
            assert not is_answer(text, asked), (asked, text)


@pytest.mark.parametrize(
    "asked",
    [
        "Is there anything else?",
        "Do you have a question?",
        "Could you spell that?",
        "Can you repeat it?",
    ],
)
def test_yes_to_some_questions_is_only_a_beginning(asked):
    assert not is_answer("Yes.", asked) and is_answer("No, thanks.", asked)


@pytest.mark.parametrize(
    ("language", "asked", "answer", "complete"),
    [
        ("de", "Soll ich weitermachen?", "Ja, gerne.", True),
        ("de", "Soll ich weitermachen?", "Nein, danke.", True),
        ("de", "Soll ich weitermachen?", "Ja, aber", False),
        ("de", "Wo wohnen Sie?", "Ja", False),
        ("de", "Ich mache weiter.", "Ja", False),
        ("fr", "Voulez-vous continuer ?", "Oui.", True),
        ("fr", "Où habitez-vous ?", "Oui.", False),
        ("es", "¿Quieres continuar?", "Sí, claro", True),
        ("ru", "Продолжать?", "да", True),
        (None, "Soll ich weitermachen?", "Ja", True),
    ],
)
def test_other_languages_have_yes_and_no(language, asked, answer, complete):
    assert is_answer(answer, asked, language) is complete


TEXTS = st.one_of(
    st.sampled_from(("Yes.", "Chicago", "four", "my number is five", "What is the", "I went to")),
    st.lists(
        st.sampled_from("yes no the in Rome four five and I want do um please one".split()),
        max_size=6,
    ).map(" ".join),
    st.text(max_size=30),
)


@given(
    TEXTS,
    st.sampled_from([*EVERY, *NONE]),
    st.none() | st.floats(0.0, 1.0),
    st.none() | st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.integers(0, 2),
)
def test_a_question_only_ever_shortens_a_wait_and_never_after_words_that_ask_for_more(
    text, asked, score, end_of_turn, eagerness, narration
):
    without = silence_needed(score, text, "en", eagerness, narration, end_of_turn)
    needed = silence_needed(score, text, "en", eagerness, narration, end_of_turn, asked)
    assert TURN_DETECTION_S <= needed <= without
    if needed < without:
        assert ending(text) is Ending.PLAIN or text.lower().startswith("please do")
        assert narration == 0
        assert needed == max(TURN_DETECTION_S, ANSWER_S * stretch(eagerness))


def test_the_wait_after_an_answer():
    asked, doubted = "Where do you live?", 0.2
    assert silence_needed(0.3, "Chicago.", end_of_turn=doubted) == PLAIN_S
    assert silence_needed(0.3, "Chicago.", end_of_turn=doubted, asked=asked) == ANSWER_S
    assert silence_needed(0.3, "Chicago.", end_of_turn=0.99, asked=asked) == TURN_DETECTION_S
    # who has hesitated may do so again
    hesitated = silence_needed(0.3, "Chicago.", narration=1, end_of_turn=doubted, asked=asked)
    assert hesitated == PLAIN_S
    assert silence_needed(0.3, "four", asked="What is your number?") == SILENCE_S[Ending.PLAIN][2]


def test_the_history_knows_what_was_asked_last():
    history = ChatHistory()
    assert history.asked() == ""
    history.add("assistant", "Where do you live?")
    assert history.asked() == "Where do you live?"
    history.add("user", "In")
    assert history.asked() == ""
    assert ChatHistory([ChatMessage("call", "{}")]).asked() == ""


WINDOWS_S = 0.1  # three of the detector's


def answered_after(closing, *said):
    """Seconds from the end of what is said, after an answer that closes so, to the end of its
    turn.
    """
    world = World(1, [Utterance(0.5, ("hello", "there"))], closing=closing, scored=False, slow=0.5)
    world.run(60.0)
    world.say(*said)
    world.run(120.0)
    world.check()
    ended = [(at, fact) for at, fact in world.told if isinstance(fact, UserTurnFinal)]
    assert ended[-1][1].text.rstrip(".?").split() == list(said)
    return ended[-1][0] - world.room.script[-1].end


def test_in_a_call_an_answer_is_answered_sooner():
    doubtful = SILENCE_S[Ending.PLAIN][2]
    for asked, *said in (("Shall I go on?", "yes"), ("Where do you live?", "in", "chicago")):
        assert answered_after(asked, *said) == pytest.approx(ANSWER_S, abs=WINDOWS_S)
    assert answered_after("I shall go on.", "yes") > doubtful - WINDOWS_S
    assert answered_after("What is your number?", "four") > doubtful - WINDOWS_S
    assert answered_after("Where do you live?", "in") > SILENCE_S[Ending.OPEN][2] - WINDOWS_S


@pytest.mark.parametrize("after", [1.7, 1.9, 2.1, 2.3])  # of an answer of 2.1 s
def test_in_a_call_an_answer_over_the_end_of_the_question_counts(after):
    for seed in range(5):
        world = World(
            seed,
            [Utterance(0.5, ("hello", "there"))],
            reactions=((after, Utterance(0.0, ("yes",))),),
            replies=(3, 3),
            closing="Shall I go on?",
        )
        world.run(120.0)
        world.check()
        assert world.understood() == ["hello", "there", "yes"]
        asked, answer = world.conversation.history[1:3]
        assert asked.text.endswith("Shall I go on?") and answer.text.startswith("yes")
