"""The detector's view and the turns as one: when words and scores are asked for, and what they
change, window by window.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, to_samples
from whisperfusion.messages import (
    Cancel,
    Commit,
    Failed,
    Generate,
    Pause,
    PlaybackProgress,
    Prefill,
    Resume,
    Sentence,
)
from whisperfusion.text.end_of_turn import Ending
from whisperfusion.turns import events
from whisperfusion.turns.commands import (
    ReplyInterrupted,
    RequestTranscript,
    RequestTurnDetection,
    StartTranscribing,
    StopTranscribing,
    TurnAccepted,
    UserTurnFinal,
)
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import TAIL, SpeechStarted, SpeechStopped
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import State
from whisperfusion.turns.transcript_requests import EARLY
from whisperfusion.turns.turn_detection import MOST_S, SILENCE_S, by_heads, combined

QUESTION, PLAIN, OPEN = "what time is it", "I like green tea", "what is the"
WINDOW_S = VAD_WINDOW / MICROPHONE_RATE


class Call:
    """A conversation and the audio that it receives; every command is kept with the position at
    which it came.
    """

    def __init__(self, *, replies=True, scored=True, max_silence_s=MOST_S):
        self.c = Conversation(
            "a",
            Options("Be nice.", replies=replies, turn_detector=scored, max_silence_s=max_silence_s),
        )
        self.log = []

    @property
    def now(self):
        return self.c.position / MICROPHONE_RATE

    def event(self, event, now=None):
        commands = self.c.receive(event, self.now if now is None else now)
        self.log += [(self.c.position, command) for command in commands]
        return commands

    def change(self, **options):
        self.event(events.OptionsChanged(replace(self.c.options, **options)))

    def sound(self, seconds, probability=0.9):
        return [
            c
            for _ in range(round(seconds / WINDOW_S))
            for c in self.event(events.SpeechProbability(probability), self.now + WINDOW_S)
        ]

    def silence(self, seconds):
        return self.sound(seconds, 0.1)

    def words(self, text, upto=None, noise=False, end_of_turn=None):
        upto = self.c.position if upto is None else upto
        return self.event(events.InterimTranscript(text, upto, noise, end_of_turn))

    def score(self, probability, stopped_at=None, by_states=None):
        stopped_at = self.c.paused_at if stopped_at is None else stopped_at
        return self.event(events.EndOfTurnProbability(probability, stopped_at, by_states))

    def said(self, text, silence_s=0.256):
        """One second of speech, the words of it, and so much silence."""
        self.sound(1.024)
        self.silence(0.16)
        self.words(text)
        self.silence(silence_s - 0.16)
        return self

    def answering(self, text="Hello there, it is noon."):
        self.said(PLAIN)
        self.event(events.CommitTurn())
        self.event(Sentence(self.c.reply_ticket, 0, text, True))
        self.event(PlaybackProgress(self.c.reply_ticket, 0, 0.5, 3.0))
        assert self.c.state is State.REPLYING
        self.silence(1.024)  # of the user
        self.log.clear()
        return self

    def of(self, kind):
        return [(at, command) for at, command in self.log if isinstance(command, kind)]

    def silence_until(self, kind):
        """Seconds from the beginning of this pause until a command of `kind` came or comes."""
        while not self.of(kind):
            self.silence(WINDOW_S)
            assert self.now < 60
        return (self.of(kind)[0][0] - self.of(SpeechStopped)[-1][1].at) / MICROPHONE_RATE


def about(seconds):
    return pytest.approx(seconds, abs=WINDOW_S)


# --- asking for words ---------------------------------------------------------------------------


def test_words_are_asked_for_regularly_while_somebody_speaks():
    call = Call()
    assert call.silence(1.0) == []
    call.sound(2.0)
    asked = [at for at, ask in call.of(RequestTranscript) if ask == RequestTranscript(urgent=False)]
    assert len(asked) >= 5 and asked == [at for at, _ in call.of(RequestTranscript)]
    assert {later - at for at, later in itertools.pairwise(asked)} == {
        -(-to_samples(Options().interim_every_s) // VAD_WINDOW) * VAD_WINDOW
    }


def test_a_ration_makes_partial_words_rarer():
    call = Call()
    call.change(interim_every_s=1.0)
    call.sound(3.2)
    assert len(call.of(RequestTranscript)) == 3


def test_words_are_asked_for_at_once_and_once_when_the_sound_stops():
    call = Call()
    call.sound(1.024)
    ended = call.c.position
    call.silence(2.0)
    urgent = [at for at, ask in call.of(RequestTranscript) if ask.urgent]
    assert urgent == [ended + EARLY] and EARLY >= TAIL  # else they would not count as known
    assert call.of(RequestTranscript)[-1][1].urgent  # nothing more in the silence


def test_when_the_sound_stops_what_is_known_of_it_is_preempted():
    call = Call()
    call.sound(1.024)
    call.words(PLAIN)
    assert not call.of(Generate)
    call.silence(EARLY / MICROPHONE_RATE)
    assert [early.history[-1].text for _, early in call.of(Generate)] == [PLAIN] and not call.of(
        SpeechStopped
    )


@pytest.mark.parametrize(("silence_s", "read"), [(0.0, [Prefill]), (0.032, [])])
def test_nothing_is_read_in_advance_once_the_sound_may_have_stopped(silence_s, read):
    call = Call()
    call.sound(1.024)
    call.silence(silence_s)
    assert [type(c) for c in call.words(OPEN)] == read


def test_each_dip_in_the_speech_is_heard_early():
    call = Call()
    for _ in range(3):
        call.sound(0.512)
        call.silence(0.096)
    assert [ask.urgent for _, ask in call.of(RequestTranscript)].count(True) == 3 and not call.of(
        SpeechStopped
    )


def test_speech_that_is_cut_by_hand_is_read_to_its_end():
    call = Call()
    call.sound(1.024)
    out = call.event(events.CommitTurn())
    assert [type(c) for c in out] == [SpeechStopped, RequestTranscript, TurnAccepted] and out[
        1
    ].urgent
    assert Commit in map(type, call.words("hi you"))


def test_a_sound_that_is_committed_the_moment_it_is_noticed_is_read():
    """0.1 s of sound: no request for words was due before, and without one the turn waited for
    20 s in vain.
    """
    call = Call()
    call.change(automatic_turns=False)
    call.sound(0.096)
    assert call.c.state is State.USER_SPEAKING
    commands = call.event(events.CommitTurn())
    assert RequestTranscript(urgent=True) in commands and not call.c.user_turn_open


def test_nobody_asks_for_words_that_nobody_hears():
    call = Call().answering()
    call.event(events.TextTyped("hi you"))
    call.event(events.InterruptReply())
    call.log.clear()
    call.silence(3.0)
    assert not call.of(RequestTranscript) and not call.of(RequestTurnDetection)


def test_a_stretch_that_begins_inside_a_dip_is_read_when_it_ends():
    """Our echo is left behind and heard anew from its middle on, just while the sound stops."""
    call = Call().answering()
    # so far that it has said "it"
    call.event(PlaybackProgress(call.c.reply_ticket, 0, 1.5, 3.0))
    call.sound(0.512)
    call.silence(0.256)
    # an echo: from now on the sound goes on
    assert Resume in map(type, call.words("hello there it"))
    call.silence(0.512)
    call.log.clear()
    call.sound(0.512)
    call.silence(0.128)
    assert [type(c) for c in call.words("it is noon", call.c.position - EARLY)] == [
        StartTranscribing
    ]
    asked = [c for c in call.silence(0.096) if isinstance(c, RequestTranscript)]
    assert asked == [RequestTranscript(urgent=True)] and call.c.state is State.OVERLAP
    call.words("")
    assert call.c.state is State.REPLYING


# --- how much silence ends the turn -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "score", "silence_s"),
    [
        (QUESTION, 0.98, SILENCE_S[Ending.QUESTION][0]),
        (QUESTION, 0.05, SILENCE_S[Ending.QUESTION][3]),
        (PLAIN, 0.98, SILENCE_S[Ending.PLAIN][0]),
        (PLAIN, 0.05, SILENCE_S[Ending.PLAIN][3]),
        (OPEN, 0.98, SILENCE_S[Ending.OPEN][0]),
        (OPEN, 0.05, SILENCE_S[Ending.OPEN][3]),
    ],
)
@pytest.mark.parametrize("order", ["words first", "score first"])
def test_words_and_score_end_the_turn_in_any_order(text, score, silence_s, order):
    call = Call()
    call.sound(1.024)
    call.silence(0.16)
    if order == "words first":
        call.words(text)
    call.silence(0.064)
    assert [c.stopped_at for _, c in call.of(RequestTurnDetection)] == [call.c.paused_at]
    call.score(score)
    if order == "score first":
        call.words(text)
    assert call.silence_until(Commit) == about(max(silence_s, 0.224))


def test_without_a_model_the_words_and_the_silence_decide():
    call = Call(scored=False).said(PLAIN)
    assert call.silence_until(Commit) == about(SILENCE_S[Ending.PLAIN][2]) and not call.of(
        RequestTurnDetection
    )


def test_a_score_that_comes_late_ends_the_turn_at_once():
    call = Call().said(PLAIN, silence_s=0.544)
    assert not call.of(Commit)
    assert Commit in map(type, call.score(0.98))


def test_a_score_of_an_earlier_pause_changes_nothing():
    call = Call().said(PLAIN)
    earlier = call.c.paused_at
    call.sound(0.512)
    assert call.score(0.98, earlier) == []
    call.silence(0.256)
    assert call.c.deciding and call.score(0.98, earlier) == []
    call.words(OPEN)
    assert call.c.deciding  # the score of this pause is still on its way
    call.score(0.05)
    assert not call.c.deciding
    assert call.silence_until(Commit) == about(SILENCE_S[Ending.OPEN][3])


def test_a_score_of_an_earlier_pause_never_counts_for_this_one():
    call = Call().said("I was at the", silence_s=0.512)
    earlier = call.c.paused_at
    call.sound(0.512)
    call.silence(0.256)
    call.score(0.98, earlier)
    call.words("I was at the big old station")
    assert call.silence_until(Commit) == about(1.4 * SILENCE_S[Ending.PLAIN][2])


def test_a_turn_that_is_likely_over_waits_for_its_words_and_may_turn_out_not_to_be():
    call = Call()
    call.sound(1.024)
    call.silence(0.256)
    call.score(0.98)
    assert call.silence_until(TurnAccepted) == about(SILENCE_S[Ending.PLAIN][2]) and not call.of(
        UserTurnFinal
    )
    call.words(OPEN)
    assert not call.of(Commit)
    assert call.silence_until(Commit) == about(SILENCE_S[Ending.OPEN][0])
    assert len(call.of(TurnAccepted)) == 1


def test_words_that_come_after_a_likely_end_end_the_turn():
    call = Call()
    call.sound(1.024)
    call.silence(0.992)
    call.score(0.98)
    assert [type(c) for c in call.words(QUESTION)] == [
        Generate,
        StopTranscribing,
        UserTurnFinal,
        Commit,
    ]
    assert len(call.of(TurnAccepted)) == 1


@pytest.mark.parametrize(("pause_s", "stretched"), [(0.512, 1.4), (0.224, 1.0)])
def test_who_went_on_before_is_given_longer_pauses_but_a_breath_is_no_pause(pause_s, stretched):
    call = Call(scored=False)
    call.said("I was at the station", silence_s=pause_s)
    call.sound(0.512)
    call.silence(0.16)
    call.words("I was at the station and there it stood")
    assert call.silence_until(Commit) == about(stretched * SILENCE_S[Ending.PLAIN][2])


def test_the_slider_holds_from_the_next_verdict():
    call = Call(scored=False)
    call.change(eagerness=0.0)
    call.said(PLAIN)
    assert call.silence_until(Commit) == about(2 * SILENCE_S[Ending.PLAIN][2])


def test_the_encoder_of_the_recognizer_ends_a_turn_early_or_keeps_it_open():
    for end_of_turn in (0.3, 0.5, 0.8):
        call = Call()
        call.sound(1.024)
        call.silence(0.16)
        call.words(PLAIN, end_of_turn=end_of_turn)
        call.silence(0.096)
        call.score(0.3)
        assert call.silence_until(Commit) == about(by_heads(end_of_turn, 0.5))


def test_the_same_words_are_looked_at_again_when_the_encoder_says_something_else():
    call = Call()
    call.sound(1.024)
    call.silence(0.16)
    call.words(PLAIN, end_of_turn=0.01)
    call.silence(0.096)
    call.score(0.3)
    call.words(PLAIN, end_of_turn=0.6)
    assert call.silence_until(Commit) == about(by_heads(0.6, 0.5))


def test_what_the_encoder_said_of_an_overlap_counts_for_the_turn_it_becomes():
    call = Call().answering()
    call.sound(1.024)
    call.silence(0.16)
    call.words("I want something else", end_of_turn=0.3)
    call.silence(0.512)
    call.score(0.3)
    assert call.silence_until(Commit) == about(by_heads(0.3, 0.5))


def test_what_the_encoder_said_of_an_earlier_pause_never_counts_for_this_one():
    call = Call()
    call.sound(1.024)
    call.silence(0.16)
    call.words("I was at the", end_of_turn=0.001)
    call.silence(0.5)
    call.sound(1.024)
    call.silence(0.16)
    call.words("I was at the station")
    call.score(0.9)
    assert call.silence_until(Commit) == about(1.4 * SILENCE_S[Ending.PLAIN][1])


@pytest.mark.parametrize("by_encoder", [None, 0.6])
@pytest.mark.parametrize("by_states", [0.4, 0.6])
def test_the_head_on_the_turn_models_states_has_its_part(by_encoder, by_states):
    call = Call()
    call.sound(1.024)
    call.silence(0.16)
    call.words(PLAIN, end_of_turn=by_encoder)
    call.silence(0.096)
    call.score(0.3, by_states=by_states)
    expected = by_heads(combined(by_encoder, by_states), 0.5)
    assert call.silence_until(Commit) == about(expected)


def test_what_the_turn_models_head_said_of_an_earlier_pause_never_counts_for_this_one():
    call = Call()
    call.sound(1.024)
    call.silence(0.16)
    call.words("I was at the")
    call.silence(0.5)
    call.score(0.3, by_states=0.001)
    call.sound(1.024)
    call.silence(0.16)
    call.words("I was at the station", end_of_turn=0.6)
    call.silence(0.4)
    assert call.silence_until(Commit) == about(by_heads(0.6, 0.5))


def test_the_longest_silence_ends_a_turn_that_nothing_else_ends():
    call = Call(max_silence_s=1.0).said(OPEN)
    assert call.silence_until(Commit) == about(1.0)


def test_a_pause_without_words_drops_the_turn():
    call = Call().said("")
    call.score(0.98)
    assert call.silence_until(UserTurnFinal) == about(SILENCE_S[Ending.PLAIN][0])
    assert call.c.state is State.IDLE and call.c.paused_at is None and not call.of(Commit)


def test_one_verdict_is_given_once():
    """Judging is asked after every event; that it ends at all is the point."""
    call = Call(scored=False).said(PLAIN, silence_s=1.024)
    assert len(call.of(Commit)) == 1
    call.silence(3.0)
    call.event(events.Wake())
    assert len(call.of(UserTurnFinal)) == 1 and len(call.of(Commit)) == 1


# --- what else decides, or must not -------------------------------------------------------------


@pytest.mark.parametrize("manual", [True, False])
def test_by_hand_or_captions_only_no_model_is_asked_and_no_verdict_given(manual):
    call = Call(replies=manual)
    call.change(automatic_turns=not manual)
    call.said(QUESTION)
    call.silence(1.5)
    assert (
        not call.of(RequestTurnDetection) and not call.of(UserTurnFinal) and not call.of(Generate)
    )
    call.silence(2.0)
    assert bool(call.of(UserTurnFinal)) is not manual  # captions end by silence, push to talk never
    call.event(events.CommitTurn())
    assert len(call.of(UserTurnFinal)) == 1 and bool(call.of(Commit)) is manual


def test_push_to_talk_joins_what_was_said_in_several_breaths():
    call = Call()
    call.change(automatic_turns=False)
    call.said("alpha", silence_s=4.0)
    call.said("alpha beta", silence_s=0.512)
    call.event(events.CommitTurn())
    assert [c.text for _, c in call.of(UserTurnFinal)] == ["alpha beta"]


def test_deciding_lasts_while_words_or_score_are_on_their_way():
    call = Call()
    assert not call.c.deciding
    call.sound(1.024)
    assert not call.c.deciding
    call.silence(0.256)
    assert call.c.deciding
    call.words(PLAIN)
    assert call.c.deciding
    call.score(0.05)
    assert not call.c.deciding


def test_speech_events_come_before_what_is_made_of_them():
    call = Call()
    assert [type(c) for c in call.sound(0.096)] == [SpeechStarted, StartTranscribing, Prefill]
    call.sound(0.512)
    stops = call.silence(0.16)
    assert [type(c) for c in stops] == [RequestTranscript, SpeechStopped]
    assert call.c.speech_ended_at == pytest.approx(call.now - 0.16)


def test_words_over_an_answer_take_the_turn_and_their_pause_is_judged():
    call = Call().answering()
    assert Pause in map(type, call.sound(0.512))
    assert ReplyInterrupted in map(type, call.words("what is tomorrow"))
    call.sound(0.512)
    call.silence(0.256)
    call.score(0.98)
    call.words("what time is it tomorrow")
    assert call.silence_until(Commit) == about(0.256)
    assert [c.text for _, c in call.of(UserTurnFinal)] == ["what time is it tomorrow"]


def test_a_cough_over_an_answer_leaves_no_pause_behind():
    call = Call().answering()
    call.sound(0.256)
    call.silence(0.192)
    assert Resume in map(type, call.words(""))
    assert call.c.paused_at is None and not call.silence(3.0)


def test_the_other_processes_and_the_clock_reach_the_conversation():
    call = Call().answering()
    ticket = call.c.reply_ticket
    assert call.event(events.PlaybackPosition(ticket.turn, 0.0)) == []
    (cut,) = [
        one for one in call.event(events.InterruptReply()) if isinstance(one, ReplyInterrupted)
    ]
    assert cut.played_text == ""  # by the client's own count
    call.answering()
    out = call.event(Failed(call.c.reply_ticket, "tts", "broken"))
    assert Cancel in map(type, out) and call.c.state is State.IDLE
    call.answering()
    assert Cancel in map(type, call.event(events.StageDown("tts")))
    call.said(PLAIN)
    call.event(events.CommitTurn())
    assert call.c.wake_at is not None and call.event(events.Wake(), call.c.wake_at) != []
