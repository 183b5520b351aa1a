"""Sounds over an answer: what lets it go on, and when the guard against our own echo comes and goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.core import phrases
from fusion.core.doubt import ECHO_LAG_S, ECHO_TAIL_S, GUARDED_REPLIES, STOPS, Doubt, Verdict
from fusion.core.said import Said
from fusion.core.text import words
from fusion.core.turns import Reply
from fusion.messages import Ticket

ANSWER = "The train to Paris leaves at nine in the morning."


def answer(text: str = ANSWER, turn: int = 1, heard: bool = True) -> Reply:
    reply = Reply(Ticket("a", turn), "", 0.0, committed=True, pieces={0: text})
    if heard:
        reply.played[0] = (1.0, 3.0)
    return reply


def over(reply: Reply) -> Doubt:
    doubt = Doubt()
    doubt.begins(reply, 50.0)
    return doubt


def verdict(doubt: Doubt, text: str, *, sounding: bool = False, too_late: bool = False) -> Verdict:
    said = Said(1000)
    said.take(text, 90_000)
    if not sounding:
        said.stops(50_000)
    return doubt.verdict(said, too_late)


def harmless(doubt: Doubt, text: str) -> bool:
    return verdict(doubt, text) is Verdict.RESUME


def echoing() -> Doubt:
    doubt = over(answer())
    assert harmless(doubt, "train to Paris")
    return doubt


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [
        ("", True), ("...", True), ("mm-hmm", True), ("Yeah. Right.", True), ("leaves at nine", True), ("The trains to Paris", True),
        ("stop", False), ("what about tomorrow", False), ("yeah but when", False),
    ],
)
def test_what_lets_an_answer_go_on(text, goes_on):
    assert verdict(over(answer()), text) is (Verdict.RESUME if goes_on else Verdict.YIELD)


@pytest.mark.parametrize(("text", "goes_on"), [("", True), ("mm-hmm", False), ("leaves at nine", False)])
def test_before_an_answer_was_heard_every_word_counts(text, goes_on):
    doubt = over(answer(heard=False))
    assert doubt.held and harmless(doubt, text) is goes_on and not doubt.is_echo(text)


@given(st.sampled_from(sorted(phrases.BACKCHANNELS)))
def test_a_backchannel_may_be_heard_word_by_word(text):
    doubt, heard = over(answer()), words(text)
    for count in range(1, len(heard)):
        assert verdict(doubt, " ".join(heard[:count]), sounding=True) is Verdict.WAIT
    assert harmless(doubt, text)


def test_the_beginning_of_a_backchannel_is_none_by_itself():
    doubt = over(answer())
    assert verdict(doubt, "I", sounding=True) is Verdict.WAIT and verdict(doubt, "I") is Verdict.YIELD
    assert verdict(doubt, "I want", sounding=True) is Verdict.YIELD
    assert verdict(over(answer(heard=False)), "I", sounding=True) is Verdict.YIELD


def test_without_words_in_time_a_sound_that_goes_on_takes_the_turn_and_one_that_stopped_does_not():
    assert verdict(over(answer()), "", sounding=True, too_late=True) is Verdict.YIELD
    assert verdict(over(answer()), "", too_late=True) is Verdict.RESUME
    assert verdict(over(answer()), "I", too_late=True) is Verdict.YIELD
    guarded = echoing()
    guarded.begins(answer(turn=2), 50.0)
    assert verdict(guarded, "", sounding=True, too_late=True) is Verdict.WAIT  # the answer goes on meanwhile


def test_under_the_guard_what_came_back_so_far_is_left_behind():
    doubt = echoing()
    doubt.begins(answer(turn=2), 50.0)
    assert verdict(doubt, "leaves at nine", sounding=True) is Verdict.SKIP
    assert verdict(doubt, "mm-hmm", sounding=True) is Verdict.WAIT


def test_where_no_echo_is_known_the_sound_stops_at_once():
    assert Doubt().begins(answer(), 50.0) and Doubt().begins(answer(heard=False), 50.0)


def test_after_an_echo_the_sound_goes_on_until_words_decide():
    doubt = echoing()
    assert not doubt.begins(answer(), 50.0) and not doubt.held
    assert doubt.begins(answer(heard=False), 50.0)  # nothing sounds yet, so nothing can come back


def test_what_begins_right_after_our_first_sound_is_heard_to_its_end_and_need_only_sound_like_us():
    doubt, reply = Doubt(), answer("The capital of France is Paris.")
    reply.sounded_at = 10.0
    doubt.begins(reply, 10.0 + ECHO_LAG_S)
    assert verdict(doubt, "but I", sounding=True) is Verdict.WAIT
    assert verdict(doubt, "but all of France is pay") is Verdict.RESUME
    assert verdict(doubt, "what about Spain") is Verdict.YIELD
    later, reply = Doubt(), answer("The capital of France is Paris.")
    reply.sounded_at = 10.0
    later.begins(reply, 10.1 + ECHO_LAG_S)
    assert verdict(later, "but I", sounding=True) is Verdict.YIELD and verdict(later, "but all of France is pay") is Verdict.YIELD


@pytest.mark.parametrize(("text", "found"), [("makes", Verdict.RESUME), ("stop", Verdict.YIELD), ("I have another idea", Verdict.YIELD)])
def test_where_our_words_came_back_a_scrap_takes_no_turn(text, found):
    doubt = echoing()
    doubt.begins(answer(turn=2), 50.0)
    assert verdict(doubt, text) is found and verdict(over(answer()), text) is Verdict.YIELD


def test_what_begins_with_our_sound_again_is_judged_as_a_whole():
    """Of its first words recognizers make "But a lot of France is Paris."; what is over it counts as soon as words are ours."""
    doubt, reply = Doubt(), answer("The capital of France is Paris, which is a large old city.")
    reply.sounded_at = 10.0
    doubt.begins(reply, 10.4)
    doubt.resumes(12.0)
    assert not doubt.begins(reply, 12.4)
    assert verdict(doubt, "But a lot of friends", sounding=True) is Verdict.WAIT
    assert verdict(doubt, "I have seven more things to say to you about that now", sounding=True) is Verdict.YIELD
    assert verdict(doubt, "the capital of France", sounding=True) is Verdict.SKIP
    assert verdict(doubt, "I have seven things", sounding=True) is Verdict.YIELD


@pytest.mark.parametrize(("text", "found"), [
    ("Bye, sir", Verdict.PUT_OFF), ("a bicep", Verdict.PUT_OFF), ("no thanks", Verdict.YIELD), ("and then they all went", Verdict.YIELD),
    ("the train", Verdict.RESUME),
])
def test_a_few_words_where_echoes_begin_are_put_off_once(text, found):
    doubt, reply = Doubt(), answer()
    reply.sounded_at = 10.0
    doubt.begins(reply, 10.4)
    assert verdict(doubt, text) is found
    later = Doubt()
    later.begins(reply, 12.0)
    assert verdict(later, text) is not Verdict.PUT_OFF


@pytest.mark.parametrize(("wait_s", "echo"), [(ECHO_LAG_S - 0.1, True), (ECHO_LAG_S + 0.5, False)])
def test_what_begins_each_time_that_our_sound_does_is_an_echo_whatever_its_words(wait_s, echo):
    doubt, reply = Doubt(), answer()
    reply.sounded_at = 10.0
    assert doubt.begins(reply, 10.4)
    doubt.resumes(12.0)
    assert doubt.begins(reply, 12.0 + wait_s) is not echo
    doubt.played(reply, 20.0)
    assert doubt.begins(answer(turn=2), 50.0) is not echo  # and is known to be there in the next answers


def test_under_the_guard_what_sounds_like_us_is_ours_and_a_word_or_two_are_too_little_to_tell():
    doubt, reply = echoing(), answer("You should start with a hearty stew of vegetables.", turn=2)
    doubt.begins(reply, 50.0)
    assert verdict(doubt, "the hardy stew of", sounding=True) is Verdict.WAIT and verdict(doubt, "the hardy stew of") is Verdict.RESUME
    assert verdict(doubt, "start with a hearty", sounding=True) is Verdict.SKIP
    assert verdict(doubt, "Alastro", sounding=True) is Verdict.WAIT and verdict(doubt, "stop", sounding=True) is Verdict.YIELD
    assert verdict(doubt, "what about the weather", sounding=True) is Verdict.YIELD
    assert verdict(over(reply), "the hardy stew of") is Verdict.YIELD  # without a guard, words count
    doubt.played(reply, 60.0)
    assert doubt.is_echo("Iris.") and not doubt.is_echo("stop") and not doubt.is_echo("what about the weather")
    doubt.after_silence(60.1)
    assert not doubt.is_echo("Iris.")  # it began in silence


def test_the_guard_goes_after_answers_without_an_echo():
    doubt = echoing()
    doubt.played(answer(), 10.0)
    for turn in range(2, 2 + GUARDED_REPLIES):
        assert not doubt.begins(answer(turn=turn), 50.0)
        doubt.played(answer(turn=turn), 10.0 * turn)
    assert doubt.begins(answer(turn=9), 50.0)


def test_each_echo_renews_the_guard():
    doubt = echoing()
    for turn in range(2, 20):
        reply = answer(turn=turn)
        assert not doubt.begins(reply, 50.0) and harmless(doubt, "leaves at nine")
        doubt.played(reply, 10.0 * turn)


def test_an_answer_that_was_stopped_often_for_nothing_goes_on():
    """An echo that is cut to pieces by the stops has no whole word by which it could be known."""
    doubt, reply = Doubt(), answer()
    assert [doubt.begins(reply, 50.0) for _ in range(STOPS + 2)] == [True] * STOPS + [False] * 2
    assert doubt.begins(answer(turn=2), 50.0)


def test_a_turn_that_is_the_end_of_our_answer_is_none():
    doubt = over(answer())
    doubt.played(answer(), 10.0)
    assert doubt.is_echo("in the morning")  # it began under the answer: nobody repeats what is just being said
    doubt.after_silence(10.0 + ECHO_TAIL_S)
    assert doubt.is_echo("in the morning") and not doubt.is_echo("and in the evening")
    doubt.after_silence(10.0 + 2 * ECHO_TAIL_S)
    assert not doubt.is_echo("in the morning")


def test_after_the_answer_people_may_repeat_it_where_no_echo_is_known():
    doubt, reply = Doubt(), answer()
    doubt.played(reply, 10.0)
    doubt.after_silence(10.3)
    assert not doubt.is_echo("in the morning")


def test_an_echo_that_comes_only_after_short_answers_keeps_the_guard():
    doubt = echoing()
    for turn in range(1, 10):
        reply = answer("At nine.", turn)
        doubt.played(reply, 10.0 * turn)
        doubt.after_silence(10.0 * turn + 0.2)
        assert doubt.is_echo("at nine")


def test_the_filler_comes_back_as_well():
    doubt = Doubt("One little moment.")
    doubt.begins(answer(), 50.0)
    assert harmless(doubt, "one little moment") and harmless(doubt, "little moment the train")
    assert not harmless(over(answer()), "one little moment")


def test_nothing_is_an_echo_before_anything_was_said():
    doubt = Doubt()
    doubt.after_silence(0.0)
    assert not doubt.is_echo("hello") and harmless(doubt, "") and not harmless(doubt, "yeah") and not harmless(doubt, "i")
