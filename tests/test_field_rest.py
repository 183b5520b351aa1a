"""Requests from the field over HTTP: what clients send is understood or refused clearly, and
nothing is kept by those who left.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import socket
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import psutil
import pytest
from cancelling import cancel_at_every_await
from fastapi import FastAPI
from running import alive
from test_field_media import wav as odd_wav
from test_rest import speech_of, transcribe, wav, words_in
from websockets.asyncio.client import connect

from whisperfusion.agents import Agents
from whisperfusion.gateway import errors
from whisperfusion.gateway.rest import routes as rest
from whisperfusion.runtime.rate_limits import SCOPE, Limits, Quota
from whisperfusion.settings import Settings
from whisperfusion.wire.asr_events import RecordingDone, Segment

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


@pytest.fixture(scope="module")
def http(scripted_server):
    with httpx.Client(base_url=scripted_server.http_url, timeout=60) as client:
        yield client


def message(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text[:300]
    return answer.json()["error"]["message"]


def posted(
    http: httpx.Client, path: str, *parts: tuple[str, bytes], **query: str
) -> httpx.Response:
    """A form whose parts have the heads given, as no well-made client writes them."""
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return http.post(
        path,
        params=query,
        content=body + b"--b--\r\n",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )


# --- A1, A3 -------------------------------------------------------------------------------------


def test_a1_a_codec_that_cannot_be_read_costs_the_gateway_nothing(http, scripted_server):
    gateway = scripted_server.pid("gateway")
    for path, name in (
        ("/v1/audio/transcriptions", "file"),
        ("/v1/audio/translations", "file"),
        ("/asr", "audio_file"),
        ("/detect-language", "audio_file"),
        ("/interact", "file"),
    ):
        answer = http.post(path, files={name: ("a.wav", odd_wav(tag=0x1234))})
        assert "a codec that cannot be read" in message(answer)
    assert scripted_server.pid("gateway") == gateway and alive(gateway)


async def test_a1_relative_the_same_in_a_turn_of_ws(scripted_server):
    address = scripted_server.http_url.replace("http", "ws", 1)
    async with connect(f"{address}/ws") as client:
        for fields in ({"tag": 0x1234}, {"bits": 0}, {"rate": 1}):
            await client.send(odd_wav(**fields))
            await client.send('{"type": "end_stream"}')
            told = json.loads(await client.recv())
            assert told["type"] == "error" and (
                "cannot be read" in told["message"] or "samples a second" in told["message"]
            )
        await client.send(wav(speech_of("alpha")))
        await client.send('{"type": "end_stream"}')
        assert json.loads(await client.recv())["transcript"] == "alpha"


@pytest.mark.parametrize("name", ["prompt", "hotwords", "keywords[]"])
def test_a3_texts_of_any_length_are_taken(http, name):
    assert transcribe(http, speech_of("alpha"), **{name: "word " * 6000}).json()["text"] == "alpha"


def test_a3_relative_bazarrs_long_prompt(http):
    answer = http.post(
        "/asr",
        params={"initial_prompt": "word " * 1500},
        files={"audio_file": wav(speech_of("alpha"))},
    )
    assert answer.text == "alpha\n"


async def test_a3_relative_the_same_in_the_handshake(scripted_server):
    async with connect(scripted_server.asr_url) as asr:
        await asr.send(
            json.dumps(
                {
                    "uid": "a",
                    "file": True,
                    "initial_prompt": "word " * 9000,
                    "hotwords": "a, " * 9000,
                }
            )
        )
        assert json.loads(await asr.recv())["message"] == "SERVER_READY"


# --- C5: forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timestamp_granularities[]", ['["word", "segment"]']),
        ("timestamp_granularities", ['["word","segment"]']),
        ("timestamp_granularities", ["word,segment"]),
        ("timestamp_granularities", ["word, segment"]),
        ("timestamp_granularities[]", ["word", "segment"]),
        ("timestamp_granularities[0]", ["word", "segment"]),
        ("timestamp_granularities", ['"word"', "segment"]),
    ],
)
def test_c5_timestamp_granularities_in_every_spelling(http, name, values):
    answer = transcribe(
        http, speech_of("alpha beta"), response_format="verbose_json", **{name: values}
    ).json()
    assert [word["word"] for word in answer["words"]] == ["alpha", "beta"] and len(
        answer["segments"]
    ) == 1


@pytest.mark.parametrize("value", ['["letter"]', "[word", '{"a": 1}', "[[]]", "7"])
def test_c5_what_is_no_granularity_is_told_readably(http, value):
    told = message(
        transcribe(
            http, speech_of("alpha"), response_format="verbose_json", timestamp_granularities=value
        )
    )
    assert told.startswith("timestamp_granularities is '") and told.endswith(
        "allowed: word, segment, a list of both"
    )


def test_c5_a_file_part_without_a_file_name(http):
    sound = wav(speech_of("alpha beta"))
    for head in (
        'name="file"',
        'name="file"; filename=""',
        "name=file",
        'name="audio_file"\r\nContent-Type: audio/wav',
    ):
        assert (
            posted(http, "/v1/audio/transcriptions", (head, sound)).json()["text"] == "alpha beta"
        )
    assert posted(http, "/asr", ('name="audio_file"', sound)).text == "alpha beta\n"
    # more bytes than a text field may have
    long = wav(np.concatenate((speech_of("alpha"), np.zeros(64_000, np.float32))))
    assert posted(http, "/v1/audio/transcriptions", ('name="file"', long)).json()["text"] == "alpha"


def test_c5_the_name_of_a_file_instead_of_the_file(http):
    told = message(posted(http, "/v1/audio/transcriptions", ('name="file"', b"question.wav")))
    assert (
        told.startswith(
            "the recording is missing: the form field 'file' holds the text 'question.wav'"
        )
        and "-F file=@FILE" in told
    )


def test_c5_encode_without_a_value_is_the_default(http):
    for query in ("encode=", "encode", "encode=true"):
        answer = http.post(
            f"/asr?{query}&vad_filter=&word_timestamps=",
            files={"audio_file": wav(speech_of("alpha beta"))},
        )
        assert answer.text == "alpha beta\n", query
    found = http.post(
        "/detect-language?encode=&detect_lang_offset=&detect_lang_length=",
        files={"audio_file": wav(speech_of("alpha"))},
    )
    assert found.json()["language_code"] == "en"
    assert "encode is 'maybe'; allowed: true, false" in message(
        http.post("/asr?encode=maybe", files={"audio_file": b"x"})
    )


# --- D6: nothing to say -------------------------------------------------------------------------


def opened(data: bytes, output: str) -> np.ndarray:
    """float32 at 24 kHz of a file that a player takes."""
    if output == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24_000)
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    return np.concatenate(parts)


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("text", ["😀", "—", "<break/>"])
def test_d6_a_text_without_words_is_a_short_silence(http, output, text):
    answer = http.post("/v1/audio/speech", json={"input": text, "response_format": output})
    assert answer.status_code == 200
    pcm = opened(answer.content, output)
    assert 0.1 < len(pcm) / 24_000 < 1.0 and np.abs(pcm).max() < 0.01


def test_d6_relative_at_another_speed_and_as_events(http):
    fast = http.post(
        "/v1/audio/speech",
        json={"input": "😀", "response_format": "wav", "speed": 2, "sample_rate": 8000},
    ).content
    assert len(opened(fast, "wav")) > 1000
    events = http.post("/v1/audio/speech", json={"input": "😀", "stream_format": "sse"}).text.split(
        "\r\n\r\n"
    )
    told = [json.loads(one.removeprefix("data: ")) for one in events[:-2]]
    data = b"".join(
        base64.b64decode(one["audio"]) for one in told if one["type"] == "speech.audio.delta"
    )
    assert len(opened(data, "mp3")) > 1000 and told[-1]["type"] == "speech.audio.done"


def test_d6_relative_an_honest_text_has_no_silence_added(http):
    pcm = http.post("/v1/audio/speech", json={"input": "alpha", "response_format": "wav"}).content
    with wave.open(io.BytesIO(pcm)) as file:
        assert file.getframerate() == 24_000
    assert words_in(pcm) == "alpha"


def test_d6_a_text_that_the_voice_cannot_say_is_an_error(english_server):
    with httpx.Client(base_url=english_server.http_url, timeout=60) as http:
        for text in ("你好，世界", "مرحبا بالعالم"):
            answer = http.post("/v1/audio/speech", json={"input": text})
            assert (
                "cannot say this text" in message(answer)
                and answer.json()["error"]["type"] == "invalid_request_error"
            )
        for text in ("...", "😀"):
            pcm = opened(
                http.post(
                    "/v1/audio/speech", json={"input": text, "response_format": "flac"}
                ).content,
                "flac",
            )
            assert len(pcm) > 1000 and np.abs(pcm).max() < 0.01
        assert (
            len(
                opened(
                    http.post(
                        "/v1/audio/speech", json={"input": "Hello.", "voice": "AF_Heart"}
                    ).content,
                    "mp3",
                )
            )
            > 6000
        )


# --- E7: names ----------------------------------------------------------------------------------

MODELS = (
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "tts-1",
    "tts-1-hd",
    "gpt-4o-mini-tts",
    "gpt-realtime",
)


def test_e7_known_models_are_listed_and_found_in_any_case(http):
    listed = {model["id"] for model in http.get("/v1/models").json()["data"]}
    assert set(MODELS) <= listed
    for name in (*MODELS, "TTS-1-HD", "Whisper-1", "gpt-4o-mini-tts-2025-03-20", "tts-1-1106"):
        assert http.get(f"/v1/models/{name}").json()["object"] == "model", name
    assert "there is no model" in message(http.get("/v1/models/tts-9"), 404)


def test_e7_voices_in_any_case_at_rest(http):
    soft = http.post(
        "/v1/audio/speech", json={"input": "alpha", "voice": "soft", "response_format": "pcm"}
    ).content
    for voice in ("Soft", " soft ".strip().upper(), "af_soft", {"id": "Soft"}):
        answer = http.post(
            "/v1/audio/speech", json={"input": "alpha", "voice": voice, "response_format": "pcm"}
        )
        assert answer.content == soft, voice
    default = http.post(
        "/v1/audio/speech", json={"input": "alpha", "response_format": "pcm"}
    ).content
    for voice in ("Alloy", "alloy", "NOVA"):
        assert (
            http.post(
                "/v1/audio/speech",
                json={"input": "alpha", "voice": voice, "response_format": "pcm"},
            ).content
            == default
        )
    assert "voice is 'zoe'" in message(
        http.post("/v1/audio/speech", json={"input": "a", "voice": "zoe"})
    )


async def test_e7_the_same_names_at_the_sockets_and_in_realtime(scripted_server):
    address = scripted_server.http_url.replace("http", "ws", 1)
    for voice, known in (("Soft", "soft"), ("af_soft", "soft"), ("Alloy", "tone"), ("zoe", None)):
        async with connect(f"{scripted_server.tts_url}/?uid=x&events=1") as tts:
            await tts.send(json.dumps({"type": "say", "text": "alpha", "voice": voice}))
            told = await tts.recv()
            assert isinstance(told, bytes) if known else json.loads(told)["code"] == "unknown_voice"
        async with connect(scripted_server.asr_url) as asr:
            await asr.send(json.dumps({"uid": f"names-{voice}", "events": True, "voice": voice}))
            assert json.loads(await asr.recv())["message" if known else "status"] == (
                "SERVER_READY" if known else "ERROR"
            )
        async with connect(f"{address}/v1/realtime?model=gpt-realtime") as realtime:
            await realtime.recv()
            session = {"type": "realtime", "audio": {"output": {"voice": voice}}}
            await realtime.send(json.dumps({"type": "session.update", "session": session}))
            told = json.loads(await realtime.recv())
            assert told["type"] == ("session.updated" if known else "error"), told
            assert not known or told["session"]["audio"]["output"]["voice"] == known


# --- B6: nothing is kept by those who left ------------------------------------------------------


def hang_up(port: int, path: str, body: bytes, after: int) -> None:
    """Send a request whole, read `after` bytes of the answer, and go."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        f"application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
        client.sendall(head.encode() + body)
        while after > 0:
            after -= len(client.recv(after))


