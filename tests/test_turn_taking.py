"""The table of states at the top of conversation.py, row by row, with literal times."""

from __future__ import annotations

import pytest
from turns_driver import Turns

from whisperfusion.messages import (
    Cancel,
    ChatMessage,
    Commit,
    Failed,
    Generate,
    Pause,
    PlaybackProgress,
    Prefill,
    Resume,
    Sentence,
    Ticket,
)
from whisperfusion.output.playout import FILLER
from whisperfusion.turns.barge_in import OVERLAP_WAIT_S, TRANSCRIPT_WAIT_S
from whisperfusion.turns.commands import (
    Latency,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyText,
    StartTranscribing,
    StopTranscribing,
    Thinking,
    TurnAccepted,
    TurnCounts,
    TurnFailed,
    UserTurnFinal,
)
from whisperfusion.turns.endpointing import TAIL
from whisperfusion.turns.overlap import ECHO_LAG_S, OVERLAP_SAMPLES
from whisperfusion.turns.preemptive_budget import MAX_IN_PAUSES, MAX_WHILE_SPEAKING
from whisperfusion.turns.reply import APOLOGY
from whisperfusion.turns.states import State
from whisperfusion.turns.turn_end import FILLER_S, REPLY_WAIT_S, THINKING_S
from whisperfusion.turns.user_speech import COVERED

SECOND = 16_000


def kinds(commands):
    return [type(command) for command in commands]


def of(commands, kind):
    return [command for command in commands if isinstance(command, kind)]


class Talk:
    """A conversation and short words for what happens to it; `now` moves by hand."""

    def __init__(self, **options):
        self.c = Turns("a", "Be nice.", **options)
        self.now = 0.0

    def user(self, text, start_s=1.0, stop_s=2.0):
        """Speech from start to stop with its words known at once."""
        out = self.c.speech_started(int(start_s * SECOND), self.now)
        out += self.c.speech_stopped(int(stop_s * SECOND), self.now, self.now)
        return out + self.c.transcript(text, int((stop_s + 0.1) * SECOND), self.now)

    def answer(self, text="Hello there.", ticket=None, last=True):
        return self.c.receive(Sentence(ticket or self.c.reply.ticket, 0, text, last), self.now)

    def played(self, played_s=1.0, total=1.0, last=True):
        return self.c.receive(
            PlaybackProgress(self.c.reply.ticket, 0, played_s, total, last), self.now
        )

    def in_bot(self, text="Hello there.", played_s=0.5):
        self.user("hi you")
        self.c.turn_ended(True, self.now)
        self.answer(text)
        self.played(played_s, 1.0, last=False)
        assert self.c.state is State.REPLYING
        return self


@pytest.mark.parametrize(("heard_s", "signs"), [(0.4, 2), (3.0, 0)])
def test_who_was_cut_off_is_given_time_in_what_follows(heard_s, signs):
    """Speech right after our first sound: the turn was not over.

    One pause before it, and the one that we took for its end.
    """
    talk = Talk()
    talk.c.speech_started(SECOND, 1.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.speech_started(3 * SECOND, 3.0)
    talk.c.speech_stopped(4 * SECOND, 4.0, 4.0)
    talk.c.transcript("it was a bright cold day", 5 * SECOND, 5.0)
    talk.c.turn_ended(True, 5.0)
    talk.answer("It may have been.")
    talk.played(heard_s, 4.0, last=False)
    talk.c.speech_started(6 * SECOND, 6.0)
    talk.c.speech_stopped(7 * SECOND, 7.0, 7.0)
    assert ReplyInterrupted in kinds(
        talk.c.transcript("and the clocks were striking", 8 * SECOND, 7.2)
    )
    assert talk.c.call.user.narration == signs


def test_an_open_call_and_each_start_of_speech_warm_the_prompt():
    talk = Talk()
    assert (
        talk.c.opened() == [Prefill(Ticket("a", 1, 0), (ChatMessage("system", "Be nice."),))]
        and Talk(replies=False).c.opened() == []
    )
    out = talk.c.speech_started(5000, 1.0)
    assert kinds(out) == [StartTranscribing, Prefill] and out[0].at == 5000
    assert out[1].history == (ChatMessage("system", "Be nice."),)
    assert talk.c.state is State.USER_SPEAKING


def test_a_preemptive_reply_is_generated_in_the_pause_and_committed_when_the_turn_ends():
    talk = Talk()
    out = talk.user("what time is it")
    (early,) = of(out, Generate)
    assert early.history == (
        ChatMessage("system", "Be nice."),
        ChatMessage("user", "what time is it"),
    )
    assert talk.answer("Noon.") == []  # nothing is shown before the commit
    out = talk.c.turn_ended(False, 1.0)
    assert kinds(out) == [StopTranscribing, TurnAccepted, UserTurnFinal, Commit, ReplyText]
    assert of(out, Commit)[0].ticket == early.ticket and of(out, ReplyText)[0].text == "Noon."
    assert talk.c.state is State.REPLYING and talk.c.replies.counts == TurnCounts(
        turns=1, preemptive=1, preemptive_used=1
    )


# --- while the user speaks ------------------------------------------------------------------------


def listening(text="", **options):
    """A person speaks since second 1 and was heard up to second 2."""
    talk = Talk(**options)
    talk.c.speech_started(SECOND, 1.0)
    if text:
        talk.c.transcript(text, 2 * SECOND, 2.1)
    return talk


@pytest.mark.parametrize(
    ("first", "then", "preempted"),
    [
        ("", "How old is the bridge?", True),  # a whole question
        # a full stop says nothing: the recognizer puts one everywhere
        ("", "I like green tea.", False),
        ("I like green tea", "I like green tea", True),  # nothing new while sound went on
        ("I like green", "I like green tea", False),
        ("", "I see.", False),  # too short
        ("What is the", "What is the", False),  # asks for more
        ("", "What is the.", False),
        ("", "My number is five five five.", False),  # spelled
        ("", "", False),
    ],
)
def test_words_that_sound_whole_are_preempted_while_somebody_speaks(first, then, preempted):
    talk = listening()
    assert of(talk.c.transcript(first, 2 * SECOND, 2.1), Generate) == []
    out = of(talk.c.transcript(then, 3 * SECOND, 3.1), Generate)
    assert (
        len(out) == preempted
        and talk.c.replies.counts.preemptive == preempted
        and talk.c.state is State.USER_SPEAKING
    )


def test_an_preemptive_reply_that_more_words_contradict_is_cancelled():
    talk = listening("How old is the bridge?")
    first = talk.c.reply.ticket
    out = talk.c.transcript("How old is the bridge over the", 3 * SECOND, 3.1)
    assert kinds(out) == [Cancel, Prefill] and out[0].ticket > first and talk.c.reply is None
    # the model reads at least what was said so far
    assert out[1].history[-1] == ChatMessage("user", "How old is the bridge over the")


def test_an_preemptive_reply_is_answered_with_when_it_was_right():
    talk = listening("How old is the bridge?")
    early = talk.c.reply.ticket
    talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)
    assert talk.c.transcript("how old is the bridge", 4 * SECOND, 3.3) == []
    out = talk.c.turn_ended(False, 3.4)
    assert of(out, Commit) == [Commit(early)] and talk.c.replies.counts.preemptive_used == 1


