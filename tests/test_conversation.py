"""The table of states at the top of conversation.py, row by row, with literal times."""

from __future__ import annotations

import pytest

from fusion.core.conversation import COVERED, DOUBT_WAIT_S, FILLER_S, OVERLAP, REPLY_WAIT_S, THINKING_S, WORDS_WAIT_S, Conversation, State
from fusion.core.dialogue import APOLOGY
from fusion.core.doubt import ECHO_LAG_S
from fusion.core.endpoint import TAIL
from fusion.core.guesses import EARLY_GUESSES, GUESSES
from fusion.core.playout import FILLER
from fusion.core.turns import (
    BotSaid,
    Counts,
    HeardYou,
    Interrupted,
    Latency,
    Played,
    StartHearing,
    StopHearing,
    Thinking,
    TurnFailed,
    UserSaid,
)
from fusion.messages import Cancel, Commit, Failed, Generate, Hold, Line, Prepare, Resume, Sentence, Spoken, Ticket

SECOND = 16_000


def kinds(commands):
    return [type(command) for command in commands]


def of(commands, kind):
    return [command for command in commands if isinstance(command, kind)]


class Talk:
    """A conversation and short words for what happens to it; `now` moves by hand."""

    def __init__(self, **options):
        self.c = Conversation("a", "Be nice.", **options)
        self.now = 0.0

    def user(self, text, start_s=1.0, stop_s=2.0):
        """Speech from start to stop with its words known at once."""
        out = self.c.speech_started(int(start_s * SECOND), self.now)
        out += self.c.speech_stopped(int(stop_s * SECOND), self.now, self.now)
        return out + self.c.heard_words(text, int((stop_s + 0.1) * SECOND), self.now)

    def answer(self, text="Hello there.", ticket=None, last=True):
        return self.c.sentence(Sentence(ticket or self.c.dialogue.reply.ticket, 0, text, last), self.now)

    def played(self, heard=1.0, total=1.0, last=True):
        return self.c.spoken(Spoken(self.c.dialogue.reply.ticket, 0, heard, total, last), self.now)

    def in_bot(self, text="Hello there.", heard=0.5):
        self.user("hi you")
        self.c.turn_ended(True, self.now)
        self.answer(text)
        self.played(heard, 1.0, last=False)
        assert self.c.state is State.BOT
        return self


@pytest.mark.parametrize(("heard_s", "signs"), [(0.4, 2), (3.0, 0)])
def test_who_was_cut_off_is_given_time_in_what_follows(heard_s, signs):
    """Speech right after our first sound: the turn was not over. One pause before it, and the one that we took for its end."""
    talk = Talk()
    talk.c.speech_started(SECOND, 1.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    talk.c.speech_started(3 * SECOND, 3.0)
    talk.c.speech_stopped(4 * SECOND, 4.0, 4.0)
    talk.c.heard_words("it was a bright cold day", 5 * SECOND, 5.0)
    talk.c.turn_ended(True, 5.0)
    talk.answer("It may have been.")
    talk.played(heard_s, 4.0, last=False)
    talk.c.speech_started(6 * SECOND, 6.0)
    talk.c.speech_stopped(7 * SECOND, 7.0, 7.0)
    assert Interrupted in kinds(talk.c.heard_words("and the clocks were striking", 8 * SECOND, 7.2))
    assert talk.c.telling == signs


def test_an_open_call_and_each_start_of_speech_warm_the_prompt():
    talk = Talk()
    assert talk.c.opened() == [Prepare(Ticket("a", 1, 0), (Line("system", "Be nice."),))] and Talk(replies=False).c.opened() == []
    out = talk.c.speech_started(5000, 1.0)
    assert kinds(out) == [StartHearing, Prepare] and out[0].at == 5000
    assert out[1].lines == (Line("system", "Be nice."),)
    assert talk.c.state is State.USER


def test_a_guess_is_generated_in_the_pause_and_committed_when_the_turn_ends():
    talk = Talk()
    out = talk.user("what time is it")
    (guess,) = of(out, Generate)
    assert guess.lines == (Line("system", "Be nice."), Line("user", "what time is it"))
    assert talk.answer("Noon.") == []  # nothing is shown before the commit
    out = talk.c.turn_ended(False, 1.0)
    assert kinds(out) == [StopHearing, HeardYou, UserSaid, Commit, BotSaid]
    assert of(out, Commit)[0].ticket == guess.ticket and of(out, BotSaid)[0].text == "Noon."
    assert talk.c.state is State.BOT and talk.c.dialogue.counts == Counts(turns=1, guesses=1, guesses_used=1)


# --- while somebody speaks --------------------------------------------------------------------------------


def listening(text="", **options):
    """A person speaks since second 1 and was heard up to second 2."""
    talk = Talk(**options)
    talk.c.speech_started(SECOND, 1.0)
    if text:
        talk.c.heard_words(text, 2 * SECOND, 2.1)
    return talk


@pytest.mark.parametrize(
    ("first", "then", "guessed"),
    [
        ("", "How old is the bridge?", True),  # a whole question
        ("", "I like green tea.", False),  # a full stop says nothing: the recognizer puts one everywhere
        ("I like green tea", "I like green tea", True),  # nothing new while sound went on
        ("I like green", "I like green tea", False),
        ("", "I see.", False),  # too short
        ("What is the", "What is the", False),  # asks for more
        ("", "What is the.", False),
        ("", "My number is five five five.", False),  # spelled
        ("", "", False),
    ],
)
def test_words_that_sound_whole_are_guessed_while_somebody_speaks(first, then, guessed):
    talk = listening()
    assert of(talk.c.heard_words(first, 2 * SECOND, 2.1), Generate) == []
    out = of(talk.c.heard_words(then, 3 * SECOND, 3.1), Generate)
    assert len(out) == guessed and talk.c.dialogue.counts.guesses == guessed and talk.c.state is State.USER


def test_an_early_guess_that_more_words_contradict_is_cancelled():
    talk = listening("How old is the bridge?")
    first = talk.c.dialogue.reply.ticket
    out = talk.c.heard_words("How old is the bridge over the", 3 * SECOND, 3.1)
    assert kinds(out) == [Cancel, Prepare] and out[0].ticket > first and talk.c.dialogue.reply is None
    assert out[1].lines[-1] == Line("user", "How old is the bridge over the")  # the model reads at least what was said so far


def test_an_early_guess_is_answered_with_when_it_was_right():
    talk = listening("How old is the bridge?")
    guess = talk.c.dialogue.reply.ticket
    talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)
    assert talk.c.heard_words("how old is the bridge", 4 * SECOND, 3.3) == []
    out = talk.c.turn_ended(False, 3.4)
    assert of(out, Commit) == [Commit(guess)] and talk.c.dialogue.counts.guesses_used == 1


