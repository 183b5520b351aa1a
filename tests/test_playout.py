from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from whisperfusion.messages import PlaybackProgress, Ticket
from whisperfusion.output.chunks import Chunk, Tally
from whisperfusion.output.playout import CHUNK_S, FILLER, UNDERRUN_S, Playout

RATE, LEAD_S = 100, 0.2  # 10 samples are one chunk, 20 the lead
T, T2 = Ticket("a", 1), Ticket("a", 2)


def stream(ticket: Ticket = T, *lengths: int, lead_s: float | None = LEAD_S) -> Playout[list[int]]:
    """A stream with one whole sentence for each of `lengths`; its samples are 0, 1, 2 …"""
    playout: Playout[list[int]] = Playout(RATE, lead_s)
    begin = 0
    for index, length in enumerate(lengths):
        playout.put(ticket, index, list(range(begin, begin + length)))
        playout.end(ticket, index, index == len(lengths) - 1)
        begin += length
    return playout


def samples(chunks: list[Chunk[list[int]]]) -> list[int]:
    return [sample for chunk in chunks for sample in chunk.audio]


def run(
    playout: Playout[list[int]], now: float
) -> tuple[list[tuple[float, Chunk[list[int]]]], list[tuple[float, PlaybackProgress]], float]:
    """Follow `wake_at` until there is nothing to do; what left and what was reported, each with its
    time.
    """
    sent: list[tuple[float, Chunk[list[int]]]] = []
    reported: list[tuple[float, PlaybackProgress]] = []
    for _ in range(1000):
        sent += [(now, chunk) for chunk in playout.release(now)]
        reported += [(now, fact) for fact in playout.progress(now)]
        wake = playout.wake_at(now)
        if wake is None:
            return sent, reported, now
        assert wake > now
        now = wake
    raise AssertionError("wake_at never ends")


def test_nothing_leaves_before_the_commit_and_all_of_it_after() -> None:
    playout = stream(T, 25, 30)
    assert (
        playout.release(0.0) == [] and playout.wake_at(0.0) is None and playout.progress(5.0) == []
    )
    playout.commit(T)
    sent, reported, end = run(playout, 5.0)
    assert samples([chunk for _, chunk in sent]) == list(range(55))
    assert [
        (round(now, 6), chunk.index, len(chunk.audio), round(chunk.at, 6)) for now, chunk in sent
    ] == [
        (5.0, 0, 10, 5.0),
        (5.0, 0, 10, 5.1),
        (5.05, 0, 5, 5.2),
        (5.15, 1, 10, 5.25),
        (5.25, 1, 10, 5.35),
        (5.35, 1, 10, 5.45),
    ]
    assert [(round(now, 6), fact) for now, fact in reported] == [
        (5.0, PlaybackProgress(T, 0, 0.0, 0.25)),
        (5.25, PlaybackProgress(T, 0, 0.25, 0.25)),
        (5.25, PlaybackProgress(T, 1, 0.0, 0.3)),
        (5.55, PlaybackProgress(T, 1, 0.3, 0.3, last=True)),
    ]
    assert end == pytest.approx(5.55)


def test_sentences_may_be_made_out_of_order_or_be_empty() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.put(T, 2, [3, 4])
    playout.put(T, 0, [])
    playout.end(T, 0, False)
    assert playout.release(0.0) == [] and playout.progress(0.0) == [
        PlaybackProgress(T, 0, 0.0, 0.0)
    ]
    playout.put(T, 1, [1, 2])
    assert samples(playout.release(0.0)) == [1, 2]
    playout.end(T, 1, False)
    assert samples(playout.release(0.0)) == [3, 4]
    playout.end(T, 2, False)
    playout.end(T, 3, True)
    assert playout.wake_at(0.0) == pytest.approx(0.0)
    assert run(playout, 0.0)[1][-1][1] == PlaybackProgress(T, 3, 0.0, 0.0, last=True)


def test_an_end_that_comes_after_all_was_played_is_reported_at_once() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.put(T, 0, [0] * 10)
    assert [fact for _, fact in run(playout, 0.0)[1]] == [PlaybackProgress(T, 0, 0.0, 0.1)]
    playout.end(T, 0, True)
    assert playout.wake_at(9.0) == 9.0 and playout.progress(9.0) == [
        PlaybackProgress(T, 0, 0.1, 0.1, last=True)
    ]
    assert playout.wake_at(9.0) is None