def test_there_are_few_preemptive_replies_while_speaking():
    talk = listening()
    for n in range(6):
        talk.c.transcript("How old is the " + "old " * n + "bridge?", (2 + n) * SECOND, 2.0 + n)
    assert talk.c.replies.counts.preemptive == MAX_WHILE_SPEAKING


def test_who_has_no_time_to_waste_preemptive_replies_only_in_pauses():
    talk = listening()
    talk.c.change(early_replies=False)
    assert talk.c.transcript("How old is the bridge?", 2 * SECOND, 2.1) == []
    talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)
    assert kinds(talk.c.transcript("How old is the bridge?", 4 * SECOND, 3.3)) == [Generate]


def test_words_that_were_known_before_the_pause_are_preempted_at_once():
    talk = listening()
    talk.c.transcript("I like tea", 3 * SECOND + TAIL, 3.1)
    assert kinds(talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)) == [Generate]


def test_when_the_sound_stops_the_words_that_are_known_are_preempted_if_they_cover_it():
    """The recognizer is asked for the last words at that moment, and mostly finds the same."""
    for stopped, preempted in ((2 * SECOND + COVERED, [Generate]), (2 * SECOND + COVERED + 1, [])):
        talk = listening("I like green tea.")
        assert kinds(talk.c.sound_stopping(stopped, 2.4)) == preempted
        talk.c.speech_stopped(stopped, 2.3, 2.5)
        assert kinds(talk.c.transcript("I like green tea", 3 * SECOND, 2.6)) == (
            [] if preempted else [Generate]
        )
    talk = listening("I like green tea.")
    talk.c.sound_stopping(2 * SECOND, 2.1)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.2)
    assert kinds(talk.c.transcript("I like green trees", 3 * SECOND, 2.3)) == [Cancel, Generate]


@pytest.mark.parametrize("text", ["What is the", ""])
def test_words_that_ask_for_more_are_not_preempted_when_the_sound_stops(text):
    assert listening(text).c.sound_stopping(2 * SECOND, 2.1) == []


def test_once_the_sound_has_stopped_nothing_is_read_that_the_answer_would_wait_for():
    talk = listening()
    assert kinds(talk.c.transcript("What is the", 2 * SECOND, 2.1)) == [Prefill]
    assert talk.c.transcript("What is the matter with", 3 * SECOND, 3.1, stopping=True) == []
    assert kinds(talk.c.transcript("I like green tea", 4 * SECOND, 4.1, stopping=True)) == [
        Generate
    ]


def test_older_words_than_those_known_change_nothing():
    talk = listening("I like green")
    assert (
        talk.c.transcript("I lie", 2 * SECOND, 2.2) == []
        and talk.c.transcript("I", SECOND, 2.2) == []
    )
    talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)
    assert talk.c.complete_text is None
    talk.c.transcript("I like green tea", 4 * SECOND, 3.3)
    assert talk.c.complete_text == "I like green tea"


# --- in the pause -------------------------------------------------------------------------------


def test_the_same_words_in_other_spelling_keep_the_preemptive_reply():
    talk = Talk()
    talk.user("what time is it")
    talk.c.speech_started(3 * SECOND, 1.0)
    talk.c.speech_stopped(4 * SECOND, 1.5, 1.5)
    assert of(talk.c.transcript("What time is it?", 5 * SECOND, 2.0), Generate) == []


