"""Sounds over an answer: what lets it go on, and when the guard against our own echo comes and
goes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.messages import Ticket
from whisperfusion.text import phrases
from whisperfusion.text.segmentation import words
from whisperfusion.turns.barge_in import probably_noise
from whisperfusion.turns.overlap import (
    ECHO_LAG_S,
    ECHO_TAIL_S,
    GUARDED_REPLIES,
    MAX_PAUSES,
    ONE_SOUND_S,
    Overlap,
    OverlapClassifier,
)
from whisperfusion.turns.reply import Reply
from whisperfusion.turns.user_turn import UserTurn

ANSWER = "The train to Paris leaves at nine in the morning."


def answer(text: str = ANSWER, turn: int = 1, started: bool = True) -> Reply:
    reply = Reply(Ticket("a", turn), "", 0.0, committed=True, pieces={0: text})
    if started:
        reply.played[0] = (1.0, 3.0)
    return reply


def over(reply: Reply) -> OverlapClassifier:
    overlaps = OverlapClassifier()
    overlaps.start(reply, 50.0)
    return overlaps


def classified(
    overlaps: OverlapClassifier,
    text: str,
    *,
    speaking: bool = False,
    too_late: bool = False,
    known_s: float = 5.6,
    speech_s: float = 0.9,
) -> Overlap:
    """`text`: of speech of `speech_s`, or of `known_s` of it while it goes on."""
    user = UserTurn(1000)
    user.update(text, 1000 + round((known_s if speaking else 5.6) * MICROPHONE_RATE))
    if not speaking:
        user.stop(1000 + round(speech_s * MICROPHONE_RATE))
    return overlaps.classify(user, too_late)


def lets_go_on(overlaps: OverlapClassifier, text: str) -> bool:
    return classified(overlaps, text) is Overlap.FALSE_INTERRUPTION


def echoing() -> OverlapClassifier:
    overlaps = over(answer())
    assert lets_go_on(overlaps, "train to Paris")
    return overlaps


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [
        ("", True),
        ("...", True),
        ("mm-hmm", True),
        ("Yeah. Right.", True),
        ("leaves at nine", True),
        ("The trains to Paris", True),
        ("stop", False),
        ("what about tomorrow", False),
        ("yeah but when", False),
    ],
)
def test_what_lets_an_answer_go_on(text, goes_on):
    assert classified(over(answer()), text) is (
        Overlap.FALSE_INTERRUPTION if goes_on else Overlap.INTERRUPTION
    )


@pytest.mark.parametrize(
    ("text", "goes_on"), [("", True), ("mm-hmm", False), ("leaves at nine", False)]
)
def test_before_an_answer_was_heard_every_word_counts(text, goes_on):
    overlaps = over(answer(started=False))
    assert overlaps.paused and lets_go_on(overlaps, text) is goes_on and not overlaps.is_echo(text)


@given(st.sampled_from(sorted(phrases.BACKCHANNELS)))
def test_a_backchannel_may_be_heard_word_by_word(text):
    overlaps, started = over(answer()), words(text)
    for count in range(1, len(started)):
        assert classified(overlaps, " ".join(started[:count]), speaking=True) is Overlap.UNDECIDED
    assert lets_go_on(overlaps, text)


def test_the_beginning_of_a_backchannel_is_none_by_itself():
    overlaps = over(answer())
    assert (
        classified(overlaps, "I", speaking=True) is Overlap.UNDECIDED
        and classified(overlaps, "I") is Overlap.INTERRUPTION
    )
    assert classified(overlaps, "I want", speaking=True) is Overlap.INTERRUPTION
    assert classified(over(answer(started=False)), "I", speaking=True) is Overlap.INTERRUPTION


def test_without_words_in_time_a_sound_that_goes_on_takes_the_turn_and_one_that_stopped_does_not():
    assert classified(over(answer()), "", speaking=True, too_late=True) is Overlap.INTERRUPTION
    assert classified(over(answer()), "", too_late=True) is Overlap.FALSE_INTERRUPTION
    assert classified(over(answer()), "I", too_late=True) is Overlap.INTERRUPTION
    guarded = echoing()
    guarded.start(answer(turn=2), 50.0)
    # the answer goes on meanwhile
    assert classified(guarded, "", speaking=True, too_late=True) is Overlap.UNDECIDED


def test_under_the_guard_what_came_back_so_far_is_left_behind():
    overlaps = echoing()
    overlaps.start(answer(turn=2), 50.0)
    assert classified(overlaps, "leaves at nine", speaking=True) is Overlap.ECHO
    assert classified(overlaps, "mm-hmm", speaking=True) is Overlap.UNDECIDED


def test_where_no_echo_is_known_the_sound_stops_at_once():
    assert OverlapClassifier().start(answer(), 50.0) and OverlapClassifier().start(
        answer(started=False), 50.0
    )


def test_after_an_echo_the_sound_goes_on_until_words_decide():
    overlaps = echoing()
    assert not overlaps.start(answer(), 50.0) and not overlaps.paused
    assert overlaps.start(
        answer(started=False), 50.0
    )  # nothing sounds yet, so nothing can come back


def test_what_begins_right_after_our_first_sound_is_heard_to_its_end_and_need_only_sound_like_us():
    overlaps, reply = OverlapClassifier(), answer("The capital of France is Paris.")
    reply.first_sound_at = 10.0
    overlaps.start(reply, 10.0 + ECHO_LAG_S)
    assert classified(overlaps, "but I", speaking=True, known_s=0.6) is Overlap.UNDECIDED
    assert classified(overlaps, "but a cab it all of") is Overlap.FALSE_INTERRUPTION
    assert classified(overlaps, "what about Spain") is Overlap.INTERRUPTION
    later, reply = OverlapClassifier(), answer("The capital of France is Paris.")
    reply.first_sound_at = 10.0
    later.start(reply, 10.1 + ECHO_LAG_S)
    assert (
        classified(later, "but I", speaking=True) is Overlap.INTERRUPTION
        and classified(later, "but a cab it all of") is Overlap.INTERRUPTION
    )


def begun_with(reply: Reply, after_s: float = 0.4) -> OverlapClassifier:
    """Speech starts `after_s` of the first sound of `reply`, for the first time in the call."""
    overlaps, reply.first_sound_at = OverlapClassifier(), 10.0
    assert overlaps.start(reply, 10.0 + after_s)
    return overlaps


def test_what_cannot_be_an_echo_of_the_little_that_was_played_is_an_interruption():
    """It has more letters than fit, or goes on although playback is paused."""
    assert classified(begun_with(answer()), "Bye, sir") is Overlap.DEFERRED
    assert classified(begun_with(answer()), "Police dogs maybe.") is Overlap.INTERRUPTION
    assert classified(begun_with(answer()), "trains to Paris maybe") is Overlap.INTERRUPTION
    assert classified(begun_with(answer()), "the train", speech_s=1.2) is Overlap.INTERRUPTION
    assert classified(begun_with(answer()), "", speech_s=1.2) is Overlap.FALSE_INTERRUPTION
    goes_on = begun_with(answer())
    assert classified(goes_on, "Buy", speaking=True, known_s=1.0) is Overlap.UNDECIDED
    assert classified(goes_on, "Buy", speaking=True, known_s=1.1) is Overlap.INTERRUPTION


def test_a_turn_about_what_the_reply_would_have_said_is_one():
    """It was paused and ended for it: of what was not played nothing can come back."""
    overlaps = over(answer())  # a second of it was heard
    assert classified(overlaps, "what about lions") is Overlap.INTERRUPTION
    assert not overlaps.is_echo("nine in the morning")
    assert overlaps.is_echo("the train to Paris")


def test_words_of_the_reply_that_were_not_played_yet_are_no_echo():
    reply = answer()
    reply.played[0] = (0.3, 3.0)
    assert classified(begun_with(reply), "the train") is Overlap.FALSE_INTERRUPTION
    assert classified(begun_with(reply), "at nine") is Overlap.DEFERRED


def test_who_has_said_something_may_be_quick_twice():
    """Playback is paused once more; what has words is a turn, and the reply's own words are an
    echo.
    """
    for text, speech_s, found in (
        ("some bread please", 0.8, Overlap.INTERRUPTION),
        ("The train to Paris leaves at ten", 1.6, Overlap.INTERRUPTION),
        ("and", 0.8, Overlap.DEFERRED),
        ("and", 1.2, Overlap.INTERRUPTION),
        ("", 0.8, Overlap.DEFERRED),
        ("yeah", 0.8, Overlap.DEFERRED),
        ("", 1.2, Overlap.FALSE_INTERRUPTION),
        ("The train to", 0.8, Overlap.FALSE_INTERRUPTION),
    ):
        overlaps, reply = OverlapClassifier(), answer()
        reply.first_sound_at = 10.0
        overlaps.start(reply, 10.4)
        assert classified(overlaps, "Bye, sir", speech_s=0.8) is Overlap.DEFERRED
        overlaps.resumed(12.0)
        assert overlaps.start(reply, 12.4, deferred=True) and overlaps.paused
        assert classified(overlaps, text, speech_s=speech_s) is found, text


def test_what_has_no_words_the_third_time_is_known_when_more_of_it_was_heard():
    reply = answer()
    overlaps = begun_with(reply)
    for at in (12.0, 14.0):
        overlaps.resumed(at)
        paused = overlaps.start(reply, at + 0.3, deferred=True)
    assert not paused
    assert classified(overlaps, "", speech_s=0.8) is Overlap.DEFERRED
    assert classified(overlaps, "", speech_s=1.6) is Overlap.FALSE_INTERRUPTION
    assert classified(overlaps, "The train to Paris", speech_s=1.2) is Overlap.FALSE_INTERRUPTION


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("makes", Overlap.FALSE_INTERRUPTION),
        ("stop", Overlap.INTERRUPTION),
        ("I have another idea", Overlap.INTERRUPTION),
    ],
)
def test_where_our_words_came_back_a_scrap_takes_no_turn(text, found):
    overlaps = echoing()
    overlaps.start(answer(turn=2), 50.0)
    assert (
        classified(overlaps, text) is found
        and classified(over(answer()), text) is Overlap.INTERRUPTION
    )


def test_what_begins_with_our_sound_again_is_judged_as_a_whole():
    """Of its first words recognizers make "But a lot of France is Paris."; what is over it
    counts as soon as words are ours.
    """
    overlaps, reply = (
        OverlapClassifier(),
        answer("The capital of France is Paris, which is a large old city."),
    )
    reply.first_sound_at = 10.0
    overlaps.start(reply, 10.4)
    overlaps.resumed(12.0)
    assert not overlaps.start(reply, 12.4)
    assert classified(overlaps, "But a lot of friends", speaking=True) is Overlap.UNDECIDED
    assert (
        classified(overlaps, "I have seven more things to say to you about that now", speaking=True)
        is Overlap.INTERRUPTION
    )
    assert classified(overlaps, "the capital of France", speaking=True) is Overlap.ECHO
    assert classified(overlaps, "I have seven things", speaking=True) is Overlap.UNDECIDED
    assert classified(overlaps, "I have seven things", speaking=True) is Overlap.INTERRUPTION


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Bye, sir", Overlap.DEFERRED),
        ("a bicep", Overlap.DEFERRED),
        ("a long bicep", Overlap.DEFERRED),
        ("no thanks", Overlap.INTERRUPTION),
        ("and then they all went", Overlap.INTERRUPTION),
        ("the train", Overlap.FALSE_INTERRUPTION),
    ],
)
def test_a_few_words_where_echoes_begin_are_put_off_once(text, found):
    overlaps, reply = OverlapClassifier(), answer()
    reply.first_sound_at = 10.0
    overlaps.start(reply, 10.4)
    assert classified(overlaps, text) is found
    later = OverlapClassifier()
    later.start(reply, 12.0)
    assert classified(later, text) is not Overlap.DEFERRED


@pytest.mark.parametrize(("wait_s", "echo"), [(ECHO_LAG_S - 0.1, True), (ECHO_LAG_S + 0.5, False)])
def test_what_begins_each_time_that_our_sound_does_is_an_echo_whatever_its_words(wait_s, echo):
    overlaps, reply = OverlapClassifier(), answer()
    reply.first_sound_at = 10.0
    assert overlaps.start(reply, 10.4)
    overlaps.resumed(12.0)
    assert overlaps.start(reply, 12.0 + wait_s) is not echo
    overlaps.reply_played(reply, 20.0)
    # and is known to be there in the next answers
    assert overlaps.start(answer(turn=2), 50.0) is not echo


def test_under_the_guard_what_sounds_like_us_is_ours_and_a_word_or_two_are_too_little_to_tell():
    overlaps, reply = (
        echoing(),
        answer("You should start with a hearty stew of vegetables.", turn=2),
    )
    overlaps.start(reply, 50.0)
    assert (
        classified(overlaps, "the hardy stew of", speaking=True) is Overlap.UNDECIDED
        and classified(overlaps, "the hardy stew of") is Overlap.FALSE_INTERRUPTION
    )
    assert classified(overlaps, "start with a hearty", speaking=True) is Overlap.ECHO
    assert (
        classified(overlaps, "Alastro", speaking=True) is Overlap.UNDECIDED
        and classified(overlaps, "stop", speaking=True) is Overlap.INTERRUPTION
    )
    assert classified(overlaps, "what about the weather", speaking=True) is Overlap.INTERRUPTION
    # without a guard, words count
    assert classified(over(reply), "the hardy stew of") is Overlap.INTERRUPTION
    overlaps.reply_played(reply, 60.0)
    assert (
        overlaps.is_echo("Iris.")
        and not overlaps.is_echo("stop")
        and not overlaps.is_echo("what about the weather")
    )
    overlaps.speech_in_silence(60.1)
    assert not overlaps.is_echo("Iris.")  # it began in silence


def test_the_guard_goes_after_answers_without_an_echo():
    overlaps = echoing()
    overlaps.reply_played(answer(), 10.0)
    for turn in range(2, 2 + GUARDED_REPLIES):
        assert not overlaps.start(answer(turn=turn), 50.0)
        overlaps.reply_played(answer(turn=turn), 10.0 * turn)
    assert overlaps.start(answer(turn=9), 50.0)


def test_each_echo_renews_the_guard():
    overlaps = echoing()
    for turn in range(2, 20):
        reply = answer(turn=turn)
        assert not overlaps.start(reply, 50.0) and lets_go_on(overlaps, "leaves at nine")
        overlaps.reply_played(reply, 10.0 * turn)


def test_an_answer_that_was_stopped_often_for_nothing_goes_on():
    """An echo that is cut to pieces by the stops has no whole word by which it could be known."""
    overlaps, reply = OverlapClassifier(), answer()
    assert [overlaps.start(reply, 50.0) for _ in range(MAX_PAUSES + 2)] == [True] * MAX_PAUSES + [
        False
    ] * 2
    assert overlaps.start(answer(turn=2), 50.0)


def test_a_turn_that_is_the_end_of_our_answer_is_none():
    reply = answer()
    overlaps = over(reply)
    reply.played[0] = (3.0, 3.0)
    overlaps.reply_played(reply, 10.0)
    # it began under the answer: no user repeats what is just being spoken
    assert overlaps.is_echo("in the morning")
    overlaps.speech_in_silence(10.0 + ECHO_TAIL_S)
    assert overlaps.is_echo("in the morning") and not overlaps.is_echo("and in the evening")
    overlaps.speech_in_silence(10.0 + 2 * ECHO_TAIL_S)
    assert not overlaps.is_echo("in the morning")


def test_after_the_answer_people_may_repeat_it_where_no_echo_is_known():
    overlaps, reply = OverlapClassifier(), answer()
    overlaps.reply_played(reply, 10.0)
    overlaps.speech_in_silence(10.3)
    assert not overlaps.is_echo("in the morning")


def test_an_echo_that_comes_only_after_short_answers_keeps_the_guard():
    overlaps = echoing()
    for turn in range(1, 10):
        reply = answer("At nine.", turn)
        overlaps.reply_played(reply, 10.0 * turn)
        overlaps.speech_in_silence(10.0 * turn + 0.2)
        assert overlaps.is_echo("at nine")


def test_the_filler_comes_back_as_well():
    overlaps = OverlapClassifier("One little moment.")
    overlaps.start(answer(), 50.0)
    assert lets_go_on(overlaps, "one little moment") and lets_go_on(
        overlaps, "little moment the train"
    )
    assert not lets_go_on(over(answer()), "one little moment")


def test_nothing_is_an_echo_before_anything_was_said():
    overlaps = OverlapClassifier()
    overlaps.speech_in_silence(0.0)
    assert (
        not overlaps.is_echo("hello")
        and lets_go_on(overlaps, "")
        and not lets_go_on(overlaps, "yeah")
        and not lets_go_on(overlaps, "i")
    )


def test_a_short_sound_that_one_transcript_had_for_a_backchannel_is_one():
    overlaps, sound = over(answer()), UserTurn(1000)
    sound.update("Hey", 90_000)
    overlaps.transcribed("Okay.", noise=True)
    assert overlaps.classify(sound, False) is Overlap.INTERRUPTION  # it goes on
    sound.stop(1000 + round(ONE_SOUND_S * MICROPHONE_RATE))
    assert overlaps.classify(sound, False) is Overlap.FALSE_INTERRUPTION
    for other in ("Hey you", "Stop"):
        sound.text = other
        assert overlaps.classify(sound, False) is Overlap.INTERRUPTION
    sound.text = "Hey"
    sound.stop(20_000)  # long enough for a cough and a word
    assert overlaps.classify(sound, False) is Overlap.INTERRUPTION
    overlaps.start(answer(), 60.0)  # the next sound
    sound.stop(10_000)
    assert overlaps.classify(sound, False) is Overlap.INTERRUPTION


def test_few_words_that_come_with_the_playback_twice_are_its_echo_whatever_they_are():
    overlaps, reply = OverlapClassifier(), answer("Long ago, a keeper lived alone.")
    reply.first_sound_at = 10.0
    assert overlaps.start(reply, 10.3)
    overlaps.transcribed("long", noise=True)  # so that no words are left to classify
    assert lets_go_on(overlaps, "")
    overlaps.resumed(11.0)
    assert not overlaps.start(reply, 11.3)
    assert lets_go_on(overlaps, "Here you go.") and not lets_go_on(overlaps, "No, wait.")
    assert not lets_go_on(overlaps, "Here you go, my friend.")


def test_while_an_echo_goes_on_one_misheard_transcript_does_not_end_the_answer():
    overlaps = echoing()
    overlaps.start(answer(turn=2), 50.0)
    other = "trees it really is how the legs are"
    assert classified(overlaps, other, speaking=True) is Overlap.UNDECIDED
    assert classified(overlaps, other, speaking=True) is Overlap.INTERRUPTION
    overlaps.start(answer(turn=3), 50.0)
    assert classified(overlaps, other, speaking=True) is Overlap.UNDECIDED
    assert classified(overlaps, "leaves at nine", speaking=True) is Overlap.ECHO
    assert classified(overlaps, other, speaking=True) is Overlap.UNDECIDED
    overlaps.start(answer(turn=4), 50.0)
    assert classified(overlaps, "stop that please now", speaking=True) is Overlap.INTERRUPTION
    overlaps.start(answer(turn=5), 50.0)
    assert classified(overlaps, other) is Overlap.INTERRUPTION


@pytest.mark.parametrize(
    ("silent", "average", "noise"),
    [(0.1, -0.5, False), (0.65, -0.5, True), (0.1, -1.1, True), (0.5, -0.9, True)],
)
def test_two_small_doubts_of_the_recognizer_are_one(silent, average, noise):
    assert probably_noise([(silent, average)]) is noise
    assert not probably_noise([(silent, average), (0.0, -0.1)])
