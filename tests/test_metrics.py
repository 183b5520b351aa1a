"""/metrics: what workers count arrives, in the format of Prometheus, as its own parser reads it."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import suppress

import counting_worker
import httpx
import psutil
from conftest import free_ports
from fake_sockets import PATIENCE_S, READY, serving
from prometheus_client.parser import text_string_to_metric_families

import gateway
import main
from fusion.gateway.metrics import COUNTERS, GAUGES, SUMMARIES
from fusion.messages import Metrics, Ready, Stage
from fusion.settings import Settings

ASR = Metrics("asr", (("turns_total", 12.0), ("callers", 2.0), ("words_seconds_sum", 3.5), ("words_seconds_count", 10.0)))
LLM = Metrics("llm", (("llm_pieces_total", 4e9), ("never_heard_of", -1.5)))


def read(text: str) -> dict[str, tuple[str, str, dict[str, float]]]:
    """Family -> (type, help, sample name and stage -> value)."""
    return {
        family.name: (family.type, family.documentation, {f"{one.name} {one.labels['stage']}": one.value for one in family.samples})
        for family in text_string_to_metric_families(text)
    }


async def fetch(address: str) -> str:
    async with httpx.AsyncClient(base_url=address) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


async def test_numbers_have_their_type_and_help_and_are_read_when_asked():
    stages = dict(READY) | {"tts": Stage("tts", "down", restarts=2)}
    counted: dict[str, Metrics] = {}
    async with serving(Settings(http_port=0), stages, counted) as address:
        before = read(await fetch(address))
        assert set(before) == {"whisperfusion_stage_up", "whisperfusion_stage_restarts"}
        assert before["whisperfusion_stage_up"][2]["whisperfusion_stage_up tts"] == 0.0
        assert before["whisperfusion_stage_up"][2]["whisperfusion_stage_up asr"] == 1.0
        assert before["whisperfusion_stage_restarts"][2]["whisperfusion_stage_restarts tts"] == 2.0
        counted |= {"asr": ASR, "llm": LLM}
        text = await fetch(address)
    found = read(text)
    assert found["whisperfusion_turns"] == ("counter", COUNTERS["turns_total"], {"whisperfusion_turns_total asr": 12.0})
    assert found["whisperfusion_callers"] == ("gauge", GAUGES["callers"], {"whisperfusion_callers asr": 2.0})
    numbers = {"whisperfusion_words_seconds_count asr": 10.0, "whisperfusion_words_seconds_sum asr": 3.5}
    assert found["whisperfusion_words_seconds"] == ("summary", SUMMARIES["words_seconds"], numbers)
    assert found["whisperfusion_llm_pieces"][2] == {"whisperfusion_llm_pieces_total llm": 4e9}
    assert found["whisperfusion_never_heard_of"][::2] == ("unknown", {"whisperfusion_never_heard_of llm": -1.5})
    assert "# TYPE whisperfusion_never_heard_of untyped" in text and "# TYPE whisperfusion_turns_total counter" in text


async def test_every_number_that_is_described_is_one_family():
    """Each name once with HELP and TYPE, also when two processes send it, and half a summary hurts nothing."""
    values = [(name, 1.0) for name in (*COUNTERS, *GAUGES)] + [(f"{name}_{end}", 1.0) for name in SUMMARIES for end in ("sum", "count")]
    two = {name: Metrics(name, (*values, ("half_sum", 1.0), ("words_seconds_sum", 2.0))) for name in ("asr", "llm")}
    two["tts"] = Metrics("tts", (("words_seconds_sum", 1.0), ("strange name!", 1.0)))
    async with serving(Settings(http_port=0), dict(READY), two) as address:
        text = await fetch(address)
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))
    assert {f"whisperfusion_{name}" for name in (*COUNTERS, *GAUGES, *SUMMARIES)} <= set(described)
    for name, (_, help, samples) in read(text).items():
        assert help and (not samples or len(samples) == len(set(samples))), name


def test_counters_are_named_as_prometheus_names_them():
    assert all(name.endswith("_total") for name in COUNTERS) and not any(name.endswith("_total") for name in (*GAUGES, *SUMMARIES))


async def test_the_numbers_need_the_secret():
    async with serving(Settings(http_port=0, shared_secret="s3"), dict(READY), {"asr": ASR}) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            refused = await http.get("/metrics")
            assert refused.status_code == 401 and "turns" not in refused.text
            assert (await http.get("/metrics", headers={"Authorization": "Bearer s3"})).status_code == 200


async def test_alone_it_has_stages_but_no_numbers():
    async with serving(Settings(http_port=0, asr_port=1, tts_port=1), None) as address:
        found = read(await fetch(address))
    assert found["whisperfusion_stage_up"][2] == {"whisperfusion_stage_up asr": 0.0, "whisperfusion_stage_up tts": 0.0}


async def test_the_gateway_process_takes_numbers_and_forgets_those_of_a_process_that_is_down():
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(target=gateway.run, args=(Settings(http_port=0), inbox, outbox), daemon=True)
    process.start()
    try:
        said = await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)
        while not isinstance(said, Ready):
            said = await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)

        async def until(wanted: str, there: bool) -> None:
            while (wanted in await fetch(said.device)) != there:
                assert process.is_alive()

        inbox.put(ASR)
        await asyncio.wait_for(until('whisperfusion_turns_total{stage="asr"} 12.0', True), PATIENCE_S)
        inbox.put(Metrics("asr", (("turns_total", 13.0),)))
        await asyncio.wait_for(until('whisperfusion_turns_total{stage="asr"} 13.0', True), PATIENCE_S)
        inbox.put(Stage("asr", "down", restarts=1))
        await asyncio.wait_for(until("whisperfusion_turns_total", False), PATIENCE_S)
    finally:
        process.kill()


# --- through main -----------------------------------------------------------------------------------------


async def test_numbers_of_each_worker_arrive_and_outlive_the_gateway():
    (port,) = free_ports(1)
    house = multiprocessing.get_context("spawn").Process(target=counting_worker.house, args=(Settings(http_port=port),))
    house.start()
    expected = {f"whisperfusion_turns_total {name}": 2.0 for name in ("asr", "llm", "tts")}

    async def until_told(restarts: float) -> None:
        for _ in range(int(PATIENCE_S / 0.05)):
            with suppress(httpx.TransportError):  # it is not there yet, or not there again
                found = read(await fetch(f"http://127.0.0.1:{port}"))
                again = found["whisperfusion_stage_restarts"][2].get("whisperfusion_stage_restarts gateway")
                if again == restarts and found.get("whisperfusion_turns", ("", "", {}))[2] == expected:
                    return
            assert house.is_alive()
            await asyncio.sleep(0.05)
        raise AssertionError("the numbers did not arrive")

    try:
        await until_told(restarts=0)
        (gateway_process,) = [one for one in psutil.Process(house.pid).children() if listens(one, port)]
        gateway_process.kill()
        await until_told(restarts=1)
    finally:
        house.terminate()
        await asyncio.to_thread(house.join, PATIENCE_S)
    assert house.exitcode == 0


def listens(process: psutil.Process, port: int) -> bool:
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in process.net_connections())


def test_numbers_go_to_the_gateway_alone_and_die_with_their_process():
    supervisor = main.Supervisor(Settings())
    asr = supervisor.children["asr"]
    asr.metrics, asr.stage, asr.process = ASR, READY["asr"], Ended()
    supervisor._bury(asr, "was killed")
    assert asr.metrics is None and main.ROUTES[Metrics] == ("gateway",)


class Ended:
    def join(self) -> None:
        """A process that is dead already."""