def test_changed_words_replace_the_preemptive_reply():
    talk = Talk()
    first = of(talk.user("what time"), Generate)[0]
    talk.c.speech_started(3 * SECOND, 1.0)
    out = talk.c.transcript("what time does the train", 4 * SECOND, 1.2)
    assert kinds(out) == [Cancel, Prefill] and out[0].ticket > first.ticket
    assert talk.answer("Noon.", ticket=first.ticket) == []
    talk.c.speech_stopped(5 * SECOND, 1.5, 1.5)
    out = talk.c.transcript("what time does the train leave", 6 * SECOND, 2.0)
    assert of(out, Generate)[0].ticket > first.ticket


def test_no_more_preemptive_replies_than_allowed_and_none_in_long_turns():
    talk = Talk()
    talk.user("one")
    for n in range(10):
        at = 3 * SECOND + n * SECOND // 2
        talk.c.speech_started(at, 1.0)
        talk.c.speech_stopped(at + SECOND // 10, 1.0, 1.0)
        talk.c.transcript("one " + "more " * (n + 1), at + SECOND // 4, 1.0)
    assert talk.c.replies.counts.preemptive == MAX_IN_PAUSES and talk.c.call.user.narration >= 10
    talk = Talk()
    assert of(talk.user("a long speech", 1.0, 12.0), Generate) == []
    assert kinds(talk.c.turn_ended(True, 1.0)) == [
        StopTranscribing,
        TurnAccepted,
        UserTurnFinal,
        Generate,
        Commit,
    ]


def test_unfinished_words_are_no_preemptive_reply_and_answered_when_the_turn_is_over():
    """How long that takes is a matter of turn_detection.py."""
    talk = Talk()
    assert of(talk.user("what is the"), Generate) == []
    assert kinds(talk.c.turn_ended(False, 1.0)) == [
        StopTranscribing,
        TurnAccepted,
        UserTurnFinal,
        Generate,
        Commit,
    ]


def test_a_turn_without_words_is_dropped():
    talk = Talk()
    talk.user("")
    out = talk.c.turn_ended(True, 1.0)
    assert kinds(out) == [StopTranscribing, UserTurnFinal] and out[1].text == ""
    assert talk.c.state is State.IDLE and talk.c.wake_at is None and talk.c.history == []


def test_the_turn_waits_for_its_words():
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    assert talk.c.turn_ended(True, 2.5) == [TurnAccepted(1)] and talk.c.closing
    out = talk.c.transcript("hello there", 3 * SECOND, 3.0)
    assert Commit in kinds(out) and TurnAccepted not in kinds(out)  # it was told


def test_a_likely_end_is_told_once_and_judged_again_with_the_words():
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.2)
    assert (
        talk.c.turn_ended(False, 2.6) == [TurnAccepted(1)]
        and talk.c.turn_ended(False, 2.7) == []
        and not talk.c.closing
    )
    assert kinds(talk.c.transcript("hello there", 3 * SECOND, 3.0)) == [Generate]
    talk.c.speech_started(4 * SECOND, 4.0)  # they went on: what they were told is void
    talk.c.speech_stopped(5 * SECOND, 5.0, 5.2)
    talk.c.transcript("hello there Ann", 6 * SECOND, 5.3)
    assert kinds(talk.c.turn_ended(False, 5.4)) == [
        StopTranscribing,
        TurnAccepted,
        UserTurnFinal,
        Commit,
    ]


@pytest.mark.parametrize("options", [{"replies": False}, {}])
def test_a_surely_ended_turn_without_words_is_dropped_when_they_come(options):
    talk = Talk(**options)
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.2)
    assert kinds(talk.c.turn_ended(True, 2.6)) == ([TurnAccepted] if talk.c.options.replies else [])
    assert (
        talk.c.transcript("", 3 * SECOND, 3.0) == [StopTranscribing(), UserTurnFinal(1, "")]
        and talk.c.state is State.IDLE
    )


def test_an_overloaded_machine_asks_for_brief_answers():
    talk = Talk()
    talk.c.change(brief=True)
    assert of(talk.user("hi you"), Generate)[0].brief


# --- the answer ---------------------------------------------------------------------------------


def test_thinking_is_told_once_and_only_before_any_sound():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 5.0)
    assert talk.c.wake_at == 5.0 + THINKING_S and talk.c.wake(5.1) == []
    assert talk.c.wake(5.0 + THINKING_S) == [Thinking(1)] and talk.c.wake(6.0) == []
    talk = Talk().in_bot()
    assert talk.c.wake(THINKING_S) == [] and talk.c.state is State.REPLYING


def test_a_filler_is_due_a_second_after_the_speech_and_no_part_of_the_answer():
    talk = Talk(filler="One moment.")
    talk.c.speech_started(0, 9.0)
    talk.c.speech_stopped(SECOND, ended_at=10.0, now=10.2)
    talk.c.transcript("hi you", 2 * SECOND, 10.4)
    (commit,) = of(talk.c.turn_ended(False, 10.6), Commit)
    assert commit == Commit(
        talk.c.reply.ticket, "One moment.", pytest.approx(10.0 + FILLER_S - 10.6)
    )
    assert kinds(talk.c.receive(PlaybackProgress(commit.ticket, FILLER, 0.0, 0.8), 11.0)) == [
        ReplyPlayed
    ]
    assert talk.c.wake_at > 11.5  # no "thinking" beside it
    talk.answer("Hello there.")
    talk.c.receive(PlaybackProgress(commit.ticket, FILLER, 0.8, 0.8), 11.8)
    assert kinds(talk.c.receive(PlaybackProgress(commit.ticket, 0, 0.0, 1.0), 11.8)) == [
        ReplyPlayed,
        Latency,
    ]
    talk.played()
    assert talk.c.history[-1] == ChatMessage("assistant", "Hello there.")
    assert of(Talk().in_bot().c.typed("x", 1.0), Commit)[0].filler is None


