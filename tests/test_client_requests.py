"""A client that steers: answers on request, a history of its own, functions, what was heard, who
may interrupt.
"""

from __future__ import annotations

import json

import pytest
from test_turn_taking import SECOND, Talk, kinds, of

from whisperfusion.audio import VAD_WINDOW
from whisperfusion.messages import (
    Cancel,
    ChatMessage,
    Commit,
    Generate,
    Pause,
    PlaybackProgress,
    Prefill,
    Resume,
    Sentence,
    ToolCalled,
)
from whisperfusion.tools import NO_TOOLS, Function, Tools
from whisperfusion.turns import events
from whisperfusion.turns.commands import (
    PlayedText,
    ReplyInterrupted,
    ReplyStarted,
    ReplyText,
    ReplyToolCall,
    StopTranscribing,
    UserTurnFinal,
)
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import State

TOOLS = Tools((Function("look", {"name": "look"}),))


def asked_only() -> Talk:
    talk = Talk()
    talk.c.change(automatic_replies=False)
    return talk


def test_a_turn_is_answered_when_that_is_asked_for():
    talk = asked_only()
    assert Generate not in kinds(talk.user("what time is it"))  # nothing is preempted either
    out = talk.c.turn_ended(True, 1.0)
    assert (
        kinds(out) == [StopTranscribing, UserTurnFinal]
        or of(out, UserTurnFinal)[0].text == "what time is it"
    )
    assert talk.c.state is State.IDLE and Commit not in kinds(out)
    out = talk.c.create_reply(2.0)
    assert kinds(out) == [ReplyStarted, Generate, Commit] and talk.c.state is State.REPLYING
    assert of(out, Generate)[0].history[-1] == ChatMessage("user", "what time is it")


def test_an_answer_that_is_asked_for_while_the_words_are_on_their_way_comes_with_them():
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.turn_ended(True, 2.1, by_hand=True)
    assert Commit not in kinds(talk.c.create_reply(2.2))
    out = talk.c.transcript("hello you", 3 * SECOND, 2.3)
    assert (
        of(out, UserTurnFinal)[0].text == "hello you"
        and Commit in kinds(out)
        and talk.c.state is State.REPLYING
    )


def test_nothing_is_answered_while_somebody_speaks():
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    assert talk.c.create_reply(1.5) == [] and talk.c.state is State.USER_SPEAKING
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.transcript("hello you", 3 * SECOND, 2.1)
    assert Commit not in kinds(talk.c.turn_ended(True, 2.2))  # it was asked for too early


def test_an_answer_may_have_instructions_and_tools_of_its_own():
    talk = asked_only()
    (asked,) = of(talk.c.create_reply(1.0, instructions="Be rude.", tools=TOOLS), Generate)
    assert asked.history == (ChatMessage("system", "Be rude."),) and asked.tools == TOOLS
    talk.c.interrupt(2.0)
    (asked,) = of(talk.c.create_reply(3.0), Generate)
    assert asked.history[0] == ChatMessage("system", "Be nice.") and asked.tools == NO_TOOLS


def test_an_answer_may_be_short_and_a_cut_one_is_told():
    talk = asked_only()
    talk.c.change(max_tokens=50)
    (asked,) = of(talk.c.create_reply(1.0, max_tokens=3), Generate)
    assert asked.max_tokens == 3
    out = talk.c.receive(Sentence(asked.ticket, 0, "Well, that", True, cut=True), 1.1)
    assert of(out, ReplyText) == [ReplyText(1, 0, "Well, that", True, True)]
    talk.c.interrupt(2.0)
    (asked,) = of(talk.c.create_reply(3.0), Generate)
    assert asked.max_tokens == 50
    talk = Talk()
    (early,) = of(talk.user("what time is it"), Generate)
    # before the turn was over
    talk.c.receive(Sentence(early.ticket, 0, "It is", True, cut=True), 1.1)
    assert of(talk.c.turn_ended(True, 1.2), ReplyText) == [ReplyText(1, 0, "It is", True, True)]


def test_a_new_answer_takes_the_place_of_the_one_that_is_given():
    talk = Talk().in_bot("Hello there.", played_s=0.5)
    out = talk.c.create_reply(1.0)
    assert (
        kinds(out) == [Cancel, ReplyInterrupted, ReplyStarted, Generate, Commit]
        and talk.c.reply.ticket == of(out, Commit)[0].ticket
    )


