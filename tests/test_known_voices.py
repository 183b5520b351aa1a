"""A call that listens to its known speakers only: whose turns are answered, and who interrupts."""

from __future__ import annotations

import pytest
from test_turn_taking import SECOND, Talk, kinds, of

from whisperfusion.messages import Cancel, Commit, Generate, Pause, Resume
from whisperfusion.turns import events
from whisperfusion.turns.barge_in import OVERLAP_WAIT_S
from whisperfusion.turns.commands import (
    ReplyInterrupted,
    SpeechIgnored,
    StopTranscribing,
    UserTurnFinal,
)
from whisperfusion.turns.known_voices import SPEAKER_WAIT_S
from whisperfusion.turns.states import State

KNOWN, OTHER, SHORT = True, False, None


class Voices(Talk):
    def __init__(self, **options):
        super().__init__(known_speakers_only=True, **options)

    def voice(self, known, upto_s=9.0):
        event = events.SpeakerIdentified(self.c.call.user.began, round(upto_s * SECOND), known)
        return self.c.receive(event, self.now)

    def turn(self, text, known, start_s=1.0):
        """A whole turn in silence, whose voice is told in its pause."""
        out = self.user(text, start_s, start_s + 1)
        out += self.voice(known, start_s + 2)
        return out + self.c.turn_ended(True, self.now)

    def replying(self):
        self.turn("hi you", KNOWN)
        self.answer("Hello there, it is noon now.")
        self.played(0.5, 4.0, last=False)
        assert self.c.state is State.REPLYING
        return self

    def over(self, text, known, start_s=5.0):
        """Speech over the reply, with its words, which stops before its voice is told."""
        self.now = 5.0
        out = self.user(text, start_s, start_s + 1)
        return out + self.voice(known, start_s + 2)


def test_only_turns_of_known_speakers_are_answered():
    talk = Voices()
    out = talk.turn("turn it up", OTHER)
    assert of(out, SpeechIgnored) == [SpeechIgnored("turn it up")]
    assert not of(out, UserTurnFinal) and not of(out, Commit) and talk.c.history == []
    assert talk.c.state is State.IDLE and talk.c.reply is None
    out = talk.turn("what time is it", KNOWN, 5.0)
    assert of(out, UserTurnFinal)[0].turn == 1 and Commit in kinds(out)
    assert [one.text for one in of(out, Generate)[0].history[1:]] == ["what time is it"]


def test_nothing_is_prepared_for_another_voice():
    talk = Voices()
    assert Generate in kinds(talk.user("what time is it"))
    assert kinds(talk.voice(OTHER)) == [Cancel]
    talk.c.speech_started(4 * SECOND, 4.0)
    talk.c.speech_stopped(5 * SECOND, 5.0, 5.0)
    assert Generate not in kinds(talk.c.transcript("what time is it in Rome", 6 * SECOND, 5.1))


def test_a_turn_waits_for_its_voice_but_not_for_long():
    talk = Voices()
    talk.user("what time is it")
    assert Commit not in kinds(talk.c.turn_ended(True, 1.0))
    assert talk.c.state is State.AWAITING_TRANSCRIPT
    assert Commit in kinds(talk.voice(KNOWN))
    talk = Voices()
    talk.user("what time is it")
    talk.c.turn_ended(True, 1.0)
    assert talk.c.wake_at == 1.0 + SPEAKER_WAIT_S
    out = talk.c.wake(talk.c.wake_at)
    assert of(out, SpeechIgnored) and talk.c.state is State.IDLE  # no voice was told yet


@pytest.mark.parametrize(("before", "answered"), [(KNOWN, True), (OTHER, False), (None, False)])
def test_what_is_too_short_counts_as_the_voice_that_was_told_last(before, answered):
    talk = Voices()
    if before is not None:
        talk.turn("what time is it", before)
        talk.c.interrupt(3.0)
    out = talk.turn("yes", SHORT, 5.0)
    assert bool(of(out, Commit)) is answered and bool(of(out, SpeechIgnored)) is not answered
    out = talk.turn("yes", SHORT, 9.0)  # and that told nothing
    assert bool(of(out, SpeechIgnored)) is not answered