def test_a_played_reply_is_remembered():
    talk = Talk().in_bot()
    talk.played()
    assert talk.c.state is State.IDLE and talk.c.reply is None and talk.c.wake_at is None
    assert talk.c.history == [
        ChatMessage("user", "hi you"),
        ChatMessage("assistant", "Hello there."),
    ]


def test_the_last_audio_may_be_reported_before_the_last_sentence():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    talk.answer("Hello there.", last=False)
    talk.played(last=True)
    assert talk.c.state is State.REPLYING
    talk.c.receive(Sentence(talk.c.reply.ticket, 1, "", last=True), 0.0)
    assert talk.c.state is State.IDLE


@pytest.mark.parametrize("noise", ["", "mm-hmm", "Yeah.", "hello there it is"])
def test_a_cough_a_backchannel_or_an_echo_resumes(noise):
    talk = Talk().in_bot("Hello there, it is noon.")
    ticket = talk.c.reply.ticket
    out = talk.c.speech_started(5 * SECOND, 1.0)
    assert kinds(out) == [StartTranscribing, Pause] and out[1].ticket == ticket
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.2)
    out = talk.c.transcript(noise, 7 * SECOND, 1.4)
    assert kinds(out) == [StopTranscribing, Resume] and out[1].ticket == ticket
    assert (
        talk.c.state is State.REPLYING
        and talk.c.replies.counts.false_interruptions == 1
        and talk.c.replies.counts.interruptions == 0
    )


def overlapping(text="Hello there, it is noon.", echoed=False, played_s=0.5):
    """The user speaks over the reply since second 5."""
    talk = Talk().in_bot(text, played_s)
    if echoed:
        talk.c.speech_started(3 * SECOND, 0.5)
        talk.c.speech_stopped(4 * SECOND, 0.7, 0.7)
        talk.c.transcript("hello there it", 4 * SECOND + TAIL, 0.8)
    talk.c.speech_started(5 * SECOND, 1.0)
    assert talk.c.state is State.OVERLAP
    return talk


@pytest.mark.parametrize("noise", ["", "mm-hmm", "there it is"])
def test_words_that_were_known_before_the_sound_stopped_decide_when_it_does(noise):
    talk = overlapping()
    assert talk.c.transcript(noise, 6 * SECOND + TAIL, 1.2) == []
    assert kinds(talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)) == [StopTranscribing, Resume]


def test_a_noise_is_no_words():
    talk = overlapping()
    assert talk.c.transcript("Thank you for watching.", 6 * SECOND, 1.2, noise=True) == []
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(
        talk.c.transcript("Thank you for watching.", 7 * SECOND, 1.5, noise=True)
    )
    talk = overlapping()
    talk.c.transcript("Thank you for watching.", 6 * SECOND, 1.2, noise=True)
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(
        talk.c.wake(1.3 + OVERLAP_WAIT_S)
    )  # nor do they count when no others come


def test_a_backchannel_that_is_cut_waits_for_its_rest():
    talk = overlapping()
    assert talk.c.transcript("I", 6 * SECOND, 1.2) == [] and talk.c.state is State.OVERLAP
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(talk.c.transcript("I see", 7 * SECOND, 1.5))
    talk = overlapping()
    talk.c.transcript("I", 6 * SECOND, 1.2)
    assert ReplyInterrupted in kinds(talk.c.transcript("I want", 7 * SECOND, 1.5))


def test_speech_that_starts_again_in_an_overlap_waits_for_the_words_of_that_too():
    talk = overlapping()
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert talk.c.speech_started(7 * SECOND, 1.5) == []
    assert talk.c.transcript("", 7 * SECOND, 1.6) == [] and talk.c.state is State.OVERLAP
    assert ReplyInterrupted in kinds(talk.c.transcript("what now", 8 * SECOND, 1.9))


def test_before_the_answer_is_heard_no_transcript_is_a_noise():
    """Nothing sounds that a cough could interrupt, and a user who goes on speaking is not to be
    talked over.
    """
    talk = Talk()
    talk.user("and so my fellow americans")
    talk.c.turn_ended(False, 0.0)
    talk.answer("Hello there, it is noon.")
    talk.c.speech_started(5 * SECOND, 1.0)
    assert ReplyInterrupted in kinds(talk.c.transcript("ask", 6 * SECOND, 1.4, noise=True))


@pytest.mark.parametrize("text", ["yeah", "mm-hmm", "hello there it is noon", "what now"])
def test_before_the_answer_is_heard_every_word_counts(text):
    talk = Talk()
    talk.user("tell me about dogs")
    talk.c.turn_ended(False, 0.0)
    talk.answer("Hello there, it is noon.")
    assert Pause in kinds(talk.c.speech_started(5 * SECOND, 1.0))
    out = talk.c.transcript(text, 6 * SECOND, 1.4)
    assert kinds(out) == [Cancel, ReplyInterrupted] and out[1].played_text == ""
    assert talk.c.replies.counts.merged_turns == 1 and talk.c.replies.counts.interruptions == 0
    talk.c.speech_stopped(6 * SECOND, 1.5, 1.5)
    out = talk.c.transcript(text, 7 * SECOND, 1.7)
    assert of(out, Generate)[0].history[-1] == ChatMessage("user", f"tell me about dogs {text}")


