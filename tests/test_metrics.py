"""/metrics: what workers count arrives, in the format of Prometheus, as its own parser reads it."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import counting_worker
import httpx
import psutil
from fake_sockets import PATIENCE_S, READY, serving
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from running import ROOT

import gateway
import main
from whisperfusion import __version__
from whisperfusion.call.degradation import BOUNDS_S, Degradation
from whisperfusion.gateway.operations.disk import DiskSpace
from whisperfusion.gateway.operations.metric_catalog import CATALOG, PREFIX
from whisperfusion.gateway.operations.metrics import StageCollector
from whisperfusion.messages import Histogram, Labelled, Metrics, Ready, Stage, Ticket
from whisperfusion.runtime import process
from whisperfusion.runtime.ports import free_ports
from whisperfusion.runtime.worker import Worker, queues
from whisperfusion.settings import Settings
from whisperfusion.turns.commands import Latency

WORDS = Histogram("transcription_delay_seconds", (0.25, 0.5, 1.0), (4, 3, 0, 3), 9.5)
ASR = Metrics(
    "asr", (("user_turns_total", 12.0), ("active_calls", 2.0)), (WORDS,), (("asr", 1), ("tts", 2))
)
# of the gateway itself, under both names
OWN = (
    "process_resident_memory_bytes",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "process_uptime_seconds",
    "memory_bytes",
    "uptime_seconds",
    "active_batches",
    "batch_requests",
    "batch_requests_failed",
    "batch_files_bytes",
    "disk_free_bytes",
)
LLM = Metrics("llm", (("llm_chunks_total", 4e9), ("never_heard_of", -1.5)))


def read(text: str) -> dict[str, tuple[str, str, dict[str, float]]]:
    """Family -> (type, help, sample name and stage -> value)."""
    return {
        family.name: (
            family.type,
            family.documentation,
            {written(one): one.value for one in family.samples},
        )
        for family in text_string_to_metric_families(text)
    }


def written(sample) -> str:
    parts = (sample.name, sample.labels.get("stage"), sample.labels.get("le"))
    return " ".join(filter(None, parts))


async def fetch(address: str) -> str:
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
        answer = await http.get("/metrics")
    assert (
        answer.status_code == 200
        and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    )
    return answer.text


async def test_numbers_have_their_type_and_help_and_are_read_when_asked():
    stages = dict(READY) | {"tts": Stage("tts", "down", restarts=2)}
    counted: dict[str, Metrics] = {}
    async with serving(Settings(http_port=0), stages, counted) as address:
        before = read(await fetch(address))
        names = ("build_info", "stage_up", "stage_restarts", *OWN)
        assert set(before) == {f"{PREFIX}{name}" for name in names}
        version = f'{PREFIX}build_info{{version="{__version__}"}} 1.0'
        assert version in await fetch(address)
        assert before["whisperfusion_stage_up"][2]["whisperfusion_stage_up tts"] == 0.0
        assert before["whisperfusion_stage_up"][2]["whisperfusion_stage_up asr"] == 1.0
        assert before["whisperfusion_stage_restarts"][2]["whisperfusion_stage_restarts tts"] == 2.0
        counted |= {"asr": ASR, "llm": LLM}
        text = await fetch(address)
    found = read(text)
    assert found["whisperfusion_user_turns"] == (
        "counter",
        CATALOG["user_turns_total"].help,
        {"whisperfusion_user_turns_total asr": 12.0},
    )
    assert found["whisperfusion_active_calls"] == (
        "gauge",
        CATALOG["active_calls"].help,
        {"whisperfusion_active_calls asr": 2.0},
    )
    numbers = {"count asr": 10.0, "sum asr": 9.5}
    numbers |= {
        f"bucket asr {bound}": count
        for bound, count in {"0.25": 4.0, "0.5": 7.0, "1.0": 7.0, "+Inf": 10.0}.items()
    }
    expected = {
        f"whisperfusion_transcription_delay_seconds_{name}": number
        for name, number in numbers.items()
    }
    assert found["whisperfusion_transcription_delay_seconds"] == (
        "histogram",
        CATALOG["transcription_delay_seconds"].help,
        expected,
    )
    lost = {
        "whisperfusion_failed_turns_total asr": 1.0,
        "whisperfusion_failed_turns_total tts": 2.0,
    }
    assert found["whisperfusion_failed_turns"] == (
        "counter",
        CATALOG["failed_turns_total"].help,
        lost,
    )
    assert found["whisperfusion_llm_chunks"][2] == {"whisperfusion_llm_chunks_total llm": 4e9}
    assert found["whisperfusion_never_heard_of"][::2] == (
        "unknown",
        {"whisperfusion_never_heard_of llm": -1.5},
    )
    assert (
        "# TYPE whisperfusion_never_heard_of untyped" in text
        and "# TYPE whisperfusion_user_turns_total counter" in text
    )


async def test_values_with_labels_of_their_own_have_them_beside_the_stage():
    links = tuple(
        Labelled("llm_link_failures_total", (("link", link), ("reason", reason)), count)
        for link, reason, count in (("groq/a", "slow", 2.0), ("groq/a", "limited", 1.0))
    )
    told = {"llm": Metrics("llm", (), labelled=links)}
    text = generate_latest(StageCollector({}, told)).decode()
    (family,) = (
        one
        for one in text_string_to_metric_families(text)
        if one.name == "whisperfusion_llm_link_failures"
    )
    assert family.type == "counter"
    assert [(one.labels, one.value) for one in family.samples] == [
        ({"stage": "llm", "link": "groq/a", "reason": "slow"}, 2.0),
        ({"stage": "llm", "link": "groq/a", "reason": "limited"}, 1.0),
    ]


def everything() -> dict[str, Metrics]:
    """All that is described, from two processes, and names that nothing describes."""
    values = tuple((name, 1.0) for name, one in CATALOG.items() if one.kind != "histogram")
    described = [name for name, one in CATALOG.items() if one.kind == "histogram"]
    histograms = tuple(WORDS._replace(name=name) for name in (*described, "new_seconds"))
    two = {name: Metrics(name, values, histograms) for name in ("asr", "llm")}
    return {**two, "tts": Metrics("tts", (("strange name!", 1.0),))}


async def test_every_number_that_is_described_is_one_family():
    """Each name once with HELP and TYPE, also when two processes send it."""
    async with serving(Settings(http_port=0), dict(READY), everything()) as address:
        text = await fetch(address)
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))
    assert {f"{PREFIX}{name}" for name in CATALOG} <= set(described)
    for name, (_, help, samples) in read(text).items():
        assert help and (not samples or len(samples) == len(set(samples))), name


async def test_a_deprecated_name_has_the_same_numbers_and_says_what_to_use():
    async with serving(Settings(http_port=0), dict(READY), everything()) as address:
        found = read(await fetch(address))
    renamed = {name: one for name, one in CATALOG.items() if one.was}
    assert len({one.was for one in renamed.values()} - set(CATALOG)) == len(renamed) > 20
    for name, one in renamed.items():
        new, old = (PREFIX + spelling for spelling in (name, one.was))
        kind, help, samples = found[old.removesuffix("_total")]
        assert help.startswith(f"Deprecated, use {new}. ") and kind == one.kind
        current = found[new.removesuffix("_total")]
        assert samples == {key.replace(new, old): value for key, value in current[2].items()}
        assert samples and current[:2] == (one.kind, one.help)


def test_the_documentation_lists_every_metric():
    text = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
    for name, one in CATALOG.items():
        was = f"`{one.was}`" if one.was else ""
        assert f"| `{name}` | {one.kind} | {one.help} | {was} |" in text, name


def test_names_end_as_prometheus_names_them():
    for name, one in CATALOG.items():
        assert name.endswith("_total") == (one.kind == "counter"), name
        assert one.kind != "histogram" or name.endswith("_seconds"), name


async def test_the_numbers_need_the_secret():
    async with serving(
        Settings(http_port=0, shared_secret="s3"), dict(READY), {"asr": ASR}
    ) as address:
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
            refused = await http.get("/metrics")
            assert refused.status_code == 401 and "turns" not in refused.text
            assert (
                await http.get("/metrics", headers={"Authorization": "Bearer s3"})
            ).status_code == 200


async def test_alone_it_has_stages_but_no_numbers():
    async with serving(Settings(http_port=0, asr_port=1, tts_port=1), None) as address:
        found = read(await fetch(address))
    assert found.pop("whisperfusion_stage_up")[2] == {
        "whisperfusion_stage_up asr": 0.0,
        "whisperfusion_stage_up tts": 0.0,
    }
    del found["whisperfusion_stage_restarts"], found["whisperfusion_build_info"]
    assert set(found) == {f"{PREFIX}{name}" for name in OWN}


async def test_the_gateway_process_takes_numbers_and_forgets_those_of_a_process_that_is_down():
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(
        target=gateway.run, args=(Settings(http_port=0), inbox, outbox), daemon=True
    )
    process.start()
    try:
        message = await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)
        while not isinstance(message, Ready):
            message = await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)

        async def until(wanted: str, there: bool) -> None:
            while (wanted in await fetch(message.device)) != there:
                assert process.is_alive()

        inbox.put(ASR)
        await asyncio.wait_for(
            until('whisperfusion_user_turns_total{stage="asr"} 12.0', True), PATIENCE_S
        )
        inbox.put(Metrics("asr", (("user_turns_total", 13.0),)))
        await asyncio.wait_for(
            until('whisperfusion_user_turns_total{stage="asr"} 13.0', True), PATIENCE_S
        )
        inbox.put(Stage("asr", "down", restarts=1))
        await asyncio.wait_for(until("whisperfusion_user_turns_total", False), PATIENCE_S)
    finally:
        process.kill()


# --- what is counted ----------------------------------------------------------------------------


def told(degradation: Degradation) -> dict[str, float]:
    return dict(degradation.metrics(0.0).values)


def test_a_latency_is_counted_in_the_bucket_that_it_fits_in():
    degradation = Degradation([])
    seconds = {"words_s": 0.1, "decided_s": 0.1001, "first_token_s": 10.0, "first_sound_s": 10.1}
    for _ in range(2):
        degradation.replied(
            Latency(1, stopped_s=0.0, first_clause_s=0.0, reused=False, **seconds), 0.0
        )
    counts = {one.name: one.counts for one in degradation.metrics(0.0).histograms}
    last = len(BOUNDS_S)
    places = {
        "transcription_delay_seconds": 0,
        "end_of_turn_delay_seconds": 1,
        "time_to_first_token_seconds": last - 1,
        "time_to_first_audio_seconds": last,
    }
    assert counts == {
        name: tuple(2 * (i == at) for i in range(last + 1)) for name, at in places.items()
    }
    assert [one.sum_s for one in degradation.metrics(0.0).histograms] == [0.2, 0.2002, 20.0, 20.2]
    assert all(
        one.bounds_s == BOUNDS_S == tuple(sorted(BOUNDS_S))
        for one in degradation.metrics(0.0).histograms
    )


def test_turns_that_failed_are_counted_by_the_stage_that_failed_them():
    degradation = Degradation([])
    assert degradation.metrics(0.0).lost == (("asr", 0), ("llm", 0), ("tts", 0))
    for stage in ("llm", "tts", "llm"):
        degradation.turn_lost(stage)
    assert degradation.metrics(0.0).lost == (("asr", 0), ("llm", 2), ("tts", 1))


def test_wasted_guesses_never_become_fewer():
    degradation = Degradation([])
    degradation.counts.preemptive = 3
    assert told(degradation)["preemptive_generations_wasted_total"] == 3
    degradation.counts.preemptive_used = 1  # the last of them was right after all
    assert told(degradation)["preemptive_generations_wasted_total"] == 3
    degradation.counts.preemptive = 5
    assert told(degradation)["preemptive_generations_wasted_total"] == 4


def test_what_waits_is_told_with_the_age_of_the_oldest():
    """The jobs that wait for all workers of a stage; one that is at work does not wait."""
    started, gate = threading.Event(), threading.Event()

    def work(ticket: Ticket, job: str) -> None:
        started.set()
        assert gate.wait(PATIENCE_S)

    busy, idle = Worker[str]("busy", work), Worker[str]("idle", work)
    assert dict(queues((busy, idle))) == {"queue_jobs": 0.0, "queue_oldest_job_seconds": 0.0}
    busy.start()
    busy.put(Ticket("a", 1), "at work")
    assert started.wait(PATIENCE_S)
    assert dict(queues((busy, idle)))["queue_jobs"] == 0.0
    before = time.monotonic()
    busy.put(Ticket("a", 1), "waits", replace="words")
    age_s = dict(queues((busy, idle)))["queue_oldest_job_seconds"]
    assert 0.0 < age_s <= time.monotonic() - before
    busy.put(Ticket("a", 1), "waits in its place", replace="words")
    idle.put(Ticket("b", 1), "waits too")
    now = dict(queues((busy, idle)))
    assert now["queue_jobs"] == 2.0 and now["queue_oldest_job_seconds"] > age_s
    gate.set()
    busy.stop()


def test_a_process_knows_its_own_memory_and_age():
    vitals = dict(process.process_metrics())
    assert (
        abs(vitals["process_resident_memory_bytes"] / psutil.Process().memory_info().rss - 1) < 0.2
        and vitals["process_uptime_seconds"] > 0
    )
    assert process.process_metrics()[0][1] > vitals["process_uptime_seconds"]


def test_a_process_knows_its_processor_time_descriptors_and_threads():
    """In a process of its own: threads and connections of other tests may end in between."""
    program = """