def test_an_underrun_moves_the_clock() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.put(T, 0, [0] * 10)
    assert len(playout.release(0.0)) == 1
    playout.put(T, 0, [1] * 10)
    playout.end(T, 0, True)
    assert [chunk.at for chunk in playout.release(3.0)] == [3.0]
    assert run(playout, 3.0)[1][-1] == (3.1, PlaybackProgress(T, 0, 0.2, 0.2, last=True))


def test_pause_reports_what_was_played_and_resume_goes_on_there() -> None:
    playout = stream(T, 100)
    playout.commit(T)
    assert len(samples(playout.release(0.0))) == 20
    playout.pause(T, 0.13)
    assert playout.progress(0.13) == [
        PlaybackProgress(T, 0, 0.0, 1.0),
        PlaybackProgress(T, 0, 0.13, 1.0),
    ]
    assert (
        playout.release(0.5) == [] and playout.wake_at(0.5) is None and playout.progress(9.0) == []
    )
    playout.resume(T, 10.0)
    # 13 played, 20 had left
    assert [chunk.at for chunk in playout.release(10.0)] == pytest.approx([10.07])
    sent, reported, end = run(playout, 10.0)
    assert samples([chunk for _, chunk in sent]) == list(range(30, 100)) and end == pytest.approx(
        10.87
    )
    assert reported == [(end, PlaybackProgress(T, 0, 1.0, 1.0, last=True))]


def test_cancel_drops_everything_and_reports_what_was_played() -> None:
    playout = stream(T, 30, 30)
    playout.commit(T)
    sent = playout.release(0.0) + playout.release(0.2) + playout.release(0.4)
    assert len(samples(sent)) == 60
    playout.cancel(T2, 0.42)
    assert playout.wake_at(0.42) == 0.42
    assert playout.progress(0.5)[-1] == PlaybackProgress(T, 1, 0.12, 0.3)
    playout.put(T, 1, [9] * 10)
    playout.commit(T)
    assert playout.release(1.0) == [] and playout.wake_at(1.0) is None and playout.ticket == T2
    playout.put(T2, 0, [1])
    assert playout.release(1.0) == []
    playout.commit(T2)
    assert samples(playout.release(1.0)) == [1]


def test_cancel_before_any_sound_reports_nothing() -> None:
    playout = stream(T, 30)
    playout.cancel(T2, 1.0)
    assert playout.progress(1.0) == []
    playout.commit(T2)
    # a newer revision takes the place of the preemptive reply, and is not committed
    playout.put(Ticket("a", 3), 0, [1])
    assert playout.release(2.0) == []


def test_a_listener_takes_whole_replies() -> None:
    playout: Playout[list[int]] = Playout(RATE, None)
    playout.commit(T)
    playout.put(T, 0, [0] * 30)
    playout.end(T, 0, False)
    playout.put(T, 1, [1] * 20)
    assert playout.release(0.0) == [] and playout.wake_at(0.0) is None
    playout.end(T, 1, True)
    assert playout.wake_at(1.0) == 1.0
    sent, reported, end = run(playout, 1.0)
    assert [(now, chunk.index, len(chunk.audio)) for now, chunk in sent] == [
        (1.0, 0, 30),
        (1.0, 1, 20),
    ] and end == 1.5
    assert reported[-1] == (1.5, PlaybackProgress(T, 1, 0.2, 0.2, last=True))


def test_what_ends_while_paused_is_reported_after_the_pause() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.put(T, 0, [0] * 10)
    run(playout, 0.0)
    playout.pause(T, 2.0)
    assert playout.progress(2.0) == [PlaybackProgress(T, 0, 0.1, 0.1)]
    playout.end(T, 0, True)
    assert playout.progress(3.0) == [] and playout.wake_at(3.0) is None
    playout.resume(T, 4.0)
    assert (
        playout.progress(4.0) == [PlaybackProgress(T, 0, 0.1, 0.1, last=True)]
        and playout.progress(5.0) == []
    )


def test_audio_after_the_end_of_its_sentence_is_ignored() -> None:
    playout = stream(T, 10)
    playout.commit(T)
    assert len(samples(playout.release(0.0))) == 10
    playout.put(T, 0, [9])
    sent, reported, _end = run(playout, 0.0)
    assert sent == [] and reported[-1] == (0.1, PlaybackProgress(T, 0, 0.1, 0.1, last=True))
    playout.put(T, 0, [9])
    assert run(playout, 1.0) == ([], [], 1.0)


