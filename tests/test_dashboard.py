"""/events and the page /dashboard: the stream as it is sent, the page in a real Chromium with
numbers made by hand, and once against the real processes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from chromium import browser_with, opened
from client import Caller, spoken
from fake_sockets import PATIENCE_S, READY, serving
from playwright.async_api import expect

import gateway
import main
from whisperfusion.gateway.operations.dashboard import KEPT, EventLog
from whisperfusion.gateway.operations.health import from_supervisor
from whisperfusion.messages import Histogram, Metrics, Notice, Ready, Stage, Ticket, TurnLost
from whisperfusion.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOWN = Stage("tts", "down", "hibari", "heart", restarts=1, note="was killed by signal 9")
AGAIN = Stage("tts", "ready", "hibari", "heart", restarts=1)
LOST = TurnLost(Ticket("call-7", 3), "llm", "out of <memory>")
BOUNDS_S = (0.5, 1.0, 2.0)


# --- the stream ---------------------------------------------------------------------------------


class Reader:
    """One who reads /events."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, dict]:
        name = ""
        while True:
            line = await asyncio.wait_for(anext(self._lines), PATIENCE_S)
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def reading(address: str, **options) -> AsyncIterator[Reader]:
    async with (
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
        http.stream("GET", "/events", **options) as answer,
    ):
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(
            "text/event-stream"
        )
        yield Reader(answer.aiter_lines())


async def test_a_reader_gets_everything_as_it_is_then_what_changes():
    events, stages = EventLog(), dict(READY)
    events.publish(DOWN)
    async with serving(Settings(http_port=0), stages, None, events) as address:
        async with reading(address) as reader, reading(address) as other:
            for one in (reader, other):
                name, snapshot = await one.next()
                assert name == "snapshot" and set(snapshot["stages"]) == set(READY)
                assert snapshot["stages"]["llm"]["engine"] == "scripted" and snapshot["at"] > 1e9
                (before,) = snapshot["happened"]
                assert (before["kind"], before["name"], before["state"], before["note"]) == (
                    "stage",
                    "tts",
                    "down",
                    DOWN.note,
                )
            for news in (AGAIN, LOST, Notice("llm", "the embedded model\nanswers")):
                events.publish(news)
            for one in (reader, other):
                name, stage = await one.next()
                assert (name, stage["name"], stage["state"], stage["restarts"]) == (
                    "stage",
                    "tts",
                    "ready",
                    1,
                )
                name, lost = await one.next()
                assert name == "lost" and lost.pop("at") > 1e9
                assert lost == {
                    "kind": "lost",
                    "call": "call-7",
                    "turn": 3,
                    "stage": "llm",
                    "reason": "out of <memory>",
                }
                name, notice = await one.next()
                assert (name, notice["stage"], notice["text"]) == (
                    "notice",
                    "llm",
                    "the embedded model\nanswers",
                )


async def test_who_reads_slowly_gets_the_latest_and_costs_nothing():
    events = EventLog()
    stream = events.stream(from_supervisor(dict(READY)))
    assert (await anext(stream)).startswith("event: snapshot\n")
    for i in range(KEPT + 50):
        events.publish(Notice("llm", str(i)))
    texts = [
        json.loads(line[6:])["text"]
        for line in (await anext(stream)).splitlines()
        if line.startswith("data: ")
    ]
    assert texts == [str(i) for i in range(50, KEPT + 50)]
    events.publish(Notice("llm", "the next one"))
    last = await anext(stream)
    assert last.count("event: ") == 1 and "the next one" in last
    await stream.aclose()