def test_there_are_few_early_guesses():
    talk = listening()
    for n in range(6):
        talk.c.heard_words("How old is the " + "old " * n + "bridge?", (2 + n) * SECOND, 2.0 + n)
    assert talk.c.dialogue.counts.guesses == EARLY_GUESSES


def test_who_has_no_time_to_waste_guesses_only_in_pauses():
    talk = listening()
    talk.c.early_guesses = False
    assert talk.c.heard_words("How old is the bridge?", 2 * SECOND, 2.1) == []
    talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)
    assert kinds(talk.c.heard_words("How old is the bridge?", 4 * SECOND, 3.3)) == [Generate]


def test_words_that_were_known_before_the_pause_are_guessed_at_once():
    talk = listening()
    talk.c.heard_words("I like tea", 3 * SECOND + TAIL, 3.1)
    assert kinds(talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)) == [Generate]


def test_when_the_sound_stops_the_words_that_are_known_are_guessed_if_they_cover_it():
    """The recognizer is asked for the last words at that moment, and mostly finds the same."""
    for stopped, guessed in ((2 * SECOND + COVERED, [Generate]), (2 * SECOND + COVERED + 1, [])):
        talk = listening("I like green tea.")
        assert kinds(talk.c.falls_silent(stopped, 2.4)) == guessed
        talk.c.speech_stopped(stopped, 2.3, 2.5)
        assert kinds(talk.c.heard_words("I like green tea", 3 * SECOND, 2.6)) == ([] if guessed else [Generate])
    talk = listening("I like green tea.")
    talk.c.falls_silent(2 * SECOND, 2.1)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.2)
    assert kinds(talk.c.heard_words("I like green trees", 3 * SECOND, 2.3)) == [Cancel, Generate]


@pytest.mark.parametrize("text", ["What is the", ""])
def test_words_that_ask_for_more_are_not_guessed_when_the_sound_stops(text):
    assert listening(text).c.falls_silent(2 * SECOND, 2.1) == []


def test_once_the_sound_has_stopped_nothing_is_read_that_the_answer_would_wait_for():
    talk = listening()
    assert kinds(talk.c.heard_words("What is the", 2 * SECOND, 2.1)) == [Prepare]
    assert talk.c.heard_words("What is the matter with", 3 * SECOND, 3.1, ending=True) == []
    assert kinds(talk.c.heard_words("I like green tea", 4 * SECOND, 4.1, ending=True)) == [Generate]


def test_older_words_than_those_known_change_nothing():
    talk = listening("I like green")
    assert talk.c.heard_words("I lie", 2 * SECOND, 2.2) == [] and talk.c.heard_words("I", SECOND, 2.2) == []
    talk.c.speech_stopped(3 * SECOND, 3.0, 3.2)
    assert talk.c.words is None
    talk.c.heard_words("I like green tea", 4 * SECOND, 3.3)
    assert talk.c.words == "I like green tea"


