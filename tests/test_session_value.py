"""A session as a value: its record in JSON, ids, and the question who may go on with it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.messages import ChatMessage, Timer
from whisperfusion.runtime.devices import DEVICE
from whisperfusion.sessions import (
    BadRecord,
    Pending,
    Session,
    is_caller,
    is_id,
    may_resume,
    new_id,
    owner_of,
)
from whisperfusion.sessions.session import FIELDS
from whisperfusion.settings import Settings

TEXT = st.text(st.characters(codec=None), max_size=20)  # halves of characters too
TIME = st.floats(0, 4e9, allow_nan=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SESSIONS = st.builds(
    Session,
    id=TEXT,
    created=TIME,
    updated=TIME,
    owner=TEXT,
    call=TEXT,
    agent=TEXT,
    language=TEXT,
    caller=TEXT,
    history=st.lists(st.builds(ChatMessage, TEXT, TEXT), max_size=3).map(tuple),
    summary=TEXT,
    timers=st.lists(st.builds(Timer, TEXT, TEXT, TIME, st.integers(0, 9)), max_size=2).map(tuple),
    tool_state=st.dictionaries(TEXT, JSON, max_size=3),
    pending=st.none() | st.builds(Pending, TEXT, TEXT),
    ended=st.none() | TIME,
    version=st.integers(1, 9),
    unknown=st.dictionaries(TEXT.filter(lambda name: name not in FIELDS), JSON, max_size=2),
)


@given(SESSIONS)
def test_a_record_comes_back_as_it_was(session: Session) -> None:
    record = session.to_json()
    assert record.isascii() and "\n" not in record
    assert Session.from_json(record) == session


def test_fields_of_a_newer_release_are_kept() -> None:
    record = json.loads(Session("x", 1.0, 2.0, history=(ChatMessage("user", "hi"),)).to_json())
    record |= {"version": 7, "mood": {"good": True}}
    record["history"][0]["heard_at"] = 12
    old = Session.from_json(json.dumps(record))
    assert old.history == (ChatMessage("user", "hi"),)
    again = json.loads(replace(old, summary="later").to_json())
    assert (again["version"], again["mood"], again["summary"]) == (7, {"good": True}, "later")


def test_fields_that_an_older_release_did_not_have_get_defaults() -> None:
    assert Session.from_json('{"id": "x", "created": 1, "updated": 2}') == Session("x", 1.0, 2.0)


@given(st.text(max_size=30) | JSON.map(json.dumps) | st.binary(max_size=30))
def test_no_text_does_more_than_be_refused(text: str | bytes) -> None:
    with pytest.raises(BadRecord):
        Session.from_json(text)


@given(st.sampled_from(sorted(FIELDS)), JSON)
def test_a_field_of_another_type_is_refused_or_read(name: str, value: object) -> None:
    record = {"id": "x", "created": 1, "updated": 2, name: value}
    try:
        session = Session.from_json(json.dumps(record))
    except BadRecord as error:
        assert "the field" in str(error)  # this one, or one inside it
    else:
        assert Session.from_json(session.to_json()) == session


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"id": "x", "created": 1, "updated": 1' + "0" * 5000 + "}",
        '{"id": "x", "created": NaN, "updated": 2}',
        '{"id": "x", "created": 1e999, "updated": 2}',
        '{"id": "x", "created": 1, "updated": 2, "history": [1]}',
        '{"id": "x", "created": 1, "updated": 2, "history": [{"role": "user"}]}',
        '{"id": "x", "created": 1, "updated": 2, "pending": {"heard": ""}}',
    ],
)
def test_bad_records(text: str) -> None:
    with pytest.raises(BadRecord):
        Session.from_json(text)


def test_ids_are_unguessable_and_their_form_is_checked() -> None:
    ids = {new_id() for _ in range(2000)}
    assert len(ids) == 2000 and all(map(is_id, ids))
    assert not any(id.startswith("-") for id in ids)
    good = new_id()
    for bad in ("", "abc", good + "/", good[:-1] + "é", good + "\n", "a" * 65, "-" + good, None, 7):
        assert not is_id(bad), bad


def test_identities_are_printable_and_of_bounded_length() -> None:
    assert all(map(is_caller, ("anna", "+49 30 1234", "Jürgen <j@example.org>", "a" * 200)))
    assert not any(map(is_caller, ("", "a" * 201, "a\nb", "\ud800", "\0", None, 3)))


def test_only_the_same_owner_may_go_on_and_only_in_time() -> None:
    session = Session("x", 0.0, 100.0, owner="key-1")
    assert may_resume(session, "key-1", 400.0, 300.0)
    assert not may_resume(session, "key-1", 400.1, 300.0)
    assert not may_resume(session, "key-2", 101.0, 300.0)
    assert not may_resume(session, "", 101.0, 300.0)


def test_an_owner_is_a_key_and_not_its_position() -> None:
    before, after = Settings(shared_secret="one,two"), Settings(shared_secret="two")
    assert owner_of(before, 1) == owner_of(after, 0) != owner_of(before, 0)
    assert "two" not in owner_of(after, 0)
    assert owner_of(after, None) == ""
    assert owner_of(after, DEVICE + 255) == "device-ff"