async def test_who_does_not_read_at_all_delays_nobody_and_is_let_go():
    events = EventLog()
    async with serving(Settings(http_port=0), dict(READY), None, events) as address:
        where = urlsplit(address)
        deaf = socket.create_connection((where.hostname, where.port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        async with reading(address) as reader:
            assert (await reader.next())[0] == "snapshot"
            for i in range(50):  # more than all buffers between here and the deaf one hold
                for _ in range(KEPT):
                    events.publish(Notice("llm", f"{i} " + "x" * 1000))
                texts = [(await reader.next())[1]["text"] for _ in range(KEPT)]
                assert {text.split()[0] for text in texts} == {str(i)}
        deaf.close()


async def test_silence_is_not_the_end():
    events = EventLog()
    stream = events.stream(from_supervisor(dict(READY)), ping_s=0.0)
    await anext(stream)
    assert await anext(stream) == ": ping\n\n"
    events.close()
    assert [text async for text in stream] == []


async def test_a_stop_ends_the_streams(caplog):
    events = EventLog()
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        with caplog.at_level(logging.INFO, "gateway"):
            async with serving(Settings(http_port=0), dict(READY), None, events) as address:
                request = http.build_request("GET", f"{address}/events")
                answer = await http.send(request, stream=True)
                lines = answer.aiter_lines()
                assert await anext(lines) == "event: snapshot"
        rest = [line async for line in lines]  # to an orderly end, else httpx raises
    assert rest[0].startswith("data: ") and "did not close in time" not in caplog.text


async def test_the_page_is_open_and_what_it_shows_is_not():
    settings = Settings(http_port=0, shared_secret="s3")
    async with serving(settings, dict(READY), None, EventLog()) as address:
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
            page = await http.get("/dashboard")
            assert (
                page.status_code == 200
                and "default-src 'none'" in page.headers["content-security-policy"]
            )
            assert (await http.get("/events")).status_code == 401
        for key in ({"params": {"token": "s3"}}, {"headers": {"Authorization": "Bearer s3"}}):
            async with reading(address, **key) as reader:
                assert (await reader.next())[0] == "snapshot"


async def test_the_gateway_process_tells_what_main_tells_it():
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(
        target=gateway.run, args=(Settings(http_port=0), inbox, outbox), daemon=True
    )
    process.start()
    try:
        ready = await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)
        while not isinstance(ready, Ready):
            ready = await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)
        async with reading(ready.device) as reader:
            assert {stage["state"] for stage in (await reader.next())[1]["stages"].values()} == {
                "starting"
            }
            for news in (
                AGAIN,
                Metrics("tts", (("user_turns_total", 1.0),)),
                AGAIN,
                LOST,
                Notice("llm", "hello"),
                DOWN,
            ):
                inbox.put(news)
            came = [await reader.next() for _ in range(4)]
        # the same state twice is not a change
        assert [name for name, _ in came] == ["stage", "lost", "notice", "stage"]
        assert [data.get("state") for _, data in came] == ["ready", None, None, "down"]
    finally:
        process.kill()
    assert main.ROUTES[TurnLost] == ("gateway",) and "gateway" in main.ROUTES[Notice]


# --- the page -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with browser_with() as browser:
        yield browser


def counted(
    sound: tuple[int, ...] = (0, 0, 0, 0), lost: int = 0, **values: float
) -> dict[str, Metrics]:
    """Numbers of all workers.

    `sound`: answers by the time to their first sound, up to 0.5, 1 and 2 s, and longer.
    """
    common = {
        "queue_jobs": 0,
        "queue_oldest_job_seconds": 0,
        "process_resident_memory_bytes": 5e8,
        "process_uptime_seconds": 3700,
        "event_loop_lag_seconds": 0.031,
    }
    asr = {
        "active_calls": 0,
        "degradation_level": 0,
        "user_turns_total": 0,
        "preemptive_generations_total": 0,
        "preemptive_generations_used_total": 0,
        "preemptive_generations_wasted_total": 0,
    }
    histograms = (
        Histogram("time_to_first_audio_seconds", BOUNDS_S, sound, 9.0),
        Histogram("transcription_delay_seconds", BOUNDS_S, sound, 9.0),
    )
    failures = (("asr", 0), ("llm", lost), ("tts", 0))
    return {
        "asr": Metrics("asr", tuple((asr | common | values).items()), histograms, failures),
        "llm": Metrics(
            "llm", tuple((common | {"queue_jobs": 2, "queue_oldest_job_seconds": 0.75}).items())
        ),
        "tts": Metrics("tts", tuple((common | {"process_resident_memory_bytes": 1.5e9}).items())),
    }


