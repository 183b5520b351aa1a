"""A client that steers: answers on request, a history of its own, functions, what was heard, who may interrupt."""

from __future__ import annotations

import json

import pytest
from test_conversation import SECOND, Talk, kinds, of

from fusion.core.conversation import Conversation, State
from fusion.core.endpoint import WINDOW, Endpoint
from fusion.core.floor import Floor
from fusion.core.turns import Answering, BotCalled, BotSaid, Heard, Interrupted, StopHearing, UserSaid
from fusion.messages import Called, Cancel, Commit, Generate, Hold, Line, Prepare, Resume, Sentence, Spoken

TOOLS = '{"tools": [], "tool_choice": "auto"}'


def asked_only() -> Talk:
    talk = Talk()
    talk.c.answers = False
    return talk


def test_a_turn_is_answered_when_that_is_asked_for():
    talk = asked_only()
    assert Generate not in kinds(talk.user("what time is it"))  # nothing is guessed either
    out = talk.c.turn_ended(True, 1.0)
    assert kinds(out) == [StopHearing, UserSaid] or of(out, UserSaid)[0].text == "what time is it"
    assert talk.c.state is State.IDLE and Commit not in kinds(out)
    out = talk.c.respond({}, 2.0)
    assert kinds(out) == [Answering, Generate, Commit] and talk.c.state is State.BOT
    assert of(out, Generate)[0].lines[-1] == Line("user", "what time is it")


def test_an_answer_that_is_asked_for_while_the_words_are_on_their_way_comes_with_them():
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.turn_ended(True, 2.1, by_hand=True)
    assert Commit not in kinds(talk.c.respond({}, 2.2))
    out = talk.c.heard_words("hello you", 3 * SECOND, 2.3)
    assert of(out, UserSaid)[0].text == "hello you" and Commit in kinds(out) and talk.c.state is State.BOT


def test_nothing_is_answered_while_somebody_speaks():
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    assert talk.c.respond({}, 1.5) == [] and talk.c.state is State.USER
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.heard_words("hello you", 3 * SECOND, 2.1)
    assert Commit not in kinds(talk.c.turn_ended(True, 2.2))  # it was asked for too early


def test_an_answer_may_have_instructions_and_tools_of_its_own():
    talk = asked_only()
    (asked,) = of(talk.c.respond({"instructions": "Be rude.", "tools": TOOLS}, 1.0), Generate)
    assert asked.lines == (Line("system", "Be rude."),) and asked.tools == TOOLS
    talk.c.interrupt(2.0)
    (asked,) = of(talk.c.respond({}, 3.0), Generate)
    assert asked.lines[0] == Line("system", "Be nice.") and asked.tools == ""


def test_an_answer_may_be_short_and_a_cut_one_is_told():
    talk = asked_only()
    talk.c.dialogue.max_tokens = 50
    (asked,) = of(talk.c.respond({"max_tokens": 3}, 1.0), Generate)
    assert asked.max_tokens == 3
    out = talk.c.sentence(Sentence(asked.ticket, 0, "Well, that", True, cut=True), 1.1)
    assert of(out, BotSaid) == [BotSaid(1, 0, "Well, that", True, True)]
    talk.c.interrupt(2.0)
    (asked,) = of(talk.c.respond({}, 3.0), Generate)
    assert asked.max_tokens == 50
    talk = Talk()
    (guess,) = of(talk.user("what time is it"), Generate)
    talk.c.sentence(Sentence(guess.ticket, 0, "It is", True, cut=True), 1.1)  # before the turn was over
    assert of(talk.c.turn_ended(True, 1.2), BotSaid) == [BotSaid(1, 0, "It is", True, True)]


def test_a_new_answer_takes_the_place_of_the_one_that_is_given():
    talk = Talk().in_bot("Hello there.", heard=0.5)
    out = talk.c.respond({}, 1.0)
    assert kinds(out) == [Cancel, Interrupted, Answering, Generate, Commit] and talk.c.dialogue.reply.ticket == of(out, Commit)[0].ticket