# --- in the pause -----------------------------------------------------------------------------------------


def test_the_same_words_in_other_spelling_keep_the_guess():
    talk = Talk()
    talk.user("what time is it")
    talk.c.speech_started(3 * SECOND, 1.0)
    talk.c.speech_stopped(4 * SECOND, 1.5, 1.5)
    assert of(talk.c.heard_words("What time is it?", 5 * SECOND, 2.0), Generate) == []


def test_changed_words_replace_the_guess():
    talk = Talk()
    first = of(talk.user("what time"), Generate)[0]
    talk.c.speech_started(3 * SECOND, 1.0)
    out = talk.c.heard_words("what time does the train", 4 * SECOND, 1.2)
    assert kinds(out) == [Cancel, Prepare] and out[0].ticket > first.ticket
    assert talk.answer("Noon.", ticket=first.ticket) == []
    talk.c.speech_stopped(5 * SECOND, 1.5, 1.5)
    out = talk.c.heard_words("what time does the train leave", 6 * SECOND, 2.0)
    assert of(out, Generate)[0].ticket > first.ticket


def test_no_more_guesses_than_allowed_and_none_in_long_turns():
    talk = Talk()
    talk.user("one")
    for n in range(10):
        at = 3 * SECOND + n * SECOND // 2
        talk.c.speech_started(at, 1.0)
        talk.c.speech_stopped(at + SECOND // 10, 1.0, 1.0)
        talk.c.heard_words("one " + "more " * (n + 1), at + SECOND // 4, 1.0)
    assert talk.c.dialogue.counts.guesses == GUESSES and talk.c.telling >= 10
    talk = Talk()
    assert of(talk.user("a long speech", 1.0, 12.0), Generate) == []
    assert kinds(talk.c.turn_ended(True, 1.0)) == [StopHearing, HeardYou, UserSaid, Generate, Commit]


def test_unfinished_words_are_no_guess_and_answered_when_the_turn_is_over():
    """How long that takes is a matter of patience.py."""
    talk = Talk()
    assert of(talk.user("what is the"), Generate) == []
    assert kinds(talk.c.turn_ended(False, 1.0)) == [StopHearing, HeardYou, UserSaid, Generate, Commit]


def test_a_turn_without_words_is_dropped():
    talk = Talk()
    talk.user("")
    out = talk.c.turn_ended(True, 1.0)
    assert kinds(out) == [StopHearing, UserSaid] and out[1].text == ""
    assert talk.c.state is State.IDLE and talk.c.wake_at is None and talk.c.dialogue.memory.lines == []


def test_the_turn_waits_for_its_words():
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    assert talk.c.turn_ended(True, 2.5) == [HeardYou(1)] and talk.c.closing
    out = talk.c.heard_words("hello there", 3 * SECOND, 3.0)
    assert Commit in kinds(out) and HeardYou not in kinds(out)  # it was told


def test_a_likely_end_is_told_once_and_judged_again_with_the_words():
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.2)
    assert talk.c.turn_ended(False, 2.6) == [HeardYou(1)] and talk.c.turn_ended(False, 2.7) == [] and not talk.c.closing
    assert kinds(talk.c.heard_words("hello there", 3 * SECOND, 3.0)) == [Generate]
    talk.c.speech_started(4 * SECOND, 4.0)  # they went on: what they were told is void
    talk.c.speech_stopped(5 * SECOND, 5.0, 5.2)
    talk.c.heard_words("hello there Ann", 6 * SECOND, 5.3)
    assert kinds(talk.c.turn_ended(False, 5.4)) == [StopHearing, HeardYou, UserSaid, Commit]


@pytest.mark.parametrize("options", [{"replies": False}, {}])
def test_a_surely_ended_turn_without_words_is_dropped_when_they_come(options):
    talk = Talk(**options)
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.2)
    assert kinds(talk.c.turn_ended(True, 2.6)) == ([HeardYou] if talk.c.replies else [])
    assert talk.c.heard_words("", 3 * SECOND, 3.0) == [StopHearing(), UserSaid(1, "")] and talk.c.state is State.IDLE


def test_an_overloaded_machine_asks_for_brief_answers():
    talk = Talk()
    talk.c.dialogue.brief = True
    assert of(talk.user("hi you"), Generate)[0].brief


# --- the answer -------------------------------------------------------------------------------------------


def test_thinking_is_told_once_and_only_before_any_sound():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 5.0)
    assert talk.c.wake_at == 5.0 + THINKING_S and talk.c.wake(5.1) == []
    assert talk.c.wake(5.0 + THINKING_S) == [Thinking(1)] and talk.c.wake(6.0) == []
    talk = Talk().in_bot()
    assert talk.c.wake(THINKING_S) == [] and talk.c.state is State.BOT