def test_the_order_of_asking_does_not_matter() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.end(T, 0, False)
    assert playout.progress(0.0) == [PlaybackProgress(T, 0, 0.0, 0.0)]
    playout.put(T, 1, [1])
    assert samples(playout.release(0.0)) == [1]


def test_real_rate_and_numpy_arrays() -> None:
    playout: Playout[np.ndarray] = Playout()
    playout.commit(T)
    speech = np.arange(24_000, dtype=np.float32)
    playout.put(T, 0, speech)
    playout.end(T, 0, True)
    now, out, last = 123456.789, [], 0.0
    while (wake := playout.wake_at(now)) is not None:
        now = wake
        out += [chunk.audio for chunk in playout.release(now)]
        last = max([last, *(fact.played_s for fact in playout.progress(now))])
    assert np.array_equal(np.concatenate(out), speech) and max(map(len, out)) == 2400
    assert now == pytest.approx(123457.789, abs=1e-4) and last == 1.0


def test_a_filler_comes_before_a_reply_that_is_late() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    assert not playout.awaited(T)
    playout.commit(T)
    assert playout.awaited(T) and not playout.awaited(T2)
    playout.put(T, FILLER, [7] * 10)
    playout.end(T, FILLER, False)
    assert samples(playout.release(1.0)) == [7] * 10 and not playout.awaited(T)
    assert [fact for _, fact in run(playout, 1.0)[1]] == [
        PlaybackProgress(T, -1, 0.0, 0.1),
        PlaybackProgress(T, -1, 0.1, 0.1),
    ]
    playout.put(T, 0, [1, 2])
    playout.end(T, 0, True)
    assert [(chunk.index, chunk.at, chunk.audio) for chunk in playout.release(3.0)] == [
        (0, 3.0, [1, 2])
    ]
    assert run(playout, 3.0)[1][-1] == (
        pytest.approx(3.02),
        PlaybackProgress(T, 0, 0.02, 0.02, last=True),
    )
    assert playout.tally == Tally(made=12)  # what a filler bridges is not an underrun


def test_a_filler_that_comes_too_late_is_dropped() -> None:
    playout = stream(T, 10, 10)
    playout.commit(T)
    playout.release(0.0)
    assert not playout.awaited(T)
    playout.put(T, FILLER, [7] * 10)
    playout.end(T, FILLER, False)
    sent, reported, _ = run(playout, 0.0)
    assert {chunk.index for _, chunk in sent} <= {0, 1} and {
        fact.index for _, fact in reported
    } == {
        0,
        1,
    }
    assert playout.tally == Tally(made=30, dropped=10)


def test_nobody_waits_for_a_reply_that_is_paused_or_had_no_sound() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.pause(T, 0.0)
    assert not playout.awaited(T)
    playout.resume(T, 0.0)
    playout.end(T, 0, True)
    assert [fact.last for fact in playout.progress(0.0)] == [True] and not playout.awaited(T)


def test_of_a_sentence_that_began_nothing_is_said_twice() -> None:
    playout = stream()
    playout.put(T, 0, [*range(40)])
    playout.commit(T)
    assert samples(playout.release(0.0)) == [*range(20)]  # the lead
    assert [fact.played_s for fact in playout.progress(0.05)] == [0.0]
    playout.restart(T, 0)  # by another voice, whose sound of it is too late
    playout.put(T, 0, [*range(100, 130)])
    playout.end(T, 0, False)
    playout.put(T, 1, [*range(200, 210)])
    playout.end(T, 1, True)
    sent, reported, _ = run(playout, 0.1)
    assert samples([chunk for _, chunk in sent]) == [*range(20, 40), *range(200, 210)]
    assert [(fact.index, fact.played_s, fact.total_s) for _, fact in reported] == [
        (0, 0.4, 0.4),  # what was made of it is all of it
        (1, 0.0, 0.1),
        (1, 0.1, 0.1),
    ]
    assert playout.tally == Tally(made=80, dropped=30)


def test_the_end_of_a_sentence_that_began_is_awaited_from_the_other_voice() -> None:
    playout = stream()
    playout.put(T, 0, [*range(10)])
    playout.commit(T)
    playout.release(0.0)
    playout.restart(T, 0)
    assert not playout.all_sent and not any(fact.last for fact in playout.progress(5.0))
    playout.end(T, 0, True)
    assert playout.all_sent and [fact.last for fact in playout.progress(5.0)] == [True]