def test_what_is_being_said_can_be_cleared_and_an_answer_goes_on():
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    talk.c.heard_words("never mind", 2 * SECOND, 1.5)
    assert StopHearing in kinds(talk.c.clear(2.0)) and talk.c.state is State.IDLE and talk.c.dialogue.memory.lines == []
    talk = Talk().in_bot()
    assert Hold in kinds(talk.c.speech_started(9 * SECOND, 1.0))
    assert Resume in kinds(talk.c.clear(1.1)) and talk.c.state is State.BOT
    assert Talk().c.clear(0.0) == []


def test_the_client_knows_better_what_was_said():
    talk = Talk()
    talk.user("what time is it")
    out = talk.c.remember([Line("user", "Hi."), Line("assistant", "Hello.")])
    assert kinds(out) == [Cancel]  # the guess knew otherwise
    (asked,) = of(talk.c.turn_ended(True, 1.0), Generate)
    assert [line.text for line in asked.lines] == ["Be nice.", "Hi.", "Hello.", "what time is it"]


# --- functions ----------------------------------------------------------------------------------------------


def test_a_function_is_told_remembered_and_its_result_read():
    talk = Talk()
    talk.c.dialogue.tools = TOOLS
    (asked,) = of(talk.user("look it up"), Generate)
    assert asked.tools == TOOLS and of(Talk().c.opened(), Prepare)[0].tools == ""
    call = Called(asked.ticket, "c1", "look_up", '{"text": "it"}')
    assert talk.c.called(call, 1.0) == []  # a guess is not told
    out = talk.c.turn_ended(True, 1.1)
    assert of(out, BotCalled) == [BotCalled(1, "c1", "look_up", '{"text": "it"}')]
    talk.c.sentence(Sentence(asked.ticket, 0, "", True), 1.2)
    talk.c.spoken(Spoken(asked.ticket, 0, 0.0, 0.0, True), 1.3)
    assert talk.c.state is State.IDLE
    talk.c.result("c1", "forty two")
    (asked,) = of(talk.c.respond({}, 2.0), Generate)
    assert [line.role for line in asked.lines] == ["system", "user", "call", "result"]
    assert json.loads(asked.lines[-1].text) == {"id": "c1", "output": "forty two"}


def test_a_call_of_the_answer_that_is_given_is_told_at_once_and_of_another_never():
    talk = Talk()
    talk.user("look it up")
    talk.c.turn_ended(True, 1.0)
    ticket = talk.c.dialogue.reply.ticket
    assert talk.c.called(Called(ticket, "c1", "f", "{}"), 1.1) == [BotCalled(1, "c1", "f", "{}")]
    old = talk.c.dialogue.ticket
    talk.c.typed("something else", 2.0)
    assert talk.c.called(Called(old, "c2", "f", "{}"), 2.1) == []
    assert [line.role for line in talk.c.dialogue.memory.lines] == ["user", "call", "user"]


# --- what was heard -------------------------------------------------------------------------------------------


def test_the_client_says_afterwards_how_much_was_heard():
    talk = Talk().in_bot("one two three four five six seven eight", heard=0.9)
    out = talk.c.interrupt(1.0)
    (cut,) = of(out, Interrupted)
    (heard,) = talk.c.heard_up_to(1, 0.25)
    assert isinstance(heard, Heard) and cut.heard.startswith(heard.text) and len(heard.text) < len(cut.heard)
    assert talk.c.dialogue.memory.lines[-1] == Line("assistant", heard.text)
    assert talk.c.heard_up_to(1, 0.0) == [Heard(1, "")] and talk.c.dialogue.memory.lines[-1].role == "user"
    assert talk.c.heard_up_to(9, 1.0) == [] and talk.c.heard_up_to(1, -1.0) == []


def test_a_client_may_tell_what_was_heard_before_the_voice_does():
    """One that takes sound faster than it plays: the next turn must not find the question still open."""
    talk = Talk()
    (asked,) = of(talk.user("what time is it"), Generate)
    talk.c.turn_ended(True, 1.0)
    talk.c.sentence(Sentence(asked.ticket, 0, "It is late.", False), 1.1)
    talk.c.sentence(Sentence(asked.ticket, 1, "Go to bed.", True), 1.1)
    talk.c.heard_up_to(1, 100.0)
    assert of(talk.c.interrupt(1.2), Interrupted)[0].heard == "It is late. Go to bed."
    assert [line.role for line in talk.c.dialogue.memory.lines] == ["user", "assistant"]