def test_another_voice_does_not_interrupt():
    talk = Voices().replying()
    out = talk.over("and now the weather for tomorrow", OTHER)
    assert kinds(out[-2:]) == [StopTranscribing, SpeechIgnored]
    assert not of(out, Pause) and not of(out, ReplyInterrupted)
    assert talk.c.state is State.REPLYING and talk.c.reply.committed
    assert [one.text for one in talk.c.history] == ["hi you"]


def test_a_known_voice_interrupts_as_soon_as_it_is_told():
    talk = Voices().replying()
    talk.now = 5.0
    talk.c.speech_started(5 * SECOND, 5.0)
    assert not talk.c.transcript("what about", 6 * SECOND, 5.9)  # whose voice is that?
    out = talk.voice(KNOWN, 6.0)
    assert ReplyInterrupted in kinds(out) and talk.c.state is State.USER_SPEAKING
    talk.c.speech_stopped(7 * SECOND, 6.5, 6.6)
    talk.c.transcript("what about tomorrow", 8 * SECOND, 6.7)
    assert Commit in kinds(talk.c.turn_ended(True, 7.0))


def test_a_known_voice_may_join_in():
    talk = Voices().replying()
    talk.now = 5.0
    talk.c.speech_started(5 * SECOND, 5.0)
    talk.c.transcript("and now the weather", 6 * SECOND, 5.9)
    assert talk.voice(OTHER, 6.0) == []
    assert talk.c.wake(5.0 + OVERLAP_WAIT_S) == [] and talk.c.wake_at == 5.0 + 2 * OVERLAP_WAIT_S
    assert ReplyInterrupted in kinds(talk.voice(KNOWN, 8.0))


def test_short_words_over_a_reply_count_as_the_voice_that_was_told_last():
    out = Voices().replying().over("stop please", SHORT)
    assert ReplyInterrupted in kinds(out)
    talk = Voices().replying()
    talk.over("and now the weather for tomorrow", OTHER)
    out = talk.over("stop please", SHORT, 8.0)
    assert of(out, SpeechIgnored) and talk.c.state is State.REPLYING


def test_before_its_first_sound_a_reply_waits_for_the_voice():
    talk = Voices()
    talk.turn("hi you", KNOWN)
    talk.answer("Hello there, it is noon now.")
    talk.now = 5.0
    assert Pause in kinds(talk.c.speech_started(5 * SECOND, 5.0))
    talk.c.transcript("and now the weather", 6 * SECOND, 5.9)
    assert kinds(talk.voice(OTHER, 6.0)) == [Resume]
    talk.c.speech_stopped(7 * SECOND, 6.5, 6.6)
    out = talk.c.transcript("and now the weather for tomorrow", 8 * SECOND, 6.7)
    out += talk.voice(OTHER, 8.0)
    assert of(out, SpeechIgnored) and not of(out, Resume) and talk.c.state is State.REPLYING


def test_a_reply_that_was_asked_for_comes_after_another_voice():
    talk = Voices(automatic_replies=False)
    talk.user("what time is it")
    talk.c.turn_ended(True, 1.0, by_hand=True)
    talk.c.create_reply(1.1)
    out = talk.voice(OTHER)
    assert of(out, SpeechIgnored) and Commit in kinds(out) and talk.c.history == []


def test_what_is_told_of_an_older_utterance_changes_nothing():
    talk = Voices()
    talk.c.speech_started(5 * SECOND, 5.0)
    late = events.SpeakerIdentified(SECOND, 9 * SECOND, KNOWN)
    assert talk.c.receive(late, 5.1) == [] and talk.c.call.user.known_speaker is None
    plain = Talk()
    plain.user("what time is it")
    plain.c.receive(events.SpeakerIdentified(SECOND, 9 * SECOND, OTHER), 2.0)
    assert Commit in kinds(plain.c.turn_ended(True, 2.1))  # in other calls voices do not matter