def test_a_filler_is_due_a_second_after_the_speech_and_no_part_of_the_answer():
    talk = Talk(filler="One moment.")
    talk.c.speech_started(0, 9.0)
    talk.c.speech_stopped(SECOND, ended_at=10.0, now=10.2)
    talk.c.heard_words("hi you", 2 * SECOND, 10.4)
    (commit,) = of(talk.c.turn_ended(False, 10.6), Commit)
    assert commit == Commit(talk.c.dialogue.reply.ticket, "One moment.", pytest.approx(10.0 + FILLER_S - 10.6))
    assert kinds(talk.c.spoken(Spoken(commit.ticket, FILLER, 0.0, 0.8), 11.0)) == [Played]
    assert talk.c.wake_at > 11.5  # no "thinking" beside it
    talk.answer("Hello there.")
    talk.c.spoken(Spoken(commit.ticket, FILLER, 0.8, 0.8), 11.8)
    assert kinds(talk.c.spoken(Spoken(commit.ticket, 0, 0.0, 1.0), 11.8)) == [Played, Latency]
    talk.played()
    assert talk.c.dialogue.memory.lines[-1] == Line("assistant", "Hello there.")
    assert of(Talk().in_bot().c.typed("x", 1.0), Commit)[0].filler == ""


def test_a_played_reply_is_remembered():
    talk = Talk().in_bot()
    talk.played()
    assert talk.c.state is State.IDLE and talk.c.dialogue.reply is None and talk.c.wake_at is None
    assert talk.c.dialogue.memory.lines == [Line("user", "hi you"), Line("assistant", "Hello there.")]


def test_the_last_audio_may_be_reported_before_the_last_sentence():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    talk.answer("Hello there.", last=False)
    talk.played(last=True)
    assert talk.c.state is State.BOT
    talk.c.sentence(Sentence(talk.c.dialogue.reply.ticket, 1, "", last=True), 0.0)
    assert talk.c.state is State.IDLE


@pytest.mark.parametrize("noise", ["", "mm-hmm", "Yeah.", "hello there it is"])
def test_a_cough_a_backchannel_or_an_echo_resumes(noise):
    talk = Talk().in_bot("Hello there, it is noon.")
    ticket = talk.c.dialogue.reply.ticket
    out = talk.c.speech_started(5 * SECOND, 1.0)
    assert kinds(out) == [StartHearing, Hold] and out[1].ticket == ticket
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.2)
    out = talk.c.heard_words(noise, 7 * SECOND, 1.4)
    assert kinds(out) == [StopHearing, Resume] and out[1].ticket == ticket
    assert talk.c.state is State.BOT and talk.c.dialogue.counts.false_interruptions == 1 and talk.c.dialogue.counts.interruptions == 0


def doubting(text="Hello there, it is noon.", echoed=False, heard=0.5):
    """Somebody sounds over the answer since second 5."""
    talk = Talk().in_bot(text, heard)
    if echoed:
        talk.c.speech_started(3 * SECOND, 0.5)
        talk.c.speech_stopped(4 * SECOND, 0.7, 0.7)
        talk.c.heard_words("hello there it", 4 * SECOND + TAIL, 0.8)
    talk.c.speech_started(5 * SECOND, 1.0)
    assert talk.c.state is State.DOUBT
    return talk


@pytest.mark.parametrize("noise", ["", "mm-hmm", "there it is"])
def test_words_that_were_known_before_the_sound_stopped_decide_when_it_does(noise):
    talk = doubting()
    assert talk.c.heard_words(noise, 6 * SECOND + TAIL, 1.2) == []
    assert kinds(talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)) == [StopHearing, Resume]


def test_doubtful_words_are_none():
    talk = doubting()
    assert talk.c.heard_words("Thank you for watching.", 6 * SECOND, 1.2, doubtful=True) == []
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(talk.c.heard_words("Thank you for watching.", 7 * SECOND, 1.5, doubtful=True))
    talk = doubting()
    talk.c.heard_words("Thank you for watching.", 6 * SECOND, 1.2, doubtful=True)
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(talk.c.wake(1.3 + DOUBT_WAIT_S))  # nor do they count when no others come


def test_a_backchannel_that_is_cut_waits_for_its_rest():
    talk = doubting()
    assert talk.c.heard_words("I", 6 * SECOND, 1.2) == [] and talk.c.state is State.DOUBT
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(talk.c.heard_words("I see", 7 * SECOND, 1.5))
    talk = doubting()
    talk.c.heard_words("I", 6 * SECOND, 1.2)
    assert Interrupted in kinds(talk.c.heard_words("I want", 7 * SECOND, 1.5))


