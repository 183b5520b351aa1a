"""The player of a call's replies on a virtual clock; 100 samples are a second."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from whisperfusion.messages import (
    CallEnded,
    Cancel,
    Commit,
    Failed,
    Pause,
    PlaybackProgress,
    Resume,
    Sentence,
    SpeechOmitted,
    Ticket,
)
from whisperfusion.output.events import (
    AudioMade,
    FillerMade,
    ListenerChanged,
    NotifyClient,
    Playback,
    Prioritize,
    SendAudio,
    SentenceMade,
    SynthesisFailed,
    Synthesize,
    SynthesizeFiller,
    Wake,
)
from whisperfusion.output.playout import FILLER
from whisperfusion.output.reply_player import ReplyPlayer

RATE = 100
T, T2 = Ticket("a", 1), Ticket("a", 2)
DAWDLES = 1000  # wakes without time passing: more are an endless loop


class Played:
    """A player, its client, and an engine that makes what `synthesize` asks for."""

    def __init__(self, listening: bool = True, **options) -> None:
        self.player: ReplyPlayer[list[int]] = ReplyPlayer(RATE, **options)
        self.now = 0.0
        self.actions: list = []
        self.receive(ListenerChanged(listening))

    def receive(self, *events) -> list:
        """The actions of these events, all now."""
        found = [one for event in events for one in self.player.receive(event, self.now)]
        self.actions += found
        return found

    def run(self, until: float) -> list:
        """The actions of the time until then."""
        begin = len(self.actions)
        for _ in range(DAWDLES):
            wake = self.player.wake_at
            if wake is None or wake > until:
                self.now = until
                return self.actions[begin:]
            self.now = max(self.now, wake)
            self.receive(Wake())
        raise AssertionError("wake_at never ends")

    def made(self, ticket: Ticket, index: int, length: int, last: bool = False) -> list:
        audio = AudioMade(ticket, index, [index] * length)
        return self.receive(audio, SentenceMade(ticket, index, last))


def of(actions: list, kind: type) -> list:
    return [one for one in actions if isinstance(one, kind)]


def notices(actions: list) -> list[tuple[Playback, int]]:
    return [(one.playback, one.turn) for one in of(actions, NotifyClient)]


def samples(actions: list) -> list[int]:
    return [
        sample for one in of(actions, SendAudio) for chunk in one.chunks for sample in chunk.audio
    ]


# --- what is synthesized ------------------------------------------------------------------------


def test_a_preemptive_reply_is_made_as_far_as_its_first_sentence():
    call = Played()
    first, second, third = (Sentence(T, i, f"word {i}", last=i == 2) for i in range(3))
    assert call.receive(first) == [Synthesize(T, 0, "word 0", False, urgent=False)]
    assert call.receive(second, third) == []
    assert call.made(T, 0, 10) == [] and call.run(5.0) == []
    actions = call.receive(Commit(T))
    assert actions[:3] == [
        Prioritize(T, 0),
        Synthesize(T, 1, "word 1", False, urgent=False),
        Synthesize(T, 2, "word 2", True, urgent=False),
    ]
    assert notices(actions) == [(Playback.STARTED, 1)] and samples(actions) == [0] * 10


def test_the_first_sentence_of_a_committed_reply_is_urgent():
    call = Played()
    assert call.receive(Commit(T)) == []
    assert call.receive(Sentence(T, 0, "yes"), Sentence(T, 1, "no")) == [
        Synthesize(T, 0, "yes", False, urgent=True),
        Synthesize(T, 1, "no", False, urgent=False),
    ]


def test_of_two_preemptive_replies_only_the_committed_one_goes_on():
    call = Played()
    call.receive(Sentence(T, 0, "a"), Sentence(T, 1, "b"))
    call.receive(Sentence(T2, 0, "c"), Sentence(T2, 1, "d"))
    call.receive(Sentence(T, 2, "late"))
    assert call.receive(Commit(T2)) == [Prioritize(T2, 0), Synthesize(T2, 1, "d", False, False)]
    assert call.receive(Sentence(T, 3, "later"), Commit(T)) == []


def test_what_is_older_takes_nothing_from_a_newer_reply_that_waits():
    call = Played()
    call.receive(Sentence(T2, 0, "c"), Sentence(T2, 1, "d"))
    assert call.receive(Commit(T), Cancel(T)) == []
    assert call.receive(Sentence(T, 1, "x", afresh=True))[:1] == [
        Synthesize(T, 1, "x", False, urgent=False)
    ]
    assert call.receive(Commit(T2)) == [Prioritize(T2, 0), Synthesize(T2, 1, "d", False, False)]


def test_what_is_said_may_differ_from_what_is_shown():
    call = Played()
    (shown,) = call.receive(Sentence(T, 0, "see **this** `x`"))
    (said,) = call.receive(Sentence(T, 0, "see [this](http://x)", spoken="see this"))
    (nothing,) = call.receive(Sentence(T, 0, "```", spoken=""))
    assert (shown.text, said.text, nothing.text) == ("see this x", "see this", "")


def test_without_a_listener_nothing_is_made_and_the_reply_ends():
    call = Played(listening=False)
    assert call.receive(Commit(T, "hm")) == []
    assert call.receive(Sentence(T, 0, "yes", last=True)) == [Synthesize(T, 0, "", True, True)]
    assert call.receive(SentenceMade(T, 0, True)) == [
        PlaybackProgress(T, 0, 0.0, 0.0, last=True),
        NotifyClient(Playback.ENDED, 1),
    ]
    call.receive(ListenerChanged(True))
    assert call.receive(Sentence(T2, 0, "yes")) == [Synthesize(T2, 0, "yes", False, False)]


def test_a_thought_that_was_taken_for_the_reply_is_void():
    call = Played()
    call.receive(Sentence(T, 0, "hm so"), Sentence(T, 1, "they ask"))
    call.made(T, 0, 10)
    call.receive(Sentence(T, 2, "Paris.", last=True, afresh=True))
    assert call.receive(Commit(T)) == [
        Synthesize(T, 2, "Paris.", True, urgent=False),
        PlaybackProgress(T, 0, 0.0, 0.0),
        PlaybackProgress(T, 1, 0.0, 0.0),
    ]
    call.made(T, 2, 10, last=True)
    assert samples(call.actions) == [2] * 10


# --- pacing, pause, resume, flush ---------------------------------------------------------------


def test_a_reply_leaves_no_more_than_the_lead_ahead_and_is_reported_to_its_end():
    call = Played()
    call.receive(Commit(T), Sentence(T, 0, "x", last=True))
    call.made(T, 0, 50, last=True)
    assert len(samples(call.actions)) == 20 and call.player.wake_at == pytest.approx(0.1)
    rest = call.run(9.0)
    assert len(samples(call.actions)) == 50
    assert rest[-2:] == [
        PlaybackProgress(T, 0, 0.5, 0.5, last=True),
        NotifyClient(Playback.ENDED, 1),
    ]
    assert call.player.wake_at is None


def test_pause_stops_and_resume_goes_on():
    call = Played()
    call.receive(Commit(T))
    call.made(T, 0, 100, last=True)
    call.run(0.15)
    paused = call.receive(Pause(T))
    assert paused == [NotifyClient(Playback.PAUSED, 1), PlaybackProgress(T, 0, 0.15, 1.0)]
    assert call.player.wake_at is None and call.run(5.0) == []
    assert notices(call.receive(Resume(T))) == [(Playback.RESUMED, 1)]
    call.run(9.0)
    assert len(samples(call.actions)) == 100
    assert of(call.actions, PlaybackProgress)[-1].last


def test_a_newer_ticket_flushes_what_the_client_has():
    call = Played()
    call.receive(Commit(T))
    call.made(T, 0, 100)
    call.run(0.15)
    assert call.receive(Cancel(T2)) == [
        NotifyClient(Playback.FLUSHED, 1),
        PlaybackProgress(T, 0, 0.15, 1.0),
    ]
    assert call.made(T, 0, 10) == [] and call.receive(Sentence(T, 1, "x"), Commit(T)) == []
    assert call.run(9.0) == [] and call.player.wake_at is None
    assert call.receive(Cancel(Ticket("a", 3))) == []  # nothing plays


def test_a_whole_reply_is_one_frame_that_neither_waits_nor_pauses():
    call = Played(whole_replies=True)
    call.receive(Commit(T, "hm", 0.5))
    call.made(T, 0, 30)
    assert call.receive(Pause(T), Resume(T)) == [] and call.run(9.0) == []
    actions = call.made(T, 1, 20, last=True)
    (frame,) = of(actions, SendAudio)
    assert [len(chunk.audio) for chunk in frame.chunks] == [30, 20]
    assert not of(call.actions, SynthesizeFiller)


def test_an_unpaced_client_is_told_when_all_has_left():
    call = Played(paced=False)
    call.receive(Commit(T))
    actions = call.made(T, 0, 300, last=True)
    assert notices(actions) == [(Playback.STARTED, 1), (Playback.SENT, 1)]
    assert len(samples(actions)) == 300
    assert notices(call.run(9.0)) == [(Playback.ENDED, 1)]


# --- the filler ---------------------------------------------------------------------------------


def test_a_late_reply_is_bridged_by_the_filler_once():
    call = Played()
    assert call.receive(Commit(T, "hm", 0.5)) == [SynthesizeFiller("hm")]
    call.receive(FillerMade("hm", [7] * 10))
    assert call.player.wake_at == 0.5 and samples(call.run(0.49)) == []
    assert samples(call.run(2.0)) == [7] * 10 and call.player.wake_at is None
    call.made(T, 0, 5, last=True)
    call.run(9.0)
    indices = [one.index for one in of(call.actions, PlaybackProgress)]
    assert indices == [FILLER, FILLER, 0, 0]


def test_a_filler_that_is_made_late_comes_then_and_one_that_failed_not_at_all():
    call = Played()
    call.receive(Commit(T, "hm", 0.5))
    assert call.run(1.0) == [] and call.player.wake_at is None
    assert call.receive(FillerMade("another", [1])) == []
    assert samples(call.receive(FillerMade("hm", [7] * 10))) == [7] * 10
    other = Played()
    other.receive(Commit(T, "hm", 0.5), FillerMade("hm", []))
    assert other.run(9.0) == [] and other.player.wake_at is None


@pytest.mark.parametrize("meanwhile", ["sound", "pause", "cancel", "commit"])
def test_no_filler_where_nothing_is_awaited(meanwhile):
    call = Played()
    call.receive(Commit(T, "hm", 0.5), FillerMade("hm", [7] * 10))
    call.run(0.2)
    if meanwhile == "sound":
        call.made(T, 0, 10)
    else:
        newer = {"pause": Pause(T), "cancel": Cancel(T2), "commit": Commit(T2)}
        call.receive(newer[meanwhile])
    call.run(0.4)
    assert (call.player.wake_at is None) == (meanwhile != "pause")  # not woken for nothing
    call.run(3.0)
    assert 7 not in samples(call.actions) and call.player.wake_at is None


# --- openings -----------------------------------------------------------------------------------


def broken_off(call, heard_s=0.6, opening="Sure,", more="I can tell you"):
    """A reply whose opening takes 0.4 s, and of which `heard_s` were heard."""
    call.receive(Commit(T), Sentence(T, 0, opening), Sentence(T, 1, more, last=True))
    call.made(T, 0, 40)
    call.made(T, 1, 300, last=True)
    call.run(heard_s)
    return call.receive(Pause(T)) + call.receive(Cancel(T2))


def test_an_opening_that_was_heard_is_not_said_again():
    call = Played()
    assert PlaybackProgress(T, 1, 0.2, 3.0) in broken_off(call)
    opening, second, third = (
        Sentence(T2, index, text) for index, text in enumerate(("sure:", "I can.", "So."))
    )
    assert call.receive(opening) == []
    # so the second sentence is what is made before the commit
    assert call.receive(second, third) == [Synthesize(T2, 1, "I can.", False, urgent=False)]
    call.made(T2, 1, 20)
    actions = call.receive(Commit(T2))
    assert actions[:2] == [Prioritize(T2, 1), Synthesize(T2, 2, "So.", False, urgent=False)]
    assert samples(actions) == [1] * 20 and notices(actions) == [(Playback.STARTED, 2)]
    assert of(actions, PlaybackProgress) == [PlaybackProgress(T2, 1, 0.0, 0.2)]


def test_however_often_it_is_broken_off():
    call = Played()
    broken_off(call)
    for turn in (2, 3, 4):
        ticket = Ticket("a", turn)
        assert call.receive(Commit(ticket), Sentence(ticket, 0, "Sure,")) == []
        call.receive(Sentence(ticket, 1, "I can"), Cancel(Ticket("a", turn + 1)))


@pytest.mark.parametrize(
    ("heard_s", "first"),
    [
        (0.3, Sentence(T2, 0, "Sure,")),  # not to its end
        (2.1, Sentence(T2, 0, "Sure,")),  # it was no mistake to begin
        (0.6, Sentence(T2, 0, "Yes,")),
        (0.6, Sentence(T2, 0, "Sure,", last=True)),  # that is all
    ],
)
def test_any_other_opening_is_said(heard_s, first):
    call = Played()
    broken_off(call, heard_s)
    assert [one.text for one in call.receive(first)] == [first.text]


def test_a_sentence_that_says_something_may_be_said_again():
    call, text = Played(), "It is noon already."
    broken_off(call, opening=text)
    assert [one.text for one in call.receive(Sentence(T2, 0, text))] == [text]


def test_the_next_reply_but_one_may_begin_the_same():
    call = Played()
    broken_off(call)
    call.receive(Commit(T2), Sentence(T2, 0, "Yes,"), Sentence(T2, 1, "it is.", last=True))
    call.made(T2, 0, 40)
    call.made(T2, 1, 60, last=True)
    call.run(5.0)
    assert call.receive(Sentence(Ticket("a", 3), 0, "Sure,"))


# --- what goes wrong ----------------------------------------------------------------------------


def test_failures_and_omissions_are_reported():
    call = Played()
    call.receive(Commit(T))
    assert call.receive(SynthesisFailed(T, "no")) == [Failed(T, "tts", "no")]
    omitted = SpeechOmitted(T, "another script")
    assert call.receive(omitted, omitted) == [omitted]  # once for each reply
    call.receive(Cancel(T2))
    assert call.receive(SpeechOmitted(T, "late")) == []


def test_after_the_end_of_the_call_there_is_nothing():
    call = Played()
    call.receive(Commit(T, "hm", 0.5), Sentence(T, 0, "x"))
    call.made(T, 0, 100)
    assert call.receive(CallEnded("a")) == [] and call.player.wake_at is None
    assert call.player.tally.dropped == 80
    late = (Commit(T2), Sentence(T2, 0, "x"), Pause(T), Cancel(T2), Wake())
    assert call.receive(*late) == [] and call.made(T, 0, 10) == []


# --- any order ----------------------------------------------------------------------------------


RARELY = st.integers(0, 5).map(lambda chance: chance == 5)


class Dialogue(RuleBasedStateMachine):
    """Random events in a random order, with an engine that is now and then slow or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.call = Played()
        self.issued = T  # the newest that there is
        self.newest = T  # the newest that the player may know
        self.committed: Ticket | None = None
        self.paused = self.over = False
        self.jobs: list[Synthesize] = []
        self.asked_for = T  # the newest of them
        self.fillers: list[str] = []
        self.sentences_of: dict[Ticket, int] = {}
        self.complete: set[Ticket] = set()
        self.position: dict[Ticket, tuple[int, float]] = {}
        self.ended: set[Ticket] = set()

    def receive(self, *events) -> None:
        for event in events:
            self.check(self.call.receive(event))

    def check(self, actions: list) -> None:
        for action in actions:
            if isinstance(action, Synthesize):
                self.jobs.append(action)
                self.asked_for = max(self.asked_for, action.ticket)
            elif isinstance(action, SynthesizeFiller):
                self.fillers.append(action.text)
            elif isinstance(action, SendAudio):
                for chunk in action.chunks:
                    assert chunk.ticket == self.committed and not chunk.ticket < self.newest
                    assert not self.paused
            elif isinstance(action, PlaybackProgress):
                self.check_position(action)

    def check_position(self, action: PlaybackProgress) -> None:
        assert (action.index, action.played_s) >= self.position.get(action.ticket, (FILLER, 0.0))
        assert action.ticket not in self.ended
        self.position[action.ticket] = action.index, action.played_s
        if action.last:
            self.ended.add(action.ticket)

    def issue(self, new: bool) -> Ticket:
        if new:
            self.issued = Ticket("a", self.issued.turn, self.issued.revision + 1)
        return self.issued

    @rule(new=RARELY, count=st.integers(1, 3), last=st.booleans())
    def sentences(self, new: bool, count: int, last: bool) -> None:
        """Of the newest reply, or the first ones of one that is newer."""
        ticket = self.issue(new)
        if ticket in self.complete:
            return
        index = self.sentences_of.get(ticket, 0)
        self.sentences_of[ticket] = index + count
        for at in range(index, index + count):
            ends = last and at == index + count - 1
            self.receive(Sentence(ticket, at, "one two", ends))
        if last:
            self.complete.add(ticket)

    @rule(index=st.integers(0, 3))
    def stale_sentence(self, index: int) -> None:
        self.receive(Sentence(Ticket("a", 0), index, "stale"))

    @rule(new=RARELY, filler=st.sampled_from(("", "hm")), due_s=st.floats(0.0, 1.0))
    def commit(self, new: bool, filler: str, due_s: float) -> None:
        ticket = self.issue(new)
        if ticket != self.committed:
            self.paused = self.paused and ticket == self.newest
            self.newest = self.committed = ticket
            self.receive(Commit(ticket, filler, due_s))

    @rule(surely=RARELY)
    def cancel(self, surely: bool) -> None:
        if not surely:
            return
        self.issued = self.newest = Ticket("a", self.issued.turn + 1)
        self.paused = False
        self.receive(Cancel(self.newest))

    @precondition(lambda self: self.committed == self.newest)
    @rule(pause=st.booleans())
    def pause_or_resume(self, pause: bool) -> None:
        self.paused = pause
        self.receive(Pause(self.newest) if pause else Resume(self.newest))

    @precondition(lambda self: self.jobs)
    @rule(length=st.integers(0, 60), parts=st.integers(1, 3))
    def engine(self, length: int, parts: int) -> None:
        """The oldest job is done; jobs of older tickets are dropped, as the real engine does."""
        job = self.jobs.pop(0)
        if not job.ticket < max(self.newest, self.asked_for):
            if job.ticket > self.newest:
                self.newest, self.paused = job.ticket, False
            for part in range(parts):
                self.receive(AudioMade(job.ticket, job.index, [part] * (length // parts)))
            self.receive(SentenceMade(job.ticket, job.index, job.last))

    @precondition(lambda self: self.fillers)
    @rule(length=st.sampled_from((0, 15)))
    def filler(self, length: int) -> None:
        self.receive(FillerMade(self.fillers.pop(), [7] * length))

    @rule(away=RARELY)
    def listener(self, away: bool) -> None:
        self.receive(ListenerChanged(not away))

    @rule(seconds=st.floats(0.0, 2.0))
    def time_passes(self, seconds: float) -> None:
        self.check(self.call.run(self.call.now + seconds))

    @invariant()
    def woken_in_time(self) -> None:
        """What is due now was done: waking once at the present is the most that is asked for."""
        wake = self.call.player.wake_at
        if wake is not None and wake <= self.call.now:
            self.check(self.call.run(self.call.now))
            wake = self.call.player.wake_at
        assert wake is None or wake > self.call.now

    def teardown(self) -> None:
        """A reply that was accepted, of which all was made, ends; then nothing is left to do."""
        if self.paused and self.committed == self.newest:
            self.paused = False
            self.receive(Resume(self.newest))
        while self.jobs:
            self.engine(10, 1)
        self.check(self.call.run(self.call.now + 600.0))
        assert self.call.player.wake_at is None
        if self.committed == self.issued and self.committed in self.complete:
            assert self.committed in self.ended
        self.receive(CallEnded("a"))
        assert self.call.player.wake_at is None and self.call.run(self.call.now + 9.0) == []


TestDialogue = Dialogue.TestCase
TestDialogue.settings = settings(max_examples=75, stateful_step_count=40)
