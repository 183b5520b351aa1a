"""Batches without a server: the table of states, hostile input, results on disk, and the runner
over requests that a test answers itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from whisperfusion.gateway.batches import input as batch_input
from whisperfusion.gateway.batches import lines, sources, state, store
from whisperfusion.gateway.batches.attempts import MOST_TRIES
from whisperfusion.gateway.batches.ledger import Ledger
from whisperfusion.gateway.batches.rotation import Rotation
from whisperfusion.gateway.batches.runner import Pace, Runner, route_of
from whisperfusion.gateway.batches.state import Batch
from whisperfusion.gateway.batches.store import Store
from whisperfusion.runtime.rate_limits import TooMany
from whisperfusion.wire.openai_rest import ApiError

SPEECH = "/v1/audio/speech"
PATIENCE_S = 40.0
AT_ONCE = Pace(look_s=0, busy_s=0, down_s=0, disk_s=0, house_s=0.01)


def line(custom_id: Any = "a", url: str = SPEECH, **fields: Any) -> bytes:
    body = {"custom_id": custom_id, "method": "POST", "url": url, "body": {"input": "hi"}}
    return json.dumps({**body, **fields}).encode() + b"\n"


# --- states -------------------------------------------------------------------------------------


def batch_of(owner: str = "", id: str = "batch_1", created: float = 100.0, **fields: Any) -> Batch:
    return Batch(id, owner, SPEECH, "file-1", int(created), **fields)


EVENTS = {
    "validated": state.Validated(3),
    "rejected": state.Rejected((state.BatchError("empty_file", "why"),)),
    "done": state.Done(),
    "cancel": state.Cancel(),
    "published": state.Published("file-o", None, state.Counts(3, 2, 1)),
}


@pytest.mark.parametrize(
    ("events", "status", "at"),
    [
        ("validated done published", "completed", 202),
        ("validated published", "expired", 201),
        ("validated cancel published", "cancelled", 202),
        ("cancel published", "cancelled", 201),
        ("rejected", "failed", 200),
        ("validated done cancel", "finalizing", 201),
    ],
)
def test_every_way_of_a_batch_ends_and_has_its_times(events, status, at):
    batch = batch_of()
    for now, name in enumerate(events.split(), 200):
        batch = state.receive(batch, EVENTS[name], now)
    assert (batch.status, batch.times[f"{status}_at"]) == (status, at)
    shown = state.body(batch)
    assert shown[f"{status}_at"] == batch.times[f"{status}_at"] and shown["expires_at"] == 86_500
    assert state.from_record(json.loads(json.dumps(state.to_record(batch)))) == batch
    if status in state.ENDED:
        assert all(state.receive(batch, event, 999) == batch for event in EVENTS.values())


def test_owners_take_turns_and_their_batches_come_in_order():
    rotation = Rotation()
    waiting = [batch_of("a", f"a{n}", n) for n in range(2)] + [batch_of("b", "b", 9)]
    assert [rotation.choose(waiting).id for _ in range(4)] == ["a0", "b", "a0", "b"]
    assert [rotation.choose(waiting[1:]).id for _ in range(2)] == ["a1", "b"]
    assert rotation.choose([]) is None


# --- what clients write -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"not json\n", "invalid_json_line"),
        (b"[1, 2]\n", "invalid_json_line"),
        (b"null\n", "invalid_json_line"),
        (b"\x00\xff\xfe\x80RIFF\n", "invalid_json_line"),
        (b'{"custom_id": ' + b"[" * 100_000 + b"\n", "invalid_json_line"),
        (line("first"), "duplicate_custom_id"),
        (line(7), "invalid_custom_id"),
        (line(""), "invalid_custom_id"),
        (line("x" * 513), "invalid_custom_id"),
        (line("b", method="GET"), "invalid_method"),
        (line("b", url="/v1/audio/transcriptions"), "invalid_url"),
        (line("b", url="/v1/chat/completions"), "invalid_url"),
        (line("b", body=[]), "invalid_body"),
        (line("b", body=None), "missing_required_parameter"),
        (b"{}\n", "missing_required_parameter"),
        (b"x" * (lines.LINE_BYTES + 5) + b"\n" + line("c"), "line_too_long"),
    ],
)
def test_a_bad_line_is_named(tmp_path, bad, code):
    path = tmp_path / "input"
    path.write_bytes(line("first") + b"\n" + bad)
    (error,) = batch_input.scan(path, SPEECH).errors
    assert (error.code, error.line) == (code, 3) and error.message


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b" \n\r\n", "empty_file"),
        (b"".join(line(str(n)) for n in range(4)), "too_many_requests"),
    ],
)
def test_an_input_as_a_whole_is_refused(tmp_path, monkeypatch, content, code):
    monkeypatch.setattr(batch_input, "MOST_LINES", 3)
    path = tmp_path / "input"
    path.write_bytes(content)
    (error,) = batch_input.scan(path, SPEECH).errors
    assert (error.code, error.line) == (code, None)


def test_only_so_many_errors_are_listed_and_each_line_is_found_again(tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"?\n" * 500)
    assert len(batch_input.scan(path, SPEECH).errors) == lines.MOST_ERRORS
    named = {"file": "file-abc", "model": "whisper-1"}
    path.write_bytes(lines.BYTE_ORDER_MARK + line("a\ud800") + b"\r\n" + line("b", body=named)[:-1])
    found = batch_input.scan(path, SPEECH)
    assert not found.errors and found.files == {"file-abc"}
    read = [batch_input.read(path, one, SPEECH) for one in found.lines]
    assert [(one.number, one.custom_id) for one in read] == [(1, "a\ud800"), (3, "b")]
    assert read[1].body == named
    assert json.loads(lines.answered("batch_req_1", "a\ud800", 200, {}))["custom_id"] == "a\ud800"


@pytest.mark.parametrize(
    ("body", "audio"),
    [
        ({"file": "file-1"}, "file-1"),
        ({"file_id": "file-1", "url": None}, "file-1"),
        ({"file": "data:audio/wav;base64,QUJD"}, b"ABC"),
        ({"file": "QUJD"}, b"ABC"),
        ({"url": "data:;base64,QUJD"}, b"ABC"),
        ({"file_url": "DATA:audio/mp3;BASE64,QUJD"}, b"ABC"),
    ],
)
def test_audio_comes_in_every_form_that_clients_use(body, audio):
    assert sources.audio_of(body) == audio


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "0 of file"),
        ({"file": "QUJD", "url": "QUJD"}, "2 of file"),
        ({"file": {"id": "file-1"}}, "send text"),
        ({"file_id": "QUJD"}, "id of an uploaded file"),
        ({"url": "https://example.org/a.mp3"}, "fetches none"),
        ({"file": "data:text/plain,hello"}, "base64"),
        ({"file": "question.wav"}, "base64"),
        ({"url": "file-1"}, "base64"),
    ],
)
def test_audio_that_cannot_be_had_is_explained(body, words):
    with pytest.raises(ApiError, match=words):
        sources.audio_of(body)


def test_fields_are_those_of_a_form_and_a_batch_is_no_call():
    body = {
        "file": "QUJD",
        "temperature": 0.5,
        "stream": False,
        "timestamp_granularities": ["word", "segment"],
        "prompt": None,
    }
    grain = "timestamp_granularities"
    expected = [("temperature", "0.5"), ("stream", "false"), (grain, "word"), (grain, "segment")]
    assert sources.fields_of(body) == expected
    for bad in ({"stream": True}, {"live": "final"}, {"prompt": {}}, {"keywords": [[]]}):
        with pytest.raises(ApiError):
            sources.fields_of(bad)
    with pytest.raises(ApiError, match="allowed: 64"):
        sources.fields_of({"keywords": ["a"] * 65})
    assert route_of("/v1/audio/speech", "/api") == route_of("/api/audio/speech", "/api")
    assert route_of("/v1/chat/completions", "/v1") is None


# --- results on disk ----------------------------------------------------------------------------


def test_half_a_line_is_cut_off_and_no_result_is_written_twice(tmp_path):
    ledger = Ledger(tmp_path)
    for number, failed in enumerate((False, True, False)):
        ledger.append(str(number), lines.answered("id", str(number), 200, {"n": number}), failed)
    ledger.append("0", lines.answered("id", "0", 500, {}), True)
    ledger.start(7)
    ledger.start(7)
    ledger.interrupted(7)
    size, output = ledger.size, tmp_path / "output.jsonl"
    with open(output, "ab") as file:
        file.write(lines.answered("id", "3", 200, {})[:-9])
    again = Ledger(tmp_path)
    again.load()
    assert (again.done, again.size) == ({"0", "1", "2"}, size)
    assert again.counts(5) == state.Counts(5, 2, 1) and again.tried(7) == 1
    again.append("3", lines.answered("id", "3", 200, {}), False)
    ids = [json.loads(one)["custom_id"] for one in output.read_bytes().splitlines()]
    assert ids == ["0", "2", "3"]


class Clock:
    now = 1_000_000.0  # Unix seconds

    def __call__(self) -> float:
        return self.now


def stored(folder: Path, clock: Any = time.time) -> Store:
    kept = Store(folder / "batches", clock)
    kept.open()
    return kept


def uploaded(kept: Store, content: bytes, owner: str = "", purpose: str = "batch") -> str:
    return kept.add_file(io.BytesIO(content), "in.jsonl", purpose, owner, state.DAY_S).id


def test_files_and_batches_expire_and_leave_nothing(tmp_path):
    clock = Clock()
    kept = stored(tmp_path, clock)
    id = uploaded(kept, line())
    batch = batch_of(created=clock.now)
    kept.add_batch(Batch(batch.id, "", SPEECH, id, batch.created_at))
    kept.delete_file(id)
    assert kept.file(id) is None and kept.input(batch.id).read_bytes() == line()
    kept.ledger(batch.id).append("a", lines.answered("i", "a", 200, {}), False)
    kept.save(state.receive(kept.batch(batch.id), state.Validated(1), clock.now))
    kept.save(state.receive(kept.batch(batch.id), state.Done(), clock.now))
    published = kept.publish(kept.batch(batch.id))
    # as if the process had been killed before the batch was saved: done again, one file
    assert kept.publish(kept.batch(batch.id)) == published and len(kept.files()) == 1
    kept.save(state.receive(kept.batch(batch.id), published, clock.now))
    kept.clear(batch.id)
    assert b'"custom_id": "a"' in kept.content(published.output_file_id).read_bytes()
    (kept.folder / "files" / "file-orphan.bin").write_bytes(b"killed before it was described")
    kept.close()
    clock.now += state.DAY_S - 1
    again = stored(tmp_path, clock)
    assert [file.id for file in again.files()] == [published.output_file_id]
    assert again.batch(batch.id).status == "completed"
    assert not (again.folder / "files" / "file-orphan.bin").exists()
    clock.now += 2
    again.sweep()
    assert not again.files() and not again.batches()
    assert [path.name for path in again.folder.rglob("*") if path.is_file()] == ["lock"]


def test_limits_of_disk_files_and_batches(tmp_path, monkeypatch):
    kept = stored(tmp_path)
    id = uploaded(kept, line() * 3, "key")
    monkeypatch.setattr(store, "TOTAL_BYTES", len(line()) * 8)
    uploaded(kept, line() * 3, "key")
    with pytest.raises(ApiError, match="may have") as full:  # three quarters are one key's
        uploaded(kept, line(), "key")
    assert (full.value.status, full.value.code) == (507, "storage_full")
    uploaded(kept, line() * 2, "other")
    with pytest.raises(ApiError, match="may have"):
        uploaded(kept, line(), "third")
    monkeypatch.setattr(store, "MOST_ACTIVE", 1)
    kept.add_batch(Batch("batch_1", "key", SPEECH, id, 1))
    with pytest.raises(ApiError, match="1 batches of one key"):
        kept.add_batch(Batch("batch_2", "key", SPEECH, id, 1))
    monkeypatch.setattr(store, "TOTAL_BYTES", 10**9)
    monkeypatch.setattr(store, "MOST_FILES", 2)
    with pytest.raises(ApiError, match="2 files"):
        uploaded(kept, line(), "key")
    monkeypatch.setattr(store, "SPARE_BYTES", 10**18)
    with pytest.raises(ApiError, match="the disk of this server is full"):
        uploaded(kept, line(), "third")


def test_one_process_has_the_folder_and_damage_costs_only_what_is_damaged(tmp_path):
    kept = stored(tmp_path)
    good, bad = uploaded(kept, b"good"), uploaded(kept, b"bad")
    with pytest.raises(ApiError, match="another server") as elsewhere:
        stored(tmp_path)
    assert elsewhere.value.code == "batches_elsewhere"
    kept.close()
    (kept.folder / "files" / f"{bad}.json").write_text("{")
    (kept.folder / "batches" / "batch_x").mkdir()
    (kept.folder / "batches" / "batch_x" / "batch.json").write_text('{"id": 1}')
    assert [file.id for file in stored(tmp_path).files()] == [good]


# --- the runner ---------------------------------------------------------------------------------


class Answers:
    """In place of the routes: a test says what each text is answered with."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.held: dict[str, asyncio.Event] = {}
        self.said: dict[str, Any] = {}  # a body, or an exception

    async def ready(self, route: str) -> bool:
        return route == "/audio/speech"

    async def answer(self, route: str, body: Any, file: Any) -> Any:
        text = body["input"]
        self.asked[text] += 1
        if text in self.held:
            await self.held[text].wait()
        said = self.said.get(text, {"audio": text})
        if isinstance(said, Exception):
            raise said
        return said