def test_speech_that_starts_again_in_doubt_waits_for_the_words_of_that_too():
    talk = doubting()
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert talk.c.speech_started(7 * SECOND, 1.5) == []
    assert talk.c.heard_words("", 7 * SECOND, 1.6) == [] and talk.c.state is State.DOUBT
    assert Interrupted in kinds(talk.c.heard_words("what now", 8 * SECOND, 1.9))


def test_before_the_answer_is_heard_not_even_doubtful_words_are_a_noise():
    """Nothing sounds that a cough could interrupt, and whoever goes on speaking is not to be talked over."""
    talk = Talk()
    talk.user("and so my fellow americans")
    talk.c.turn_ended(False, 0.0)
    talk.answer("Hello there, it is noon.")
    talk.c.speech_started(5 * SECOND, 1.0)
    assert Interrupted in kinds(talk.c.heard_words("ask", 6 * SECOND, 1.4, doubtful=True))


@pytest.mark.parametrize("text", ["yeah", "mm-hmm", "hello there it is noon", "what now"])
def test_before_the_answer_is_heard_every_word_counts(text):
    talk = Talk()
    talk.user("tell me about dogs")
    talk.c.turn_ended(False, 0.0)
    talk.answer("Hello there, it is noon.")
    assert Hold in kinds(talk.c.speech_started(5 * SECOND, 1.0))
    out = talk.c.heard_words(text, 6 * SECOND, 1.4)
    assert kinds(out) == [Cancel, Interrupted] and out[1].heard == ""
    assert talk.c.dialogue.counts.merged_turns == 1 and talk.c.dialogue.counts.interruptions == 0
    talk.c.speech_stopped(6 * SECOND, 1.5, 1.5)
    out = talk.c.heard_words(text, 7 * SECOND, 1.7)
    assert of(out, Generate)[0].lines[-1] == Line("user", f"tell me about dogs {text}")


# --- our own echo -----------------------------------------------------------------------------------------


def test_where_an_echo_was_heard_the_sound_goes_on_while_somebody_is_heard():
    talk = Talk().in_bot("Hello there, it is noon.")
    assert Hold in kinds(talk.c.speech_started(3 * SECOND, 0.5))
    talk.c.speech_stopped(4 * SECOND, 0.7, 0.7)
    talk.c.heard_words("hello there it", 5 * SECOND, 0.8)
    assert kinds(talk.c.speech_started(6 * SECOND, 1.0)) == [StartHearing]
    talk.c.speech_stopped(7 * SECOND, 1.5, 1.5)
    assert kinds(talk.c.heard_words("it is noon", 8 * SECOND, 1.6)) == [StopHearing]  # there is nothing to resume
    assert talk.c.state is State.BOT and talk.c.dialogue.counts.false_interruptions == 1


def test_words_over_our_echo_are_judged_without_it():
    talk = doubting(echoed=True)
    (again,) = talk.c.heard_words("hello there it is", 7 * SECOND, 1.4)
    assert again == StartHearing(7 * SECOND - OVERLAP)
    assert talk.c.heard_words("", 7 * SECOND - OVERLAP, 1.5) == []  # too old
    out = talk.c.heard_words("noon but when", 8 * SECOND, 1.8)
    assert kinds(out) == [Cancel, Interrupted] and talk.c.state is State.USER and talk.c.dialogue.counts.interruptions == 1


@pytest.mark.parametrize("so_far", ["", "yeah", "I see"])
def test_what_is_no_echo_is_heard_to_its_end(so_far):
    """ "I see" may go on: "I see what you mean"."""
    talk = doubting(echoed=True)
    assert talk.c.heard_words(so_far, 6 * SECOND, 1.4) == [] and talk.c.state is State.DOUBT


def test_an_echo_whose_last_words_are_on_their_way_is_not_heard_again():
    """Nothing more will be said of that new stretch: the doubt would never end."""
    talk = doubting(echoed=True)
    talk.c.speech_stopped(7 * SECOND, 1.3, 1.4)
    assert talk.c.heard_words("hello there it", 7 * SECOND, 1.5) == []
    assert kinds(talk.c.heard_words("hello there it is", 8 * SECOND, 1.6)) == [StopHearing] and talk.c.state is State.BOT


def test_in_guard_a_sound_without_end_is_no_interruption():
    talk = doubting(echoed=True)
    assert talk.c.wake(talk.c.wake_at) == [] and talk.c.state is State.DOUBT and talk.c.wake_at is not None
    talk.c.speech_stopped(7 * SECOND, 9.0, 9.2)
    assert kinds(talk.c.wake(talk.c.wake_at)) == [StopHearing] and talk.c.state is State.BOT


