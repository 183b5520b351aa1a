"""The detector's view and the turns as one: when words and scores are asked for, and what they change, window by window."""

from __future__ import annotations

import pytest

from fusion.core.conversation import Conversation, State
from fusion.core.endpoint import RATE, TAIL, WINDOW, Endpoint, SpeechStarted, SpeechStopped, samples
from fusion.core.floor import EARLY, PARTIAL_S, Floor
from fusion.core.patience import MOST_S, SILENCE_S
from fusion.core.turns import AskScore, AskWords, HeardYou, Interrupted, StartHearing, StopHearing, UserSaid
from fusion.core.witness import Ending
from fusion.messages import Cancel, Commit, Failed, Generate, Hold, Prepare, Resume, Sentence, Spoken

QUESTION, PLAIN, OPEN = "what time is it", "I like green tea", "what is the"
WINDOW_S = WINDOW / RATE


class Call:
    """A floor and the audio that it hears; every command is kept with the position at which it came."""

    def __init__(self, *, replies=True, scored=True, patience_s=MOST_S):
        self.c = Conversation("a", "Be nice.", replies=replies)
        self.f = Floor(self.c, Endpoint(patience_s), scored=scored)
        self.log = []

    @property
    def now(self):
        return self.f.position / RATE

    def note(self, commands):
        self.log += [(self.f.position, command) for command in commands]
        return commands

    def sound(self, seconds, probability=0.9):
        return [c for _ in range(round(seconds / WINDOW_S)) for c in self.note(self.f.window(probability, self.now + WINDOW_S))]

    def silence(self, seconds):
        return self.sound(seconds, 0.1)

    def words(self, text, upto=None, doubtful=False):
        return self.note(self.f.words(text, self.f.position if upto is None else upto, self.now, doubtful))

    def score(self, probability, stopped_at=None):
        return self.note(self.f.score(probability, self.f.endpoint.stopped_at if stopped_at is None else stopped_at, self.now))

    def said(self, text, silence_s=0.256):
        """One second of speech, the words of it, and so much silence."""
        self.sound(1.024)
        self.silence(0.16)
        self.words(text)
        self.silence(silence_s - 0.16)
        return self

    def answering(self, text="Hello there, it is noon."):
        self.said(PLAIN)
        self.note(self.f.commit(self.now))
        self.note(self.f.message(Sentence(self.c.dialogue.reply.ticket, 0, text, True), self.now))
        self.note(self.f.message(Spoken(self.c.dialogue.reply.ticket, 0, 0.5, 3.0), self.now))
        assert self.c.state is State.BOT
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
        return (self.of(kind)[0][0] - self.of(SpeechStopped)[-1][1].at) / RATE


def about(seconds):
    return pytest.approx(seconds, abs=WINDOW_S)


# --- asking for words -------------------------------------------------------------------------------------


