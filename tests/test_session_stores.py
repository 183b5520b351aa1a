"""One contract over all stores of sessions: SQLite, and a real Redis server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis_server import RedisServer
from running import ROOT

from whisperfusion.messages import ChatMessage, Timer
from whisperfusion.sessions import Pending, Session, Store, new_id
from whisperfusion.sessions.redis import RedisStore
from whisperfusion.sessions.sqlite import SqliteStore

KEEP_S = 300.0
Opener = Callable[[], Store]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same, empty store as often as it is called, as each process does."""
    stores: list[Store] = []
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
        import redis

        redis.Redis.from_url(url).flushall()

    def open_one() -> Store:
        if request.param == "redis":
            stores.append(RedisStore(url, KEEP_S))
        else:
            stores.append(SqliteStore(tmp_path / "state" / "s.sqlite3", KEEP_S))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opener) -> Store:
    return opened()


def a_session(age_s: float = 0.0, **fields: object) -> Session:
    now = time.time() - age_s
    return replace(Session(id=new_id(), created=now, updated=now), **fields)


def test_a_session_comes_back_whole(store: Store, opened: Opener) -> None:
    session = a_session(
        owner="key-1",
        call="c1",
        agent="cook",
        language="de",
        caller="anna",
        history=(ChatMessage("user", "Grüß \ud800 dich \0"), ChatMessage("assistant", "Hi.")),
        summary="they said hello",
        timers=(Timer("t1", "eggs", 12.5),),
        tool_state={"search": [1, None, {"x": "y"}]},
        pending=Pending("what is", "it i"),
    )
    store.save(session)
    assert opened().load(session.id) == session
    ended = replace(session, history=(), pending=None, ended=session.updated)
    store.save(ended)
    assert opened().load(session.id) == ended
    assert store.load(new_id()) is None


def test_a_deleted_session_is_gone_and_its_call_does_not_bring_it_back(store: Store) -> None:
    session = a_session()
    assert not store.delete(session.id)
    store.save(session)
    assert store.delete(session.id)
    store.save(session)
    store.touch([session.id])
    assert store.load(session.id) is None
    assert (store.list(), store.count()) == ((), 0)
    assert not store.delete(session.id)


def test_expired_sessions_are_never_returned(store: Store) -> None:
    old, young = a_session(KEEP_S + 1), a_session(KEEP_S - 100)
    store.save(old)
    store.save(young)
    assert store.load(old.id) is None
    assert store.load(young.id) == young
    assert (store.list(), store.count()) == ((young,), 1)
    assert not store.delete(old.id)


def test_a_touch_makes_a_session_young(store: Store) -> None:
    session = a_session(KEEP_S - 100)
    store.save(session)
    before = time.time()
    store.touch([session.id, new_id()])
    found = store.load(session.id)
    assert found is not None and found.updated >= before - 0.001
    assert store.count() == 1
    assert [one.id for one in store.list()] == [session.id]


def test_lists_are_paged_by_owner_newest_first(store: Store) -> None:
    mine = [a_session(age, owner="a") for age in (1, 2, 3)]
    other = a_session(0, owner="b")
    for session in (mine[1], other, mine[2], mine[0]):
        store.save(session)
    assert store.list() == (other, *mine)
    assert (store.list("a"), store.count("a")) == (tuple(mine), 3)
    assert store.list("a", 1, 1) == (mine[1],)
    assert store.list("a", 3) == store.list("c") == ()
    assert store.count() == 4
    store.delete(mine[0].id)
    assert (store.list("a"), store.count("a")) == (tuple(mine[1:]), 2)


def test_facts_belong_to_an_owner_and_a_caller(store: Store, opened: Opener) -> None:
    store.save_facts("a", "anna", ("has a dog", "lives in Köln"))
    assert opened().facts("a", "anna") == ("has a dog", "lives in Köln")
    assert store.facts("b", "anna") == store.facts("a", "bert") == store.facts("aan", "na") == ()
    store.save_facts("a", "anna", ("has a cat",))
    assert store.facts("a", "anna") == ("has a cat",)
    assert store.delete_facts("a", "anna")
    assert not store.delete_facts("a", "anna")
    store.save_facts("a", "anna", ("x",))
    store.save_facts("a", "anna", ())
    assert store.facts("a", "anna") == ()


def test_purging_keeps_what_is_young(store: Store) -> None:
    young = a_session()
    store.save(young)
    store.save_facts("", "anna", ("x",))
    store.purge()
    assert store.load(young.id) == young
    assert store.facts("", "anna") == ("x",)


WRITER = """
import sys, time
from pathlib import Path
from whisperfusion.sessions import Session
from whisperfusion.sessions.redis import RedisStore
from whisperfusion.sessions.sqlite import SqliteStore

kind, place, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()  # all processes begin at once
store = SqliteStore(Path(place), 300) if kind == "sqlite" else RedisStore(place, 300)
for number in range(30):
    now = time.time()
    store.save(Session(f"{name}-{number}", now, now, owner="a"))
    store.save(Session("shared", now, now, owner="a", summary=name * 2000, agent=name))
    store.purge()
store.close()
"""


def test_processes_that_write_at_once_lose_nothing(
    opened: Opener, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kind = request.node.callspec.params["opened"]
    place = tmp_path / "state" / "s.sqlite3"
    if kind == "redis":
        place = request.getfixturevalue("redis_server").url
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, kind, str(place), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in "xy"
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0]
    store = opened()
    assert store.count("a") == 2 * 30 + 1
    shared = store.load("shared")
    assert shared is not None and shared.summary == shared.agent * 2000
