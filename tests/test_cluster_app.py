"""An engine as a server, to any program that reaches it: what is refused and how, which keys are
asked for, when it says that it is of no more use.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import httpx
import numpy as np
import pytest
from engine_checks import ENGLISH, eventually
from far_engines import ALPHA, Reply
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cluster import calls
from cluster.calls import BODY_LIMIT
from whisperfusion.engines import load
from whisperfusion.wire import engine_pipe as wire

OPTIONS = {**asdict(ENGLISH), "languages": []}
CHAT = {"history": [["user", "hi"]], "max_tokens": 9, "temperature": 0.0, "tools": None}
SPEECH = {"text": "hello", "voice": None, "speed": 1.0}


def framed(message: wire.Message) -> bytes:
    return b"".join(bytes(part) for part in wire.encode(message))


def call(method: str, arguments: dict[str, Any], pcm: Any = None) -> bytes:
    return framed(wire.Call(1, method, arguments, pcm))


def answers(url: str, body: bytes) -> list[wire.Message]:
    answer = httpx.post(f"{url}/call", content=body)
    assert answer.status_code == 200, answer.text
    messages = wire.Decoder().feed(answer.content)
    return [one for one in messages if not isinstance(one, wire.Pulse)]


@pytest.fixture
def llm(serve) -> str:
    return serve("llm", load("llm", "scripted")).url


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "send one frame with a Call"),
        (b"GET / HTTP/1.1", "is not a frame of the engine pipe"),
        (call("stream_chat", CHAT)[:-1], "send one frame"),
        (call("stream_chat", CHAT) * 2, "send one frame"),
        (framed(wire.Load("llm", "scripted", {}, {}, "")), "send one frame with a Call"),
        (b"WFE1\x02\x00\x00\x00\x00\x00\x00\x00{}", "names no message"),
        (b"WFE1\xff\xff\xff\xff\x00\x00\x00\x00", "too large"),
        (call("__init__", {}), "'__init__' is not known here; allowed: stream_chat"),
        (call("transcribe", {"options": OPTIONS}, ALPHA), "'transcribe' is not known here"),
        (call("stream_chat", {}), "stream_chat: history: Field required"),
        (call("stream_chat", {**CHAT, "temperature": "hot"}), "temperature: .*valid number"),
        (call("stream_chat", {**CHAT, "max_tokens": 0}), "max_tokens: .*greater than"),
        (call("stream_chat", {**CHAT, "max_tokens": True}), "max_tokens: .*valid integer"),
        (call("stream_chat", {**CHAT, "history": [["user"]]}), "history.0: .*at least 2"),
        (call("stream_chat", {**CHAT, "history": [["user", 1]]}), "history.0.1: .*a string"),
        (call("stream_chat", {**CHAT, "more\ud800": 1}), "unable to parse raw data as a unicode"),
        (call("stream_chat", {**CHAT, "tools": {"tools": [{"function": 1}]}}), "needs a function"),
        (call("stream_json", {"history": [], "schema": {}, "max_tokens": 1}), "has no stream_json"),
    ],
)
def test_what_is_no_call_is_refused(llm, body, why):
    answer = httpx.post(f"{llm}/call", content=body)
    assert answer.status_code == 400
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(answer.json()["error"]["message"])
    assert answers(llm, call("stream_chat", CHAT))[-1] == wire.Done(1)


def test_a_body_that_is_too_large_is_not_read(llm):
    def endless():
        for _ in range(2 * (BODY_LIMIT >> 20)):
            yield bytes(1 << 20)

    answer = httpx.post(f"{llm}/call", content=endless())
    assert (answer.status_code, "16 MB" in answer.json()["error"]["message"]) == (413, True)


@given(st.binary(max_size=200), st.sampled_from([b"", b"WFE1", call("stream_chat", CHAT)[:40]]))
def test_no_bytes_are_a_call_by_chance(data, head):
    with pytest.raises(calls.BadCall):
        calls.check(calls.read(head + data), calls.METHODS["llm"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(CHAT)), JSON)
def test_a_field_of_any_other_kind_is_refused_and_breaks_nothing(name, value):
    asked = wire.Call(1, "stream_chat", {**CHAT, name: value})
    try:
        calls.check(asked, calls.METHODS["llm"])
        calls.check_ability(asked, load("llm", "scripted"))
    except calls.BadCall as error:
        assert str(error).isascii() or name in str(error)


def test_files_of_the_server_are_not_voices(serve, tmp_path):
    url = serve("tts", load("tts", "scripted")).url
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (failed,) = answers(url, call("synthesize", {**SPEECH, "voice": str(tmp_path / "a.wav")}))
    assert isinstance(failed, wire.Failed) and "available: tone, soft" in failed.text
    for pcm in (None, ALPHA, np.zeros((2, 2), np.uint8)):
        answer = httpx.post(
            f"{url}/call", content=call("synthesize", {**SPEECH, "recording": True}, pcm)
        )
        assert answer.status_code == 400
        assert "as the bytes of its file" in answer.json()["error"]["message"]


# --- keys ---------------------------------------------------------------------------------------


def test_the_key_opens_all_but_the_health(serve):
    url = serve("asr", load("asr", "scripted"), key="sesame").url
    body = call("transcribe", {"options": OPTIONS}, ALPHA)
    for headers in ({}, {"Authorization": "Bearer open"}):
        assert httpx.get(f"{url}/about", headers=headers).status_code == 401
        assert httpx.post(f"{url}/call", content=body, headers=headers).status_code == 401
        with pytest.raises(InvalidStatus, match="401"):
            connect(f"{url.replace('http', 'ws')}/utterance", additional_headers=headers)
    assert httpx.get(f"{url}/healthz").json() == {"ready": True, "reason": "", "running": 0}
    right = {"Authorization": "Bearer sesame"}
    assert httpx.get(f"{url}/about", headers=right).json()["kind"] == "asr"
    assert httpx.post(f"{url}/call", content=body, headers=right).status_code == 200
    with connect(f"{url.replace('http', 'ws')}/utterance", additional_headers=right):
        pass


# --- the socket of an utterance -----------------------------------------------------------------


@pytest.fixture
def socket(serve) -> Any:
    url = serve("asr", load("asr", "scripted")).url
    with connect(f"{url.replace('http', 'ws')}/utterance") as opened:
        yield opened


def created(socket: Any) -> Any:
    socket.send(call("create_utterance", {"options": OPTIONS, "passes": [0, 1]}))
    assert answered(socket) == wire.Done(1)
    return socket


def answered(socket: Any) -> wire.Message:
    (message,) = wire.Decoder().feed(socket.recv(timeout=30))
    return message


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("text", "send one frame"),
        (b"nonsense", "is not a frame"),
        (call("warm_up", {"history": []}), "'warm_up' is not known here"),
        (call("accept_audio", {"which": 2, "upto": 0, "final": True}), "which: .*less than"),
        (call("audio", {}, ALPHA.astype(np.float64)), "float32 of one channel"),
        (call("audio", {}, np.zeros((2, 2), np.float32)), "float32 of one channel"),
    ],
)
def test_a_message_that_is_no_call_ends_the_socket(socket, message, why):
    created(socket).send(message)
    with pytest.raises(ConnectionClosed, match=f"1008.*{why}"):
        socket.recv(timeout=30)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (call("finish", {"which": 1}), "create_utterance comes first"),
        (call("accept_audio", {"which": 0, "upto": 0, "final": True}), "create_utterance comes"),
    ],
)
def test_calls_out_of_order_fail(socket, asked, why):
    socket.send(asked)
    failed = answered(socket)
    assert isinstance(failed, wire.Failed) and why in failed.text
    created(socket).send(call("accept_audio", {"which": 0, "upto": 5, "final": True}))
    assert "upto=5 is out of range; allowed: 0 to 0" in answered(socket).text
    socket.send(call("create_utterance", {"options": OPTIONS, "passes": [1]}))
    assert "was created before" in answered(socket).text
    socket.send(call("accept_audio", {"which": 0, "upto": len(ALPHA), "final": True}, None))
    assert "out of range" in answered(socket).text


def test_voices_and_language_models_have_no_utterances(llm):
    with pytest.raises(InvalidStatus, match="404"):
        connect(f"{llm.replace('http', 'ws')}/utterance")


# --- health -------------------------------------------------------------------------------------


def test_a_lost_engine_fails_its_health(serve):
    server = serve("llm", load("llm", "scripted"))
    lose = {**CHAT, "history": [["user", "lose the gpu"]]}
    (failed,) = answers(server.url, call("stream_chat", lose))
    assert (failed.kind, "GPU is lost" in failed.text) == ("EngineLost", True)
    health = httpx.get(f"{server.url}/healthz")
    assert (health.status_code, "CUDA error" in health.json()["reason"]) == (503, True)
    refused = httpx.post(f"{server.url}/call", content=call("stream_chat", CHAT))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")


def test_an_engine_that_fails_at_everything_is_lost_and_one_that_got_odd_inputs_is_not(serve):
    odd = serve("llm", load("llm", "scripted"))
    shatter = {**CHAT, "history": [["user", "shatter"]]}
    for _ in range(4):
        (failed,) = answers(odd.url, call("stream_chat", shatter))
        assert "failed on this input: ValueError" in failed.text
    broken = serve("llm", Reply(ValueError("a tensor is missing")))
    for _ in range(3):
        answers(broken.url, call("stream_chat", {**CHAT, "history": [["user", "hi"]]}))
    eventually(lambda: httpx.get(f"{broken.url}/healthz").status_code == 503)
    assert "fails at everything" in httpx.get(f"{broken.url}/healthz").text
    assert httpx.get(f"{odd.url}/healthz").status_code == 200


def test_one_that_ends_says_so_and_finishes_what_runs(serve):
    engine = Reply("one", None, "two")
    server = serve("llm", engine)
    with httpx.stream("POST", f"{server.url}/call", content=call("stream_chat", CHAT)) as running:
        data = running.iter_raw()
        assert b"one" in next(data)
        server.drain()
        eventually(lambda: httpx.get(f"{server.url}/healthz").status_code == 503)
        assert json.loads(httpx.get(f"{server.url}/healthz").text)["running"] == 1
        refused = httpx.post(f"{server.url}/call", content=call("stream_chat", CHAT))
        assert (refused.status_code, refused.json()["error"]["message"]) == (503, "draining")
        engine.go.set()
        assert b"two" in b"".join(data)