# --- our own echo -------------------------------------------------------------------------------


def test_where_an_echo_was_heard_the_sound_goes_on_while_somebody_is_heard():
    talk = Talk().in_bot("Hello there, it is noon.")
    assert Pause in kinds(talk.c.speech_started(3 * SECOND, 0.5))
    talk.c.speech_stopped(4 * SECOND, 0.7, 0.7)
    talk.c.transcript("hello there it", 5 * SECOND, 0.8)
    assert kinds(talk.c.speech_started(6 * SECOND, 1.0)) == [StartTranscribing]
    talk.c.speech_stopped(7 * SECOND, 1.5, 1.5)
    # there is nothing to resume
    assert kinds(talk.c.transcript("it is noon", 8 * SECOND, 1.6)) == [StopTranscribing]
    assert talk.c.state is State.REPLYING and talk.c.replies.counts.false_interruptions == 1


def test_words_over_our_echo_are_judged_without_it():
    talk = overlapping(echoed=True)
    (again,) = talk.c.transcript("hello there it is", 7 * SECOND, 1.4)
    assert again == StartTranscribing(7 * SECOND - OVERLAP_SAMPLES)
    assert talk.c.transcript("", 7 * SECOND - OVERLAP_SAMPLES, 1.5) == []  # too old
    out = talk.c.transcript("noon but when", 8 * SECOND, 1.8)
    assert (
        kinds(out) == [Cancel, ReplyInterrupted]
        and talk.c.state is State.USER_SPEAKING
        and talk.c.replies.counts.interruptions == 1
    )


@pytest.mark.parametrize("so_far", ["", "yeah", "I see"])
def test_what_is_no_echo_is_heard_to_its_end(so_far):
    """ "I see" may go on: "I see what you mean"."""
    talk = overlapping(echoed=True)
    assert talk.c.transcript(so_far, 6 * SECOND, 1.4) == [] and talk.c.state is State.OVERLAP


def test_an_echo_whose_last_words_are_on_their_way_is_not_heard_again():
    """Nothing more will be said of that new stretch: the overlap would never end."""
    talk = overlapping(echoed=True)
    talk.c.speech_stopped(7 * SECOND, 1.3, 1.4)
    assert talk.c.transcript("hello there it", 7 * SECOND, 1.5) == []
    assert (
        kinds(talk.c.transcript("hello there it is", 8 * SECOND, 1.6)) == [StopTranscribing]
        and talk.c.state is State.REPLYING
    )


def test_in_guard_a_sound_without_end_is_no_interruption():
    talk = overlapping(echoed=True)
    assert (
        talk.c.wake(talk.c.wake_at) == []
        and talk.c.state is State.OVERLAP
        and talk.c.wake_at is not None
    )
    talk.c.speech_stopped(7 * SECOND, 9.0, 9.2)
    assert (
        kinds(talk.c.wake(talk.c.wake_at)) == [StopTranscribing] and talk.c.state is State.REPLYING
    )


@pytest.mark.parametrize(
    ("text", "answered"), [("it is noon", False), ("and when is midnight", True)]
)
@pytest.mark.parametrize("stopped", [True, False])
def test_an_answer_that_ends_in_an_overlap_leaves_its_echo_or_the_next_turn(
    text, answered, stopped
):
    talk = overlapping(echoed=True)
    if stopped:
        talk.c.speech_stopped(7 * SECOND, 1.5, 1.6)
    talk.played()
    assert (
        talk.c.state is (State.USER_PAUSED if stopped else State.USER_SPEAKING)
        and talk.c.history[-1].text == "Hello there, it is noon."
    )
    talk.c.speech_stopped(7 * SECOND, 1.5, 1.6)
    assert bool(of(talk.c.transcript(text, 8 * SECOND, 1.8), Generate)) is answered
    out = talk.c.turn_ended(False, 2.0)
    assert bool(of(out, Commit)) is answered and of(out, UserTurnFinal) == [
        UserTurnFinal(2, text if answered else "")
    ]


def test_the_end_of_our_answer_is_no_turn_of_the_caller():
    talk = overlapping(echoed=True)
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    talk.c.transcript("it is", 7 * SECOND, 1.4)
    talk.now = 3.0
    talk.played()
    talk.c.speech_started(9 * SECOND, 3.2)
    talk.c.speech_stopped(10 * SECOND, 3.8, 4.0)
    assert talk.c.transcript("is noon", 11 * SECOND, 4.1) == []
    assert (
        talk.c.turn_ended(False, 4.3) == [StopTranscribing(), UserTurnFinal(2, "")]
        and talk.c.state is State.IDLE
    )


def test_words_interrupt_and_the_history_keeps_what_was_heard():
    talk = Talk().in_bot("It is noon, and the sun is high in the sky.", played_s=0.5)
    old = talk.c.reply.ticket
    talk.c.speech_started(5 * SECOND, 1.0)
    out = talk.c.transcript("stop, what about tomorrow", 6 * SECOND, 1.4)
    assert of(out, Cancel)[0].ticket > old
    (interrupted,) = of(out, ReplyInterrupted)
    assert (
        "It is noon, and the sun is high in the sky.".startswith(interrupted.played_text)
        and interrupted.played_text
    )
    assert talk.c.history[-1] == ChatMessage("assistant", interrupted.played_text)
    assert talk.c.state is State.USER_SPEAKING and talk.c.replies.counts.interruptions == 1
    talk.c.speech_stopped(7 * SECOND, 2.0, 2.0)
    out = talk.c.transcript("stop, what about tomorrow", 8 * SECOND, 2.2)
    assert of(out, Generate)[0].history[-1] == ChatMessage("user", "stop, what about tomorrow")