@asynccontextmanager
async def running(
    folder: Path, answers: Answers, clock: Any = time.time, busy: Any = lambda: False
) -> AsyncIterator[tuple[Runner, Store]]:
    kept = Store(folder / "batches", clock)
    runner = Runner(kept, answers, "/v1", busy, AT_ONCE)
    async with runner.running():
        yield runner, kept
    await asyncio.to_thread(runner._thread.shutdown)


async def begun(runner: Runner, kept: Store, *texts: str) -> str:
    content = b"".join(line(text, body={"input": text}) for text in texts)
    id = await runner.disk(uploaded, kept, content)
    batch = Batch(f"batch_{len(kept.batches())}", "", SPEECH, id, int(kept.now()))
    await runner.disk(kept.add_batch, batch)
    runner.submit(batch)
    return batch.id


async def until(fact: Any) -> Any:
    async def waited() -> Any:
        while not (found := fact()):
            await asyncio.sleep(0.002)
        return found

    return await asyncio.wait_for(waited(), PATIENCE_S)


def results(kept: Store, id: str | None) -> dict[str, Any]:
    """By custom_id; each has one."""
    found = kept.content(id).read_bytes().splitlines() if id else []
    parsed = [json.loads(one) for one in found]
    assert len({one["custom_id"] for one in parsed}) == len(parsed)
    return {one["custom_id"]: one for one in parsed}