def test_what_is_being_said_can_be_cleared_and_an_answer_goes_on():
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    talk.c.transcript("never mind", 2 * SECOND, 1.5)
    assert (
        StopTranscribing in kinds(talk.c.clear(2.0))
        and talk.c.state is State.IDLE
        and talk.c.history == []
    )
    talk = Talk().in_bot()
    assert Pause in kinds(talk.c.speech_started(9 * SECOND, 1.0))
    assert Resume in kinds(talk.c.clear(1.1)) and talk.c.state is State.REPLYING
    assert Talk().c.clear(0.0) == []


def test_the_client_knows_better_what_was_said():
    talk = Talk()
    talk.user("what time is it")
    out = talk.c.replace_history([ChatMessage("user", "Hi."), ChatMessage("assistant", "Hello.")])
    assert kinds(out) == [Cancel]  # the preemptive reply knew otherwise
    (asked,) = of(talk.c.turn_ended(True, 1.0), Generate)
    assert [line.text for line in asked.history] == ["Be nice.", "Hi.", "Hello.", "what time is it"]


# --- functions ----------------------------------------------------------------------------------


def test_a_function_is_told_remembered_and_its_result_read():
    talk = Talk()
    talk.c.change(tools=TOOLS)
    (asked,) = of(talk.user("look it up"), Generate)
    assert asked.tools == TOOLS and of(Talk().c.opened(), Prefill)[0].tools == NO_TOOLS
    call = ToolCalled(asked.ticket, "c1", "look_up", '{"text": "it"}')
    assert talk.c.receive(call, 1.0) == []  # a preemptive reply is not told
    out = talk.c.turn_ended(True, 1.1)
    assert of(out, ReplyToolCall) == [ReplyToolCall(1, "c1", "look_up", '{"text": "it"}')]
    talk.c.receive(Sentence(asked.ticket, 0, "", True), 1.2)
    talk.c.receive(PlaybackProgress(asked.ticket, 0, 0.0, 0.0, True), 1.3)
    assert talk.c.state is State.IDLE
    talk.c.tool_result("c1", "forty two")
    (asked,) = of(talk.c.create_reply(2.0), Generate)
    assert [line.role for line in asked.history] == ["system", "user", "call", "result"]
    assert json.loads(asked.history[-1].text) == {"id": "c1", "output": "forty two"}


def test_a_call_of_the_answer_that_is_given_is_told_at_once_and_of_another_never():
    talk = Talk()
    talk.user("look it up")
    talk.c.turn_ended(True, 1.0)
    ticket = talk.c.reply.ticket
    assert talk.c.receive(ToolCalled(ticket, "c1", "f", "{}"), 1.1) == [
        ReplyToolCall(1, "c1", "f", "{}")
    ]
    old = talk.c.replies.ticket
    talk.c.typed("something else", 2.0)
    assert talk.c.receive(ToolCalled(old, "c2", "f", "{}"), 2.1) == []
    assert [line.role for line in talk.c.history] == ["user", "call", "user"]


# --- what was heard -----------------------------------------------------------------------------


def test_the_client_says_afterwards_how_much_was_heard():
    talk = Talk().in_bot("one two three four five six seven eight", played_s=0.9)
    out = talk.c.interrupt(1.0)
    (cut,) = of(out, ReplyInterrupted)
    (played,) = talk.c.playback_position(1, 0.25)
    assert (
        isinstance(played, PlayedText)
        and cut.played_text.startswith(played.text)
        and len(played.text) < len(cut.played_text)
    )
    assert talk.c.history[-1] == ChatMessage("assistant", played.text)
    assert (
        talk.c.playback_position(1, 0.0) == [PlayedText(1, "")]
        and talk.c.history[-1].role == "user"
    )
    assert talk.c.playback_position(9, 1.0) == [] and talk.c.playback_position(1, -1.0) == []


def test_a_client_may_tell_what_was_heard_before_the_voice_does():
    """One that takes sound faster than it plays: the next turn must not find the question still
    open.
    """
    talk = Talk()
    (asked,) = of(talk.user("what time is it"), Generate)
    talk.c.turn_ended(True, 1.0)
    talk.c.receive(Sentence(asked.ticket, 0, "It is late.", False), 1.1)
    talk.c.receive(Sentence(asked.ticket, 1, "Go to bed.", True), 1.1)
    talk.c.playback_position(1, 100.0)
    assert of(talk.c.interrupt(1.2), ReplyInterrupted)[0].played_text == "It is late. Go to bed."
    assert [line.role for line in talk.c.history] == ["user", "assistant"]