def held(pid: int) -> tuple[int, int]:
    """Threads and sockets of a process."""
    process = psutil.Process(pid)
    return process.num_threads(), len(process.net_connections())


def test_b6_100_broken_off_speeches_leave_no_thread_and_no_socket(http, scripted_server):
    pid = scripted_server.pid("gateway")
    asked = json.dumps(
        {"input": "alpha beta gamma. " * 200, "response_format": "mp3", "speed": 1.5}
    ).encode()
    for _ in range(3):
        hang_up(scripted_server.http_port, "/v1/audio/speech", asked, 300)
    http.post("/v1/audio/speech", json={"input": "alpha"})
    before = held(pid)
    with ThreadPoolExecutor(8) as clients:
        left = [
            clients.submit(
                hang_up, scripted_server.http_port, "/v1/audio/speech", asked, 300 * (one % 2)
            )
            for one in range(100)
        ]
    assert not [one.exception() for one in left if one.exception()]
    scripted_server.wait_for(
        lambda: all(now <= then for now, then in zip(held(pid), before, strict=True)),
        what="to let go",
    )
    assert http.post("/v1/audio/speech", json={"input": "alpha"}).status_code == 200


class Waiting:
    """Stands for the sockets inside: it begins to answer, and goes on for ever unless `ends`.

    Counts what is open.
    """

    def __init__(self, ends: bool = False) -> None:
        self._ends = ends
        self.reading = self.saying = 0

    async def transcribe(self, pieces: Any, options: Any, address: str) -> Any:
        self.reading += 1
        try:
            if self._ends:
                for number in range(3):
                    await asyncio.sleep(0)
                    yield Segment(0.0, 1.0, f"part {number}", (), 0.0, 0.0)
                yield RecordingDone(1.0, "en", 1.0)
                return
            await asyncio.Event().wait()
        finally:
            self.reading -= 1

    async def synthesize(self, text: str, voice: str) -> Any:
        self.saying += 1
        try:
            for _ in range(3 if self._ends else 10_000):
                yield bytes(48_000)
                await asyncio.sleep(0)
        finally:
            self.saying -= 1

    def pieces(self, file: Any, address: str, **asked: Any) -> Any:
        return None