async def ended(kept: Store, id: str, status: str) -> Batch:
    batch = await until(lambda: kept.batch(id).ended_at and kept.batch(id))
    assert batch.status == status, batch
    return batch


async def test_what_was_done_before_the_end_of_the_process_is_not_done_again(tmp_path):
    answers = Answers()
    answers.held = {"c": asyncio.Event(), "d": asyncio.Event()}
    async with running(tmp_path, answers) as (runner, kept):
        id = await begun(runner, kept, "a", "b", "c", "d", "e")
        await until(lambda: answers.asked["c"] and answers.asked["d"])
        assert kept.batch(id).counts == state.Counts(5, 2, 0)
    answers.held = {}
    async with running(tmp_path, answers) as (_, kept):  # goes on by itself
        await until(kept.batches)
        batch = await ended(kept, id, "completed")
        found = results(kept, batch.output_file_id)
    assert set(found) == set("abcde") and batch.counts == state.Counts(5, 5, 0)
    assert answers.asked == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 1}
    assert found["a"]["response"]["body"] == {"audio": "a"} and found["a"]["error"] is None


async def test_a_failure_is_its_own_and_a_refusal_is_tried_again(tmp_path):
    answers, refusals = Answers(), [TooMany("wait", 1), ApiError(429, "wait")] * MOST_TRIES
    answers.said = {"bad": ApiError(400, "no", code="x"), "bug": ValueError("no")}

    async def answer(route: str, body: Any, file: Any) -> Any:
        if body["input"] == "later" and refusals:
            raise refusals.pop()
        return await Answers.answer(answers, route, body, file)

    answers.answer = answer
    async with running(tmp_path, answers) as (runner, kept):
        id = await begun(runner, kept, "bad", "later", "bug", "good")
        batch = await ended(kept, id, "completed")
        errors = results(kept, batch.error_file_id)
        assert set(results(kept, batch.output_file_id)) == {"later", "good"}
        assert dict(runner.metrics())["batch_requests_failed_total"] == 2.0
    assert batch.counts == state.Counts(4, 2, 2) and not refusals
    assert errors["bad"]["response"]["status_code"] == 400
    assert errors["bad"]["response"]["body"]["error"]["code"] == "x"
    assert errors["bug"]["response"]["status_code"] == 500


