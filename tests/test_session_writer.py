"""The thread that writes sessions: only the newest record of each, and never in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pytest

from whisperfusion.sessions import Facts, Session, SessionWriter, StoreError

PATIENCE_S = 60.0  # bound of a test that fails


class ScriptedStore:
    """In memory. `gate` is cleared to hold the next request; `broken` lets it fail."""

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.changed = threading.Condition()
        self.broken = self.closed = False
        self.saved: list[Session] = []
        self.known: dict[tuple[str, str], Facts] = {}
        self.touched: list[tuple[str, ...]] = []
        self.purged = 0

    def _answer(self) -> None:
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if self.broken:
            raise StoreError("broken")

    def _tell(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def until(self, fact: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(fact, PATIENCE_S)

    def save(self, session: Session) -> None:
        self._answer()
        session.to_json()
        self.saved.append(session)
        self._tell()

    def save_facts(self, owner: str, caller: str, facts: Facts) -> None:
        self._answer()
        self.known[owner, caller] = facts
        self._tell()

    def touch(self, ids: Iterable[str]) -> None:
        self._answer()
        self.touched.append(tuple(ids))
        self._tell()

    def purge(self) -> int:
        self._answer()
        self.purged += 1
        self._tell()
        return 0

    def next_expiry(self) -> float | None:
        return None

    def close(self) -> None:
        self.closed = True


def record(id: str, updated: float = 0.0, **fields: object) -> Session:
    return Session(id, 0.0, updated, **fields)


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


def test_only_the_newest_record_of_each_session_is_written(store: ScriptedStore) -> None:
    writer = SessionWriter(store, 300)
    store.until(lambda: store.purged)
    store.gate.clear()
    store.entered.clear()
    writer.save(record("a", 1))
    assert store.entered.wait(PATIENCE_S)  # the thread waits for the store, and no caller does
    for updated in range(2, 50):
        writer.save(record("a", updated))
        writer.save(record("b", updated))
    store.gate.set()
    writer.close(PATIENCE_S)
    assert [(one.id, one.updated) for one in store.saved] == [("a", 1), ("a", 49), ("b", 49)]
    assert store.closed


def test_what_waits_is_written_before_the_stop(store: ScriptedStore) -> None:
    writer = SessionWriter(store, 300, remember_callers=True)
    for number in range(20):
        writer.save(record(str(number), ended=1.0))
    writer.save_facts("", "anna", ("x",))
    writer.close(PATIENCE_S)
    assert {one.id for one in store.saved} == {str(number) for number in range(20)}
    assert store.known == {("", "anna"): ("x",)}


def test_a_broken_store_gets_the_newest_record_when_it_is_back(store: ScriptedStore) -> None:
    writer = SessionWriter(store, 300, True, retry_s=0.05)
    store.until(lambda: store.purged)
    store.gate.clear()
    store.entered.clear()
    writer.save(record("a", 1))
    assert store.entered.wait(PATIENCE_S)
    writer.save(record("a", 2))  # while the first is on its way
    writer.save(record("b", 1))
    writer.save_facts("", "anna", ("x",))
    store.broken = True
    store.entered.clear()
    store.gate.set()
    assert store.entered.wait(PATIENCE_S)  # tried again
    store.broken = False
    store.until(lambda: {(one.id, one.updated) for one in store.saved} >= {("a", 2), ("b", 1)})
    store.until(lambda: store.known)
    writer.close(PATIENCE_S)
    assert [one.updated for one in store.saved if one.id == "a"][-1] == 2


def test_an_outage_is_noticed_and_its_end_too_while_nothing_is_written(
    store: ScriptedStore,
) -> None:
    writer = SessionWriter(store, 300, purge_s=0.02)
    assert writer.up
    for broken in (True, False):
        store.broken = broken
        until = time.monotonic() + PATIENCE_S
        while writer.up is broken and time.monotonic() < until:
            time.sleep(0.01)
        assert writer.up is not broken
    writer.close(PATIENCE_S)
    assert not store.saved


def test_a_store_that_stays_broken_does_not_hold_up_the_stop(store: ScriptedStore) -> None:
    store.broken = True
    writer = SessionWriter(store, 300)
    writer.save(record("a"))
    writer.close(PATIENCE_S)
    assert store.closed and not store.saved


def test_calls_that_go_on_are_kept_alive_until_they_end(store: ScriptedStore) -> None:
    writer = SessionWriter(store, 2)  # signs of life every 0.5 s
    writer.save(record("a"))
    writer.save(record("b"))
    store.until(lambda: any(sorted(ids) == ["a", "b"] for ids in store.touched))
    writer.save(record("a", ended=1.0))
    store.until(lambda: ("b",) in store.touched)
    writer.save(record("b", ended=1.0))
    writer.close(PATIENCE_S)


def test_facts_are_kept_only_where_the_setting_says_so(store: ScriptedStore) -> None:
    writer = SessionWriter(store, 300, remember_callers=False)
    writer.save_facts("", "anna", ("x",))
    writer.close(PATIENCE_S)
    remembering = SessionWriter(store, 300, remember_callers=True)
    remembering.save_facts("", "", ("x",))
    remembering.close(PATIENCE_S)
    assert store.known == {}


def test_a_record_that_is_not_json_costs_only_itself(
    store: ScriptedStore, caplog: pytest.LogCaptureFixture
) -> None:
    writer = SessionWriter(store, 300)
    writer.save(record("bad", tool_state={"search": object()}))
    writer.save(record("good"))
    writer.close(PATIENCE_S)
    assert [one.id for one in store.saved] == ["good"]
    assert "a session cannot be written" in caplog.text


def test_what_expired_while_the_server_was_down_is_purged_at_its_start(tmp_path) -> None:
    from whisperfusion.sessions.sqlite import SqliteStore

    now = time.time()
    file = tmp_path / "s.sqlite3"
    past = SqliteStore(file, 300, clock=lambda: now - 1000)
    past.save(Session("old", now - 1000, now - 1000, summary="a secret of long ago"))
    past.close()
    assert b"a secret of long ago" in file.read_bytes()
    SessionWriter(SqliteStore(file, 300), 300).close(PATIENCE_S)
    reopened = SessionWriter(SqliteStore(file, 300), 300)
    until = time.monotonic() + PATIENCE_S
    while b"a secret of long ago" in file.read_bytes() and time.monotonic() < until:
        time.sleep(0.01)
    reopened.close(PATIENCE_S)
    assert b"a secret of long ago" not in file.read_bytes()
