"""Stores that break and come back: garbage, a full disk, a folder that cannot be written, a Redis
that is killed, stopped or refuses the password. Each time the server goes on, with one line in its
log.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis_server import PASSWORD, QUOTED, RedisServer
from running import ROOT

from whisperfusion.errors import SettingsError
from whisperfusion.runtime.redaction import Redacting
from whisperfusion.sessions import Session, StoreError, new_id, open_store
from whisperfusion.sessions.guarded import RETRY_S, GuardedStore
from whisperfusion.sessions.redis import RedisStore
from whisperfusion.sessions.sqlite import SqliteStore
from whisperfusion.settings import Settings, build

KEEP_S = 300.0


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions.sqlite3"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def a_session(text: str = "") -> Session:
    return Session(new_id(), time.time(), time.time(), summary=text)


# --- SQLite -------------------------------------------------------------------------------------


def test_only_this_user_can_read_the_files(file: Path) -> None:
    old = os.umask(0)
    try:
        store = SqliteStore(file, KEEP_S)
        store.save(a_session())
        found = {one.name: stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()}
    finally:
        os.umask(old)
    assert found == dict.fromkeys((f"{file.name}{end}" for end in ("", "-wal", "-shm")), 0o600)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    store.close()
    file.chmod(0o644)
    store.save(a_session())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


OPENER = """
import sys, time
from pathlib import Path
from whisperfusion.sessions import Session, StoreError, new_id
from whisperfusion.sessions.sqlite import SqliteStore

print("ready", flush=True)
for line in sys.stdin:
    store = SqliteStore(Path(line.strip()), 300)
    try:
        store.save(Session(new_id(), time.time(), time.time()))
        print("saved", flush=True)
    except StoreError as error:
        print(error, flush=True)
    store.close()
"""


def test_processes_that_make_the_file_at_once_do_not_fail(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    openers = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
    try:
        assert [opener.stdout.readline() for opener in openers] == ["ready\n"] * 4
        for number in range(40):
            for opener in openers:
                opener.stdin.write(f"{tmp_path / str(number)}\n")
            for opener in openers:
                opener.stdin.flush()
            assert [opener.stdout.readline() for opener in openers] == ["saved\n"] * 4
            assert SqliteStore(tmp_path / str(number), KEEP_S).count() == 4
    finally:
        for opener in openers:
            opener.communicate(timeout=60)


def test_a_deleted_id_is_remembered_as_long_as_its_call_can_last(file: Path) -> None:
    now = Clock(time.time())
    store = SqliteStore(file, KEEP_S, longest_call_s=3600, clock=now)
    session = a_session()
    store.save(session)
    store.delete(session.id)
    store.touch([session.id])
    now.now += 3500
    store.purge()
    store.save(replace(session, updated=now()))
    assert store.count() == 0


def test_what_is_deleted_leaves_the_files_too(file: Path) -> None:
    now = Clock(time.time())
    store = SqliteStore(file, KEEP_S, clock=now)
    kept, deleted, expired = a_session("the kept one"), a_session("DELETED"), a_session("EXPIRED")
    store.save(replace(kept, updated=now() + 1000))
    store.save(deleted)
    store.save(expired)
    store.save_facts("", "anna", ("FORGOTTEN",))
    store.delete(deleted.id)
    store.delete_facts("", "anna")
    assert store.next_expiry() == expired.updated + KEEP_S
    now.now += KEEP_S + 1
    assert store.purge() == 1
    held = b"".join(one.read_bytes() for one in file.parent.iterdir())
    assert b"the kept one" in held
    assert not any(word in held for word in (b"DELETED", b"EXPIRED", b"FORGOTTEN"))
    now.now += 3600  # the deleted id is forgotten when its call must be over
    assert (store.purge(), store.next_expiry()) == (2, None)


@pytest.mark.parametrize(
    "garbage", [b"not a database " * 400, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_garbage_file_costs_the_sessions_alone_until_it_is_moved(
    file: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file.parent.mkdir()
    file.write_bytes(garbage)
    clock = Clock()
    store = GuardedStore(SqliteStore(file, KEEP_S), clock)
    session = a_session()
    for _ in range(5):
        with pytest.raises(StoreError, match="move the file away, and a new one is made"):
            store.save(session)
        clock.now += RETRY_S + 1
    assert file.read_bytes() == garbage
    file.rename(file.with_suffix(".old"))
    store.save(session)
    assert store.load(session.id) == session
    said = [one.getMessage() for one in caplog.records if one.name == "sessions"]
    assert len(said) == 2
    assert str(file) in said[0] and "not a database" in said[0]
    assert said[1] == "sessions are kept again"


def test_while_a_store_is_broken_most_requests_do_not_try_it(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"garbage" * 1000)
    clock = Clock()
    store = GuardedStore(SqliteStore(file, KEEP_S), clock)
    with pytest.raises(StoreError):
        store.count()
    file.unlink()
    with pytest.raises(StoreError):  # not tried
        store.count()
    assert not file.exists()
    clock.now += RETRY_S
    assert store.count() == 0


def test_a_file_that_is_deleted_under_the_server_is_made_again(file: Path) -> None:
    store, other = SqliteStore(file, KEEP_S), SqliteStore(file, KEEP_S)
    store.save(a_session())
    for one in file.parent.iterdir():
        one.unlink()
    session = a_session()
    store.save(session)
    assert other.load(session.id) == session


def test_a_file_of_a_newer_release_is_left_alone(file: Path) -> None:
    SqliteStore(file, KEEP_S).count()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="newer release"):
        SqliteStore(file, KEEP_S).count()


def test_a_damaged_record_is_left_out(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(file, KEEP_S)
    good, bad = a_session(), a_session("private words")
    store.save(good)
    store.save(bad)
    with sqlite3.connect(file) as db:
        db.execute("UPDATE sessions SET record = '{private words' WHERE id = ?", (bad.id,))
    assert store.load(bad.id) is None
    assert store.list() == (good,)
    assert "left out" in caplog.text and "private words" not in caplog.text


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from whisperfusion.sessions import Session, StoreError
from whisperfusion.sessions.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]), 300)
now = time.time()
store.save(Session("before", now, now))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    store.save(Session("large", now, now, summary="x" * 3_000_000))
except StoreError as error:
    print(error)
assert store.load("before") is not None
assert store.load("large") is None
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.save(Session("large", now, now, summary="x" * 3_000_000))
assert store.load("large") is not None
print("recovered")
"""