async def test_a_request_that_ends_a_process_each_time_is_given_up(tmp_path):
    answers = Answers()
    answers.said = {"poison": ApiError(503, "down", code="server_down")}
    async with running(tmp_path, answers) as (runner, kept):
        id = await begun(runner, kept, "poison", "good")
        batch = await ended(kept, id, "completed")
        (error,) = results(kept, batch.error_file_id).values()
    assert answers.asked["poison"] == MOST_TRIES and error["error"]["code"] == "server_error"
    assert batch.counts == state.Counts(2, 1, 1)


async def test_cancelling_stops_what_is_being_done(tmp_path):
    answers, stopped = Answers(), []

    async def answer(route: str, body: Any, file: Any) -> Any:
        try:
            return await Answers.answer(answers, route, body, file)
        except asyncio.CancelledError:
            stopped.append(body["input"])
            raise

    answers.answer, answers.held = answer, {"b": asyncio.Event(), "c": asyncio.Event()}
    async with running(tmp_path, answers) as (runner, kept):
        id = await begun(runner, kept, "a", "b", "c", "d")
        await until(lambda: answers.asked["b"] and answers.asked["c"])
        assert (await runner.cancel(id)).status == "cancelling"
        batch = await ended(kept, id, "cancelled")
        assert set(results(kept, batch.output_file_id)) == {"a"} and batch.error_file_id is None
    assert sorted(stopped) == ["b", "c"] and not answers.asked["d"]