import os, threading
import psutil
from whisperfusion.runtime import process

vitals = lambda: dict(process.process_metrics())
before, own, gate = vitals(), psutil.Process(), threading.Event()
assert before["process_open_fds"] == own.num_fds() - 1, "but the one that it counts them with"
assert before["process_max_fds"] == own.rlimit(psutil.RLIMIT_NOFILE)[0]
assert before["process_threads"] == own.num_threads()
opened = [open(os.devnull, "rb") for _ in range(3)]
for _ in opened:
    threading.Thread(target=gate.wait).start()
after = vitals()
gate.set()
assert after["process_open_fds"] - before["process_open_fds"] == 3
assert after["process_threads"] - before["process_threads"] == 3
spent = sum(own.cpu_times()[:2])
while sum(own.cpu_times()[:2]) < spent + 0.05:
    pass
assert vitals()["process_cpu_seconds_total"] > after["process_cpu_seconds_total"]
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_a_process_without_a_descriptor_left_says_so():
    """In a process of its own, whose limit is below what the interpreter has open."""
    program = """
import resource
from whisperfusion.runtime import process

resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
vitals = dict(process.process_metrics())
print(vitals["process_open_fds"], vitals["process_max_fds"])
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("3.0 3.0\n", "")


async def test_free_space_is_that_of_the_disk_of_a_folder_that_is_not_made_yet(tmp_path):
    ((name, found),) = await DiskSpace(tmp_path / "state" / "batches", wait_s=PATIENCE_S).metrics()
    assert name == "disk_free_bytes"
    assert abs(found / shutil.disk_usage(tmp_path).free - 1) < 0.1


async def test_a_disk_that_does_not_answer_holds_one_thread_and_no_scrape(tmp_path):
    asked, gate = [], threading.Event()

    def free(folder: Path) -> int:
        asked.append(folder)
        assert gate.wait(PATIENCE_S)
        return 7

    disk = DiskSpace(tmp_path, free, wait_s=0.01)
    for _ in range(3):
        assert await disk.metrics() == ()
    gate.set()
    while not (found := await disk.metrics()):
        await asyncio.sleep(0)
    assert found == (("disk_free_bytes", 7.0),)
    assert set(asked) == {tmp_path} and len(asked) <= 2


async def test_scrapes_at_the_same_time_each_have_the_value(tmp_path):
    disk = DiskSpace(tmp_path, lambda folder: 7, wait_s=PATIENCE_S)

    async def scrape() -> None:
        for _ in range(20):
            assert await disk.metrics() == (("disk_free_bytes", 7.0),)

    await asyncio.gather(*(scrape() for _ in range(5)))


async def test_a_disk_that_is_broken_has_no_value(tmp_path):
    def free(folder: Path) -> int:
        raise OSError("Input/output error")

    assert await DiskSpace(tmp_path, free, wait_s=PATIENCE_S).metrics() == ()


# --- through main -------------------------------------------------------------------------------


async def test_numbers_of_each_worker_arrive_and_outlive_the_gateway():
    (port,) = free_ports(1)
    supervisor = multiprocessing.get_context("spawn").Process(
        target=counting_worker.supervisor, args=(Settings(http_port=port),)
    )
    supervisor.start()
    expected = {f"whisperfusion_user_turns_total {name}": 2.0 for name in ("asr", "llm", "tts")}

    async def until_told(restarts: float) -> None:
        for _ in range(int(PATIENCE_S / 0.05)):
            with suppress(httpx.TransportError):  # it is not there yet, or not there again
                found = read(await fetch(f"http://127.0.0.1:{port}"))
                again = found["whisperfusion_stage_restarts"][2].get(
                    "whisperfusion_stage_restarts gateway"
                )
                if (
                    again == restarts
                    and found.get("whisperfusion_user_turns", ("", "", {}))[2] == expected
                ):
                    return
            assert supervisor.is_alive()
            await asyncio.sleep(0.05)
        raise AssertionError("the numbers did not arrive")

    try:
        await until_told(restarts=0)
        (gateway_process,) = [
            one for one in psutil.Process(supervisor.pid).children() if listens(one, port)
        ]
        gateway_process.kill()
        await until_told(restarts=1)
    finally:
        supervisor.terminate()
        await asyncio.to_thread(supervisor.join, PATIENCE_S)
    assert supervisor.exitcode == 0


def listens(process: psutil.Process, port: int) -> bool:
    return any(
        one.status == psutil.CONN_LISTEN and one.laddr.port == port
        for one in process.net_connections()
    )


def test_numbers_go_to_the_gateway_alone_and_die_with_their_process():
    supervisor = main.Supervisor(Settings())
    asr = supervisor.children["asr"]
    asr.metrics, asr.stage, asr.process = ASR, READY["asr"], Ended()
    supervisor._on_exit(asr, "was killed")
    assert asr.metrics is None and main.ROUTES[Metrics] == ("gateway",)


class Ended:
    def join(self) -> None:
        """A process that is dead already."""