def test_the_clients_own_count_of_what_was_heard_wins():
    talk = Talk().in_bot("one two three four five six seven eight nine ten", played_s=1.0)
    talk.c.playback_position(talk.c.replies.turn, 0.3)
    (interrupted,) = of(talk.c.interrupt(1.0), ReplyInterrupted)
    assert (
        interrupted.played_text.split()
        == ["one", "two", "three"][: len(interrupted.played_text.split())]
        and interrupted.played_text
    )


def test_the_clients_count_has_the_filler_in_it():
    talk = Talk(filler="One moment.")
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    talk.answer("one two three four five six seven eight nine ten")
    talk.c.receive(PlaybackProgress(talk.c.reply.ticket, FILLER, 0.8, 0.8), 1.0)
    talk.played(played_s=0.2, last=False)
    talk.c.playback_position(talk.c.replies.turn, 0.8)
    (interrupted,) = of(talk.c.interrupt(1.0), ReplyInterrupted)
    assert interrupted.played_text == ""


def test_an_interruption_before_any_sound_joins_the_users_lines():
    talk = Talk()
    talk.user("tell me about dogs")
    talk.c.turn_ended(False, 0.0)
    talk.c.speech_started(5 * SECOND, 1.0)
    talk.c.speech_stopped(6 * SECOND, 1.5, 1.5)
    out = talk.c.transcript("and about cats", 7 * SECOND, 1.7)
    assert of(out, Generate)[0].history[-1] == ChatMessage(
        "user", "tell me about dogs and about cats"
    )


def test_an_overlap_ends_by_itself():
    talk = Talk().in_bot()
    talk.c.speech_started(5 * SECOND, 1.0)
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.2)
    out = talk.c.wake(1.2 + OVERLAP_WAIT_S)
    assert Resume in kinds(out) and talk.c.state is State.REPLYING
    talk = overlapping()
    talk.c.transcript("mm-hmm", 6 * SECOND, 1.2)  # so far
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(talk.c.wake(1.3 + OVERLAP_WAIT_S))
    talk = Talk().in_bot()
    talk.c.speech_started(8 * SECOND, 5.0)  # and if the speech does not stop, it is not a cough
    assert (
        Cancel in kinds(talk.c.wake(5.0 + OVERLAP_WAIT_S)) and talk.c.state is State.USER_SPEAKING
    )


def test_a_typed_line_is_a_whole_turn_in_every_state():
    talk = Talk().in_bot()
    out = talk.c.typed("what else", 1.0)
    assert [kind for kind in kinds(out) if kind in (Cancel, Generate, Commit)] == [
        Cancel,
        Generate,
        Commit,
    ]
    assert of(out, Generate)[0].ticket.turn == of(out, Cancel)[0].ticket.turn
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    assert Commit in kinds(talk.c.typed("hello", 1.0)) and talk.c.state is State.REPLYING


def test_interrupting_by_hand_goes_to_idle():
    talk = Talk().in_bot()
    assert kinds(talk.c.interrupt(1.0)) == [Cancel, ReplyInterrupted, StopTranscribing]
    assert talk.c.state is State.IDLE
    assert Cancel not in kinds(talk.c.interrupt(2.0))


def test_a_failed_llm_is_excused_in_words_and_voice_and_not_remembered():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    out = talk.c.receive(Failed(talk.c.reply.ticket, "llm", "out of memory"), 1.0)
    assert of(out, TurnFailed)[0].reason == "out of memory"
    (event,), (commit,) = of(out, Sentence), of(out, Commit)
    assert (
        event.text == APOLOGY
        and event.ticket == commit.ticket > of(out, Cancel)[0].ticket
        or event.ticket == of(out, Cancel)[0].ticket
    )
    talk.played()
    # asked again, the question must not stand there twice
    assert talk.c.state is State.IDLE and talk.c.history == []


def test_a_failed_preemptive_reply_is_asked_again_at_the_commit():
    talk = Talk()
    early = of(talk.user("hi you"), Generate)[0]
    assert talk.c.receive(Failed(early.ticket, "llm", "x"), 0.0) == []
    out = talk.c.turn_ended(True, 1.0)
    assert of(out, Generate)[0].ticket > early.ticket and Commit in kinds(out)


@pytest.mark.parametrize(("stage", "fails"), [("llm", False), ("tts", True), ("gateway", False)])
def test_a_dead_process_ends_only_the_turns_that_need_it(stage, fails):
    talk = Talk().in_bot()  # the whole text is there, the audio is not
    out = talk.c.stage_down(stage, 1.0)
    assert bool(of(out, TurnFailed)) is fails
    assert (talk.c.state is State.IDLE) is fails


def test_every_wait_ends():
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(SECOND, 1.0, 1.0)
    assert talk.c.turn_ended(True, 1.5) == [TurnAccepted(1)] and talk.c.wake(1.0) == []
    assert TurnFailed in kinds(talk.c.wake(1.0 + TRANSCRIPT_WAIT_S)) and talk.c.state is State.IDLE
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    assert talk.c.wake(REPLY_WAIT_S) == [Thinking(1)]
    # the apology
    assert TurnFailed in kinds(talk.c.wake(REPLY_WAIT_S)) and talk.c.state is State.REPLYING
    assert TurnFailed in kinds(talk.c.wake(talk.c.wake_at)) and talk.c.state is State.IDLE


