"""What is kept of a call, and how a later one goes on with it: one process, on a real store."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from test_field_sockets import Listening

from whisperfusion.call.caller import Caller
from whisperfusion.call.memory import TAKEN, CallMemory, Memory
from whisperfusion.call.timers import Timers
from whisperfusion.messages import (
    CancelTimer,
    ChatMessage,
    Commit,
    Generate,
    PlaybackProgress,
    Sentence,
    SetTimer,
    Stage,
    Summarize,
    Summarized,
    Ticket,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.sessions import Pending, Session, StoreError, owner_of
from whisperfusion.sessions.sqlite import SqliteStore
from whisperfusion.settings import Settings
from whisperfusion.turns import events
from whisperfusion.turns.announcements import INTERRUPTED, MOST_TOLD
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.options import Options
from whisperfusion.wire import asr_socket
from whisperfusion.wire.asr_handshake import parse_handshake

PATIENCE_S = 20.0  # bound of a test that fails
T = TypeVar("T")
ALICE = "key-of-alice-1234"
BOB = "key-of-bob-12345"


class Process:
    """A process of the recognizer, as far as the memory of its calls looks."""

    def __init__(self, file: Path, store: Any = SqliteStore, **settings: Any) -> None:
        self.settings = Settings(shared_secret=f"{ALICE},{BOB}", **settings)
        self.store = store(file, 300.0)
        self.to_model: list[object] = []
        self.memory = Memory(self.settings, self.store, self.to_model.append)
        self.calls = 0

    async def call(
        self, session: str = "", key: int | None = None, caller: str = "", **hello: Any
    ) -> Call:
        self.calls += 1
        name = f"{id(self)}-{self.calls}"
        memory = await self.memory.open(session, name, key, caller=caller)
        return Call(name, memory, session, **hello)

    def close(self) -> None:
        self.memory.close()


class Call:
    def __init__(self, name: str, memory: CallMemory, session: str, **hello: Any) -> None:
        self.memory = memory
        self.frames: list[dict[str, Any]] = []
        self.posted: list[object] = []
        self.ended: list[str] = []
        service = Listening()
        service.post = self.posted.append
        service.estimate_wait = lambda: None
        service.replied = lambda latency: None
        service.turn_lost = lambda message: None
        shake = parse_handshake(json.dumps({"uid": name, "events": True, **hello}))
        self.caller = Caller(
            name,
            "127.0.0.1",
            shake,
            service,
            lambda frame: self.frames.append(json.loads(frame)),
            memory=memory,
        )
        self.caller.on_ended = self.ended.append
        self.caller.open()

    def of(self, kind: type[T]) -> list[T]:
        return [one for one in self.posted if isinstance(one, kind)]

    @property
    def said(self) -> str:
        return " ".join(one.text for one in self.of(Sentence))

    @property
    def history(self) -> list[str]:
        return [one.text for one in self.caller.conversation.history]

    def ask(self, text: str) -> Ticket:
        self.caller.control(asr_socket.Say(text))
        return self.of(Generate)[-1].ticket

    def answer(self, ticket: Ticket, text: str, played_s: float = 1.0) -> None:
        self.caller.message(Sentence(ticket, 0, text, last=True))
        self.caller.message(PlaybackProgress(ticket, 0, 0.0, 1.0))
        self.caller.message(PlaybackProgress(ticket, 0, played_s, 1.0, last=played_s == 1.0))

    def end_reply(self) -> None:
        ticket = self.caller.conversation.reply_ticket
        assert ticket is not None
        self.caller.message(PlaybackProgress(ticket, 9, 0.0, 0.0, last=True))


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Processes of the same store."""
    made: list[Process] = []

    def one(**settings: Any) -> Process:
        made.append(Process(tmp_path / "state" / "s.sqlite3", **settings))
        return made[-1]

    yield one
    for process in made:
        process.close()


async def stored(process: Process, id: str, fits: Callable[[Session], object]) -> Session:
    """The record, when it is as it should become."""

    async def wait() -> Session:
        while True:
            found = await asyncio.to_thread(process.store.load, id)
            if found is not None and fits(found):
                return found
            await asyncio.sleep(0.005)

    return await asyncio.wait_for(wait(), PATIENCE_S)