def test_words_are_asked_for_regularly_while_somebody_speaks():
    call = Call()
    assert call.silence(1.0) == []
    call.sound(2.0)
    asked = [at for at, ask in call.of(AskWords) if ask == AskWords(urgent=False)]
    assert len(asked) >= 5 and asked == [at for at, _ in call.of(AskWords)]
    assert {later - at for at, later in zip(asked, asked[1:], strict=False)} == {-(-samples(PARTIAL_S) // WINDOW) * WINDOW}


def test_a_ration_makes_partial_words_rarer():
    call = Call()
    call.f.partial_s = 1.0
    call.sound(3.2)
    assert len(call.of(AskWords)) == 3


def test_words_are_asked_for_at_once_and_once_when_the_sound_stops():
    call = Call()
    call.sound(1.024)
    ended = call.f.position
    call.silence(2.0)
    urgent = [at for at, ask in call.of(AskWords) if ask.urgent]
    assert urgent == [ended + EARLY] and EARLY >= TAIL  # else they would not count as known
    assert call.of(AskWords)[-1][1].urgent  # nothing more in the silence


def test_when_the_sound_stops_what_is_known_of_it_is_guessed():
    call = Call()
    call.sound(1.024)
    call.words(PLAIN)
    assert not call.of(Generate)
    call.silence(EARLY / RATE)
    assert [guess.lines[-1].text for _, guess in call.of(Generate)] == [PLAIN] and not call.of(SpeechStopped)


@pytest.mark.parametrize(("silence_s", "read"), [(0.0, [Prepare]), (0.032, [])])
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
    assert [ask.urgent for _, ask in call.of(AskWords)].count(True) == 3 and not call.of(SpeechStopped)


def test_speech_that_is_cut_by_hand_is_read_to_its_end():
    call = Call()
    call.sound(1.024)
    out = call.note(call.f.commit(call.now))
    assert [type(c) for c in out] == [SpeechStopped, AskWords, HeardYou] and out[1].urgent
    assert Commit in map(type, call.words("hi you"))


def test_nobody_asks_for_words_that_nobody_hears():
    call = Call().answering()
    call.note(call.f.typed("hi you", call.now))
    call.f.interrupt(call.now)
    call.log.clear()
    call.silence(3.0)
    assert not call.of(AskWords) and not call.of(AskScore)


def test_a_stretch_that_begins_inside_a_dip_is_read_when_it_ends():
    """Our echo is left behind and heard anew from its middle on, just while the sound stops."""
    call = Call().answering()
    call.sound(0.512)
    call.silence(0.256)
    assert Resume in map(type, call.words("hello there it"))  # an echo: from now on the sound goes on
    call.silence(0.512)
    call.log.clear()
    call.sound(0.512)
    call.silence(0.128)
    assert [type(c) for c in call.words("it is noon", call.f.position - EARLY)] == [StartHearing]
    asked = [c for c in call.silence(0.096) if isinstance(c, AskWords)]
    assert asked == [AskWords(urgent=True)] and call.c.state is State.DOUBT
    call.words("")
    assert call.c.state is State.BOT


# --- how much silence ends the turn -----------------------------------------------------------------------


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
    assert [c.stopped_at for _, c in call.of(AskScore)] == [call.f.endpoint.stopped_at]
    call.score(score)
    if order == "score first":
        call.words(text)
    assert call.silence_until(Commit) == about(max(silence_s, 0.224))


def test_without_a_model_the_words_and_the_silence_decide():
    call = Call(scored=False).said(PLAIN)
    assert call.silence_until(Commit) == about(SILENCE_S[Ending.PLAIN][2]) and not call.of(AskScore)


def test_a_score_that_comes_late_ends_the_turn_at_once():
    call = Call().said(PLAIN, silence_s=0.544)
    assert not call.of(Commit)
    assert Commit in map(type, call.score(0.98))


def test_a_score_of_an_earlier_pause_changes_nothing():
    call = Call().said(PLAIN)
    earlier = call.f.endpoint.stopped_at
    call.sound(0.512)
    assert call.score(0.98, earlier) == []
    call.silence(0.256)
    assert call.f.deciding and call.score(0.98, earlier) == []
    call.words(OPEN)
    assert call.f.deciding  # the score of this pause is still on its way
    call.score(0.05)
    assert not call.f.deciding
    assert call.silence_until(Commit) == about(SILENCE_S[Ending.OPEN][3])


def test_a_score_of_an_earlier_pause_never_counts_for_this_one():
    call = Call().said("I was at the", silence_s=0.512)
    earlier = call.f.endpoint.stopped_at
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
    assert call.silence_until(HeardYou) == about(SILENCE_S[Ending.PLAIN][0]) and not call.of(UserSaid)
    call.words(OPEN)
    assert not call.of(Commit)
    assert call.silence_until(Commit) == about(SILENCE_S[Ending.OPEN][0])
    assert len(call.of(HeardYou)) == 1


def test_words_that_come_after_a_likely_end_end_the_turn():
    call = Call()
    call.sound(1.024)
    call.silence(0.512)
    call.score(0.98)
    assert [type(c) for c in call.words(QUESTION)] == [Generate, StopHearing, UserSaid, Commit]
    assert len(call.of(HeardYou)) == 1


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
    call.f.eagerness = 0.0
    call.said(PLAIN)
    assert call.silence_until(Commit) == about(2 * SILENCE_S[Ending.PLAIN][2])


def test_patience_ends_a_turn_that_nothing_else_ends():
    call = Call(patience_s=1.0).said(OPEN)
    assert call.silence_until(Commit) == about(1.0)


def test_a_pause_without_words_drops_the_turn():
    call = Call().said("")
    call.score(0.98)
    assert call.silence_until(UserSaid) == about(SILENCE_S[Ending.PLAIN][0])
    assert call.c.state is State.IDLE and call.f.endpoint.stopped_at is None and not call.of(Commit)


def test_one_verdict_is_given_once():
    """Judging is asked after every event; that it ends at all is the point."""
    call = Call(scored=False).said(PLAIN, silence_s=1.024)
    assert len(call.of(Commit)) == 1
    call.silence(3.0)
    call.f.wake(call.now)
    assert len(call.of(UserSaid)) == 1 and len(call.of(Commit)) == 1


# --- what else decides, or must not -----------------------------------------------------------------------


@pytest.mark.parametrize("manual", [True, False])
def test_by_hand_or_captions_only_no_model_is_asked_and_no_verdict_given(manual):
    call = Call(replies=manual)
    call.c.automatic = not manual
    call.said(QUESTION)
    call.silence(1.5)
    assert not call.of(AskScore) and not call.of(UserSaid) and not call.of(Generate)
    call.silence(2.0)
    assert bool(call.of(UserSaid)) is not manual  # captions end by patience, push to talk never
    call.note(call.f.commit(call.now))
    assert len(call.of(UserSaid)) == 1 and bool(call.of(Commit)) is manual


def test_push_to_talk_joins_what_was_said_in_several_breaths():
    call = Call()
    call.c.automatic = False
    call.said("alpha", silence_s=4.0)
    call.said("alpha beta", silence_s=0.512)
    call.note(call.f.commit(call.now))
    assert [c.text for _, c in call.of(UserSaid)] == ["alpha beta"]


def test_deciding_lasts_while_words_or_score_are_on_their_way():
    call = Call()
    assert not call.f.deciding
    call.sound(1.024)
    assert not call.f.deciding
    call.silence(0.256)
    assert call.f.deciding
    call.words(PLAIN)
    assert call.f.deciding
    call.score(0.05)
    assert not call.f.deciding


def test_speech_events_come_before_what_is_made_of_them():
    call = Call()
    assert [type(c) for c in call.sound(0.096)] == [SpeechStarted, StartHearing, Prepare]
    call.sound(0.512)
    stops = call.silence(0.16)
    assert [type(c) for c in stops] == [AskWords, SpeechStopped]
    assert call.f.ended_at == pytest.approx(call.now - 0.16)


def test_words_over_an_answer_take_the_turn_and_their_pause_is_judged():
    call = Call().answering()
    assert Hold in map(type, call.sound(0.512))
    assert Interrupted in map(type, call.words("what is tomorrow"))
    call.sound(0.512)
    call.silence(0.256)
    call.score(0.98)
    call.words("what time is it tomorrow")
    assert call.silence_until(Commit) == about(0.256)
    assert [c.text for _, c in call.of(UserSaid)] == ["what time is it tomorrow"]


def test_a_cough_over_an_answer_leaves_no_pause_behind():
    call = Call().answering()
    call.sound(0.256)
    call.silence(0.192)
    assert Resume in map(type, call.words(""))
    assert call.f.endpoint.stopped_at is None and not call.silence(3.0)


def test_the_other_processes_and_the_clock_reach_the_conversation():
    call = Call().answering()
    ticket = call.c.dialogue.reply.ticket
    assert call.f.heard_up_to(ticket.turn, 0.2, call.now) == [] and call.c.dialogue.reply.heard_s == 0.2
    assert Cancel in map(type, call.f.message(Failed(ticket, "tts", "broken"), call.now)) and call.c.state is State.IDLE
    call.answering()
    assert Cancel in map(type, call.f.stage_down("tts", call.now))
    call.said(PLAIN)
    call.note(call.f.commit(call.now))
    assert call.f.wake_at is not None and call.f.wake(call.f.wake_at) != []