@pytest.mark.parametrize(("text", "answered"), [("it is noon", False), ("and when is midnight", True)])
@pytest.mark.parametrize("stopped", [True, False])
def test_an_answer_that_ends_in_doubt_leaves_its_echo_or_the_next_turn(text, answered, stopped):
    talk = doubting(echoed=True)
    if stopped:
        talk.c.speech_stopped(7 * SECOND, 1.5, 1.6)
    talk.played()
    assert talk.c.state is (State.PAUSE if stopped else State.USER) and talk.c.dialogue.memory.lines[-1].text == "Hello there, it is noon."
    talk.c.speech_stopped(7 * SECOND, 1.5, 1.6)
    assert bool(of(talk.c.heard_words(text, 8 * SECOND, 1.8), Generate)) is answered
    out = talk.c.turn_ended(False, 2.0)
    assert bool(of(out, Commit)) is answered and of(out, UserSaid) == [UserSaid(2, text if answered else "")]


def test_the_end_of_our_answer_is_no_turn_of_the_caller():
    talk = doubting(echoed=True)
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    talk.c.heard_words("it is", 7 * SECOND, 1.4)
    talk.now = 3.0
    talk.played()
    talk.c.speech_started(9 * SECOND, 3.2)
    talk.c.speech_stopped(10 * SECOND, 3.8, 4.0)
    assert talk.c.heard_words("is noon", 11 * SECOND, 4.1) == []
    assert talk.c.turn_ended(False, 4.3) == [StopHearing(), UserSaid(2, "")] and talk.c.state is State.IDLE


def test_words_interrupt_and_memory_keeps_what_was_heard():
    talk = Talk().in_bot("It is noon, and the sun is high in the sky.", heard=0.5)
    old = talk.c.dialogue.reply.ticket
    talk.c.speech_started(5 * SECOND, 1.0)
    out = talk.c.heard_words("stop, what about tomorrow", 6 * SECOND, 1.4)
    assert of(out, Cancel)[0].ticket > old
    (interrupted,) = of(out, Interrupted)
    assert "It is noon, and the sun is high in the sky.".startswith(interrupted.heard) and interrupted.heard
    assert talk.c.dialogue.memory.lines[-1] == Line("assistant", interrupted.heard)
    assert talk.c.state is State.USER and talk.c.dialogue.counts.interruptions == 1
    talk.c.speech_stopped(7 * SECOND, 2.0, 2.0)
    out = talk.c.heard_words("stop, what about tomorrow", 8 * SECOND, 2.2)
    assert of(out, Generate)[0].lines[-1] == Line("user", "stop, what about tomorrow")


def test_the_clients_own_count_of_what_was_heard_wins():
    talk = Talk().in_bot("one two three four five six seven eight nine ten", heard=1.0)
    talk.c.heard_up_to(talk.c.dialogue.turn, 0.3)
    (interrupted,) = of(talk.c.interrupt(1.0), Interrupted)
    assert interrupted.heard.split() == ["one", "two", "three"][: len(interrupted.heard.split())] and interrupted.heard


def test_the_clients_count_has_the_filler_in_it():
    talk = Talk(filler="One moment.")
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    talk.answer("one two three four five six seven eight nine ten")
    talk.c.spoken(Spoken(talk.c.dialogue.reply.ticket, FILLER, 0.8, 0.8), 1.0)
    talk.played(heard=0.2, last=False)
    talk.c.heard_up_to(talk.c.dialogue.turn, 0.8)
    (interrupted,) = of(talk.c.interrupt(1.0), Interrupted)
    assert interrupted.heard == ""


def test_an_interruption_before_any_sound_joins_the_users_lines():
    talk = Talk()
    talk.user("tell me about dogs")
    talk.c.turn_ended(False, 0.0)
    talk.c.speech_started(5 * SECOND, 1.0)
    talk.c.speech_stopped(6 * SECOND, 1.5, 1.5)
    out = talk.c.heard_words("and about cats", 7 * SECOND, 1.7)
    assert of(out, Generate)[0].lines[-1] == Line("user", "tell me about dogs and about cats")


def test_doubt_ends_by_itself():
    talk = Talk().in_bot()
    talk.c.speech_started(5 * SECOND, 1.0)
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.2)
    out = talk.c.wake(1.2 + DOUBT_WAIT_S)
    assert Resume in kinds(out) and talk.c.state is State.BOT
    talk = doubting()
    talk.c.heard_words("mm-hmm", 6 * SECOND, 1.2)  # so far
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.3)
    assert Resume in kinds(talk.c.wake(1.3 + DOUBT_WAIT_S))
    talk = Talk().in_bot()
    talk.c.speech_started(8 * SECOND, 5.0)  # and if the speech does not stop, it is no cough
    assert Cancel in kinds(talk.c.wake(5.0 + DOUBT_WAIT_S)) and talk.c.state is State.USER