async def test_a_call_in_which_nothing_is_said_leaves_nothing(new):
    process = new()
    call = await process.call()
    assert call.frames[0]["session"] == call.memory.session.id and "resumed" not in call.frames[0]
    call.caller.hang_up()
    process.memory.forget(call.memory)
    process.close()
    assert new().store.count() == 0


async def test_each_turn_is_kept_with_what_was_heard_of_its_reply(new):
    process = new()
    call = await process.call()
    id = call.memory.session.id
    ticket = call.ask("alpha")
    assert (await stored(process, id, lambda one: one.pending)).pending == Pending("alpha", "")
    call.answer(ticket, "Beta. Gamma.", 0.5)
    found = await stored(process, id, lambda one: one.pending and one.pending.heard)
    assert found.pending == Pending("alpha", "Beta.") and found.ended is None
    call.caller.message(PlaybackProgress(ticket, 0, 1.0, 1.0, last=True))
    found = await stored(process, id, lambda one: one.pending is None)
    assert [one.text for one in found.history] == ["alpha", "Beta. Gamma."]
    call.caller.hang_up()
    assert (await stored(process, id, lambda one: one.ended)).history == found.history


async def test_another_process_goes_on_with_all_of_it(new):
    first = new()
    call = await first.call()
    id = call.memory.session.id
    call.caller.message(SetTimer(Ticket("c", 1), "tea", "The tea is ready.", 0.4))
    call.caller.message(SetTimer(Ticket("c", 1), "gone", "Never.", 0.4))
    call.caller.message(CancelTimer(Ticket("c", 1), "gone"))
    call.caller.message(SetTimer(Ticket("c", 1), "late", "Much later.", 3600.0))
    call.caller._change(language="de")
    call.answer(call.ask("alpha"), "Beta.")
    kept = lambda one: one.history and one.pending is None and one.timers  # noqa: E731
    assert (await stored(first, id, kept)).language == "de"
    call.caller.timers.stop()  # as a process that was killed: it says nothing more
    second = new()
    again = await second.call(id)
    assert again.frames[0]["resumed"] is True and again.frames[0]["messages"] == 2
    assert "pending" not in again.frames[0] and again.frames[0]["session"] == id
    assert again.history == ["alpha", "Beta."]

    async def said() -> None:
        while not again.said:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(said(), PATIENCE_S)
    assert again.said == "The tea is ready." and again.caller.resumed
    assert [one.id for one in again.caller.timers.running] == ["late"]
    again.caller.hang_up()


TEA = "The tea is ready."


async def until_said(call: Call, text: str) -> None:
    async def wait() -> None:
        while text not in call.said:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), PATIENCE_S)


async def with_a_timer(process: Process, session: str = "") -> Call:
    """Its announcement has begun, and nothing of it was heard."""
    call = await process.call(session)
    call.caller.message(SetTimer(Ticket("c", 1), "tea", TEA, 0.0))
    await until_said(call, TEA)
    return call


def timers_of(record: Session) -> list[str]:
    return [one.id for one in record.timers]


async def test_a_timer_that_a_death_cuts_off_is_said_by_the_next_process(new):
    """Set and to come, in another test; here it was due: while it waits for the end of a reply,
    and while it is being said.
    """
    first = new()
    call = await first.call()
    id = call.memory.session.id
    ticket = call.ask("alpha")
    call.caller.message(Sentence(ticket, 0, "Beta.", last=True))
    call.caller.message(PlaybackProgress(ticket, 0, 0.0, 1.0))
    call.caller.message(SetTimer(Ticket("c", 1), "tea", TEA, 0.0))
    while call.caller.timers.running:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.3)  # a look at the record while a reply is played is put off so long
    assert TEA not in call.said
    assert timers_of(await stored(first, id, lambda one: one.timers)) == ["tea"]
    second = new()
    again = await second.call(id)
    assert again.said == INTERRUPTED.text
    again.end_reply()
    again.answer(again.of(Generate)[-1].ticket, "Beta.")
    await until_said(again, TEA)  # behind the reply that was taken up
    heard = again.caller.conversation.reply_ticket
    again.caller.message(PlaybackProgress(heard, 0, 0.9, 1.0))
    cut = await stored(second, id, lambda one: one.timers and one.timers[0].told)
    third = new()
    last = await third.call(id)
    await until_said(last, TEA)
    assert cut.timers[0].told == 1 and last.caller.timers.running == ()
    last.end_reply()
    assert (await stored(third, id, lambda one: not one.timers)).history[-1].text == TEA
    nothing = await new().call(id)
    await asyncio.sleep(0)
    assert nothing.said == "" and nothing.history[-1] == TEA


