from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from whisperfusion.messages import Ticket
from whisperfusion.runtime.mailbox import FORGOTTEN, Mailbox

CALLS, TURNS = st.sampled_from("abc"), st.integers(0, 4)


def test_newer_tickets_drop_and_refuse_older_work() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.put(Ticket("a", 1), "old") and box.put(Ticket("b", 1), "other")
    assert box.put(Ticket("a", 1, 1), "new")
    assert (
        len(box) == 2
        and box.stale(Ticket("a", 1))
        and not box.stale(Ticket("a", 1, 1))
        and not box.stale(Ticket("b", 1))
    )
    assert not box.put(Ticket("a", 1), "late")
    box.raise_to(Ticket("a", 0))
    assert not box.stale(Ticket("a", 1, 1))
    box.raise_to(Ticket("a", 2))
    assert box.pop() == (Ticket("b", 1), "other") and box.pop() is None


def test_calls_take_turns_and_keep_their_order() -> None:
    box: Mailbox[str] = Mailbox()
    for call, job in ("a1", "a2", "a3", "b1", "c1"):
        box.put(Ticket(call, 0), call + job)
    order = []
    for _ in range(5):
        taken = box.pop()
        assert taken is not None
        order.append(taken[1])
        box.done(taken[0].call)
    assert order == ["a1", "b1", "c1", "a2", "a3"]


def test_a_busy_call_waits_for_done() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(Ticket("a", 0), 1)
    box.put(Ticket("a", 0), 2)
    assert box.pop() == (Ticket("a", 0), 1) and box.pop() is None and len(box) == 1
    box.done("a")
    assert box.pop() == (Ticket("a", 0), 2)


def test_a_job_that_waits_can_become_urgent() -> None:
    box: Mailbox[str] = Mailbox()
    for call in "ab":
        box.put(Ticket(call, 1), f"{call}0", replace=0)
        box.put(Ticket(call, 1), f"{call}1", replace=1)
    box.prioritize(Ticket("b", 1), 1)
    box.prioritize(Ticket("a", 0), 1)  # another ticket's
    box.prioritize(Ticket("c", 1), 1)  # nothing waits
    assert [box.pop(), box.pop()] == [(Ticket("b", 1), "b1"), (Ticket("a", 1), "a0")]
    box.done("b")
    box.prioritize(Ticket("b", 1), 1)  # it was taken
    assert len(box) == 2 and box.pop() == (Ticket("b", 1), "b0")


def test_urgent_jobs_go_first_also_in_their_call() -> None:
    box: Mailbox[str] = Mailbox()
    box.put(Ticket("a", 0), "a1")
    box.put(Ticket("b", 0), "b1")
    box.put(Ticket("b", 0), "b2", urgent=True)
    assert box.pop() == (Ticket("b", 0), "b2") and box.pop() == (Ticket("a", 0), "a1")


def test_a_replaced_job_keeps_its_place() -> None:
    box: Mailbox[str] = Mailbox()
    box.put(Ticket("a", 0), "partial 1", replace="partial")
    box.put(Ticket("a", 0), "other", replace="else")
    box.put(Ticket("b", 0), "b", replace="partial")
    box.put(Ticket("a", 0), "partial 2", replace="partial")
    assert len(box) == 3 and box.pop() == (Ticket("a", 0), "partial 2")
    box.put(Ticket("a", 0), "partial 3", replace="partial")
    assert len(box) == 3  # a job at work is not replaced


def test_the_oldest_wait_is_known_and_a_place_keeps_its_time() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.waits_since() is None
    box.put(Ticket("a", 1), "partial", replace="words", now=1.0)
    box.put(Ticket("b", 1), "urgent", urgent=True, now=2.0)
    box.put(Ticket("a", 1), "partial 2", replace="words", now=3.0)
    assert box.waits_since() == 1.0  # who is given a newer job has waited no shorter
    assert box.pop() == (Ticket("b", 1), "urgent") and box.pop() == (Ticket("a", 1), "partial 2")
    box.put(Ticket("a", 1), "next", now=4.0)
    assert box.waits_since() == 4.0 and box.pop() is None  # of a busy call, but it waits


