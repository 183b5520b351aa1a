"""OpenAI's REST routes, Bazarr's and /interact, over the real processes with scripted engines:
every word that must come is known.
"""

from __future__ import annotations

import io
import json
import struct
from urllib.parse import unquote

import av
import httpx
import numpy as np
import psutil
import pytest
from running import SCRIPTED

from bench.interfaces import wav
from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.gateway.media import Encoder

KEY = "open-sesame"


def speech_of(*texts: str, pause_s: float = 0.6) -> np.ndarray:
    parts = [np.zeros(4000, np.float32)]
    for text in texts:
        parts += [tone_speech(text), np.zeros(int(16_000 * pause_s), np.float32)]
    return np.concatenate(parts)


def words_in(data: bytes) -> str:
    """What the scripted voice put into a file of any kind."""
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24_000)
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    return read_tones(np.concatenate(parts), 24_000)


@pytest.fixture(scope="module")
def http(scripted_server):
    with httpx.Client(base_url=scripted_server.http_url, timeout=60) as client:
        yield client


def transcribe(
    http: httpx.Client, pcm: np.ndarray, path: str = "/v1/audio/transcriptions", **fields
) -> httpx.Response:
    return http.post(
        path, files={"file": ("a.wav", wav(pcm))}, data={"model": "whisper-1", **fields}
    )


# --- recordings to text -------------------------------------------------------------------------


def test_every_response_format(http):
    pcm = speech_of("alpha beta", "gamma")
    assert transcribe(http, pcm).json()["text"] == "alpha beta gamma"
    text = transcribe(http, pcm, response_format="text")
    assert (
        text.headers["content-type"].startswith("text/plain") and text.text == "alpha beta gamma\n"
    )
    srt = transcribe(http, pcm, response_format="srt").text.split("\n\n")
    assert (
        srt[0].splitlines()[0] == "1"
        and srt[0].splitlines()[1].startswith("00:00:00,2")
        and srt[0].endswith("alpha beta")
    )
    assert transcribe(http, pcm, response_format="vtt").text.startswith("WEBVTT\n\n00:00:00.2")
    verbose = transcribe(http, pcm, response_format="verbose_json", language="en").json()
    assert [one["text"] for one in verbose["segments"]] == [" alpha beta", " gamma"] and verbose[
        "language"
    ] == "english"
    assert (
        verbose["duration"] == pytest.approx(len(pcm) / 16_000, abs=0.01) and "words" not in verbose
    )


def test_words_and_segments(http):
    pcm = speech_of("alpha beta")
    both = transcribe(
        http,
        pcm,
        response_format="verbose_json",
        **{"timestamp_granularities[]": ["word", "segment"]},
    ).json()
    assert [word["word"] for word in both["words"]] == ["alpha", "beta"] and both["segments"][0][
        "id"
    ] == 0
    words = transcribe(
        http, pcm, response_format="verbose_json", **{"timestamp_granularities[]": "word"}
    ).json()
    assert (
        words["words"][1]["start"] == pytest.approx(0.25 + 6 * 0.04, abs=0.02)
        and "segments" not in words
    )


def test_a_stream_of_deltas(http):
    with http.stream(
        "POST",
        "/v1/audio/transcriptions",
        files={"file": wav(speech_of("alpha beta", "gamma"))},
        data={"stream": "true"},
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    told = [json.loads(line) for line in lines[:-1]]
    assert [one["delta"] for one in told[:-1]] == ["alpha beta", " gamma"]
    assert told[-1]["type"] == "transcript.text.done" and told[-1]["text"] == "alpha beta gamma"


def test_translations_and_the_verbose_route(http):
    translated = transcribe(
        http, speech_of("alpha"), "/v1/audio/translations", response_format="verbose_json"
    ).json()
    assert (translated["task"], translated["language"], translated["text"]) == (
        "translate",
        "english",
        "alpha",
    )
    verbose = transcribe(
        http, speech_of("alpha beta"), "/v1/audio/transcriptions/verbose", word_timestamps="true"
    ).json()
    assert (
        verbose["text"] == "alpha beta"
        and len(verbose["segments"][0]["words"]) == 2
        and verbose["language_name"] == "english"
    )
    assert verbose["duration_input_s"] > 0 and verbose["processing_ms"] >= verbose["asr_ms"] >= 0


def test_silence_has_no_words_in_any_format(http):
    quiet = np.zeros(16_000, np.float32)
    for output, body in {"json": "", "text": "\n", "srt": "", "vtt": "WEBVTT\n\n"}.items():
        answer = transcribe(http, quiet, response_format=output)
        assert (
            answer.status_code == 200
            and (answer.json()["text"] if output == "json" else answer.text) == body
        ), output


@pytest.mark.parametrize("output", ["mp3", "opus", "aac", "flac", "wav"])
def test_files_of_every_kind_are_read(http, output):
    encoder = Encoder(output, 16_000, 16_000)
    data = encoder.encode(speech_of("alpha beta gamma delta")) + encoder.close()
    answer = http.post(
        "/v1/audio/transcriptions", files={"file": ("upload", data, "application/octet-stream")}
    )
    assert answer.json()["text"] == "alpha beta gamma delta", answer.text


def test_a_long_recording_is_read_in_stretches(http):
    """Six minutes: three stretches of two minutes, and none of their words is lost or doubled."""
    texts = [f"part {number} of many" for number in range(36)]
    answer = transcribe(http, speech_of(*texts, pause_s=9.0), response_format="verbose_json").json()
    assert answer["text"] == " ".join(texts)
    starts = [one["start"] for one in answer["segments"]]
    assert starts == sorted(starts) and answer["duration"] > 340


# --- text to sound ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
    ],
)
def test_speech_in_every_format(http, output, kind):
    answer = http.post(
        "/v1/audio/speech",
        json={
            "model": "tts-1",
            "input": "alpha beta. gamma.",
            "voice": "tone",
            "response_format": output,
        },
    )
    assert (
        answer.headers["content-type"] == kind and words_in(answer.content) == "alpha beta. gamma."
    )