async def test_a_timer_goes_on_with_a_connection_that_takes_the_call_over(new):
    process = new()
    call = await with_a_timer(process)
    newer = await process.call(call.memory.session.id)
    await until_said(newer, TEA)
    newer.caller.control(asr_socket.Interrupt())  # on purpose: it has ended
    assert newer.memory.record().timers == ()


async def test_the_death_of_the_speaking_process_alone_says_a_timer_again(new):
    call = await with_a_timer(new())
    call.caller.message(
        PlaybackProgress(call.caller.conversation.reply_ticket, 0, 0.9, 1.0)  # of 1 s
    )
    call.caller.stage(Stage("tts", "down"))
    assert call.said == f"{TEA} {TEA}"
    call.end_reply()
    assert call.said == f"{TEA} {TEA}" and call.memory.record().timers == ()


async def test_a_timer_that_may_be_what_kills_is_not_said_for_ever(new):
    call = await with_a_timer(new())
    for _ in range(5):
        call.caller.stage(Stage("tts", "down"))
    assert call.said.count(TEA) == MOST_TOLD and call.memory.record().timers == ()
    process = new()
    call = await with_a_timer(process)
    session = call.memory.session.id
    for told in range(1, MOST_TOLD):
        await stored(
            process, session, lambda one, told=told: [told] == [t.told for t in one.timers]
        )
        process = new()
        await until_said(call := await process.call(session), TEA)
    await stored(process, session, lambda one: not one.timers)
    last = await new().call(session)
    assert last.said == "" and last.caller.timers.running == () and call.said == TEA


async def test_a_summary_goes_on_as_well(new):
    first = new()
    call = await first.call()
    lines = [ChatMessage(role, "x" * 250) for _ in range(10) for role in ("user", "assistant")]
    call.caller.control(asr_socket.History(tuple(lines)))
    (asked,) = call.of(Summarize)
    call.caller.message(Summarized(asked.ticket, asked.count, "They met."))
    await stored(first, call.memory.session.id, lambda one: one.summary)
    again = await new().call(call.memory.session.id)
    again.ask("And now?")
    assert again.of(Generate)[0].history[0].text.endswith("They met.")


async def test_a_reply_that_was_lost_is_taken_up_once(new):
    first = new()
    call = await first.call()
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta. Gamma.", 0.5)
    await stored(first, id, lambda one: one.pending and one.pending.heard)
    second = new()
    again = await second.call(id)
    assert again.frames[0]["pending"] is True and again.said == INTERRUPTED.text
    again.end_reply()
    (generate,) = again.of(Generate)
    assert generate.history[-1] == ChatMessage("user", "alpha")
    await stored(second, id, lambda one: one.pending is None)
    third = await new().call(id)  # the second died, too, while it replied
    assert "pending" not in third.frames[0] and third.said == "" and third.history == ["alpha"]


async def test_where_replies_are_asked_for_the_client_is_told_and_decides(new):
    first = new()
    call = await first.call()
    call.ask("alpha")
    await stored(first, call.memory.session.id, lambda one: one.pending)
    again = await new().call(call.memory.session.id, answers="asked")
    assert again.frames[0]["pending"] is True and again.said == ""


async def test_a_call_that_was_cut_off_is_gone_on_with_at_once(new):
    """What it kept last may not be written yet."""
    process = new()
    for number in range(20):
        call = await process.call()
        call.answer(call.ask(f"alpha {number}"), "Beta.")
        call.caller.hang_up()
        process.memory.forget(call.memory)
        again = await process.call(call.memory.session.id)
        assert again.history == [f"alpha {number}", "Beta."]
        again.caller.hang_up()
        process.memory.forget(again.memory)