@pytest_asyncio.fixture(loop_scope="module")
async def served():
    """A gateway whose tables and events a test changes as it likes."""

    class Served:
        stages, counted, events = dict(READY), counted((8, 1, 1, 0)), EventLog()

    async with serving(
        Settings(http_port=0), Served.stages, Served.counted, Served.events
    ) as Served.address:
        yield Served


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser, served):
    async with opened(browser, f"{served.address}/dashboard") as page:
        yield page


async def look(page) -> None:
    """The page reads /metrics now, as it does when it comes into sight; otherwise it would be
    seconds until it does.
    """
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def number(page, chart: str, line: str):
    return page.locator(f'#{chart} .legend [data-line="{line}"] dd')


async def test_percentiles_are_those_of_prometheus(page):
    quantile = """async ([share, buckets]) => {
        const { quantile } = await import("/static/prometheus.js");
        return quantile(share, buckets.map(([bound, count]) => [bound === null ? Infinity : bound, count]));
    }"""
    # 4 up to 0.5 s, 4 between 0.5 and 1, 2 between 1 and 2, none above
    buckets = [[0.5, 4], [1, 8], [2, 10], [None, 10]]
    # the rank, 10 × share, lies 0, 2, 4, 5, 9, 10 measurements up; inside a bucket they are spread
    # evenly
    for share, expected in ((0, 0), (0.2, 0.25), (0.4, 0.5), (0.5, 0.625), (0.9, 1.5), (1, 2)):
        assert await page.evaluate(quantile, [share, buckets]) == pytest.approx(expected), share
    # all that is known: it was longer
    assert await page.evaluate(quantile, [0.95, [[0.5, 1], [1, 1], [None, 4]]]) == 1
    assert await page.evaluate(
        quantile, [0.5, [[0.5, 0], [1, 0], [2, 6], [None, 6]]]
    ) == pytest.approx(1.5)
    for nothing in ([], [[0.5, 0], [None, 0]], [[None, 5]]):
        assert (
            await page.evaluate(f"({quantile})({json.dumps([0.5, nothing])}).then(String)") == "NaN"
        )


async def test_the_format_is_read_with_all_its_quirks(page):
    text = (
        "# HELP a text\n# TYPE a gauge\n"
        'a{b="x}\\"\\\\,\\n",a="1"} 2.5e3\n'
        "plain 7 1700000000000\n"
        'h_bucket{le="+Inf",stage="asr"} +Inf\nnan NaN\n'
        '{"quoted name",stage="x"} 1\nnonsense\n'
    )
    parsed = await page.evaluate(
        (
            'async (text) => [...(await import("/static/prometheus.js")).parse(text)].map(([name, '
            "value]) => [name, String(value)])"
        ),
        text,
    )
    assert parsed == [
        ['a,a=1,b=x}"\\,\n', "2500"],
        ["plain", "7"],
        ["h_bucket,le=+Inf,stage=asr", "Infinity"],
        ["nan", "NaN"],
    ]


async def test_what_was_counted_in_a_stretch_survives_a_restart(page):
    increases = """async (samples) => {
        const { History, named } = await import("/static/history.js");
        const name = named("user_turns_total", "asr");
        const history = new History(60_000);
        for (const [at, value] of samples) history.add(at * 1000, new Map(value === null ? [] : [[name, value]]));
        return [history.samples.map((_, index) => history.increase(name, index, 20_000)), history.samples.map(({ at }) => at / 1000)];
    }"""
    # counts 5, 8; the process dies; its successor has counted 2, then 4: 2 + 2 after the 3 before
    found, kept = await page.evaluate(increases, [[0, 5], [10, 8], [20, None], [30, 2], [40, 4]])
    assert found == [0, 3, None, 2, 2] and kept == [0, 10, 20, 30, 40]
    found, kept = await page.evaluate(increases, [[0, 5], [50, 6], [60, 9], [100, 11], [120, 12]])
    # what came between 60 and 100 may be older than 20 s
    assert kept == [60, 100, 120] and found == [0, 0, 1]


