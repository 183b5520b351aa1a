"""The table of states at the top of conversation.py, row by row, with literal times."""

from __future__ import annotations

import pytest

from fusion.core.conversation import APOLOGY, DOUBT_WAIT_S, GUESSES, REPLY_WAIT_S, WORDS_WAIT_S, Conversation, State
from fusion.core.turns import BotSaid, Interrupted, Latency, StartHearing, StopHearing, TurnFailed, UserSaid
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
        return self.c.sentence(Sentence(ticket or self.c.reply.ticket, 0, text, last), self.now)

    def played(self, heard=1.0, total=1.0, last=True):
        return self.c.spoken(Spoken(self.c.reply.ticket, 0, heard, total, last), self.now)

    def in_bot(self, text="Hello there.", heard=0.5):
        self.user("hi you")
        self.c.turn_ended(True, self.now)
        self.answer(text)
        self.played(heard, 1.0, last=False)
        assert self.c.state is State.BOT
        return self


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
    assert kinds(out) == [StopHearing, UserSaid, Commit, BotSaid]
    assert of(out, Commit)[0].ticket == guess.ticket and of(out, BotSaid)[0].text == "Noon."
    assert talk.c.state is State.BOT and talk.c.guesses_used == 1


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
    assert kinds(out) == [Cancel] and out[0].ticket > first.ticket
    assert talk.answer("Noon.", ticket=first.ticket) == []
    talk.c.speech_stopped(5 * SECOND, 1.5, 1.5)
    out = talk.c.heard_words("what time does the train leave", 6 * SECOND, 2.0)
    assert of(out, Generate)[0].ticket > first.ticket


def test_no_more_guesses_than_allowed_and_none_in_long_turns():
    talk = Talk()
    talk.user("one")
    for n in range(10):
        talk.c.speech_started((3 + 2 * n) * SECOND, 1.0)
        talk.c.speech_stopped((4 + 2 * n) * SECOND, 1.0, 1.0)
        talk.c.heard_words("one " + "more " * (n + 1), (5 + 2 * n) * SECOND, 1.0)
    assert talk.c.guesses == GUESSES
    talk = Talk()
    assert of(talk.user("a long speech", 1.0, 12.0), Generate) == []
    assert kinds(talk.c.turn_ended(True, 1.0)) == [StopHearing, UserSaid, Generate, Commit]


def test_unfinished_words_overrule_the_model_but_not_the_silence():
    talk = Talk()
    talk.user("what is the")
    assert of(talk.c.turn_ended(False, 1.0), Commit) == [] and talk.c.state is State.PAUSE
    assert of(talk.c.turn_ended(True, 2.0), Commit) != []


def test_a_turn_without_words_is_dropped():
    talk = Talk()
    talk.user("")
    out = talk.c.turn_ended(True, 1.0)
    assert kinds(out) == [StopHearing, UserSaid] and out[1].text == ""
    assert talk.c.state is State.IDLE and talk.c.wake_at is None and talk.c.memory.lines == []


def test_the_turn_waits_for_its_words():
    talk = Talk()
    talk.c.speech_started(0, 0.0)
    talk.c.speech_stopped(2 * SECOND, 2.0, 2.0)
    assert talk.c.turn_ended(True, 2.5) == [] and talk.c.closing
    assert Commit in kinds(talk.c.heard_words("hello there", 3 * SECOND, 3.0))


def test_a_played_reply_is_remembered():
    talk = Talk().in_bot()
    talk.played()
    assert talk.c.state is State.IDLE and talk.c.reply is None and talk.c.wake_at is None
    assert talk.c.memory.lines == [Line("user", "hi you"), Line("assistant", "Hello there.")]


def test_the_last_audio_may_be_reported_before_the_last_sentence():
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    talk.answer("Hello there.", last=False)
    talk.played(last=True)
    assert talk.c.state is State.BOT
    talk.c.sentence(Sentence(talk.c.reply.ticket, 1, "", last=True), 0.0)
    assert talk.c.state is State.IDLE