async def test_a_newer_connection_takes_a_live_one_over(new):
    process = new()
    call = await process.call()
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta.")
    newer = await process.call(id)
    assert call.ended == [TAKEN] and newer.history == ["alpha", "Beta."]
    assert {"type": "ended", "reason": TAKEN}.items() <= call.frames[-1].items()
    call.ask("too late")
    call.caller.hang_up()
    process.memory.forget(call.memory)
    newer.answer(newer.ask("gamma"), "Delta.")
    found = await stored(process, id, lambda one: len(one.history) == 4)
    assert found.ended is None and found.history[-2].text == "gamma"
    newest = await process.call(id)
    assert newer.ended == [TAKEN] and len(newest.history) == 4


async def test_a_newer_connection_at_another_server_takes_a_live_one_over(new):
    here, there = new(), new()
    call = await here.call()
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta.")
    await stored(here, id, lambda one: len(one.history) == 2)
    newer = await there.call(id)
    await stored(there, id, lambda one: one.call == newer.caller.call)
    call.ask("is anybody there")

    async def told() -> None:
        while not call.ended:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(told(), PATIENCE_S)
    newer.answer(newer.ask("gamma"), "Delta.")
    found = await stored(there, id, lambda one: len(one.history) == 4)
    assert [one.text for one in found.history] == ["alpha", "Beta.", "gamma", "Delta."]
    back = await here.call(id)  # and back again
    assert back.memory.resumed and len(back.history) == 4
    back.answer(back.ask("epsilon"), "Zeta.")
    await stored(here, id, lambda one: len(one.history) == 6)


async def test_two_that_come_at_once_leave_one(new):
    first = new()
    call = await first.call()
    call.answer(call.ask("alpha"), "Beta.")
    await stored(first, call.memory.session.id, lambda one: one.history)
    process = new()
    both = await asyncio.gather(*(process.call(call.memory.session.id) for _ in range(2)))
    assert sorted(len(one.ended) for one in both) == [0, 1]
    assert all(one.memory.resumed for one in both)


async def test_one_that_is_taken_over_twice_before_the_store_knows(new):
    """The second of three calls never came to be written."""
    first = new()
    call = await first.call()
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta.")
    await stored(first, id, lambda one: len(one.history) == 2 and one.pending is None)

    class Held(SqliteStore):
        gate = threading.Event()

        def save(self, session: Session) -> None:
            assert self.gate.wait(PATIENCE_S)
            super().save(session)

    process = new(store=Held)
    other = await process.call()
    other.ask("hold the writer")
    second = await process.call(id)
    third = await process.call(id)
    Held.gate.set()
    third.answer(third.ask("gamma"), "Delta.")
    found = await stored(process, id, lambda one: len(one.history) == 4)
    assert second.ended == [TAKEN] and third.ended == [] and found.call == third.caller.call


@pytest.mark.parametrize("asked", ["x" * 32, "x", "../../etc/passwd", "\u00e9" * 30, "a b"])
async def test_an_unknown_session_starts_anew_and_says_so(new, asked):
    call = await new().call(asked, history=[{"role": "user", "text": "hi"}])
    assert call.frames[0]["resumed"] is False and call.frames[0]["session"] != asked
    assert "messages" not in call.frames[0] and call.history == ["hi"]


async def test_a_session_that_has_expired_starts_anew(new):
    process = new(resume_s=0.05)
    call = await process.call()
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta.")
    call.caller.hang_up()
    process.memory.forget(call.memory)
    ended = await stored(process, id, lambda one: one.ended)
    while time.time() <= ended.updated + 0.05:
        await asyncio.sleep(0.01)
    assert (await process.call(id)).memory.resumed is False


async def test_a_session_of_another_key_is_not_told(new):
    process = new()
    call = await process.call(key=0)
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta.")
    assert (await process.call(id, key=1)).memory.resumed is False  # while it is live
    assert call.ended == []
    call.caller.hang_up()
    process.memory.forget(call.memory)
    await stored(process, id, lambda one: one.ended)
    for key in (1, None):
        assert (await process.call(id, key=key)).memory.resumed is False
    assert (await process.call(id, key=0)).memory.resumed is True
    assert call.memory.session.owner == owner_of(process.settings, 0) != ""