def test_a_typed_line_is_a_whole_turn_in_every_state():
    talk = Talk().in_bot()
    out = talk.c.typed("what else", 1.0)
    assert [kind for kind in kinds(out) if kind in (Cancel, Generate, Commit)] == [Cancel, Generate, Commit]
    assert of(out, Generate)[0].ticket.turn == of(out, Cancel)[0].ticket.turn
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    assert Commit in kinds(talk.c.typed("hello", 1.0)) and talk.c.state is State.BOT


def test_interrupting_by_hand_goes_to_idle():
    talk = Talk().in_bot()
    assert kinds(talk.c.interrupt(1.0)) == [Cancel, Interrupted, StopHearing]
    assert talk.c.state is State.IDLE
    assert Cancel not in kinds(talk.c.interrupt(2.0))


def test_a_failed_llm_is_excused_in_words_and_voice_and_not_remembered():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    out = talk.c.failed(Failed(talk.c.dialogue.reply.ticket, "llm", "out of memory"), 1.0)
    assert of(out, TurnFailed)[0].reason == "out of memory"
    (said,), (commit,) = of(out, Sentence), of(out, Commit)
    assert said.text == APOLOGY and said.ticket == commit.ticket > of(out, Cancel)[0].ticket or said.ticket == of(out, Cancel)[0].ticket
    talk.played()
    assert talk.c.state is State.IDLE and talk.c.dialogue.memory.lines == []  # asked again, the question must not stand there twice


def test_a_failed_guess_is_asked_again_at_the_commit():
    talk = Talk()
    guess = of(talk.user("hi you"), Generate)[0]
    assert talk.c.failed(Failed(guess.ticket, "llm", "x"), 0.0) == []
    out = talk.c.turn_ended(True, 1.0)
    assert of(out, Generate)[0].ticket > guess.ticket and Commit in kinds(out)


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
    assert talk.c.turn_ended(True, 1.5) == [HeardYou(1)] and talk.c.wake(1.0) == []
    assert TurnFailed in kinds(talk.c.wake(1.0 + WORDS_WAIT_S)) and talk.c.state is State.IDLE
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    assert talk.c.wake(REPLY_WAIT_S) == [Thinking(1)]
    assert TurnFailed in kinds(talk.c.wake(REPLY_WAIT_S)) and talk.c.state is State.BOT  # the apology
    assert TurnFailed in kinds(talk.c.wake(talk.c.wake_at)) and talk.c.state is State.IDLE


def test_late_and_foreign_messages_change_nothing():
    talk = Talk().in_bot()
    before = talk.c.dialogue.reply.ticket
    for stale in (Ticket("a", 0, 9), Ticket("a", 1, 0), Ticket("b", 1, 1)):
        assert talk.c.sentence(Sentence(stale, 0, "no", True), 0.0) == []
        assert talk.c.spoken(Spoken(stale, 0, 1.0, 1.0, True), 0.0) == []
        assert talk.c.failed(Failed(stale, "llm", "no"), 0.0) == []
    assert talk.c.dialogue.reply.ticket == before and talk.c.state is State.BOT


def test_push_to_talk_ends_turns_only_by_hand():
    talk = Talk()
    talk.c.automatic = False
    assert of(talk.user("hi you"), Generate) == []
    assert talk.c.turn_ended(True, 1.0) == []
    assert Commit in kinds(talk.c.turn_ended(True, 2.0, by_hand=True))


def test_captions_only_never_ask_for_an_answer():
    talk = Talk(replies=False)
    out = talk.user("hi you") + talk.c.turn_ended(True, 1.0)
    assert not of(out, (Generate, Prepare, Commit)) and of(out, UserSaid)[0].text == "hi you"
    assert talk.c.state is State.IDLE and talk.c.dialogue.turn == 2


def test_latency_counts_from_the_end_of_speech():
    talk = Talk()
    talk.c.speech_started(0, 9.0)
    talk.c.speech_stopped(SECOND, ended_at=10.0, now=10.2)
    talk.c.heard_words("hi you", 2 * SECOND, 10.4)
    talk.c.turn_ended(False, 10.5)
    talk.c.sentence(Sentence(talk.c.dialogue.reply.ticket, 0, "Hello.", True, first_token_s=0.25), 10.8)
    (latency,) = of(talk.c.spoken(Spoken(talk.c.dialogue.reply.ticket, 0, 0.0, 1.0), 11.0), Latency)
    assert latency == Latency(1, *map(pytest.approx, (0.2, 0.4, 0.5, 0.65, 0.8, 1.0)), True)
    assert of(talk.c.spoken(Spoken(talk.c.dialogue.reply.ticket, 0, 0.5, 1.0), 11.5), Latency) == []  # once a turn