# --- who may interrupt ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_what_is_said_over_an_answer_that_must_not_be_interrupted_is_the_next_turn(known):
    talk = Talk()
    talk.c.interruptible = False
    talk.in_bot("Hello there.", heard=0.5)
    assert Hold not in kinds(talk.c.speech_started(10 * SECOND, 2.0)) and talk.c.state is State.DOUBT
    talk.c.speech_stopped(11 * SECOND, 3.0, 3.0)
    out = talk.c.heard_words("and something quite different", 12 * SECOND, 3.1) if known else []
    assert Cancel not in kinds(out) and talk.c.state is State.DOUBT
    talk.c.wake(3.0 + 3.0)
    assert talk.c.state is State.DOUBT
    out = talk.played(1.0, 1.0)
    assert Interrupted not in kinds(out) and talk.c.state is State.PAUSE
    out = [] if known else talk.c.heard_words("and something quite different", 12 * SECOND, 7.0)
    assert [said.text for said in of([*out, *talk.c.turn_ended(True, 8.0)], UserSaid)] == ["and something quite different"]


def test_a_fixed_silence_ends_a_turn_whatever_the_words_say():
    floor = Floor(Conversation("a", "Be nice."), Endpoint(2.6), scored=False)
    floor.silence_s = 0.3
    out, now = [], 0.0
    for at in range(100):
        now += WINDOW / SECOND
        out += floor.window(0.9 if at < 40 else 0.0, now)
        if at == 48:
            out += floor.words("I want to go to the", floor.position, now)
        if any(isinstance(command, UserSaid) for command in out):
            break
    silent_s = (at - 39) * WINDOW / SECOND
    assert 0.3 <= silent_s < 0.4 and not any(isinstance(command, BotSaid) for command in out)


# --- who asked for which answer -------------------------------------------------------------------------------


def closing(talk: Talk) -> Talk:
    """The turn is over by hand; its words are on their way."""
    talk.c.speech_started(SECOND, 1.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.turn_ended(True, 2.1, by_hand=True)
    return talk


def test_whoever_asks_for_an_answer_learns_at_once_which_turn_that_is():
    talk = Talk().in_bot("Hello there.", heard=0.5)
    assert of(talk.c.respond({}, 1.0, "r1"), Answering) == [Answering(2, "r1")]
    assert talk.c.dialogue.reply.ticket.turn == 2
    talk = closing(asked_only())
    assert talk.c.respond({}, 2.2, "r2") == [Answering(1, "r2")]
    talk.c.heard_words("hello you", 3 * SECOND, 2.3)
    assert talk.c.dialogue.reply.ticket.turn == 1
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    assert talk.c.respond({}, 1.5, "r3") == []


def test_an_answer_asked_for_before_the_words_came_keeps_its_own_instructions():
    talk = closing(Talk())  # guesses are made here
    talk.c.respond({"instructions": "Be rude."}, 2.2)
    out = talk.c.heard_words("hello you", 3 * SECOND, 2.3)
    (asked,) = of(out, Generate)
    assert asked.lines == (Line("system", "Be rude."), Line("user", "hello you")) and of(out, Commit)[0].ticket == asked.ticket
    assert [line.role for line in talk.c.dialogue.memory.lines] == ["user"]


def test_an_answer_that_was_asked_for_comes_even_if_the_turn_was_only_a_noise():
    talk = closing(asked_only())
    talk.c.dialogue.memory.user("what time is it")
    talk.c.respond({}, 2.2, "r1")
    out = talk.c.heard_words("", 3 * SECOND, 2.3)
    assert of(out, UserSaid)[0].text == "" and Commit in kinds(out) and talk.c.state is State.BOT
    assert of(out, Generate)[0].lines[-1] == Line("user", "what time is it")