async def test_a_deleted_session_stays_deleted(new):
    process = new()
    call = await process.call()
    id = call.memory.session.id
    call.answer(call.ask("alpha"), "Beta.")
    await stored(process, id, lambda one: one.history)
    call.caller.hang_up()
    process.memory.forget(call.memory)
    await stored(process, id, lambda one: one.ended)
    process.store.delete(id)
    assert (await process.call(id)).memory.resumed is False


async def test_a_store_that_fails_costs_the_memory_and_nothing_else(new):
    class Broken(SqliteStore):
        def load(self, id: str) -> Session | None:
            raise StoreError("broken")

    process = new()
    process.store = process.memory._store = Broken(Path("/nowhere/s.sqlite3"), 300.0)
    call = await process.call("x" * 32)
    assert call.frames[0]["resumed"] is False
    call.answer(call.ask("alpha"), "Beta.")
    assert call.of(Commit)
    call.caller.hang_up()


class LongReply:
    """A conversation as its memory sees it, in which what was heard is expensive to find."""

    history, summary, tools_used, unsaid = (), "", (), ()
    options = SimpleNamespace(language="en")
    reply_ticket: Ticket | None = Ticket("a", 1, 1)

    def __init__(self) -> None:
        self.heard, self.looks = 0, 0

    @property
    def unfinished(self) -> tuple[str, str] | None:
        self.looks += 1
        return ("Tell me all.", "word " * self.heard) if self.reply_ticket else None


async def test_a_long_reply_is_looked_at_seldom_and_to_its_end():
    saved: list[Session] = []
    memory = CallMemory(Session("s", 0.0, 0.0), None, saved.append)
    reply = LongReply()
    memory.start(reply, Timers(print))  # type: ignore[arg-type]
    for _ in range(1000):
        reply.heard += 1
        memory.keep()
    assert reply.looks < 100

    async def kept() -> None:
        while not (saved and saved[-1].pending == Pending("Tell me all.", "word " * 1000)):
            await asyncio.sleep(0.005)

    await asyncio.wait_for(kept(), PATIENCE_S)
    reply.reply_ticket = None  # its end is kept at once
    memory.keep()
    assert saved[-1].pending is None
    memory.end()


async def test_a_call_that_goes_on_elsewhere_is_not_read_for_facts(new):
    one, other = new(remember_callers=True), new(remember_callers=True)
    call = await one.call(caller="anna")
    call.answer(call.ask("alpha"), "beta")
    id = call.memory.session.id
    await stored(one, id, lambda found: len(found.history) == 2)
    again = await other.call(id)
    again.answer(again.ask("gamma"), "delta")
    await stored(other, id, lambda found: len(found.history) == 4)
    call.ask("am I alone")  # its next record shows that it is not

    async def told() -> None:
        while not call.ended:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(told(), PATIENCE_S)
    call.caller.hang_up()
    one.memory.forget(call.memory)
    assert not one.to_model
    again.caller.hang_up()
    other.memory.forget(again.memory)
    assert len(other.to_model) == 1


def test_tools_of_a_reply_that_is_not_finished_are_kept():
    conversation, kept = (
        Conversation("a", Options("Be nice.")),
        CallMemory(Session("s", 0.0, 0.0), None, lambda record: None),
    )
    kept.start(conversation, Timers(print))
    conversation.receive(events.TextTyped("set a timer"), 1.0)
    ticket = conversation.reply_ticket
    assert ticket is not None
    conversation.receive(ToolStarted(ticket, "1", "set_timer", "{}"), 1.1)
    conversation.receive(ToolFinished(ticket, "1", "It is set.", False), 1.2)
    record = kept.record()
    assert record.pending == Pending("set a timer", "")
    assert [one.role for one in record.history] == ["user", "call", "result"]
    conversation.receive(Sentence(ticket, 0, "It is set.", last=True), 1.3)
    conversation.receive(PlaybackProgress(ticket, 0, 1.0, 1.0, last=True), 2.3)
    record = kept.record()
    assert [one.role for one in record.history] == ["user", "call", "result", "assistant"]
