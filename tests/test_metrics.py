"""/metrics: what workers count arrives, in the format of Prometheus, as its own parser reads it."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from contextlib import suppress

import counting_worker
import httpx
import psutil
from fake_sockets import PATIENCE_S, READY, serving
from prometheus_client.parser import text_string_to_metric_families
from running import free_ports

import gateway
import main
from fusion import process
from fusion.call.rations import BOUNDS_S, Rations
from fusion.core.turns import Latency
from fusion.gateway.metrics import COUNTERS, GAUGES, HISTOGRAMS
from fusion.messages import Histogram, Metrics, Ready, Stage, Ticket
from fusion.settings import Settings
from fusion.worker import Worker, queues

WORDS = Histogram("words_seconds", (0.25, 0.5, 1.0), (4, 3, 0, 3), 9.5)
ASR = Metrics("asr", (("turns_total", 12.0), ("callers", 2.0)), (WORDS,), (("asr", 1), ("tts", 2)))
LLM = Metrics("llm", (("llm_pieces_total", 4e9), ("never_heard_of", -1.5)))


def read(text: str) -> dict[str, tuple[str, str, dict[str, float]]]:
    """Family -> (type, help, sample name and stage -> value)."""
    return {
        family.name: (family.type, family.documentation, {written(one): one.value for one in family.samples})
        for family in text_string_to_metric_families(text)
    }


def written(sample) -> str:
    return " ".join(filter(None, (sample.name, sample.labels["stage"], sample.labels.get("le"))))


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
        assert set(before) == {f"whisperfusion_{name}" for name in ("stage_up", "stage_restarts", "memory_bytes", "uptime_seconds")}
        assert before["whisperfusion_stage_up"][2]["whisperfusion_stage_up tts"] == 0.0
        assert before["whisperfusion_stage_up"][2]["whisperfusion_stage_up asr"] == 1.0
        assert before["whisperfusion_stage_restarts"][2]["whisperfusion_stage_restarts tts"] == 2.0
        counted |= {"asr": ASR, "llm": LLM}
        text = await fetch(address)
    found = read(text)
    assert found["whisperfusion_turns"] == ("counter", COUNTERS["turns_total"], {"whisperfusion_turns_total asr": 12.0})
    assert found["whisperfusion_callers"] == ("gauge", GAUGES["callers"], {"whisperfusion_callers asr": 2.0})
    numbers = {"count asr": 10.0, "sum asr": 9.5}
    numbers |= {f"bucket asr {bound}": count for bound, count in {"0.25": 4.0, "0.5": 7.0, "1.0": 7.0, "+Inf": 10.0}.items()}
    expected = {f"whisperfusion_words_seconds_{name}": number for name, number in numbers.items()}
    assert found["whisperfusion_words_seconds"] == ("histogram", HISTOGRAMS["words_seconds"], expected)
    lost = {"whisperfusion_errors_total asr": 1.0, "whisperfusion_errors_total tts": 2.0}
    assert found["whisperfusion_errors"] == ("counter", COUNTERS["errors_total"], lost)
    assert found["whisperfusion_llm_pieces"][2] == {"whisperfusion_llm_pieces_total llm": 4e9}
    assert found["whisperfusion_never_heard_of"][::2] == ("unknown", {"whisperfusion_never_heard_of llm": -1.5})
    assert "# TYPE whisperfusion_never_heard_of untyped" in text and "# TYPE whisperfusion_turns_total counter" in text


async def test_every_number_that_is_described_is_one_family():
    """Each name once with HELP and TYPE, also when two processes send it."""
    values = tuple((name, 1.0) for name in (*COUNTERS, *GAUGES))
    histograms = tuple(WORDS._replace(name=name) for name in (*HISTOGRAMS, "new_seconds"))
    two = {name: Metrics(name, values, histograms) for name in ("asr", "llm")}
    two["tts"] = Metrics("tts", (("strange name!", 1.0),))
    async with serving(Settings(http_port=0), dict(READY), two) as address:
        text = await fetch(address)
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))
    assert {f"whisperfusion_{name}" for name in (*COUNTERS, *GAUGES, *HISTOGRAMS)} <= set(described)
    for name, (_, help, samples) in read(text).items():
        assert help and (not samples or len(samples) == len(set(samples))), name


def test_counters_are_named_as_prometheus_names_them():
    assert all(name.endswith("_total") for name in COUNTERS) and not any(name.endswith("_total") for name in (*GAUGES, *HISTOGRAMS))


async def test_the_numbers_need_the_secret():
    async with serving(Settings(http_port=0, shared_secret="s3"), dict(READY), {"asr": ASR}) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            refused = await http.get("/metrics")
            assert refused.status_code == 401 and "turns" not in refused.text
            assert (await http.get("/metrics", headers={"Authorization": "Bearer s3"})).status_code == 200


async def test_alone_it_has_stages_but_no_numbers():
    async with serving(Settings(http_port=0, asr_port=1, tts_port=1), None) as address:
        found = read(await fetch(address))
    assert found.pop("whisperfusion_stage_up")[2] == {"whisperfusion_stage_up asr": 0.0, "whisperfusion_stage_up tts": 0.0}
    del found["whisperfusion_stage_restarts"]
    assert set(found) == {"whisperfusion_memory_bytes", "whisperfusion_uptime_seconds"}  # its own


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


# --- what is counted ----------------------------------------------------------------------------------------


def told(rations: Rations) -> dict[str, float]:
    return dict(rations.metrics(0.0).values)


def test_a_latency_is_counted_in_the_bucket_that_it_fits_in():
    rations = Rations([])
    seconds = {"words_s": 0.1, "decided_s": 0.1001, "first_token_s": 10.0, "first_sound_s": 10.1}
    for _ in range(2):
        rations.answered(Latency(1, stopped_s=0.0, first_clause_s=0.0, reused=False, **seconds), 0.0)
    counts = {one.name: one.counts for one in rations.metrics(0.0).histograms}
    last = len(BOUNDS_S)
    places = {"words_seconds": 0, "decided_seconds": 1, "first_token_seconds": last - 1, "first_sound_seconds": last}
    assert counts == {name: tuple(2 * (i == at) for i in range(last + 1)) for name, at in places.items()}
    assert [one.sum_s for one in rations.metrics(0.0).histograms] == [0.2, 0.2002, 20.0, 20.2]
    assert all(one.bounds_s == BOUNDS_S == tuple(sorted(BOUNDS_S)) for one in rations.metrics(0.0).histograms)


def test_turns_that_failed_are_counted_by_the_stage_that_failed_them():
    rations = Rations([])
    assert rations.metrics(0.0).lost == (("asr", 0), ("llm", 0), ("tts", 0))
    for stage in ("llm", "tts", "llm"):
        rations.lost(stage)
    assert rations.metrics(0.0).lost == (("asr", 0), ("llm", 2), ("tts", 1))


def test_wasted_guesses_never_become_fewer():
    rations = Rations([])
    rations.counts.guesses = 3
    assert told(rations)["guesses_wasted_total"] == 3
    rations.counts.guesses_used = 1  # the last of them was right after all
    assert told(rations)["guesses_wasted_total"] == 3
    rations.counts.guesses = 5
    assert told(rations)["guesses_wasted_total"] == 4


def test_what_waits_is_told_with_the_age_of_the_oldest():
    """The jobs that wait for all workers of a stage; one that is at work does not wait."""
    started, gate = threading.Event(), threading.Event()

    def work(ticket: Ticket, job: str) -> None:
        started.set()
        assert gate.wait(PATIENCE_S)

    busy, idle = Worker[str]("busy", work), Worker[str]("idle", work)
    assert dict(queues((busy, idle))) == {"queue_waiting": 0.0, "queue_oldest_seconds": 0.0}
    busy.start()
    busy.put(Ticket("a", 1), "at work")
    assert started.wait(PATIENCE_S)
    assert dict(queues((busy, idle)))["queue_waiting"] == 0.0
    before = time.monotonic()
    busy.put(Ticket("a", 1), "waits", replace="words")
    age_s = dict(queues((busy, idle)))["queue_oldest_seconds"]
    assert 0.0 < age_s <= time.monotonic() - before
    busy.put(Ticket("a", 1), "waits in its place", replace="words")
    idle.put(Ticket("b", 1), "waits too")
    now = dict(queues((busy, idle)))
    assert now["queue_waiting"] == 2.0 and now["queue_oldest_seconds"] > age_s
    gate.set()
    busy.stop()


def test_a_process_knows_its_own_memory_and_age():
    vitals = dict(process.vitals())
    assert abs(vitals["memory_bytes"] / psutil.Process().memory_info().rss - 1) < 0.2 and vitals["uptime_seconds"] > 0
    assert process.vitals()[0][1] > vitals["uptime_seconds"]


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