# --- who may interrupt --------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_what_is_said_over_an_answer_that_must_not_be_interrupted_is_the_next_turn(known):
    talk = Talk()
    talk.c.change(interruptible=False)
    talk.in_bot("Hello there.", played_s=0.5)
    assert (
        Pause not in kinds(talk.c.speech_started(10 * SECOND, 2.0))
        and talk.c.state is State.OVERLAP
    )
    talk.c.speech_stopped(11 * SECOND, 3.0, 3.0)
    out = talk.c.transcript("and something quite different", 12 * SECOND, 3.1) if known else []
    assert Cancel not in kinds(out) and talk.c.state is State.OVERLAP
    talk.c.wake(3.0 + 3.0)
    assert talk.c.state is State.OVERLAP
    out = talk.played(1.0, 1.0)
    assert ReplyInterrupted not in kinds(out) and talk.c.state is State.USER_PAUSED
    out = [] if known else talk.c.transcript("and something quite different", 12 * SECOND, 7.0)
    assert [event.text for event in of([*out, *talk.c.turn_ended(True, 8.0)], UserTurnFinal)] == [
        "and something quite different"
    ]


def test_a_fixed_silence_ends_a_turn_whatever_the_words_say():
    options = Options("Be nice.", turn_detector=False, silence_s=0.3)
    conversation, out, now = Conversation("a", options), [], 0.0
    for at in range(100):
        now += VAD_WINDOW / SECOND
        out += conversation.receive(events.SpeechProbability(0.9 if at < 40 else 0.0), now)
        if at == 48:
            event = events.InterimTranscript("I want to go to the", conversation.position)
            out += conversation.receive(event, now)
        if any(isinstance(command, UserTurnFinal) for command in out):
            break
    silent_s = (at - 39) * VAD_WINDOW / SECOND
    assert 0.3 <= silent_s < 0.4 and not any(isinstance(command, ReplyText) for command in out)


# --- who asked for which answer -----------------------------------------------------------------


def closing(talk: Talk) -> Talk:
    """The turn is over by hand; its words are on their way."""
    talk.c.speech_started(SECOND, 1.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.turn_ended(True, 2.1, by_hand=True)
    return talk


def test_whoever_asks_for_an_answer_learns_at_once_which_turn_that_is():
    talk = Talk().in_bot("Hello there.", played_s=0.5)
    assert of(talk.c.create_reply(1.0, "r1"), ReplyStarted) == [ReplyStarted(2, "r1")]
    assert talk.c.reply.ticket.turn == 2
    talk = closing(asked_only())
    assert talk.c.create_reply(2.2, "r2") == [ReplyStarted(1, "r2")]
    talk.c.transcript("hello you", 3 * SECOND, 2.3)
    assert talk.c.reply.ticket.turn == 1
    talk = asked_only()
    talk.c.speech_started(SECOND, 1.0)
    assert talk.c.create_reply(1.5, "r3") == []


def test_an_answer_asked_for_before_the_words_came_keeps_its_own_instructions():
    talk = closing(Talk())  # preemptive replies are begun here
    talk.c.create_reply(2.2, instructions="Be rude.")
    out = talk.c.transcript("hello you", 3 * SECOND, 2.3)
    (asked,) = of(out, Generate)
    assert (
        asked.history == (ChatMessage("system", "Be rude."), ChatMessage("user", "hello you"))
        and of(out, Commit)[0].ticket == asked.ticket
    )
    assert [line.role for line in talk.c.history] == ["user"]


def test_an_answer_that_was_asked_for_comes_even_if_the_turn_was_only_a_noise():
    talk = closing(asked_only())
    talk.c.replies.history.add("user", "what time is it")
    talk.c.create_reply(2.2, "r1")
    out = talk.c.transcript("", 3 * SECOND, 2.3)
    assert (
        of(out, UserTurnFinal)[0].text == ""
        and Commit in kinds(out)
        and talk.c.state is State.REPLYING
    )
    assert of(out, Generate)[0].history[-1] == ChatMessage("user", "what time is it")