def test_late_and_foreign_messages_change_nothing():
    talk = Talk().in_bot()
    before = talk.c.reply.ticket
    for stale in (Ticket("a", 0, 9), Ticket("a", 1, 0), Ticket("b", 1, 1)):
        assert talk.c.receive(Sentence(stale, 0, "no", True), 0.0) == []
        assert talk.c.receive(PlaybackProgress(stale, 0, 1.0, 1.0, True), 0.0) == []
        assert talk.c.receive(Failed(stale, "llm", "no"), 0.0) == []
    assert talk.c.reply.ticket == before and talk.c.state is State.REPLYING


def test_push_to_talk_ends_turns_only_by_hand():
    talk = Talk()
    talk.c.change(automatic_turns=False)
    assert of(talk.user("hi you"), Generate) == []
    assert talk.c.turn_ended(True, 1.0) == []
    assert Commit in kinds(talk.c.turn_ended(True, 2.0, by_hand=True))


def test_captions_only_never_ask_for_an_answer():
    talk = Talk(replies=False)
    out = talk.user("hi you") + talk.c.turn_ended(True, 1.0)
    assert not of(out, (Generate, Prefill, Commit)) and of(out, UserTurnFinal)[0].text == "hi you"
    assert talk.c.state is State.IDLE and talk.c.replies.turn == 2


def test_latency_counts_from_the_end_of_speech():
    talk = Talk()
    talk.c.speech_started(0, 9.0)
    talk.c.speech_stopped(SECOND, ended_at=10.0, now=10.2)
    talk.c.transcript("hi you", 2 * SECOND, 10.4)
    talk.c.turn_ended(False, 10.5)
    talk.c.receive(Sentence(talk.c.reply.ticket, 0, "Hello.", True, first_token_s=0.25), 10.8)
    (latency,) = of(
        talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 0, 0.0, 1.0), 11.0), Latency
    )
    assert latency == Latency(1, *map(pytest.approx, (0.2, 0.4, 0.5, 0.65, 0.8, 1.0)), True)
    # once a turn
    assert (
        of(
            talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 0, 0.5, 1.0), 11.5),
            Latency,
        )
        == []
    )


# --- words that may have been an echo -----------------------------------------------------------


def put_off(text="Bye, sir"):
    """An answer whose sound was stopped by something short right after its beginning, and goes
    on.
    """
    talk = Talk()
    talk.user("how do bicycles stay upright")
    talk.c.turn_ended(True, talk.now)
    talk.answer("Bicycles stay upright by balance.", last=False)
    talk.now = 10.0
    talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 0, 0.0, 3.0), talk.now)
    assert Pause in kinds(talk.c.speech_started(10 * SECOND, 10.4))
    talk.c.speech_stopped(int(10.4 * SECOND), 10.6, 10.8)
    talk.now = 11.0
    assert kinds(talk.c.transcript(text, 11 * SECOND, talk.now)) == [StopTranscribing, Resume]
    return talk


def test_words_that_may_have_been_an_echo_count_if_nothing_comes_back_with_the_sound():
    talk = put_off()
    assert talk.c.wake(11.0 + ECHO_LAG_S - 0.01) == [] and talk.c.wake_at == 11.0 + ECHO_LAG_S
    out = talk.c.wake(11.0 + ECHO_LAG_S)
    assert (
        kinds(out) == [Cancel, ReplyInterrupted, TurnAccepted, UserTurnFinal, Generate, Commit]
        and of(out, UserTurnFinal)[0].text == "Bye, sir"
    )
    assert talk.c.state is State.REPLYING and talk.c.replies.counts.interruptions == 1


def test_they_are_forgotten_if_the_same_comes_back_with_the_sound():
    talk = put_off()
    assert Pause in kinds(talk.c.speech_started(int(11.3 * SECOND), 11.4))
    talk.c.speech_stopped(int(11.9 * SECOND), 11.9, 12.0)
    assert kinds(talk.c.transcript("", 13 * SECOND, 12.1)) == [StopTranscribing, Resume]
    assert Pause not in kinds(talk.c.speech_started(int(12.4 * SECOND), 12.5))
    talk.c.wake(13.0)
    talk.c.speech_stopped(14 * SECOND, 14.0, 14.2)
    assert kinds(talk.c.transcript("bikes stay up right by ballads", 15 * SECOND, 14.3)) == [
        StopTranscribing
    ]
    talk.played()
    assert (
        kinds(talk.answer("", last=True)) == [ReplyText]
        and talk.c.replies.counts.interruptions == 0
    )


def test_a_yeah_that_begins_with_the_sound_says_nothing_about_the_words_before_it():
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.speech_stopped(int(11.6 * SECOND), 11.6, 11.8)
    assert Resume in kinds(talk.c.transcript("yeah", 12 * SECOND, 11.9))
    out = talk.c.wake(11.9 + ECHO_LAG_S)
    assert [event.text for event in of(out, UserTurnFinal)] == ["my brother yeah"]
    assert Generate in kinds(out)