def test_speech_as_samples_as_events_and_at_another_speed(http):
    pcm = http.post(
        "/v1/audio/speech", json={"input": "alpha", "voice": "alloy", "response_format": "pcm"}
    ).content
    assert read_tones(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768, 24_000) == "alpha"
    slow = http.post(
        "/v1/audio/speech", json={"input": "alpha", "response_format": "pcm", "speed": 0.5}
    ).content
    assert len(slow) == pytest.approx(2 * len(pcm), rel=0.15)
    narrow = http.post(
        "/v1/audio/speech", json={"input": "alpha", "response_format": "wav", "sample_rate": 8000}
    ).content
    assert struct.unpack("<I", narrow[24:28])[0] == 8000
    events = http.post(
        "/v1/audio/speech", json={"input": "alpha", "stream_format": "sse"}
    ).text.split("\r\n\r\n")
    assert (
        json.loads(events[0].removeprefix("data: "))["type"] == "speech.audio.delta"
        and events[-2] == "data: [DONE]"
    )


def test_voices_and_models(http):
    assert [voice["id"] for voice in http.get("/v1/audio/voices").json()["voices"]] == [
        "tone",
        "soft",
    ]
    models = http.get("/v1/models").json()["data"]
    assert {"tones", "echo", "whisper-1"} <= {model["id"] for model in models}
    assert http.get("/v1/models/whisper-1").json()["object"] == "model"
    missing = http.get("/v1/models/some%2Fother")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "model_not_found"
    assert http.get("/v1/audio/models").json()["models"]


# --- Bazarr, and the voice assistant ------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/bazarr", "/v1/bazarr"])
def test_bazarrs_two_requests(http, prefix):
    raw = (speech_of("alpha beta") * 32767).astype("<i2").tobytes()
    asked = {
        "task": "transcribe",
        "language": "en",
        "output": "srt",
        "encode": "false",
        "video_file": "/films/a.mkv",
    }
    answer = http.post(f"{prefix}/asr", params=asked, files={"audio_file": ("audio_file", raw)})
    assert (
        answer.headers["content-type"].startswith("text/plain")
        and answer.text.endswith("alpha beta\n\n")
        and answer.headers["asr-engine"]
    )
    found = http.post(
        f"{prefix}/detect-language",
        params={"encode": "false", "detect_lang_offset": "0"},
        files={"audio_file": raw},
    ).json()
    assert found == {"detected_language": "english", "language_code": "en", "confidence": 1.0}


@pytest.mark.parametrize(
    ("output", "begins"),
    [
        ("txt", "alpha"),
        ("text", "alpha"),
        ("vtt", "WEBVTT"),
        ("tsv", "start\tend\ttext\n"),
        ("json", "{"),
        ("jsonl", "{"),
    ],
)
def test_every_output_of_asr(http, output, begins):
    answer = http.post(
        "/asr", params={"output": output}, files={"audio_file": ("a.wav", wav(speech_of("alpha")))}
    )
    assert (
        answer.text.startswith(begins)
        and "alpha" in answer.text
        and answer.headers["content-type"].startswith("text/plain")
    )


def test_interact_answers_a_recording_with_a_recording(http):
    for sent in (
        {"files": {"file": wav(speech_of("alpha beta"))}},
        {"content": wav(speech_of("alpha beta")), "headers": {"content-type": "audio/wav"}},
    ):
        answer = http.post("/interact", **sent)
        assert (
            answer.headers["content-type"] == "audio/wav"
            and unquote(answer.headers["x-transcript"]) == "alpha beta"
        )
        assert unquote(answer.headers["x-reply"]) == "You said alpha beta. That is 2 words."
        assert words_in(answer.content) == "you said alpha beta.that is 2 words."


