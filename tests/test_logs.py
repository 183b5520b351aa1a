"""The log: JSON lines of all processes that name the client's request, and no words of callers."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import urllib.request
from types import SimpleNamespace

import pytest
from client import Caller, spoken
from hypothesis import given
from hypothesis import strategies as st
from running import ROOT, SCRIPTED, Server
from test_realtime import Client

from whisperfusion import json_log
from whisperfusion.client import Failed, UserTurn
from whisperfusion.messages import NO_TRACE, Trace
from whisperfusion.runtime.process import TextFormatter
from whisperfusion.runtime.redaction import Redacting
from whisperfusion.wire import WireError
from whisperfusion.wire import trace as wire
from whisperfusion.wire.asr_handshake import parse_handshake

MARK = "zanzibar"  # said, typed, answered and spoken; in no line of any process
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROCESSES = {"main", "asr", "llm", "tts", "gateway"}


# --- what a client may send ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({}, NO_TRACE),
        ({"X-Request-ID": "abc-1"}, Trace("abc-1")),
        ({"traceparent": PARENT}, Trace(PARENT[3:35], PARENT)),
        ({"X-Request-ID": "abc", "traceparent": PARENT}, Trace("abc", PARENT)),
        ({"traceparent": PARENT.replace("00-", "01-", 1) + "-later"}, Trace(PARENT[3:35], PARENT)),
        ({"traceparent": PARENT + "-more"}, NO_TRACE),  # version 00 has four fields
        ({"traceparent": PARENT.replace("00-", "ff-", 1)}, NO_TRACE),
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, NO_TRACE),
        ({"traceparent": PARENT.upper()}, NO_TRACE),
        ({"X-Request-ID": "x" * 129}, NO_TRACE),
        ({"X-Request-ID": 'a", "level": "error'}, NO_TRACE),
        ({"X-Request-ID": "a\nb"}, NO_TRACE),
        ({"X-Request-ID": "a\x1b[31m"}, NO_TRACE),
    ],
)
def test_a_request_is_named_by_valid_headers_alone(headers, trace):
    assert wire.trace_of_headers(headers) == trace
    assert wire.trace_of_headers(dict(wire.headers_of(trace))) == trace


@given(st.text(max_size=200))
def test_any_header_gives_an_id_that_cannot_break_a_line(text):
    for found in wire.trace_of_headers({"X-Request-ID": text, "traceparent": text}):
        assert re.fullmatch(r"[A-Za-z0-9._:+/=-]*", found)


def test_a_handshake_names_its_trace():
    named = {"uid": "me", "events": True}
    assert parse_handshake(json.dumps({**named, "trace": "abc"})).trace == Trace("abc")
    assert parse_handshake(json.dumps({**named, "trace": PARENT})).trace.parent == PARENT
    assert parse_handshake(json.dumps(named)).trace == NO_TRACE
    with pytest.raises(WireError, match='"trace" .* allowed: an id of at most 128'):
        parse_handshake(json.dumps({**named, "trace": "two\nlines"}))


# --- lines --------------------------------------------------------------------------------------


@pytest.fixture
def as_json():
    json_log.start("asr")
    yield json_log.JsonFormatter("asr")
    json_log.stop()


def record(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    raised = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("asr", logging.ERROR, "x.py", 1, message, arguments, raised)


def test_a_line_has_the_call_the_turn_and_the_ids(as_json):
    json_log.remember("call-1", ("abc", "0af7"))
    turn = 3
    with json_log.scope("call-1", lambda: turn):
        turn = 4  # told when the line is written
        values = json.loads(as_json.format(record("no %s", "voice")))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", values.pop("time"))
    assert values == {
        "level": "error",
        "logger": "asr",
        "process": "asr",
        "message": "no voice",
        "call": "call-1",
        "turn": 4,
        "correlation_id": "abc",
        "trace_id": "0af7",
    }
    json_log.forget("call-1")
    with json_log.scope("call-1"):
        assert "correlation_id" not in json.loads(as_json.format(record("no voice")))
    assert "call" not in json.loads(as_json.format(record("no voice")))
    assert json.loads(as_json.format(record("%d", "seven")))["message"] == "%d"


def test_while_the_log_is_text_nothing_is_kept():
    json_log.remember("call-1", ("abc", ""))
    with json_log.scope("call-1"):
        json_log.start("asr")
        try:
            values = json.loads(json_log.JsonFormatter("asr").format(record("x")))
        finally:
            json_log.stop()
    assert not {"call", "correlation_id"} & set(values)


@given(st.text())
def test_any_message_is_one_line_of_json(text):
    line = json_log.JsonFormatter("asr").format(record("%s", text, error=ValueError(text)))
    assert len(line.splitlines()) == 1 and json.loads(line)["message"] == text
    assert text.strip() in json.loads(line)["exception"] or not text.isprintable()


@pytest.mark.parametrize("secret", ['quo"te\\d', "schlüssel", "plain-key"])
def test_keys_are_removed_and_the_line_stays_json(secret):
    formatter = Redacting(json_log.JsonFormatter("asr"), [secret])
    line = formatter.format(record("%s", f'at ?token=abcd" with {secret} and\\'))
    assert json.loads(line)["message"] == 'at ?token=***" with *** and\\'


def test_a_message_of_text_cannot_pretend_to_be_a_line():
    formatter = TextFormatter("%(levelname)s %(message)s")
    text = formatter.format(record("%s", "a\nERROR forged\r\x1b[31m\u2028end"))
    assert text == "ERROR a\n    ERROR forged\\r\\x1b[31m\\u2028end"
    assert formatter.format(record("a", error=ValueError("b"))) == "ERROR a\nValueError: b"


def test_what_python_prints_is_logged_too():
    code = """if True:
        import threading, warnings
        from whisperfusion.runtime import process
        process.set_up_logging("info", "json", "llm")
        warnings.warn("careful")
        thread = threading.Thread(target=lambda: 1 / 0, name="worker-1")
        thread.start()
        thread.join()
        raise KeyError("gone")
    """
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "critical", "critical"]
    assert "careful" in lines[0]["message"] and "worker-1" in lines[1]["message"]
    assert "ZeroDivisionError" in lines[1]["exception"] and "'gone'" in lines[2]["exception"]


# --- the real processes -------------------------------------------------------------------------


def lines_of(server: Server) -> list[SimpleNamespace]:
    """Every line, each of which has to be JSON."""
    empty = {"call": "", "turn": 0, "correlation_id": "", "trace_id": "", "exception": ""}
    return [SimpleNamespace(**{**empty, **json.loads(line)}) for line in tuple(server.lines)]


async def test_a_conversation_at_debug_leaves_none_of_its_words_and_all_of_its_ids():
    server = Server(*SCRIPTED, "--log-level=debug", "--log-format=json").wait_ready()
    try:
        async with Caller(server, trace=PARENT) as caller:
            await caller.speak(spoken(f"hello {MARK}"))
            await caller.answered()
            assert [event.text for event in caller.of(UserTurn)] == [f"hello {MARK}"]
            for turn, words in enumerate(("explode", "shatter", "unspeakable"), 2):
                await caller.send("say", text=f"{MARK} {words}")
                await caller.until(lambda turn=turn: len(caller.of(Failed)) == turn - 1)
        named = {"X-Request-ID": "req-7"}
        async with Client(server, additional_headers=named) as client:
            assert client.socket.response.headers["X-Request-ID"] == "req-7"
            words = [{"type": "input_text", "text": f"{MARK} shatter"}]
            item = {"type": "message", "role": "user", "content": words}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            await client.until("response.done")
        speech = urllib.request.Request(
            f"{server.http_url}/v1/audio/speech",
            json.dumps({"input": f"{MARK} speaks", "response_format": "pcm"}).encode(),
            {"Content-Type": "application/json", "X-Request-ID": "evil\tid"},
        )
        with urllib.request.urlopen(speech) as answer:
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
        server.wait_for(lambda: "/v1/audio/speech: 200" in server.log)
    finally:
        server.stop()
    lines = lines_of(server)
    assert {line.process for line in lines} == PROCESSES
    assert MARK not in server.log
    by_direct_call = [line for line in lines if line.trace_id == PARENT[3:35]]
    assert {line.process for line in by_direct_call} == {"asr", "llm", "tts"}
    assert {line.correlation_id for line in by_direct_call} == {PARENT[3:35]}
    (call,) = {line.call for line in by_direct_call}
    assert call in by_direct_call[0].message  # "joined as events"
    failed = {(line.process, line.turn) for line in by_direct_call if line.level == "warning"}
    exploded, shattered, unspeakable = (event.turn for event in caller.of(Failed))
    assert {("llm", exploded), ("llm", shattered), ("tts", unspeakable)} <= failed
    through_the_gateway = {line.process for line in lines if line.correlation_id == "req-7"}
    assert through_the_gateway >= {"gateway", "asr", "llm"}


async def test_words_are_logged_where_that_is_asked_for():
    server = Server(*SCRIPTED, "--log-words").wait_ready()
    try:
        async with Caller(server) as caller:
            await caller.send("say", text=f"hello {MARK}")
            await caller.answered()
    finally:
        server.stop()
    assert f"turn 1, user: hello {MARK}" in server.log
    assert f"turn 1, reply: You said hello {MARK}." in server.log