async def test_charts_follow_the_numbers(page, served):
    # nothing in the last minutes that the page knows of
    await expect(number(page, "first_sound", "p50")).to_have_text("–")
    await expect(page.locator("#measured")).to_contain_text("0 answers")
    # 10 more than before: 2 up to 0.5 s, 6 up to 1 s, 2 up to 2 s, so the 5th lies at half of the
    # second bucket
    served.counted |= counted(
        (10, 7, 3, 0),
        lost=2,
        active_calls=3,
        load=0.375,
        draining=0,
        degradation_level=1,
        user_turns_total=12,
        preemptive_generations_total=8,
        preemptive_generations_used_total=6,
        preemptive_generations_wasted_total=2,
    )
    await look(page)
    for line, text in (("p50", "0.75 s"), ("p95", "1.75 s"), ("p99", "1.95 s")):
        await expect(number(page, "first_sound", line)).to_have_text(text)
        await expect(number(page, "words", line)).to_have_text(text)
    await expect(page.locator("#measured")).to_contain_text("10 answers in the last")
    await expect(number(page, "callers", "callers")).to_have_text("3")
    await expect(number(page, "callers", "load")).to_have_text("1")
    await expect(number(page, "queues", "asr")).to_have_text("none")
    await expect(number(page, "queues", "llm")).to_have_text("0.75 s (2)")
    await expect(number(page, "turns", "turns")).to_have_text("12")
    await expect(number(page, "turns", "lost")).to_have_text("2")
    await expect(number(page, "preemptive", "used")).to_have_text("6 (75 %)")
    await expect(number(page, "preemptive", "wasted")).to_have_text("2 (25 %)")
    await expect(number(page, "memory", "asr")).to_have_text("500 MB")
    await expect(number(page, "loops", "asr")).to_have_text("31 ms")
    # these tests run on a loop that is not watched
    await expect(number(page, "loops", "gateway")).to_have_text("–")
    await expect(number(page, "memory", "tts")).to_have_text("1.50 GB")
    # of these very tests
    await expect(number(page, "memory", "gateway")).to_have_text(re.compile("[MG]B$"))
    await expect(page.locator("#failed-now")).to_contain_text("llm 2")
    await expect(page.locator("#first-sound-now")).to_have_text("0.75 s")
    await expect(page.locator("#load-now")).to_have_text("38 %")
    served.counted |= counted((10, 7, 3, 0), load=1, draining=1)
    await look(page)
    await expect(page.locator("#load-now")).to_have_text("100 %draining")
    await expect(page.locator("#load-now")).to_have_attribute("data-bad", "true")
    drawing = page.locator("#first_sound svg.plot")
    await expect(drawing).to_have_attribute(
        "aria-label",
        "First sound, the last 10 minutes. p50: now 0.75 s, between 0.75 s and 0.75 s. "
        "p95: now 1.75 s, between 1.75 s and 1.75 s. p99: now 1.95 s, between 1.95 s and 1.95 s.",
    )
    assert "M" in await page.locator('#callers path[data-line="callers"]').get_attribute("d")
    await page.focus("[name=window]:checked")
    await page.keyboard.press("ArrowRight")  # since start: 20 answers, 10 of them up to 0.5 s
    await expect(number(page, "first_sound", "p50")).to_have_text("0.50 s")
    await expect(page.locator("#measured")).to_have_text("20 answers")
    del served.counted["asr"]
    await look(page)
    await expect(number(page, "callers", "callers")).to_have_text("–")