@pytest.mark.parametrize("noise", ["", "mm-hmm", "Yeah.", "hello there it is"])
def test_a_cough_a_backchannel_or_an_echo_resumes(noise):
    talk = Talk().in_bot("Hello there, it is noon.")
    ticket = talk.c.reply.ticket
    out = talk.c.speech_started(5 * SECOND, 1.0)
    assert kinds(out) == [StartHearing, Hold] and out[1].ticket == ticket
    talk.c.speech_stopped(6 * SECOND, 1.2, 1.2)
    out = talk.c.heard_words(noise, 7 * SECOND, 1.4)
    assert kinds(out) == [StopHearing, Resume] and out[1].ticket == ticket
    assert talk.c.state is State.BOT


def test_words_interrupt_and_memory_keeps_what_was_heard():
    talk = Talk().in_bot("It is noon, and the sun is high in the sky.", heard=0.5)
    old = talk.c.reply.ticket
    talk.c.speech_started(5 * SECOND, 1.0)
    out = talk.c.heard_words("stop, what about tomorrow", 6 * SECOND, 1.4)
    assert of(out, Cancel)[0].ticket > old
    (interrupted,) = of(out, Interrupted)
    assert "It is noon, and the sun is high in the sky.".startswith(interrupted.heard) and interrupted.heard
    assert talk.c.memory.lines[-1] == Line("assistant", interrupted.heard)
    assert talk.c.state is State.USER
    talk.c.speech_stopped(7 * SECOND, 2.0, 2.0)
    out = talk.c.heard_words("stop, what about tomorrow", 8 * SECOND, 2.2)
    assert of(out, Generate)[0].lines[-1] == Line("user", "stop, what about tomorrow")


def test_the_clients_own_count_of_what_was_heard_wins():
    talk = Talk().in_bot("one two three four five six seven eight nine ten", heard=1.0)
    talk.c.heard_up_to(talk.c.turn, 0.3)
    (interrupted,) = of(talk.c.interrupt(1.0), Interrupted)
    assert interrupted.heard.split() == ["one", "two", "three"][: len(interrupted.heard.split())] and interrupted.heard


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
    out = talk.c.failed(Failed(talk.c.reply.ticket, "llm", "out of memory"), 1.0)
    assert of(out, TurnFailed)[0].reason == "out of memory"
    (said,), (commit,) = of(out, Sentence), of(out, Commit)
    assert said.text == APOLOGY and said.ticket == commit.ticket > of(out, Cancel)[0].ticket or said.ticket == of(out, Cancel)[0].ticket
    talk.played()
    assert talk.c.state is State.IDLE and talk.c.memory.lines == []  # asked again, the question must not stand there twice


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
    talk.c.turn_ended(True, 1.5)
    assert talk.c.wake(1.0) == []
    assert TurnFailed in kinds(talk.c.wake(1.0 + WORDS_WAIT_S)) and talk.c.state is State.IDLE
    talk = Talk()
    talk.user("hi you")
    talk.c.turn_ended(True, 0.0)
    assert TurnFailed in kinds(talk.c.wake(REPLY_WAIT_S)) and talk.c.state is State.BOT  # the apology
    assert TurnFailed in kinds(talk.c.wake(talk.c.wake_at)) and talk.c.state is State.IDLE


def test_late_and_foreign_messages_change_nothing():
    talk = Talk().in_bot()
    before = talk.c.reply.ticket
    for stale in (Ticket("a", 0, 9), Ticket("a", 1, 0), Ticket("b", 1, 1)):
        assert talk.c.sentence(Sentence(stale, 0, "no", True), 0.0) == []
        assert talk.c.spoken(Spoken(stale, 0, 1.0, 1.0, True), 0.0) == []
        assert talk.c.failed(Failed(stale, "llm", "no"), 0.0) == []
    assert talk.c.reply.ticket == before and talk.c.state is State.BOT


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
    assert talk.c.state is State.IDLE and talk.c.turn == 2


def test_latency_counts_from_the_end_of_speech():
    talk = Talk()
    talk.c.speech_started(0, 9.0)
    talk.c.speech_stopped(SECOND, ended_at=10.0, now=10.2)
    talk.c.heard_words("hi you", 2 * SECOND, 10.4)
    talk.c.turn_ended(False, 10.5)
    talk.c.sentence(Sentence(talk.c.reply.ticket, 0, "Hello.", True, first_token_s=0.25), 10.8)
    (latency,) = of(talk.c.spoken(Spoken(talk.c.reply.ticket, 0, 0.0, 1.0), 11.0), Latency)
    assert latency == Latency(1, pytest.approx(0.4), pytest.approx(0.65), pytest.approx(1.0), True)
