"""/v1/sessions and /v1/callers: who sees which sessions, and what a broken store answers."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fake_sockets import PATIENCE_S, READY, FakeServer, serving
from websockets.asyncio.client import connect

from whisperfusion.gateway.sessions import Shelf
from whisperfusion.messages import ChatMessage, Timer
from whisperfusion.sessions import Pending, Session, Store, new_id, open_store, owner_of
from whisperfusion.settings import Settings

FAR = {"X-Forwarded-For": "192.0.2.7"}  # a client on another machine, by a trusted proxy
SPLIT = "half a character: \ud83d"


def settings_of(folder: Path, **fields: object) -> Settings:
    return Settings(http_port=0, model_cache_dir=str(folder), trusted_proxies="127.0.0.1", **fields)


def stored(settings: Settings) -> Store:
    store = open_store(settings)
    assert store is not None
    return store


def a_session(age_s: float = 0.0, **fields: object) -> Session:
    now = time.time() - age_s
    return Session(new_id(), now, now, **fields)


@asynccontextmanager
async def client_of(settings: Settings, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings, dict(READY)) as address:
        async with httpx.AsyncClient(
            base_url=address, headers=headers, timeout=PATIENCE_S
        ) as client:
            yield client


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error["code"]


async def test_a_session_is_listed_shown_exported_and_deleted(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    session = a_session(
        agent="cook",
        language="de",
        caller="anna",
        history=(ChatMessage("user", SPLIT), ChatMessage("assistant", "Hi.")),
        summary="a cake",
        timers=(Timer("t", "cake", 12.5),),
        pending=Pending("what", "it"),
        tool_state={"x": 1},
    )
    stored(settings).save(session)
    async with client_of(settings) as client:
        listed = (await client.get("/v1/sessions")).json()
        assert (listed["object"], listed["total"], listed["has_more"]) == ("list", 1, False)
        (row,) = listed["data"]
        assert row == {
            "id": session.id,
            "object": "session",
            "created_at": int(session.created),
            "updated_at": int(session.updated),
            "ended_at": None,
            "expires_at": int(session.updated + 300),
            "agent": "cook",
            "language": "de",
            "caller": "anna",
            "messages": 2,
        }
        shown = (await client.get(f"/v1/sessions/{session.id}")).json()
        assert shown.items() >= row.items()
        assert shown["history"][0] == {"role": "user", "text": SPLIT}
        assert (shown["summary"], shown["timers"][0]["text"]) == ("a cake", "cake")
        assert shown["pending"] == {"user": "what", "heard": "it"}
        file = await client.get(f"/v1/sessions/{session.id}/export")
        assert file.headers["content-disposition"] == (
            f'attachment; filename="session-{session.id}.json"'
        )
        assert file.headers["cache-control"] == "no-store"
        assert Session.from_json(file.text) == session
        deleted = await client.delete(f"/v1/sessions/{session.id}")
        assert deleted.json() == {"id": session.id, "object": "session.deleted", "deleted": True}
        for path in (session.id, f"{session.id}/export"):
            assert problem(await client.get(f"/v1/sessions/{path}"), 404) == "session_not_found"
        assert (
            problem(await client.delete(f"/v1/sessions/{session.id}"), 404) == "session_not_found"
        )
        assert (await client.get("/v1/sessions")).json()["data"] == []


async def test_lists_are_paged(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    sessions = [a_session(age) for age in range(5)]
    for session in sessions:
        stored(settings).save(session)
    async with client_of(settings) as client:
        page = (await client.get("/v1/sessions?limit=2&offset=2")).json()
        assert [one["id"] for one in page["data"]] == [one.id for one in sessions[2:4]]
        assert (page["total"], page["has_more"]) == (5, True)
        assert (await client.get("/v1/sessions?limit=2&offset=4")).json()["has_more"] is False
        for wrong in ("limit=0", "limit=101", "limit=x", "offset=-1", f"offset={10**30}"):
            problem(await client.get(f"/v1/sessions?{wrong}"), 400)


async def test_a_key_sees_what_was_made_with_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, shared_secret="one,two")
    store = stored(settings)
    first, second = (a_session(owner=owner_of(settings, number)) for number in (0, 1))
    for session in (first, second, a_session()):
        store.save(session)
    store.save_facts(first.owner, "anna", ("of one",))
    store.save_facts(second.owner, "anna", ("of two",))
    async with client_of(settings) as client:
        assert problem(await client.get("/v1/sessions"), 401) == "invalid_api_key"
        assert problem(await client.delete(f"/v1/sessions/{first.id}"), 401) == "invalid_api_key"
        for key, mine, other in (("one", first, second), ("two", second, first)):
            client.headers["Authorization"] = f"Bearer {key}"
            listed = (await client.get("/v1/sessions")).json()
            assert [one["id"] for one in listed["data"]] == [mine.id]
            assert listed["total"] == 1
            assert (await client.get(f"/v1/sessions/{mine.id}")).status_code == 200
            for ask in (
                client.get(f"/v1/sessions/{other.id}"),
                client.get(f"/v1/sessions/{other.id}/export"),
                client.delete(f"/v1/sessions/{other.id}"),
            ):
                assert problem(await ask, 404) == "session_not_found"
            known = (await client.get("/v1/callers/anna/facts")).json()
            assert known == {"object": "caller.facts", "caller": "anna", "facts": [f"of {key}"]}
        assert (await client.delete("/v1/callers/anna/facts")).json()["deleted"] is True
        assert (await client.delete("/v1/callers/anna/facts")).json()["deleted"] is False
        client.headers["Authorization"] = "Bearer one"
        assert (await client.get("/v1/callers/anna/facts")).json()["facts"] == ["of one"]


async def test_without_a_key_another_machine_needs_the_id(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, allow_open=True)
    session, keyed = a_session(), a_session(owner="key-of-another-time")
    for one in (session, keyed):
        stored(settings).save(one)
    stored(settings).save_facts("", "anna/b", ("x",))
    async with client_of(settings) as client:
        assert (await client.get("/v1/sessions")).json()["total"] == 2
        assert (await client.get(f"/v1/sessions/{keyed.id}")).status_code == 200
        assert (await client.get("/v1/callers/anna%2Fb/facts")).json()["facts"] == ["x"]
        client.headers.update(FAR)
        for path in ("/v1/sessions", "/v1/callers/anna%2Fb/facts"):
            assert problem(await client.get(path), 403) == "key_needed"
        assert problem(await client.delete("/v1/callers/anna/facts"), 403) == "key_needed"
        assert problem(await client.get(f"/v1/sessions/{keyed.id}"), 404) == "session_not_found"
        assert (await client.get(f"/v1/sessions/{session.id}")).status_code == 200
        assert (await client.delete(f"/v1/sessions/{session.id}")).status_code == 200


async def test_ids_and_callers_are_checked_before_the_store_is_asked(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with client_of(settings) as client:
        for id in ("x", "a" * 65, "%00" * 24, "-" * 32, "a" * 31 + "%E9", "..%2F" * 6):
            assert problem(await client.get(f"/v1/sessions/{id}"), 404) in (
                "session_not_found",
                "not_found",
            )
        for caller in ("a" * 201, "a%07b", "%ED%A0%80%00"):
            problem(await client.get(f"/v1/callers/{caller}/facts"), 400)
    assert not settings.state_dir.exists()


async def test_a_server_without_sessions_says_so(tmp_path: Path) -> None:
    async with client_of(settings_of(tmp_path, store_url="none")) as client:
        assert problem(await client.get("/v1/sessions"), 404) == "sessions_off"
        assert problem(await client.get(f"/v1/sessions/{new_id()}"), 404) == "sessions_off"


async def test_a_broken_store_is_told_and_told_when_to_come_back(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    settings.state_dir.mkdir()
    (settings.state_dir / "sessions.sqlite3").write_bytes(b"garbage" * 1000)
    async with client_of(settings) as client:
        answer = await client.get("/v1/sessions")
        assert problem(answer, 503) == "store_down"
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_store_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = settings_of(tmp_path, store_url=f"redis://127.0.0.1:{port}/0")
        async with client_of(settings) as client:
            assert problem(await client.get("/v1/sessions"), 503) == "store_down"


async def test_a_store_that_does_not_answer_does_not_block_the_loop(tmp_path: Path) -> None:
    shelf, answer = Shelf(settings_of(tmp_path)), threading.Event()
    asked = [
        asyncio.create_task(shelf.ask(lambda store: answer.wait(PATIENCE_S))) for _ in range(6)
    ]
    await asyncio.sleep(0)
    answer.set()  # which a blocked loop comes to only when all have waited in vain
    assert all(await asyncio.gather(*asked))


async def test_the_sockets_behind_the_gateway_get_the_clients_own_key() -> None:
    server = FakeServer()
    await server.start()
    settings = server.settings(shared_secret="one,two")
    seen: list[str] = []

    async def call_with(address: str, **way: object) -> None:
        number = len(server.calls)
        url = address.replace("http", "ws", 1) + "/v1/realtime"
        async with connect(url, **way) as client:
            await client.send(json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA"}))
            call = await server.call(number)
            seen.append(call.asr.request.headers["Authorization"])

    async with serving(settings, dict(READY)) as address:
        for key in ("two", "one"):
            await call_with(address, additional_headers={"Authorization": f"Bearer {key}"})
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
            answer = await http.post("/v1/realtime/client_secrets?token=two", json={})
        secret = answer.json()["value"]
        await call_with(address, additional_headers={"Authorization": f"Bearer {secret}"})
    await server.stop()
    assert seen == ["Bearer two", "Bearer one", "Bearer two"]