async def test_parts_and_happenings_come_by_themselves(page, served):
    row = page.locator('#stages [data-stage="tts"]')
    await expect(row).to_contain_text("ready")
    await expect(row).to_contain_text("1 h 1 min")
    await expect(page.locator("#overall")).to_have_text("all ready")
    for news in (DOWN, LOST, Notice("llm", "the embedded model answers instead")):
        served.events.publish(news)
    await expect(row.locator('[data-state="down"]')).to_have_text("down")
    await expect(row).to_contain_text("signal 9")
    await expect(page.locator("#overall")).to_have_text("1 down")
    served.events.publish(AGAIN)
    entries = page.locator("#happenings li span")
    texts = [
        "TTS is ready again, restart 1",
        "LLM: the embedded model answers instead",
        "Turn 3 of call call-7 failed, llm: out of <memory>",
        "TTS is down: it was killed by signal 9",
    ]
    await expect(entries).to_have_text(texts)
    await expect(page.locator("#overall")).to_have_text("all ready")
    await expect(page.locator("#no-events")).to_be_hidden()
    await page.reload()
    await expect(entries).to_have_text(texts)  # who comes later is told as well


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_on_a_phone_and_in_the_dark(browser, served, scheme):
    served.events.publish(
        TurnLost(Ticket("a-call-with-a-very-long-name-indeed", 3), "llm", "x" * 200)
    )
    async with opened(
        browser,
        f"{served.address}/dashboard",
        viewport={"width": 320, "height": 640},
        color_scheme=scheme,
    ) as page:
        await expect(page.locator("#happenings li")).to_have_count(1)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        for control in await page.locator("label:visible, nav a").all():
            assert (await control.bounding_box())["height"] >= 44
        contrast = """([selector, property]) => {
            const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
                .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
                .reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
            const of = (node, name) => light(getComputedStyle(node)[name]);
            const card = of(document.querySelector(".card"), "backgroundColor");
            return Math.min(...[...document.querySelectorAll(selector)].map((node) => of(node, property))
                .map((one) => (Math.max(one, card) + 0.05) / (Math.min(one, card) + 0.05)));
        }"""
        for selector, name, least in (
            ("path.line", "stroke", 3),
            (".dot", "fill", 3),
            (".tick", "fill", 4.5),
        ):
            assert await page.evaluate(contrast, [selector, name]) >= least, selector
        for selector in (".legend dt", "figcaption p", '[data-kind="bad"]', "time", "thead th"):
            assert await page.evaluate(contrast, [selector, "color"]) >= 4.5, selector


async def test_the_secret_is_asked_for_and_kept_out_of_addresses(browser):
    async with serving(
        Settings(http_port=0, shared_secret="sesame"),
        dict(READY),
        counted(active_calls=4),
        EventLog(),
    ) as address:
        context = await browser.new_context()
        page = await context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{address}/dashboard")
        for attempt in ("wrong", "sesame"):
            await page.fill("#secret-value", attempt)
            await page.press("#secret-value", "Enter")
        await expect(page.locator("#callers-now")).to_have_text("4")
        await expect(page.locator("#no-events")).to_have_text("No events yet.")
        assert f"{address}/events" in asked and not any("sesame" in url for url in asked)
        await context.close()


async def test_alone_it_says_what_is_missing(browser):
    async with serving(Settings(http_port=0, asr_port=1, tts_port=1), None) as address:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{address}/dashboard")
        await expect(page.locator("#no-events")).to_contain_text("This gateway runs alone")
        await expect(page.locator('#stages [data-stage="asr"]')).to_contain_text(
            "no response at 127.0.0.1:1"
        )
        await expect(number(page, "memory", "gateway")).to_have_text(re.compile("[MG]B$"))
        await expect(number(page, "callers", "callers")).to_have_text("–")
        await context.close()


# --- the whole server ---------------------------------------------------------------------------


async def test_a_turn_of_a_real_call_is_seen(browser, scripted_server):
    async with opened(browser, f"{scripted_server.http_url}/dashboard") as page:
        await expect(page.locator("#overall")).to_have_text("all ready")
        async with Caller(scripted_server) as caller:
            await caller.speak(spoken("alpha beta"))
            await caller.answered()
            await expect(page.locator("#callers-now")).not_to_have_text(
                "0", timeout=PATIENCE_S * 1000
            )
            await expect(number(page, "first_sound", "p50")).to_contain_text(
                " s", timeout=PATIENCE_S * 1000
            )
            await expect(number(page, "memory", "llm")).to_contain_text("MB")
            await caller.speak(spoken("explode"))
            await expect(page.locator("#happenings")).to_contain_text(
                "failed, llm", timeout=PATIENCE_S * 1000
            )
            await expect(page.locator("#failed-now")).to_contain_text(
                re.compile(r"llm \d"), timeout=PATIENCE_S * 1000
            )