def test_a_forgotten_call_is_refused_and_memory_is_bounded() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(Ticket("a", 0), 1)
    box.put(Ticket("a", 0), 2)
    taken = box.pop()
    box.forget("a")
    assert (
        taken
        and box.stale(taken[0])
        and not box.put(Ticket("a", 9), 3)
        and len(box) == 0
        and box.calls() == ()
    )
    box.raise_to(Ticket("a", 9))
    assert box.calls() == ()
    box.done("a")
    for i in range(FORGOTTEN):
        box.forget(str(i))
    assert box.put(Ticket("a", 0), 4) and box.pop() == (Ticket("a", 0), 4)


class AgainstAModel(RuleBasedStateMachine):
    """The model is one list of waiting jobs, and for each call when it was last served."""

    def __init__(self) -> None:
        super().__init__()
        self.box: Mailbox[int] = Mailbox()
        self.newest: dict[str, Ticket] = {}
        self.waiting: list[tuple[Ticket, int, str | None, bool]] = []
        self.since: dict[str, int] = {}  # when the call came to its present place in the row
        self.busy: set[str] = set()
        self.gone: set[str] = set()
        self.clock = 0

    def raised(self, ticket: Ticket) -> bool:
        if ticket.call in self.gone or ticket < self.newest.get(ticket.call, ticket):
            return False
        self.newest[ticket.call] = ticket
        self.waiting = [w for w in self.waiting if w[0].call != ticket.call or w[0] >= ticket]
        return True

    @rule(
        call=CALLS,
        turn=TURNS,
        revision=st.integers(0, 1),
        key=st.sampled_from([None, None, "x", "y"]),
        urgent=st.booleans(),
    )
    def put(self, call: str, turn: int, revision: int, key: str | None, urgent: bool) -> None:
        self.clock += 1
        ticket = Ticket(call, turn, revision)
        accepted = self.raised(ticket)
        assert self.box.put(ticket, self.clock, replace=key, urgent=urgent) == accepted
        if not accepted:
            return
        if not any(w[0].call == call for w in self.waiting):
            self.since[call] = self.clock
        new = (ticket, self.clock, key, urgent)
        place = next(
            (i for i, w in enumerate(self.waiting) if key and w[0].call == call and w[2] == key),
            None,
        )
        if place is None:
            self.waiting.append(new)
        else:
            self.waiting[place] = new

    @rule(call=CALLS, turn=TURNS)
    def raise_to(self, call: str, turn: int) -> None:
        self.raised(Ticket(call, turn))
        self.box.raise_to(Ticket(call, turn))

    @rule()
    def take(self) -> None:
        self.clock += 1
        free = [w for w in self.waiting if w[0].call not in self.busy]
        expected = min(free, key=lambda w: (not w[3], self.since[w[0].call]), default=None)
        if expected is None:
            assert self.box.pop() is None
            return
        assert self.box.pop() == expected[:2]
        self.waiting.remove(expected)
        self.busy.add(expected[0].call)
        self.since[expected[0].call] = self.clock

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.busy)))
        self.busy.discard(call)
        self.box.done(call)

    @precondition(lambda self: len(self.gone) < 2)
    @rule(call=CALLS)
    def forget(self, call: str) -> None:
        self.gone.add(call)
        self.newest.pop(call, None)
        self.waiting = [w for w in self.waiting if w[0].call != call]
        self.box.forget(call)

    @invariant()
    def agrees(self) -> None:
        assert len(self.box) == len(self.waiting)
        assert set(self.box.calls()) == set(self.newest)
        for call in "abc":
            ticket = Ticket(call, 2)
            assert self.box.stale(ticket) == (
                call in self.gone or ticket < self.newest.get(call, ticket)
            )


TestAgainstAModel = AgainstAModel.TestCase