async def test_after_the_completion_window_the_rest_has_expired(tmp_path):
    answers, clock = Answers(), Clock()
    answers.held = {"b": asyncio.Event(), "c": asyncio.Event()}
    async with running(tmp_path, answers, clock) as (runner, kept):
        id = await begun(runner, kept, "a", "b", "c", "d")
        await until(lambda: answers.asked["b"] and answers.asked["c"])
        clock.now += state.DAY_S
        batch = await ended(kept, id, "expired")
        errors = results(kept, batch.error_file_id)
        assert set(results(kept, batch.output_file_id)) == {"a"}
    assert {one["error"]["code"] for one in errors.values()} == {"batch_expired"}
    assert set(errors) == set("bcd") and batch.counts == state.Counts(4, 1, 3)


async def test_a_batch_has_the_files_of_its_key_alone_and_as_long_as_it_lasts(tmp_path):
    answers, clock, seen = Answers(), Clock(), {}

    async def answer(route: str, body: Any, file: Any) -> Any:
        seen[body["file"]] = file(body["file"])
        return {}

    answers.answer = answer
    async with running(tmp_path, answers, clock) as (runner, kept):
        own = await runner.disk(uploaded, kept, b"own")
        other = await runner.disk(uploaded, kept, b"of another key", "key")
        clock.now += state.DAY_S / 2
        content = b"".join(line(id, body={"file": id}) for id in (own, other))
        batch = Batch(
            "batch_1", "", SPEECH, await runner.disk(uploaded, kept, content), int(clock.now)
        )
        await runner.disk(kept.add_batch, batch)
        runner.submit(batch)
        await ended(kept, batch.id, "completed")
        assert seen == {own: kept.content(own), other: None}
        assert kept.file(own).expires_at == batch.expires_at
        assert kept.file(other).expires_at == batch.expires_at - state.DAY_S / 2


async def test_batches_wait_while_callers_need_the_server(tmp_path):
    answers, looks = Answers(), []

    def busy() -> bool:
        looks.append(answers.asked.total())
        return len(looks) < 20

    async with running(tmp_path, answers, busy=busy) as (runner, kept):
        await ended(kept, await begun(runner, kept, "a"), "completed")
    assert looks[:20] == [0] * 20 and answers.asked["a"] == 1


async def test_a_result_that_has_no_room_is_an_error_and_a_bad_input_fails(tmp_path, monkeypatch):
    answers = Answers()
    async with running(tmp_path, answers) as (runner, kept):
        answers.held = {"a": asyncio.Event()}
        id = await begun(runner, kept, "a")
        await until(lambda: answers.asked["a"])
        monkeypatch.setattr(store, "TOTAL_BYTES", 10)
        answers.held["a"].set()
        batch = await ended(kept, id, "completed")
        (error,) = results(kept, batch.error_file_id).values()
        assert error["response"]["status_code"] == 507
        monkeypatch.undo()
        failed = await ended(kept, await begun(runner, kept, "x", "x"), "failed")
    assert [(one.code, one.line) for one in failed.errors] == [("duplicate_custom_id", 2)]