def test_a_sentence_that_is_made_again_before_it_left_leaves_once() -> None:
    playout = stream()
    playout.put(T, 0, [*range(40)])
    playout.restart(T, 0)
    playout.restart(T, 1)  # of which nothing was made
    playout.put(T, 0, [1, 2, 3])
    playout.end(T, 0, True)
    playout.restart(T, 0)  # too late
    playout.commit(T)
    sent, reported, _ = run(playout, 0.0)
    assert samples([chunk for _, chunk in sent]) == [1, 2, 3]
    assert [fact.total_s for _, fact in reported] == [0.03, 0.03]


def test_the_tally_of_waste_and_underruns() -> None:
    playout: Playout[list[int]] = Playout(RATE, LEAD_S)
    playout.commit(T)
    playout.put(T, 0, [0] * 10)
    playout.end(T, 0, False)
    run(playout, 0.0)
    playout.put(T, 1, [1] * 50)
    run(playout, 0.6)
    assert playout.tally == Tally(made=60, underruns=1, underrun=50)
    playout.put(T, 1, [1] * 40)
    playout.cancel(T2, 1.05)
    playout.put(T, 2, [2] * 5)
    assert playout.tally == Tally(made=105, dropped=45, underruns=1, underrun=50)


class Listener(RuleBasedStateMachine):
    """Random lives of a stream, with a listener that plays what has left and notices underruns."""

    def __init__(self) -> None:
        super().__init__()
        self.playout: Playout[list[int]] = Playout(RATE, LEAD_S)
        self.tick = 0
        self.ticket: Ticket | None = None
        self.cut: dict[Ticket, int] = {}  # what was played of the replies before
        self.cut_made: dict[Ticket, dict[int, list[int]]] = {}
        self.all_put = self.all_sent = self.underruns = self.underrun = 0
        self.fresh()

    def fresh(self) -> None:
        self.made: dict[int, list[int]] = {}
        self.ended: set[int] = set()
        self.final: int | None = None
        self.committed = self.paused = self.over = False
        self.sent: list[int] = []
        self.buffer = self.index = self.number = 0
        self.dry = 0  # ticks of silence since the last of the sound
        self.reported = (-2, 0.0)
        self.begun: set[int] = set()
        self.finished: set[int] = set()

    @property
    def now(self) -> float:
        return self.tick / RATE

    def newest(self, ticket: Ticket) -> bool:
        if self.ticket is None or ticket > self.ticket:
            if self.ticket is not None:
                self.cut[self.ticket], self.cut_made[self.ticket] = (
                    len(self.sent) - self.buffer,
                    self.made,
                )
            self.ticket = ticket
            self.fresh()
        return ticket == self.ticket

    tickets = st.integers(-1, 3).map(lambda step: max(0, step - 2))  # mostly the present one

    def pick(self, step: int, stale: bool) -> Ticket:
        turn = self.ticket.turn if self.ticket else 1
        return Ticket("a", turn - 1 if stale else turn + step)

    @rule(step=tickets, stale=st.booleans(), later=st.integers(0, 1), length=st.integers(0, 35))
    def put(self, step: int, stale: bool, later: int, length: int) -> None:
        ticket = self.pick(step, stale)
        if self.newest(ticket):
            index = self.index + later
            if index in self.ended or (self.final is not None and index > self.final):
                return
            audio = [self.number + i for i in range(length)]
            self.number += length
            self.made.setdefault(index, []).extend(audio)
            self.playout.put(ticket, index, audio)
        else:
            self.playout.put(ticket, self.index, [-1] * length)
            self.playout.commit(ticket)
        self.all_put += length

    @rule(length=st.integers(1, 15))
    def fill(self, length: int) -> None:
        """A filler is taken while nothing of the reply was played, once."""
        if self.ticket:
            audio = [1000 + i for i in range(length)]
            if not self.sent and not self.finished and FILLER not in self.made:
                self.made[FILLER] = audio
                self.ended.add(FILLER)
            self.playout.put(self.ticket, FILLER, audio)
            self.playout.end(self.ticket, FILLER, False)
            self.all_put += length

    @rule(last=st.booleans())
    def end(self, last: bool) -> None:
        if self.ticket and self.final is None:
            if last and any(index > self.index for index in self.made):
                last = False
            self.made.setdefault(self.index, [])
            self.ended.add(self.index)
            self.final = self.index if last else None
            self.playout.end(self.ticket, self.index, last)
            self.index += 1

    @rule(step=tickets)
    def commit(self, step: int) -> None:
        ticket = self.pick(step, False)
        self.newest(ticket)
        self.committed = True
        self.playout.commit(ticket)

    @rule(stale=st.booleans())
    def pause(self, stale: bool) -> None:
        ticket = self.pick(0, stale)
        if self.newest(ticket):
            self.paused = True
        self.playout.pause(ticket, self.now)

    @rule()
    def resume(self) -> None:
        if self.ticket:
            self.paused = False
            self.playout.resume(self.ticket, self.now)

    @precondition(lambda self: self.ticket is not None and self.sent)
    @rule()
    def cancel(self) -> None:
        ticket = self.pick(1, False)
        self.newest(ticket)
        self.playout.cancel(ticket, self.now)

    @rule(ticks=st.integers(0, 40))
    def time_passes(self, ticks: int) -> None:
        """The shell keeps its timer, so nothing is late; the listener plays meanwhile."""
        until = self.tick + ticks
        while True:
            wake = self.playout.wake_at(self.now)
            step = until if wake is None else min(until, round(wake * RATE))
            if not self.paused and self.sent:
                self.dry += max(0, step - self.tick - self.buffer)
                self.buffer = max(0, self.buffer - (step - self.tick))
            self.tick = step
            self.observe()
            if step == until:
                return

    @invariant()
    def observe(self) -> None:
        chunks = self.playout.release(self.now)
        assert not chunks or (self.committed and not self.paused)
        for chunk in chunks:
            assert chunk.ticket == self.ticket and 0 < len(chunk.audio) <= CHUNK_S * RATE
            assert round(chunk.at * RATE) == self.tick + self.buffer
            assert set(chunk.audio) <= set(self.made[chunk.index])
            if (
                self.dry >= UNDERRUN_S * RATE
                and chunk.index != FILLER
                and (chunk.index > 0 or chunk.audio[0] != self.made[0][0])
            ):
                self.underruns, self.underrun = self.underruns + 1, self.underrun + self.dry
            self.dry = 0
            self.sent += chunk.audio
            self.buffer += len(chunk.audio)
            self.all_sent += len(chunk.audio)
        assert self.buffer <= LEAD_S * RATE
        everything = [sample for index in sorted(self.made) for sample in self.made[index]]
        assert self.sent == everything[: len(self.sent)]
        left = len(everything) - len(self.sent)
        assert self.playout.tally == Tally(
            self.all_put, self.all_put - self.all_sent - left, self.underruns, self.underrun
        )
        facts = self.playout.progress(self.now)
        for fact in facts:
            if fact.ticket == self.ticket:
                self.check(fact)
            else:
                self.check_cut(fact)
        played_out = (
            self.committed
            and self.final is not None
            and not self.paused
            and self.buffer == 0
            and self.sent == everything
        )
        if played_out:
            assert self.over
        wake = self.playout.wake_at(self.now)
        assert wake is None or wake > self.now
        if self.committed and not self.paused:
            self.check_complete()

    def check(self, fact: PlaybackProgress) -> None:
        """Nothing is reported too early, twice or backwards."""
        begins = sum(len(made) for index, made in self.made.items() if index < fact.index)
        played, length = round(fact.played_s * RATE), len(self.made[fact.index])
        assert self.committed and not self.over
        assert (fact.index, fact.played_s) >= self.reported and begins + played <= len(
            self.sent
        ) - self.buffer
        assert fact.total_s == length / RATE
        assert fact.last == (fact.index == self.final and played == length)
        self.reported = (fact.index, fact.played_s)
        self.over = fact.last
        if length and not played:
            self.begun.add(fact.index)
        if fact.index in self.ended and played == length:
            assert fact.index not in self.finished
            self.finished.add(fact.index)

    def check_cut(self, fact: PlaybackProgress) -> None:
        """How much of the sentence that was playing when a newer ticket came was played: reported
        once.
        """
        made = self.cut_made.pop(fact.ticket)
        assert not fact.last
        assert (
            sum(len(audio) for index, audio in made.items() if index < fact.index)
            + round(fact.played_s * RATE)
            == self.cut[fact.ticket]
        )

    def check_complete(self) -> None:
        """Everything that is true by now was reported."""
        played, begins = len(self.sent) - self.buffer, 0
        for index in range(FILLER if FILLER in self.made else 0, max(self.made, default=-1) + 1):
            length = len(self.made.get(index, []))
            assert (index in self.begun) == (
                begins <= played and begins < len(self.sent) and length > 0
            )
            begins += length
            assert (index in self.finished) == (index in self.ended and begins <= played)
            if index not in self.ended:
                return


TestListener = Listener.TestCase
TestListener.settings = settings(max_examples=75, stateful_step_count=40)