def test_a_person_who_is_quick_twice_is_heard_out():
    """The second few words are deferred, too, and both are one turn."""
    talk = put_off("my brother")
    assert Pause in kinds(talk.c.speech_started(int(11.3 * SECOND), 11.4))
    talk.c.speech_stopped(int(11.9 * SECOND), 11.9, 12.0)
    assert kinds(talk.c.transcript("and I", 13 * SECOND, 12.1)) == [StopTranscribing, Resume]
    out = talk.c.wake(12.1 + ECHO_LAG_S)
    assert [event.text for event in of(out, UserTurnFinal)] == ["my brother and I"]
    assert of(out, Generate)[0].history[-1].text.endswith("my brother and I")


def answer_over_the_end(answer, asked="It is long. Shall I go on?", left_s=0.3, **options):
    """An answer over the last `left_s` of a question; the commands of its transcript."""
    talk = Talk(**options)
    talk.user("tell me a story")
    talk.c.turn_ended(True, talk.now)
    talk.answer(asked, last=True)
    ticket = talk.c.reply.ticket
    talk.c.receive(PlaybackProgress(ticket, 0, 0.0, 3.0), 10.0)
    assert Pause in kinds(talk.c.speech_started(13 * SECOND, 12.6))
    talk.c.receive(PlaybackProgress(ticket, 0, 3.0 - left_s, 3.0), 12.7)
    talk.c.speech_stopped(int(13.4 * SECOND), 13.0, 13.2)
    return talk, talk.c.transcript(answer, 15 * SECOND, 13.3)


def test_a_yes_over_the_end_of_a_question_answers_it():
    """The question is played to its end, and the answer is the next turn."""
    talk, out = answer_over_the_end("Yes, please.")
    assert kinds(out) == [StopTranscribing, Resume]
    out = talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 0, 3.0, 3.0, last=True), 13.6)
    assert of(out, UserTurnFinal)[0].text == "Yes, please." and Generate in kinds(out)
    assert [one.text for one in talk.c.history][1:] == [
        "It is long. Shall I go on?",
        "Yes, please.",
    ]


@pytest.mark.parametrize(
    ("answer", "manner"),
    [
        ("mm-hmm", {}),
        ("Yes.", {"left_s": ECHO_LAG_S + 0.1}),
        ("Yes.", {"asked": "It is long. I shall go on."}),
        ("Yeah.", {"asked": "Where do you live?"}),
    ],
)
def test_other_signs_of_listening_answer_nothing(answer, manner):
    talk, out = answer_over_the_end(answer, **manner)
    assert kinds(out) == [StopTranscribing, Resume] and talk.c.state is State.REPLYING
    talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 0, 3.0, 3.0, last=True), 14.0)
    assert talk.c.state is State.IDLE and len(talk.c.history) == 2


def test_who_goes_on_about_what_the_answer_is_about_loses_nothing():
    """Its words, but more of them than were played."""
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.transcript("Bicycles stay upright by", int(12.7 * SECOND), 12.8)
    talk.c.speech_stopped(14 * SECOND, 14.0, 14.2)
    out = talk.c.transcript("Bicycles stay upright by his hand", 15 * SECOND, 14.3)
    assert talk.c.state is State.USER_PAUSED
    whole = "my brother Bicycles stay upright by his hand"
    assert of(out, Generate)[0].history[-1].text.endswith(whole)


def test_they_are_told_first_if_what_comes_after_them_is_no_echo_either():
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.speech_stopped(13 * SECOND, 13.0, 13.2)
    out = talk.c.transcript("has never learned it", 14 * SECOND, 13.3)
    assert [event.text for event in of(out, UserTurnFinal)] == ["my brother"]
    assert of(out, Generate)[0].history[-1].text.endswith("my brother has never learned it")


@pytest.mark.parametrize(
    ("so_far", "told"), [("and then they", ["my brother"]), ("bicycles stay", [])]
)
def test_they_are_told_if_the_answer_ends_under_what_comes_after_them_unless_that_is_ours(
    so_far, told
):
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.transcript(so_far, 12 * SECOND, 12.0)
    talk.c.receive(Sentence(talk.c.reply.ticket, 1, "", True), 12.0)
    out = talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 1, 3.0, 3.0, True), 12.1)
    assert [
        event.text for event in of(out, UserTurnFinal)
    ] == told and talk.c.state is State.USER_SPEAKING


def test_they_are_a_turn_when_the_answer_ends_meanwhile():
    talk = put_off()
    talk.c.receive(Sentence(talk.c.reply.ticket, 1, "", True), 11.1)
    out = talk.c.receive(PlaybackProgress(talk.c.reply.ticket, 1, 3.0, 3.0, True), 11.2)
    assert of(out, UserTurnFinal)[0].text == "Bye, sir" and Generate in kinds(out)


@pytest.mark.parametrize("other", ["typed", "interrupt"])
def test_whatever_ends_the_answer_ends_the_wait_for_them(other):
    talk = put_off()
    talk.c.typed("hello", 11.1) if other == "typed" else talk.c.interrupt(11.1)
    assert UserTurnFinal not in kinds(talk.c.wake(11.0 + ECHO_LAG_S))


def test_who_says_stop_is_not_put_off():
    talk = Talk().in_bot("Hello there.")
    talk.c.reply.sounded_at = 10.0
    talk.c.speech_started(10 * SECOND, 10.2)
    talk.c.speech_stopped(11 * SECOND, 10.5, 10.7)
    assert ReplyInterrupted in kinds(talk.c.transcript("stop", 12 * SECOND, 10.8))
