"""`main.py sessions`: what an operator sees and deletes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

import main
from whisperfusion.messages import ChatMessage, Timer
from whisperfusion.sessions import Pending, Session, new_id, owner_of
from whisperfusion.sessions.sqlite import SqliteStore
from whisperfusion.settings import Settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STORE_URL", f"sqlite://{tmp_path}/s.sqlite3")
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SHARED_SECRET", "one,two")
    return tmp_path / "s.sqlite3"


@pytest.fixture
def store(file: Path) -> SqliteStore:
    return SqliteStore(file, 300)


def a_session(**fields: object) -> Session:
    return Session(new_id(), time.time(), time.time(), **fields)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main.main(["sessions", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_help_names_every_action(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["sessions", "--help"])
    text = capsys.readouterr().out
    assert all(
        word in text for word in "list show export delete purge --caller --everything".split()
    )


def test_list_and_show(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys) == (0, "no sessions are kept\n", "")
    anna = a_session(
        agent="cook",
        caller="anna",
        owner="key-x",
        history=(ChatMessage("user", "Hello there."),),
        summary="a cake",
        timers=(Timer("t", "eggs", 0.0),),
        pending=Pending("and now?"),
    )
    ended = replace(a_session(), ended=1.0)
    store.save(anna)
    store.save(ended)
    status, out, _ = run(capsys, "list")
    assert status == 0 and anna.id in out and ended.id in out
    assert "open" in out and "ended" in out and "cook, anna" in out and "Hello" not in out
    status, out, _ = run(capsys, "show", anna.id)
    assert status == 0
    assert all(word in out for word in ("user: Hello there.", "a cake", "eggs", "and now?"))
    missing = new_id()
    status, out, err = run(capsys, "show", missing, anna.id)
    assert status == 1 and "Hello there." in out and missing in err


def test_export_is_json_and_whole(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    sessions = [a_session(caller="anna", history=(ChatMessage("user", "Grüße \ud800"),))]
    sessions += [a_session() for _ in range(120)]  # more than a page
    for session in sessions:
        store.save(session)
    status, out, _ = run(capsys, "export")
    found = {Session.from_json(json.dumps(one)).id for one in json.loads(out)}
    assert (status, found) == (0, {one.id for one in sessions})
    status, out, _ = run(capsys, "export", sessions[0].id)
    assert [Session.from_json(json.dumps(one)) for one in json.loads(out)] == sessions[:1]
    store.save_facts("", "anna", ("has a dog",))
    status, out, _ = run(capsys, "export", "--caller", "anna")
    session, facts = json.loads(out)
    assert session["id"] == sessions[0].id
    assert facts == {"caller": "anna", "facts": ["has a dog"]}


def test_delete_by_id_by_caller_and_all(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, anna, other = a_session(), a_session(), a_session(caller="anna"), a_session()
    for session in (one, two, anna, other):
        store.save(session)
    for number in (None, 1):
        owner = owner_of(Settings(shared_secret="one,two"), number)
        store.save_facts(owner, "anna", ("x",))
    assert run(capsys, "delete", one.id)[:2] == (0, f"{one.id}: deleted\n")
    status, out, _ = run(capsys, "delete", "--caller", "anna")
    assert (status, out.count("forgotten")) == (0, 2) and f"{anna.id}: deleted" in out
    assert {session.id for session in store.list()} == {two.id, other.id}
    assert run(capsys, "delete", one.id)[0] == 1
    assert run(capsys, "delete", "--everything")[0] == 0
    assert store.count() == 0


def test_purge_deletes_what_has_expired(
    file: Path, store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    SqliteStore(file, 10).save(replace(a_session(), updated=time.time() - 100))
    store.save(a_session())
    assert run(capsys, "purge") == (0, "deleted: 1\n", "")
    assert run(capsys, "purge") == (0, "deleted: 0\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        "show",
        "delete",
        "show x",
        "show -- -x",
        "purge --everything",
        "list --everything",
        "delete --everything --caller a",
    ],
)
def test_wrong_arguments_are_told(
    store: SqliteStore, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    status, out, err = run(capsys, *arguments.split())
    assert (status, out) == (2, "") and err.startswith("sessions ")


def test_a_broken_store_is_told_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(b"garbage" * 1000)
    status, out, err = run(capsys)
    assert (status, out, err.count("\n")) == (1, "", 1) and str(file) in err


def test_a_server_without_sessions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STORE_URL", "none")
    assert "STORE_URL=none" in run(capsys)[2]