# --- words that may have been an echo -----------------------------------------------------------------------


def put_off(text="Bye, sir"):
    """An answer whose sound was stopped by something short right after its beginning, and goes on."""
    talk = Talk()
    talk.user("how do bicycles stay upright")
    talk.c.turn_ended(True, talk.now)
    talk.answer("Bicycles stay upright by balance.", last=False)
    talk.now = 10.0
    talk.c.spoken(Spoken(talk.c.dialogue.reply.ticket, 0, 0.0, 3.0), talk.now)
    assert Hold in kinds(talk.c.speech_started(10 * SECOND, 10.4))
    talk.c.speech_stopped(int(10.4 * SECOND), 10.6, 10.8)
    talk.now = 11.0
    assert kinds(talk.c.heard_words(text, 11 * SECOND, talk.now)) == [StopHearing, Resume]
    return talk


def test_words_that_may_have_been_an_echo_count_if_nothing_comes_back_with_the_sound():
    talk = put_off()
    assert talk.c.wake(11.0 + ECHO_LAG_S - 0.01) == [] and talk.c.wake_at == 11.0 + ECHO_LAG_S
    out = talk.c.wake(11.0 + ECHO_LAG_S)
    assert kinds(out) == [Cancel, Interrupted, HeardYou, UserSaid, Generate, Commit] and of(out, UserSaid)[0].text == "Bye, sir"
    assert talk.c.state is State.BOT and talk.c.dialogue.counts.interruptions == 1


def test_they_are_forgotten_if_the_same_comes_back_with_the_sound():
    talk = put_off()
    assert Hold not in kinds(talk.c.speech_started(int(11.3 * SECOND), 11.4))
    talk.c.wake(12.0)
    talk.c.speech_stopped(13 * SECOND, 13.0, 13.2)
    assert kinds(talk.c.heard_words("bikes stay up right by ballads", 14 * SECOND, 13.3)) == [StopHearing]
    talk.played()
    assert kinds(talk.answer("", last=True)) == [BotSaid] and talk.c.dialogue.counts.interruptions == 0


def test_a_yeah_that_begins_with_the_sound_says_nothing_about_the_words_before_it():
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.speech_stopped(int(11.6 * SECOND), 11.6, 11.8)
    out = talk.c.heard_words("yeah", 12 * SECOND, 11.9)
    assert [said.text for said in of(out, UserSaid)] == ["my brother"] and Generate in kinds(out)


def test_they_are_told_first_if_what_comes_after_them_is_no_echo_either():
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.speech_stopped(13 * SECOND, 13.0, 13.2)
    out = talk.c.heard_words("has never learned it", 14 * SECOND, 13.3)
    assert [said.text for said in of(out, UserSaid)] == ["my brother"]
    assert of(out, Generate)[0].lines[-1].text.endswith("my brother has never learned it")


@pytest.mark.parametrize(("so_far", "told"), [("and then they", ["my brother"]), ("bicycles stay", [])])
def test_they_are_told_if_the_answer_ends_under_what_comes_after_them_unless_that_is_ours(so_far, told):
    talk = put_off("my brother")
    talk.c.speech_started(int(11.3 * SECOND), 11.4)
    talk.c.heard_words(so_far, 12 * SECOND, 12.0)
    talk.c.sentence(Sentence(talk.c.dialogue.reply.ticket, 1, "", True), 12.0)
    out = talk.c.spoken(Spoken(talk.c.dialogue.reply.ticket, 1, 3.0, 3.0, True), 12.1)
    assert [said.text for said in of(out, UserSaid)] == told and talk.c.state is State.USER


def test_they_are_a_turn_when_the_answer_ends_meanwhile():
    talk = put_off()
    talk.c.sentence(Sentence(talk.c.dialogue.reply.ticket, 1, "", True), 11.1)
    out = talk.c.spoken(Spoken(talk.c.dialogue.reply.ticket, 1, 3.0, 3.0, True), 11.2)
    assert of(out, UserSaid)[0].text == "Bye, sir" and Generate in kinds(out)


@pytest.mark.parametrize("other", ["typed", "interrupt"])
def test_whatever_ends_the_answer_ends_the_wait_for_them(other):
    talk = put_off()
    talk.c.typed("hello", 11.1) if other == "typed" else talk.c.interrupt(11.1)
    assert UserSaid not in kinds(talk.c.wake(11.0 + ECHO_LAG_S))


def test_who_says_stop_is_not_put_off():
    talk = Talk().in_bot("Hello there.")
    talk.c.dialogue.reply.sounded_at = 10.0
    talk.c.speech_started(10 * SECOND, 10.2)
    talk.c.speech_stopped(11 * SECOND, 10.5, 10.7)
    assert Interrupted in kinds(talk.c.heard_words("stop", 12 * SECOND, 10.8))
