"""Spans of real processes at a scripted collector: one tree over three processes, and nothing that
a collector does is noticed by a call.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from client import Caller, spoken
from otlp_collector import Collector, Received
from running import ROOT, SCRIPTED, Server

from whisperfusion import settings
from whisperfusion.call.turn_spans import TurnSpans
from whisperfusion.client import Failed, Latency, ReplyDone
from whisperfusion.errors import SettingsError
from whisperfusion.messages import Ticket, ToolFinished, ToolStarted, Trace
from whisperfusion.runtime import debugger, tracing
from whisperfusion.runtime.ports import free_ports
from whisperfusion.turns import commands as turns
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.events import TextTyped, Wake
from whisperfusion.turns.options import Options

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID, CLIENT_SPAN = PARENT[3:35], PARENT[36:52]
# of a spoken turn, with the process that makes the span
STEPS = {
    ("asr", "vad"),
    ("asr", "endpointing"),
    ("asr", "transcription"),
    ("asr", "turn_detection"),
    ("asr", "first_sound"),
    ("asr", "playback"),
    ("llm", "chat echo"),
    ("tts", "synthesis"),
}


def running(collector: Collector, *flags: str) -> Server:
    return Server(*SCRIPTED, f"--otlp-endpoint={collector.url}", *flags).wait_ready()


async def a_turn(server: Server, words: str = "alpha beta", **handshake: object) -> Caller:
    async with Caller(server, **handshake) as caller:
        await caller.speak(spoken(words))
        await caller.answered()
        await caller.until(lambda: caller.of(Latency))
    return caller


def one(collector: Collector, name: str) -> Received:
    (span,) = collector.named(name)
    return span


async def test_a_spoken_turn_is_one_tree_over_three_processes():
    with Collector() as collector:
        server = running(collector)
        try:
            await a_turn(server, trace=PARENT)
            server.wait_for(lambda: collector.named("call") and collector.named("synthesis"))
            server.wait_for(lambda: collector.named("chat echo"))
        finally:
            server.stop()
    call, turn = one(collector, "call"), one(collector, "turn")
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert call.parent == CLIENT_SPAN and turn.parent == call.id
    inner = [span for span in collector.spans if span not in (call, turn)]
    assert {(span.process, span.name) for span in inner} == STEPS
    assert {span.parent for span in inner} == {turn.id}
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    for span in inner:
        assert turn.began <= span.began <= span.ended, span
    assert call.began <= turn.began <= turn.ended <= call.ended
    assert turn.attributes["whisperfusion.outcome"] == "played"
    assert turn.attributes["whisperfusion.latency.decided_s"] >= 0
    used = [span for span in collector.named("chat echo") if "cancelled" not in str(span)]
    chat = used[-1]
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.request.model"] == "echo"
    assert chat.attributes["gen_ai.usage.output_tokens"] == len(
        "You said a b. That is 2 words.".split()
    )
    assert chat.attributes["gen_ai.usage.input_tokens"] > 0
    assert chat.events == ("gen_ai.first_token",)
    assert all(span.events == ("first_audio",) for span in collector.named("synthesis"))
    everything = str(collector.spans)
    assert "alpha" not in everything and "You said" not in everything


async def test_tools_failures_and_typed_turns_are_in_the_tree():
    with Collector() as collector:
        server = running(collector)
        try:
            async with Caller(server) as caller:
                await caller.send("say", text="explode")
                await caller.until(lambda: caller.of(Failed))
                await caller.send("say", text="hello")
                await caller.until(lambda: [one for one in caller.of(ReplyDone) if one.turn > 2])
            server.wait_for(lambda: collector.named("call"))
        finally:
            server.stop()
    turns = {span.attributes["whisperfusion.outcome"]: span for span in collector.named("turn")}
    assert turns["failed"].failed and not turns["played"].failed
    assert turns["failed"].attributes["error.type"] == "llm_failed"
    failed = [span for span in collector.named("chat echo") if span.failed]
    assert failed[0].attributes["error.type"] == "EngineError"
    assert failed[0].parent == turns["failed"].id
    assert turns["played"].attributes["whisperfusion.typed"] and not collector.named("endpointing")
    assert (
        len({span.trace_id for span in collector.spans}) == 1
        and one(collector, "call").parent == ""
    )


async def test_a_collector_that_refuses_costs_spans_and_no_turn():
    with Collector(status=503) as collector:
        server = running(collector)
        try:
            caller = await a_turn(server)
            assert caller.reply(1) == "You said alpha beta. That is 2 words."
            server.wait_for(lambda: "takes no spans" in server.log)
            collector.status = 200
            await a_turn(server)
            server.wait_for(lambda: "takes spans again" in server.log)
            server.wait_for(lambda: dropped(server) > 0)
        finally:
            assert server.stop() == 0
    assert "Traceback" not in server.log


async def test_a_collector_that_never_answers_holds_up_no_turn_and_no_end():
    with Collector(delay_s=600.0) as collector:
        server = running(collector)
        try:
            await a_turn(server)
            server.wait_for(lambda: collector.requests)
            await a_turn(server)
        finally:
            assert server.stop() == 0


def dropped(server: Server) -> float:
    """By all processes."""
    with urllib.request.urlopen(f"{server.http_url}/metrics") as answer:
        found = re.findall(
            r"(?m)^whisperfusion_spans_dropped_total\S* (\S+)", answer.read().decode()
        )
    return sum(map(float, found))


async def test_a_trace_that_its_client_does_not_record_is_not_recorded_here():
    with Collector() as collector:
        server = running(collector)
        try:
            await a_turn(server, "one", trace=PARENT[:-2] + "00")
            await a_turn(server, "two", trace=PARENT)
            server.wait_for(lambda: collector.named("call"))
        finally:
            server.stop()
    assert len(collector.named("call")) == 1


async def test_spans_in_files_are_the_same_tree_without_any_package(tmp_path):
    server = Server(*SCRIPTED, f"--trace-dir={tmp_path}/traces").wait_ready()
    try:
        await a_turn(server, trace=PARENT)
        files = tmp_path / "traces"
        names = ("call", "synthesis", "chat echo")
        server.wait_for(
            lambda: all(
                f'"{name}"' in "".join(map(Path.read_text, files.iterdir())) for name in names
            )
        )
        loaded = Path(f"/proc/{server.pid('asr')}/maps").read_text()
        assert "opentelemetry" not in loaded
    finally:
        server.stop()
    spans = {}
    for file in (tmp_path / "traces").glob("*.jsonl"):
        assert file.stat().st_mode & 0o777 == 0o600
        for line in file.read_text().splitlines():
            (of_process,) = json.loads(line)["resourceSpans"]
            (scope,) = of_process["scopeSpans"]
            for span in scope["spans"]:
                spans[span["spanId"]] = span
    assert {span["traceId"] for span in spans.values()} == {TRACE_ID}
    roots = [span for span in spans.values() if span["parentSpanId"] not in spans]
    assert [(span["name"], span["parentSpanId"]) for span in roots] == [("call", CLIENT_SPAN)]
    assert {span["name"] for span in spans.values()} == {name for _, name in STEPS} | {
        "call",
        "turn",
    }


class Kept:
    """A tracer that keeps spans."""

    def __init__(self) -> None:
        self.spans: list[tracing.Span] = []

    def add(self, span: tracing.Span, zero: int) -> None:
        self.spans.append(span)


def test_the_tools_of_a_reply_are_spans_of_its_turn():
    conversation, tracer = Conversation("a", Options()), Kept()
    own = tracing.of_call("a", Trace())
    spans = TurnSpans(conversation, own, "", tracer, 10.0)
    receive = spans.watched(lambda event, now: [])
    ticket = Ticket("a", 3)
    receive(ToolStarted(ticket, "1", "set_timer", '{"text": "tea"}'), 11.0)
    receive(ToolStarted(ticket, "2", "search", "{}"), 11.5)
    receive(ToolFinished(ticket, "2", "no network", failed=True), 12.0)
    receive(ToolFinished(ticket, "1", "done"), 13.0)
    spans.end()
    search, timer, call = tracer.spans
    assert (timer.name, timer.began, timer.ended) == ("execute_tool set_timer", 11.0, 13.0)
    assert timer.attributes["gen_ai.tool.name"] == "set_timer" and "tea" not in str(timer)
    assert search.error and not timer.error
    assert {timer.parent, search.parent} == {tracing.turn_of(own.parent, 3)}
    assert (call.name, call.ended) == ("call", 13.0)


def test_a_call_begins_before_its_first_turn_though_two_clocks_are_read(monkeypatch):
    class At(Kept):
        def add(self, span: tracing.Span, zero: int) -> None:
            self.spans.append(replace(span, began=span.began + zero / 1e9))

    times = [10.05, 10.01, 10.02]  # the first one is read late
    monkeypatch.setattr(tracing.time, "time_ns", lambda: int(times.pop(0) * 1e9))
    tracer = At()
    own = tracing.of_call("a", Trace())
    spans = TurnSpans(Conversation("a", Options()), own, "", tracer, 10.0)
    receive = spans.watched(lambda event, now: [turns.TurnAccepted(1)])
    receive(TextTyped("tea"), 10.01)
    receive(Wake(), 10.02)
    spans.end()
    began = {one.name: one.began for one in tracer.spans}
    assert began["call"] <= began["turn"]


def test_an_error_in_a_trace_ends_no_call():
    class Broken(Kept):
        def add(self, span: tracing.Span, zero: int) -> None:
            raise ValueError("broken")

    spans = TurnSpans(Conversation("a", Options()), tracing.of_call("a", Trace()), "", Broken(), 0)
    commands = [turns.TurnAccepted(1), turns.TurnFailed(1, "llm", "")]
    assert spans.watched(lambda event, now: commands)(Wake(), 1.0) == commands
    spans.end()


def test_without_an_endpoint_nothing_of_it_is_imported():
    code = (
        "import sys, whisper_server, llm_service, tts_service, gateway\n"
        "from whisperfusion.runtime import process, tracing\n"
        "from whisperfusion.settings import Settings\n"
        "tracing.start(Settings(), 'asr')\n"
        "assert tracing.current() is None and tracing.metrics() == ()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"


def test_ids_are_the_same_in_every_process_and_differ_between_turns():
    first, second = (tracing.of_call(call, Trace("abc", PARENT)) for call in ("a", "b"))
    assert first.id == "abc" and first.parent != second.parent
    assert first == tracing.of_call("a", Trace("abc", PARENT))
    turns = {tracing.turn_of(first.parent, turn) for turn in range(50)}
    assert len(turns) == 50 and all(turn.startswith(PARENT[:36]) for turn in turns)
    new = tracing.of_call("a", Trace())
    assert (
        len(new.parent) == len(PARENT)
        and new.id == new.parent[3:35]
        and tracing.sampled(new.parent)
    )


def test_an_endpoint_has_to_be_a_url():
    with pytest.raises(SettingsError, match="OTLP_ENDPOINT='collector' is not a URL"):
        settings.build({"otlp_endpoint": "collector"}, {}, {})
    standard = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
    assert settings.build({}, standard, {}).otlp_endpoint == "http://localhost:4318"


def test_a_debugger_listens_on_this_machine_alone():
    assert debugger.ports("asr:5678, llm:5679") == {"asr": 5678, "llm": 5679}
    with pytest.raises(SettingsError, match="'main:1' is not PROCESS:PORT"):
        debugger.ports("main:1")
    (port,) = free_ports(1)
    code = (
        "import pathlib\n"
        "from whisperfusion.runtime import debugger\n"
        "debugger.start('llm:1', 'asr')\n"
        f"debugger.start('asr:{port}', 'asr')\n"
        "print(pathlib.Path('/proc/net/tcp').read_text())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listening = {line.split()[1] for line in ended.stdout.splitlines() if f":{port:04X} " in line}
    assert f"0100007F:{port:04X}" in listening and f"00000000:{port:04X}" not in listening


@pytest.mark.parametrize(
    ("library", "package", "start"),
    [
        (
            "debugpy",
            "debugpy",
            "from whisperfusion.runtime import debugger; debugger.start('asr:1', 'asr')",
        ),
        (
            "opentelemetry.exporter",
            "opentelemetry-exporter-otlp-proto-http",
            "from whisperfusion.runtime import tracing\n"
            "from whisperfusion.settings import Settings\n"
            "tracing.check_installed(Settings(otlp_endpoint='http://x'))",
        ),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(library, package, start):
    code = f"import sys; sys.modules[{library!r}] = None\n{start}"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1 and re.search(rf"pip install {package}\b", ended.stderr)
