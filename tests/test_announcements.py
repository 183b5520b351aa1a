"""What the server says on its own, what its own tools do in a reply, and how it ends a call."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from test_states import SECOND, overlap, replying, user_paused, with_words
from turns_driver import Turns

from whisperfusion.messages import (
    Cancel,
    ChatMessage,
    Commit,
    EndCall,
    Failed,
    Generate,
    PlaybackProgress,
    Prefill,
    Sentence,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.text.languages import WORDS
from whisperfusion.turns import events
from whisperfusion.turns.announcements import INTERRUPTED
from whisperfusion.turns.commands import (
    HangUp,
    Latency,
    ReplyInterrupted,
    ReplyText,
    ReplyToolUsed,
    Thinking,
    TurnFailed,
)
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import State
from whisperfusion.turns.tool_uses import UNKNOWN
from whisperfusion.turns.turn_end import REPLY_WAIT_S

TEA = events.Announcement("Your tea is ready. Come and get it.")


def of(commands, kind):
    return [command for command in commands if isinstance(command, kind)]


def said(commands):
    return " ".join(one.text for one in of(commands, Sentence))


def end(turns, now=60.0):
    """All of the reply at hand was played."""
    last = max(turns.reply.pieces)
    return turns.receive(PlaybackProgress(turns.reply.ticket, last, 1.0, 1.0, last=True), now)


# --- announcements ------------------------------------------------------------------------------


def test_an_announcement_is_said_at_once_in_an_idle_call_and_remembered():
    turns = Turns(automatic_replies=False)
    out = turns.receive(TEA, 1.0)
    assert said(out) == TEA.text and of(out, Commit) and not of(out, (Generate, Prefill))
    assert " ".join(one.text for one in of(out, ReplyText)) == TEA.text
    assert of(out, ReplyText)[-1].last and turns.state is State.REPLYING
    ticket = turns.reply.ticket
    assert not of(turns.receive(PlaybackProgress(ticket, 0, 0.0, 1.0), 2.0), Latency)
    end(turns)
    assert turns.state is State.IDLE and turns.wake_at is None
    assert turns.history == [ChatMessage("assistant", TEA.text)]
    assert turns.replies.ticket > ticket


def test_what_need_not_be_remembered_is_not():
    turns = Turns()
    turns.receive(events.Announcement("Sorry.", remember=False), 1.0)
    end(turns)
    assert turns.history == []


def test_captions_alone_are_announced_nothing():
    assert (
        Turns(replies=False).receive(TEA) == [] and Turns().receive(events.Announcement("")) == []
    )


def test_announcements_wait_for_the_users_turn_and_its_reply_and_keep_their_order():
    turns = user_paused("What is the capital of France?")
    assert said(turns.receive(events.Announcement("One."), 2.4)) == ""
    assert said(turns.receive(events.Announcement("Two."), 2.4)) == ""
    assert not said(turns.turn_ended(True, 2.5))
    turns.receive(Sentence(turns.reply.ticket, 0, "Paris.", last=True), 2.6)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.5, 1.0), 3.0)
    assert said(end(turns)) == "One." and said(end(turns)) == "Two." and said(end(turns)) == ""
    assert [line.text for line in turns.history][1:] == ["Paris.", "One.", "Two."]


def test_an_announcement_comes_after_a_turn_that_failed_and_its_apology():
    turns = replying()
    turns.receive(TEA, 3.6)
    out = turns.receive(Failed(turns.reply.ticket, "tts", "It broke."), 3.7)
    assert of(out, TurnFailed) and said(out) == TEA.text


def test_a_user_who_speaks_over_an_announcement_stops_it_and_the_history_has_what_was_heard():
    turns = Turns()
    turns.receive(TEA, 1.0)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 2.0, 2.0), 4.0)
    turns.speech_started(5 * SECOND, 5.0)
    turns.speech_stopped(9 * SECOND, 5.5, 5.6)
    out = turns.transcript("thank you very much, but what about the cake", 10 * SECOND, 5.7)
    heard = ReplyInterrupted(1, "Your tea is ready.")
    assert of(out, ReplyInterrupted) == [heard] and turns.state is State.USER_PAUSED
    assert turns.history == [ChatMessage("assistant", heard.played_text)]
    turns.turn_ended(True, 6.0)
    turns.receive(Sentence(turns.reply.ticket, 0, "There is none.", last=True), 6.1)
    assert not said(end(turns))


def test_one_that_was_stopped_before_it_was_heard_is_said_again():
    turns = Turns()
    turns.receive(TEA, 1.0)
    out = turns.typed("hello", 1.1)
    assert of(out, Cancel) and of(out, Generate) and not said(out)
    turns.receive(Sentence(turns.reply.ticket, 0, "Hi.", last=True), 1.2)
    assert said(end(turns)) == TEA.text
    assert not said(turns.interrupt(2.0)) and turns.state is State.IDLE


def test_a_failed_announcement_costs_no_question_and_the_clock_ends_it():
    turns = Turns()
    turns.call.replies.history.add("user", "Are you there?")
    turns.receive(TEA, 1.0)
    out = turns.wake(1.0 + REPLY_WAIT_S)
    assert of(out, TurnFailed)[0].stage == "tts" and turns.state is State.IDLE
    assert turns.history == [ChatMessage("user", "Are you there?")]


def test_a_greeting_does_not_answer_the_question_before_it():
    """A user who speaks over its first word has not gone on with the last question."""
    turns = Turns()
    turns.call.replies.history.add("user", "One.")
    turns.receive(TEA, 1.0)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.3, 2.0), 1.5)
    turns.speech_started(2 * SECOND, 2.5)
    with_words(turns, "and now to something quite different")
    turns.turn_ended(True, 6.0)
    assert [line.text for line in turns.history if line.role == "user"] == [
        "One.",
        "and now to something quite different",
    ]


# --- tools of the server ------------------------------------------------------------------------


def asking() -> Turns:
    """The turn is over, and nothing of its reply is there."""
    turns = user_paused("What time is it?")
    turns.turn_ended(True, 2.5)
    return turns


def started(turns, id="c1", now=3.0):
    return turns.receive(ToolStarted(turns.reply.ticket, id, "clock", "{}"), now)


def finished(turns, id="c1", output="noon", failed=False, now=3.5):
    return turns.receive(ToolFinished(turns.reply.ticket, id, output, failed), now)


def call_line(id):
    values = {"id": id, "name": "clock", "arguments": "{}"}
    return ChatMessage("call", json.dumps(values))


def result_line(id, output):
    return ChatMessage("result", json.dumps({"id": id, "output": output}))


def test_a_tool_is_shown_twice_and_stands_in_the_history_before_the_words():
    turns = asking()
    assert started(turns) == [ReplyToolUsed(1, "c1", "clock", "{}")]
    assert started(turns) == []
    assert finished(turns) == [ReplyToolUsed(1, "c1", "clock", "{}", output="noon")]
    assert finished(turns) == [] and finished(turns, "c9") == []
    started(turns, "c2")
    assert finished(turns, "c2", "no clock", failed=True) == [
        ReplyToolUsed(1, "c2", "clock", "{}", error="no clock")
    ]
    turns.receive(Sentence(turns.reply.ticket, 0, "It is noon.", last=True), 4.0)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.0, 1.0), 4.1)
    end(turns)
    assert turns.history[1:] == [
        call_line("c1"),
        result_line("c1", "noon"),
        call_line("c2"),
        result_line("c2", "no clock"),
        ChatMessage("assistant", "It is noon."),
    ]


def test_tools_of_a_preemptive_reply_are_shown_when_it_is_committed():
    turns = user_paused("What time is it?")
    assert turns.reply is not None and not turns.reply.committed
    assert started(turns) == [] and finished(turns) == []
    shown = of(turns.turn_ended(True, 4.0), ReplyToolUsed)
    assert [one.output for one in shown] == [None, "noon"]


def test_tools_of_a_preemptive_reply_that_is_not_wanted_leave_nothing():
    turns = user_paused("What time is it?")
    started(turns), finished(turns)
    turns.speech_started(4 * SECOND, 4.0)
    turns.transcript("What time is it in the capital of France?", 5 * SECOND, 5.0)
    assert all(line.role not in ("call", "result") for line in turns.history)


def test_an_interrupted_reply_leaves_its_tools_in_the_history_and_every_call_has_a_result():
    turns = asking()
    started(turns), finished(turns)
    started(turns, "c2")
    turns.typed("never mind", 4.0)
    assert turns.history[1:3] == [call_line("c1"), result_line("c1", "noon")]
    assert turns.history[3:5] == [call_line("c2"), result_line("c2", UNKNOWN)]
    assert turns.history[5] == ChatMessage("user", "never mind")


def test_a_tool_is_a_sign_of_life():
    turns = asking()
    started(turns, now=30.0)
    finished(turns, now=55.0)
    assert turns.wake(80.0) == [Thinking(1)] and turns.wake(80.0) == []
    assert of(turns.wake(56.0 + REPLY_WAIT_S), TurnFailed)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("start", "end", "fail")))))
def test_whatever_tools_do_each_call_has_one_result_behind_it(happenings):
    turns = asking()
    for id, what in happenings:
        started(turns, id) if what == "start" else finished(turns, id, failed=what == "fail")
    turns.typed("go on", 4.0)
    lines = [line for line in turns.history if line.role in ("call", "result")]
    ids = {"call": [], "result": []}
    for line in lines:
        ids[line.role].append(json.loads(line.text)["id"])
        assert set(ids["result"]) <= set(ids["call"])
    assert sorted(ids["call"]) == sorted(ids["result"]) == sorted(set(ids["call"]))
    assert set(ids["call"]) == {id for id, what in happenings if what == "start"}


# --- models, tools and chains -------------------------------------------------------------------


def test_the_model_that_wrote_the_reply_is_told_with_its_latency():
    turns = asking()
    turns.receive(Sentence(turns.reply.ticket, 0, "Noon.", last=True, model="b"), 3.0)
    told = of(turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.0, 1.0), 3.2), Latency)
    assert [one.model for one in told] == ["b"]


def test_the_options_name_the_chain_and_the_tools_of_the_server():
    turns = Turns(chain="a, b", server_tools=("clock",))
    out = turns.speech_started(SECOND, 1.0) + turns.typed("hello", 2.0)
    asked = of(out, (Prefill, Generate))
    assert len(asked) == 2
    assert all((one.chain, one.server_tools) == ("a, b", ("clock",)) for one in asked)


# --- the end of a call --------------------------------------------------------------------------


def test_a_call_ends_after_the_reply_was_played():
    turns = replying()
    assert turns.receive(EndCall(turns.reply.ticket), 3.6) == []
    turns.receive(TEA, 3.7)
    out = end(turns)
    assert of(out, HangUp) == [HangUp(1)] and not said(out)
    assert turns.state is State.IDLE and turns.wake_at is None


def test_a_call_goes_on_when_its_last_words_are_interrupted():
    turns = overlap()
    turns.receive(EndCall(turns.reply.ticket), 5.1)
    with_words(turns, "wait, one more question please")
    turns.turn_ended(True, 6.0)
    turns.receive(Sentence(turns.reply.ticket, 0, "Yes?", last=True), 6.1)
    assert not of(end(turns), HangUp)


def test_the_end_belongs_to_its_own_reply():
    turns = replying()
    old = Turns().replies.ticket
    turns.receive(EndCall(old), 3.6)
    assert not of(end(turns), HangUp)


# --- a reply that was lost with its process -----------------------------------------------------


ASKED = (ChatMessage("user", "What is the capital of France?"),)


def lost(*messages: ChatMessage, **options: object) -> tuple[Turns, list]:
    turns = Turns(**options)
    turns.call.replies.history.messages[:] = messages
    return turns, turns.receive(events.ReplyLost(), 1.0)


def test_a_lost_reply_is_apologized_for_and_its_turn_is_replied_to_again():
    turns, out = lost(*ASKED)
    assert said(out) == INTERRUPTED.text
    turns.receive(TEA, 1.1)
    (generate,) = of(end(turns), Generate)
    assert generate.history == (ChatMessage("system", "Be nice."), *ASKED)
    turns.receive(Sentence(generate.ticket, 0, "Paris.", last=True), 2.0)
    turns.receive(PlaybackProgress(generate.ticket, 0, 0.0, 1.0), 2.1)
    assert said(end(turns)) == TEA.text
    assert turns.history == [*ASKED, ChatMessage("assistant", "Paris.")]


def test_apologies_are_in_the_language_of_the_call_where_it_is_known():
    turns, out = lost(*ASKED, language="es")
    assert said(out) == WORDS["es"].interrupted
    end(turns)
    out = turns.receive(Failed(turns.reply.ticket, "llm", "It broke."), 61.0)
    assert said(out) == WORDS["es"].failed and turns.history == []
    assert said(lost(*ASKED, language="cy")[1]) == INTERRUPTED.text


def test_who_speaks_over_the_apology_is_answered_once():
    turns, _ = lost(*ASKED)
    (generate,) = of(turns.typed("And of Spain?", 2.0), Generate)
    assert generate.history[-1].text == "What is the capital of France? And of Spain?"
    turns.receive(Sentence(generate.ticket, 0, "Paris and Madrid.", last=True), 2.1)
    turns.receive(PlaybackProgress(generate.ticket, 0, 0.0, 1.0), 2.2)
    assert end(turns) and turns.state is State.IDLE


def test_a_stop_or_another_history_ends_the_taking_up():
    turns, _ = lost(*ASKED)
    turns.interrupt(2.0)
    assert turns.state is State.IDLE and turns.wake_at is None
    turns, _ = lost(*ASKED)
    turns.replace_history([])
    assert not of(end(turns), Generate) and turns.state is State.IDLE


def test_without_a_question_there_is_an_apology_alone():
    turns, out = lost(*ASKED, ChatMessage("assistant", "Paris."))
    assert said(out) == INTERRUPTED.text
    assert not of(end(turns), Generate) and turns.state is State.IDLE


def test_where_replies_are_asked_for_the_client_decides():
    assert lost(*ASKED, automatic_replies=False)[1] == lost(*ASKED, replies=False)[1] == []


def test_what_is_unfinished_can_be_read_until_it_was_heard_and_a_second_try_is_not():
    conversation = Conversation("a", Options("Be nice."))
    assert conversation.unfinished is None
    conversation.receive(events.TextTyped("hello"), 1.0)
    ticket = conversation.reply_ticket
    assert ticket is not None and conversation.unfinished == ("hello", "")
    conversation.receive(Sentence(ticket, 0, "Hi you.", last=False), 1.1)
    conversation.receive(Sentence(ticket, 1, "How are you?", last=True), 1.2)
    conversation.receive(PlaybackProgress(ticket, 0, 1.0, 1.0), 2.2)
    assert conversation.unfinished == ("hello", "Hi you.")
    conversation.receive(PlaybackProgress(ticket, 1, 1.0, 1.0, last=True), 3.2)
    assert conversation.unfinished is None
    again = Conversation("b", Options("Be nice."), ASKED)
    again.receive(events.ReplyLost(), 1.0)
    assert again.unfinished == (ASKED[0].text, "")  # the apology may be lost as well
    apology = again.reply_ticket
    again.receive(PlaybackProgress(apology, 0, 1.0, 1.0, last=True), 2.0)
    assert again.reply_ticket != apology and again.unfinished is None


def test_tools_of_a_lost_reply_are_known_to_the_one_that_takes_it_up():
    """Or its timer would be set twice."""
    conversation = Conversation("a", Options("Be nice."))
    conversation.receive(events.TextTyped("set a timer"), 1.0)
    ticket = conversation.reply_ticket
    assert ticket is not None and conversation.tools_used == ()
    conversation.receive(ToolStarted(ticket, "1", "set_timer", "{}"), 1.1)
    conversation.receive(ToolFinished(ticket, "1", "It is set.", False), 1.2)
    used = conversation.tools_used
    assert [one.role for one in used] == ["call", "result"] and "It is set." in used[1].text
    turns, _ = lost(*conversation.history, *used)
    (generate,) = of(end(turns), Generate)
    assert generate.history[-2:] == used
    conversation.receive(Sentence(ticket, 0, "It is set.", last=True), 1.3)
    conversation.receive(PlaybackProgress(ticket, 0, 1.0, 1.0, last=True), 2.3)
    assert conversation.tools_used == () and conversation.history[1:3] == used