class Client:
    """One HTTP request without a server; `leave` hangs up."""

    def __init__(self, app: Any, limits: Limits, path: str, body: bytes, kind: str) -> None:
        self._app, self._body = app, body
        self._left, self.began = asyncio.Event(), asyncio.Event()
        self.status, self.headers = 0, {}
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "headers": [(b"content-type", kind.encode())],
            "client": ("9.9.9.9", 1),
            "server": ("localhost", 80),
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            SCOPE: Quota(limits, ("address 9.9.9.9",)),
        }
        self.done = asyncio.create_task(app(self._scope, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, told: dict[str, Any]) -> None:
        if told["type"] == "http.response.start":
            self.status, self.headers = told["status"], dict(told["headers"])
        elif told.get("body"):
            self.began.set()
        await asyncio.sleep(0)


def application(inside: Waiting) -> FastAPI:
    async def look() -> dict[str, Any]:
        return {}

    app = FastAPI()
    agents = Agents(Path("nowhere"))
    app.include_router(rest.router(Settings(), inside, inside, look, agents))  # type: ignore[arg-type]
    errors.add(app)
    return app


FORM = "multipart/form-data; boundary=b"
UPLOAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--b--\r\n'
STREAMED = (
    UPLOAD[:-7] + b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--b--\r\n'
)


async def until(condition: Any) -> None:
    async def come() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(come(), 40)


@pytest.mark.parametrize("body", [UPLOAD, STREAMED], ids=["whole", "streamed"])
async def test_b6_a_transcription_whose_client_left_stops(body):
    inside = Waiting()
    client = Client(application(inside), Limits(0, 0), "/v1/audio/transcriptions", body, FORM)
    await until(lambda: inside.reading)
    client.leave()
    await asyncio.wait_for(client.done, 40)
    assert inside.reading == 0


@pytest.mark.parametrize("stream", ["audio", "sse"])
async def test_b6_speech_whose_client_left_stops(stream):
    inside = Waiting()
    asked = json.dumps({"input": "alpha", "stream_format": stream}).encode()
    client = Client(
        application(inside), Limits(0, 0), "/v1/audio/speech", asked, "application/json"
    )
    await client.began.wait()
    assert inside.saying == 1
    client.leave()
    await asyncio.wait_for(client.done, 40)
    assert inside.saying == 0


@pytest.mark.parametrize("left", [False, True], ids=["cancelled", "hung up"])
async def test_b6_relative_nothing_is_left_wherever_a_request_ends(left):
    """Each route, cancelled or left by its client at every await that it passes."""
    asked = json.dumps({"input": "alpha"}).encode()
    for path, body, kind in (
        ("/v1/audio/speech", asked, "application/json"),
        ("/v1/audio/transcriptions", STREAMED, FORM),
    ):
        worlds: list[tuple[Waiting, Client]] = []

        async def enter(
            path: str = path, body: bytes = body, kind: str = kind, worlds: Any = worlds
        ) -> None:
            inside = Waiting(ends=True)
            client = Client(application(inside), Limits(0, 0), path, body, kind)
            worlds.append((inside, client))
            try:
                await client.done
            finally:
                client.done.cancel()

        def check(at: int, worlds: Any = worlds) -> None:
            assert worlds[-1][0].reading == worlds[-1][0].saying == 0, at

        leave = (lambda worlds=worlds: worlds[-1][1].leave() if worlds else None) if left else None
        assert await cancel_at_every_await(enter, check, leave=leave) > 5
        client = worlds[-1][1]
        assert client.status == 200


async def test_b6_an_address_has_a_share_of_the_places_for_recordings():
    inside, limits = Waiting(), Limits(0, 0)
    app = application(inside)
    clients = [Client(app, limits, "/v1/audio/transcriptions", UPLOAD, FORM) for _ in range(8)]
    await until(lambda: inside.reading == 8)
    late = Client(app, limits, "/v1/audio/transcriptions", UPLOAD, FORM)
    await asyncio.wait_for(late.done, 40)
    assert late.status == 429 and int(late.headers[b"retry-after"]) >= 1 and inside.reading == 8
    clients[0].leave()
    await clients[0].done
    again = Client(app, limits, "/v1/audio/transcriptions", UPLOAD, FORM)
    await until(lambda: inside.reading == 8)
    for client in (*clients, again):
        client.leave()
        await client.done
    assert inside.reading == 0


def test_encoders_and_filters_take_no_threads():
    """FFmpeg would start one for each core, for every answer."""
    from whisperfusion.gateway.media import Encoder

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    noise = np.random.default_rng(1).normal(0, 0.1, 24_000).astype(np.float32)
    before = threads()
    for output in FORMATS:
        with Encoder(output, 24_000, 16_000, 1.5) as encoder:
            encoder.encode(noise)
            assert threads() == before, output
