"""/ready: whether a balancer may send this server one more caller."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_sockets import PATIENCE_S, READY, fake_server, serving

from whisperfusion.gateway.operations.readiness import RETRY_S
from whisperfusion.messages import Metrics, Stage
from whisperfusion.settings import Settings


def counted(**values: float) -> dict[str, Metrics]:
    return {"asr": Metrics("asr", tuple(values.items()))}


async def asked(
    stages: dict[str, Stage], by_process: dict[str, Metrics], **settings: Any
) -> httpx.Response:
    async with (
        serving(Settings(http_port=0, **settings), stages, by_process) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        return await http.get("/ready")


async def test_a_server_with_places_tells_its_load_and_needs_no_key():
    by_process = counted(load=0.3749, active_calls=3, admission_wait_seconds=0, draining=0)
    answer = await asked(dict(READY), by_process, shared_secret="s3")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"ready": True, "load": 0.37, "calls": 3, "wait_s": 0}


@pytest.mark.parametrize(
    ("stages", "by_process", "reason", "load", "wait_s", "retry"),
    [
        (dict(READY), counted(load=1.0, admission_wait_seconds=29.5), "full", 1.0, 30, "30"),
        (dict(READY), counted(load=0.2, draining=1.0), "draining", 1.0, 0, str(RETRY_S)),
        ({}, {}, "starting", 0.0, 0, str(RETRY_S)),
        (READY | {"llm": Stage("llm", "down")}, counted(load=0.5), "starting", 0.5, 0, None),
    ],
)
async def test_a_server_that_takes_no_caller_says_why(
    stages, by_process, reason, load, wait_s, retry
):
    answer = await asked(stages, by_process)
    body = answer.json()
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert (body["ready"], body["reason"], body["load"]) == (False, reason, load)
    assert body["wait_s"] == wait_s
    assert retry is None or answer.headers["retry-after"] == retry


async def test_a_gateway_alone_is_ready_when_its_sockets_answer():
    async with fake_server() as server:
        async with (
            serving(server.settings(), None) as address,
            httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
        ):
            assert (await http.get("/ready")).json()["ready"]
    async with (
        serving(server.settings(), None) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        answer = await http.get("/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "starting")