def test_a_full_disk_costs_only_what_does_not_fit(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    problem, recovered = done.stdout.splitlines()
    assert "make room there, or name another folder" in problem
    assert recovered == "recovered"


def test_a_folder_that_cannot_be_made_is_a_problem_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteStore(tmp_path / "state" / "sessions.sqlite3", KEEP_S).count()


def test_a_database_that_another_process_holds_is_a_problem_of_the_store(file: Path) -> None:
    store = SqliteStore(file, KEEP_S)
    store.count()
    with sqlite3.connect(file) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="it is tried again by itself"):
            store.save(a_session())
    store.save(a_session())
    assert store.count() == 1


def test_nothing_is_stored_where_nothing_may_be_kept(file: Path) -> None:
    store = SqliteStore(file, 0)
    store.save(a_session())
    assert not file.exists() and store.count() == 0


# --- Redis --------------------------------------------------------------------------------------


def test_a_redis_that_is_killed_and_started_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    clock = Clock()
    store = GuardedStore(RedisStore(server.url, KEEP_S), clock)
    session, later = a_session("kept"), a_session("written later")
    store.save(session)
    server.kill()
    for _ in range(3):
        with pytest.raises(StoreError):
            store.save(later)
        clock.now += RETRY_S + 1
    server.start()
    store.save(later)
    assert store.load(session.id) == session
    assert store.load(later.id) == later
    said = [one.getMessage() for one in caplog.records if one.name == "sessions"]
    assert len(said) == 2 and said[1] == "sessions are kept again"
    assert PASSWORD not in caplog.text and QUOTED not in caplog.text


def test_a_connection_that_a_new_redis_does_not_know_is_replaced(server: RedisServer) -> None:
    store = RedisStore(server.url, KEEP_S)
    session = a_session()
    store.save(session)
    server.kill()
    server.start()
    assert store.load(session.id) == session


def test_a_redis_that_does_not_answer_is_given_up(server: RedisServer) -> None:
    store = RedisStore(server.url, KEEP_S)
    store.count()
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreError):
            store.load(new_id())
    finally:
        server.signal(signal.SIGCONT)
    assert store.count() == 0


def test_a_wrong_password_is_not_told(server: RedisServer) -> None:
    store = RedisStore(server.url.replace(QUOTED, "wrong-" + QUOTED), KEEP_S)
    with pytest.raises(StoreError) as problem:
        store.count()
    assert "password" in str(problem.value).lower()
    assert "wrong" not in str(problem.value).replace("WRONGPASS", "")


def test_what_redis_keeps_expires_there(server: RedisServer) -> None:
    import redis

    store = RedisStore(server.url, KEEP_S, longest_call_s=60)
    session, deleted = a_session(), a_session()
    store.save(replace(session, owner="a"))
    store.save(deleted)
    store.delete(deleted.id)
    store.save_facts("a", "anna", ("x",))
    client = redis.Redis.from_url(server.url)
    lifetimes = {key: client.pttl(key) for key in client.keys("*")}
    assert len(lifetimes) >= 5
    assert all(0 < ms <= 366 * 86_400_000 for ms in lifetimes.values()), lifetimes
    assert all(key.startswith(b"whisperfusion:") for key in lifetimes)
    assert not any(b"anna" in key for key in lifetimes)
    assert client.hgetall(f"whisperfusion:session:{deleted.id}") == {b"deleted": b"1"}


# --- the setting --------------------------------------------------------------------------------


def test_the_setting_chooses_the_store(tmp_path: Path) -> None:
    assert open_store(Settings(store_url="none")) is None
    for url, file in (
        ("", tmp_path / "state" / "sessions.sqlite3"),
        (f"sqlite://{tmp_path}/other.db", tmp_path / "other.db"),
    ):
        store = open_store(Settings(store_url=url, model_cache_dir=str(tmp_path)))
        assert store is not None and not file.exists()  # opened at the first use
        store.save(a_session())
        assert file.exists()


@pytest.mark.parametrize(
    "url", ["mysql://host/db", f"redis://:{PASSWORD}@host:port/0", "redis://", "sqlite:relative"]
)
def test_a_url_that_cannot_be_used_ends_the_start_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="STORE_URL") as problem:
        build({"store_url": url}, {}, {})
    assert PASSWORD not in str(problem.value)


def test_the_password_of_the_store_is_kept_out_of_the_log() -> None:
    settings = Settings(store_url=f"redis://user:{QUOTED}@host/0")
    formatter = Redacting(logging.Formatter(), settings.server_keys)
    for text in (settings.store_url, f"auth {PASSWORD}"):
        line = formatter.format(logging.LogRecord("x", 20, "", 0, text, None, None))
        assert PASSWORD not in line and QUOTED not in line and "***" in line