# --- what cannot be -----------------------------------------------------------------------------

FILE = {"file": ("a.wav", wav(speech_of("alpha")))}
BOMB = wav(np.zeros(100, np.float32))[:40] + struct.pack("<I", 0x7FFFFFFF)  # declares 18 hours
FORM_CASES = [
    ({"response_format": "pdf"}, FILE, "response_format"),
    ({"response_format": ""}, {"file": b""}, "empty"),
    ({"language": "xx"}, FILE, "language"),
    ({"language": "Klingon"}, FILE, "language"),
    ({"temperature": "hot"}, FILE, "temperature"),
    ({"temperature": "-1"}, FILE, "temperature"),
    ({"temperature": "nan"}, FILE, "temperature"),
    ({"temperature": "1e99"}, FILE, "temperature"),
    ({"stream": "maybe"}, FILE, "stream"),
    ({"timestamp_granularities[]": "sentence"}, FILE, "timestamp_granularities"),
    ({"timestamp_granularities[]": "word"}, FILE, "verbose_json"),
    ({"known_speaker_names[]": "anna"}, FILE, "diarized_json"),
    ({"language": ["en", "de"]}, FILE, "language"),
    ({f"field{number}": "x" for number in range(80)}, FILE, "form"),
    ({"prompt": "x" * 100_000}, FILE, "form"),
    ({}, {"file": b"this is no sound"}, "audio file"),
    ({}, {"file": b"RIFF\0\0\0\0WAVE"}, "audio file"),
    ({}, {"file": b"\0" * 5000}, "audio file"),
    ({}, {"file": wav(speech_of("alpha"))[:30]}, "audio file"),
    ({}, {"file": BOMB}, "no sound"),
    ({}, {"other": b"abc"}, "missing"),
    ({"file": "text"}, {"other": b"abc"}, "missing"),
    ({}, {"file": b"#EXTM3U\nhttp://127.0.0.1:1/a.ts\n"}, "audio file"),
    ({}, {"file": b"ffconcat version 1.0\nfile /etc/passwd\n"}, "audio file"),
    ({}, {"file": b"<html></html>"}, "audio file"),
    ({}, {"file": b"\x1aE\xdf\xa3" + b"\xff" * 200}, "audio file"),
    ({}, {"file": b"OggS" + b"\xff" * 200}, "audio file"),
    ({}, {"file": b"fLaC" + b"\xff" * 200}, "audio file"),
    ({}, {"file": b"ID3" + b"\xff" * 200}, "audio file"),
]


@pytest.mark.parametrize("route", ["/v1/audio/transcriptions", "/v1/audio/translations"])
@pytest.mark.parametrize(("fields", "files", "says"), FORM_CASES)
def test_bad_forms(http, route, fields, files, says):
    refused(http.post(route, data=fields, files=files), 400, says)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"x", {"content-type": "text/plain"}, 400),
        (b"x", {"content-type": "multipart/form-data"}, 400),
        (b"x", {"content-type": "multipart/form-data; boundary=b"}, 400),
        (b"--b\r\n\r\n", {"content-type": "multipart/form-data; boundary=b"}, 400),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            {"content-type": "multipart/form-data; boundary=b"},
            400,
        ),
        (b"--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}, 400),
        (b"{}", {"content-type": "application/json"}, 400),
    ],
)
@pytest.mark.parametrize(
    "route",
    ["/v1/audio/transcriptions", "/v1/audio/transcriptions/verbose", "/asr", "/detect-language"],
)
def test_bodies_that_are_no_forms(http, route, content, headers, status):
    refused(http.post(route, content=content, headers=headers), status, "")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 100_000, "JSON"),
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": "  \n"}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["a"]}, "input"),
        ({"input": "x" * 4097}, "4096"),
        ({"input": None}, "input"),
        ({"input": "a", "voice": "nobody"}, "voice"),
        ({"input": "a", "voice": 7}, "voice"),
        ({"input": "a", "voice": {"id": "nobody"}}, "voice"),
        ({"input": "a", "response_format": "midi"}, "response_format"),
        ({"input": "a", "response_format": 1}, "response_format"),
        ({"input": "a", "speed": 9}, "speed"),
        ({"input": "a", "speed": 0}, "speed"),
        ({"input": "a", "speed": "fast"}, "speed"),
        ({"input": "a", "speed": True}, "speed"),
        ({"input": "a", "speed": -1}, "speed"),
        ({"input": "a", "sample_rate": 7}, "sample_rate"),
        ({"input": "a", "stream_format": "smoke"}, "stream_format"),
        ({"input": "a", "instructions": 5}, "instructions"),
        ({"input": "a", "model": []}, "model"),
    ],
)
def test_bad_requests_for_speech(http, body, says):
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    refused(http.post("/v1/audio/speech", **sent), 400, says)


