"""/v1/files and /v1/batches: the stock client, keys, cancelling in the middle of a file, and a
gateway that is killed in the middle of a batch.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fake_sockets import PATIENCE_S, READY, FakeServer, fake_server, serving
from running import ROOT
from test_batches import until
from test_rest import speech_of, wav, words_in

from whisperfusion.runtime.ports import free_ports
from whisperfusion.settings import Settings

ENDPOINT = "/v1/audio/transcriptions"


def jsonl(endpoint: str, **bodies: dict[str, Any]) -> bytes:
    """Requests by their custom_id."""
    return b"".join(
        json.dumps({"custom_id": id, "method": "POST", "url": endpoint, "body": body}).encode()
        + b"\n"
        for id, body in bodies.items()
    )


def ended(client: openai.OpenAI, id: str) -> Any:
    """The batch when it has ended."""
    deadline = time.monotonic() + PATIENCE_S * 3
    while (batch := client.batches.retrieve(id)).status in (
        "validating",
        "in_progress",
        "finalizing",
        "cancelling",
    ):
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
    return batch


def results(client: openai.OpenAI, id: str | None) -> dict[str, Any]:
    """By custom_id, each of which must be there once."""
    found = client.files.content(id).text.splitlines() if id else []
    parsed = [json.loads(one) for one in found]
    assert len({one["custom_id"] for one in parsed}) == len(parsed)
    return {one["custom_id"]: one for one in parsed}


# --- the stock client ---------------------------------------------------------------------------


@pytest.fixture
def client(scripted_server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{scripted_server.http_url}/v1", api_key="any") as one:
        yield one


def submitted(client: openai.OpenAI, endpoint: Any, content: bytes, **fields: Any) -> Any:
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields
    )


def test_recordings_by_the_stock_client(client):
    sound = wav(speech_of("alpha beta"))
    recording = client.files.create(file=("alpha.wav", sound), purpose="user_data")
    assert (recording.purpose, recording.bytes) == ("user_data", len(sound))
    inline = base64.b64encode(wav(speech_of("gamma"))).decode()
    content = jsonl(
        ENDPOINT,
        one={"file": recording.id, "model": "whisper-1", "language": "en"},
        two={"url": f"data:audio/wav;base64,{inline}", "response_format": "srt"},
        three={"file": inline, "response_format": "verbose_json"},
        gone={"file_id": "file-0123"},
        noise={"file": base64.b64encode(b"not a sound at all").decode()},
        live={"file": inline, "live": "final"},
    )
    batch = submitted(client, ENDPOINT, content, metadata={"job": "night"})
    assert batch.status == "validating" and batch.metadata == {"job": "night"}
    batch = ended(client, batch.id)
    assert batch.status == "completed", batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (6, 3, 3)
    done, failed = results(client, batch.output_file_id), results(client, batch.error_file_id)
    bodies = {id: one["response"]["body"] for id, one in done.items()}
    assert bodies["one"]["text"] == "alpha beta" and bodies["two"].strip().endswith("gamma")
    assert bodies["three"]["segments"][0]["text"] == " gamma"
    codes = {id: one["response"]["body"]["error"]["code"] for id, one in failed.items()}
    assert codes == {
        "gone": "file_not_found",
        "noise": "unsupported_value",
        "live": "invalid_value",
    }
    assert all(one["response"]["status_code"] == 400 for one in failed.values())
    output = client.files.retrieve(batch.output_file_id)
    assert output.purpose == "batch_output" and output.expires_at - output.created_at == 86_400
    assert batch.id in [one.id for one in client.batches.list(limit=5)]
    assert recording.id in [one.id for one in client.files.list(purpose="user_data", limit=1)]
    assert client.files.delete(recording.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(recording.id)
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.batches.cancel(batch.id)


def test_speech_and_translations_by_the_stock_client(client):
    spoken = {"input": "it works", "voice": "alloy", "response_format": "wav"}
    content = jsonl(
        "/v1/audio/speech",
        good=spoken,
        empty={"input": " "},
        sse={**spoken, "stream_format": "sse"},
    )
    speech = submitted(client, "/v1/audio/speech", content)
    inline = base64.b64encode(wav(speech_of("delta"))).decode()
    content = jsonl("/v1/audio/translations", a={"file": inline})
    translation = ended(client, submitted(client, "/v1/audio/translations", content).id)
    speech = ended(client, speech.id)
    body = results(client, speech.output_file_id)["good"]["response"]["body"]
    assert words_in(base64.b64decode(body["audio"])) == "it works"
    assert (body["format"], body["content_type"]) == ("wav", "audio/wav")
    assert set(results(client, speech.error_file_id)) == {"empty", "sse"}
    found = results(client, translation.output_file_id)
    assert found["a"]["response"]["body"]["text"] == "delta"


def test_an_input_that_cannot_be_used_fails_as_a_whole(client):
    good = jsonl(ENDPOINT, a={"file": "file-1"})
    other = jsonl("/v1/embeddings", b={})
    batch = ended(client, submitted(client, ENDPOINT, good + good + other + b"\xff\xd8\n").id)
    assert batch.status == "failed" and batch.output_file_id is None and batch.errors is not None
    found = [(one.code, one.line) for one in batch.errors.data or []]
    expected = ["duplicate_custom_id", "invalid_url", "invalid_json_line"]
    assert found == list(zip(expected, (2, 3, 4), strict=True))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"endpoint": "/v1/chat/completions"}, "/v1/audio/speech"),
        ({"endpoint": None}, "/v1/audio/speech"),
        ({"completion_window": "1h"}, "'24h'"),
        ({"input_file_id": "file-0"}, "purpose=batch"),
        ({"input_file_id": 7}, "uploaded file"),
        ({"metadata": {"a": 1}}, "16 pairs"),
        ({"metadata": {"a" * 65: ""}}, "16 pairs"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "3600"),
        ({"output_expires_after": 5}, "anchor"),
    ],
)
def test_a_batch_that_cannot_be_made_says_why(client, scripted_server, fields, words):
    body = {"input_file_id": "file-0", "endpoint": ENDPOINT, "completion_window": "24h", **fields}
    answer = httpx.post(f"{scripted_server.http_url}/v1/batches", json=body)
    assert answer.status_code == 400 and words in answer.json()["error"]["message"]


def test_a_file_that_cannot_be_kept_says_why(scripted_server):
    url = f"{scripted_server.http_url}/v1/files"
    for data, file, words in (
        ({"purpose": "vision"}, b"x", "allowed: batch"),
        ({}, b"x", "allowed: batch"),
        ({"purpose": "batch"}, b"", "empty"),
        ({"purpose": "batch", "expires_after[seconds]": "9"}, b"x", "created_at"),
    ):
        answer = httpx.post(url, data=data, files={"file": ("a", file)})
        assert answer.status_code == 400 and words in answer.json()["error"]["message"]
    assert httpx.post(url, json={}).status_code == 400
    for path in ("", "/content"):
        assert httpx.get(f"{url}/..%2Flock{path}").status_code == 404
    assert httpx.get(f"{url}?after=file-x").status_code == 400


# --- one key's files are not another's ----------------------------------------------------------


def settings_of(folder: Path, **fields: Any) -> Settings:
    return Settings(http_port=0, store_url=f"sqlite://{folder}/s.sqlite3", **fields)


@asynccontextmanager
async def clients(address: str, *keys: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    found = [
        httpx.AsyncClient(
            base_url=f"{address}/v1",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=PATIENCE_S,
        )
        for key in keys
    ]
    try:
        yield found
    finally:
        for one in found:
            await one.aclose()


async def kept(client: httpx.AsyncClient, content: bytes, purpose: str = "batch") -> str:
    answer = await client.post(
        "/files", files={"file": ("ü.jsonl", content)}, data={"purpose": purpose}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def test_a_key_sees_its_own_files_and_batches_only(tmp_path):
    settings = settings_of(tmp_path, shared_secret="key-one,key-two")
    async with (
        serving(settings, dict(READY)) as address,
        clients(address, "key-one", "key-two") as (one, two),
    ):
        id = await kept(one, b"not json\n")
        asked = {"input_file_id": id, "endpoint": ENDPOINT, "completion_window": "24h"}
        refused = await two.post("/batches", json=asked)
        assert refused.json()["error"]["code"] == "file_not_found"
        batch = (await one.post("/batches", json=asked)).json()["id"]
        for path in (f"/files/{id}", f"/files/{id}/content", f"/batches/{batch}"):
            assert (await one.get(path)).status_code == 200
            assert (await two.get(path)).status_code == 404
        assert (await two.delete(f"/files/{id}")).status_code == 404
        assert (await two.post(f"/batches/{batch}/cancel")).status_code == 404
        for path in ("/files", "/batches"):
            assert len((await one.get(path)).json()["data"]) == 1
            assert (await two.get(path)).json()["data"] == []


async def test_without_a_key_another_machine_lists_nothing(tmp_path):
    settings = settings_of(tmp_path, trusted_proxies="127.0.0.1", allow_open=True)
    async with serving(settings, dict(READY)) as address, clients(address, "") as (here,):
        id = await kept(here, b"x")
        far = {"X-Forwarded-For": "192.0.2.7"}
        for path in ("/files", "/batches"):
            assert (await here.get(path)).status_code == 200
            refused = await here.get(path, headers=far)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "key_needed")
        assert (await here.get(f"/files/{id}", headers=far)).status_code == 200


# --- in the middle of a file --------------------------------------------------------------------


async def heard(fake: FakeServer, number: int = 0) -> Any:
    """The call that reads a recording, when some of it has come."""
    await fake.until(lambda: len(fake.calls) > number and fake.calls[number].audio)
    return fake.calls[number]


async def test_cancelling_in_mid_file_ends_the_reading_of_it(tmp_path):
    async with fake_server() as fake:
        settings = fake.settings(store_url=f"sqlite://{tmp_path}/s.sqlite3")
        async with serving(settings, dict(READY)) as address, clients(address, "") as (http,):
            recording = await kept(http, wav(np.zeros(16_000, np.float32)), "user_data")
            bodies = {"a": {"file": recording}, "b": {"file": recording}, "c": {"file": recording}}
            asked = {
                "input_file_id": await kept(http, jsonl(ENDPOINT, **bodies)),
                "endpoint": ENDPOINT,
                "completion_window": "24h",
            }
            batch = (await http.post("/batches", json=asked)).json()["id"]
            calls = [await heard(fake, number) for number in range(2)]
            shown = (await http.post(f"/batches/{batch}/cancel")).json()
            assert shown["status"] == "cancelling"
            for call in calls:
                await asyncio.wait_for(call.asr.wait_closed(), PATIENCE_S)
            while (shown := (await http.get(f"/batches/{batch}")).json())["status"] != "cancelled":
                assert shown["status"] == "cancelling"
                await asyncio.sleep(0.01)
            assert len(fake.calls) == 2 and shown["output_file_id"] is None
            assert shown["request_counts"] == {"total": 3, "completed": 0, "failed": 0}


# --- a gateway that is killed -------------------------------------------------------------------


@contextmanager
def gateway_alone(server: Any, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    flags = (f"--asr-port={server.asr_port}", f"--tts-port={server.tts_port}")
    process = subprocess.Popen(
        [sys.executable, "gateway.py", f"--http-port={port}", *flags],
        cwd=ROOT,
        env={**os.environ, "STORE_URL": f"sqlite://{folder}/s.sqlite3"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_killed_gateway_loses_no_request_and_does_none_twice(scripted_server, tmp_path):
    (port,) = free_ports(1)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0)
    spoken = {"input": "a long enough sentence to be cut off in", "response_format": "wav"}
    names = {f"r{number}" for number in range(30)}

    async def up() -> None:
        deadline = time.monotonic() + PATIENCE_S * 3
        while True:
            try:
                client.models.list()
                return
            except openai.APIConnectionError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)

    with gateway_alone(scripted_server, port, tmp_path) as process:
        await up()
        content = jsonl("/v1/audio/speech", **dict.fromkeys(sorted(names), spoken))
        id = submitted(client, "/v1/audio/speech", content).id
        batch = await until(
            lambda: (b := client.batches.retrieve(id)).request_counts.completed and b
        )
        process.send_signal(signal.SIGKILL)
        assert batch.status == "in_progress" and batch.request_counts.completed < 30
    output = tmp_path / "batches" / "batches" / id / "output.jsonl"
    before = output.read_bytes().splitlines(keepends=True)
    with open(output, "ab") as file:  # killed in the middle of a write, too
        file.write(before[0].replace(b'"r', b'"x')[: len(before[0]) // 2])
    whole = [one for one in before if one.endswith(b"\n")]
    with gateway_alone(scripted_server, port, tmp_path):
        await up()
        batch = await asyncio.to_thread(ended, client, id)
        assert batch.status == "completed" and batch.request_counts.completed == 30
        found = await asyncio.to_thread(results, client, batch.output_file_id)
        text = client.files.content(batch.output_file_id).content
    assert set(found) == names and batch.error_file_id is None
    assert text.startswith(b"".join(whole)) and 0 < len(whole) < 30