@pytest.mark.parametrize(
    ("route", "query", "says"),
    [
        ("/asr", {"output": "pdf"}, "output"),
        ("/asr", {"task": "sing"}, "task"),
        ("/asr", {"language": "xx"}, "language"),
        ("/asr", {"encode": "x"}, "encode"),
        ("/asr", {"word_timestamps": "x"}, "word_timestamps"),
        ("/detect-language", {"detect_lang_offset": "soon"}, "detect_lang_offset"),
        ("/detect-language", {"detect_lang_offset": "-1"}, "detect_lang_offset"),
        ("/detect-language", {"detect_lang_length": "0"}, "detect_lang_length"),
        ("/detect-language", {"encode": "perhaps"}, "encode"),
    ],
)
def test_bad_queries_of_bazarr(http, route, query, says):
    answer = http.post(route, params=query, files={"audio_file": wav(speech_of("alpha"))})
    refused(answer, 400, says)
    assert "-->" not in answer.text  # Bazarr stores what comes


def refused(answer: httpx.Response, status: int, says: str) -> None:
    assert answer.status_code == status, answer.text[:300]
    problem = answer.json()["error"]
    assert (
        says in problem["message"]
        and {"message", "type", "param", "code"} <= set(problem)
        and "Traceback" not in answer.text
    )


def test_what_a_stage_cannot_do_is_told_and_the_next_request_is_answered(http):
    answer = transcribe(http, speech_of("garble"))
    assert answer.status_code in (400, 500) and "told to fail" in answer.json()["error"]["message"]
    answer = http.post("/v1/audio/speech", json={"input": "unspeakable"})
    assert (
        answer.status_code == 500
        and "told to fail" in answer.json()["error"]["message"]
        and answer.headers["x-should-retry"] == "false"
    )
    assert transcribe(http, speech_of("alpha")).json()["text"] == "alpha"


def test_bodies_leave_no_memory_behind(scripted_server, http):
    """Some 160 MB of refused uploads go to disk and away again."""
    gateway = psutil.Process(scripted_server.pid("gateway"))
    refused(
        http.post("/v1/audio/transcriptions", files={"file": bytes(20_000_000)}), 400, "audio file"
    )
    before = gateway.memory_info().rss
    for _ in range(8):
        refused(
            http.post("/v1/audio/transcriptions", files={"file": bytes(20_000_000)}),
            400,
            "audio file",
        )
    assert gateway.memory_info().rss - before < 40_000_000


def test_the_doors(start_server):
    server = start_server(
        *SCRIPTED, f"--shared-secret={KEY},second", "--upload-mb=0.5", "--rate-limit=30"
    )
    with httpx.Client(base_url=server.http_url, timeout=30) as http:
        refused(http.get("/v1/models"), 401, "key")
        refused(http.get("/v1/models", headers={"Authorization": "Bearer wrong"}), 401, "key")
        for headers in (
            {"Authorization": f"Bearer {KEY}"},
            {"X-API-Key": "second"},
            {"api-key": KEY},
        ):
            assert http.get("/v1/models", headers=headers).status_code == 200
        assert http.get("/v1/models", params={"api_key": KEY}).status_code == 200
        mine = {"Authorization": f"Bearer {KEY}"}
        refused(
            http.post("/v1/audio/transcriptions", files={"file": bytes(900_000)}, headers=mine),
            413,
            "MB",
        )
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        chunks = (part for part in [head, *[bytes(100_000)] * 9])
        refused(
            http.post(
                "/v1/audio/transcriptions",
                content=chunks,
                headers={**mine, "content-type": "multipart/form-data; boundary=b"},
            ),
            413,
            "MB",
        )
        refused(http.post("/v1/audio/speech", content=b"x" * 300_000, headers=mine), 413, "KiB")
        answers = [http.get("/v1/models", headers=mine) for _ in range(40)]
        late = next(answer for answer in answers if answer.status_code == 429)
        assert (
            int(late.headers["retry-after"]) >= 1
            and late.json()["error"]["code"] == "rate_limit_exceeded"
        )
        # the address has used up its share, too
        assert http.get("/v1/models", headers={"X-API-Key": "second"}).status_code == 429


def test_the_schema_names_every_route(http):
    paths = http.get("/openapi.json").json()["paths"]
    assert {
        "/v1/audio/transcriptions",
        "/v1/audio/speech",
        "/asr",
        "/interact",
        "/v1/realtime/client_secrets",
        "/health",
    } <= set(paths)
    assert http.get("/docs").status_code == 200 and "docs.js" in http.get("/docs").text
