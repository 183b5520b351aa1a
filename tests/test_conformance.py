"""The two sockets as clients that others wrote use them: two published Python packages, the
WhisperFusion page, and a phone's habits, against the real processes with scripted engines (so
every word that must come is known).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from client import Caller
from running import SCRIPTED, Server
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from whisperfusion.engines.scripted import read_tones, tone_speech

SCRIPTS = Path(__file__).parent / "third_party"
# name==version -> sha256 of the wheel; both hold a package called whisper_live, so each gets a
# folder
PACKAGES = {
    "whisper-live==0.10.0": "0a37767b4e06106ef119a5a385a0a3f7d09df446fcfb8eccd0f98167f1dd77a5",
    "whisper-live-client==0.6.3": "29eaa395f44c91c299ff676919262250466cde05eb49209374cf26a1e6a388e3",  # noqa: E501
}
STUBS = {"pyaudio.py": "paInt16 = 8\n", "scipy.py": ""}
KEY = "sesame-two"  # of keyed_server
PATIENCE_S = 60.0


def bounded(test):
    """A message that never comes fails the test instead of hanging it."""

    @functools.wraps(test)
    async def in_time(*arguments, **fixtures):
        await asyncio.wait_for(test(*arguments, **fixtures), PATIENCE_S)

    return in_time


def speech(*texts: str, pause_s: float = 1.5) -> np.ndarray:
    """float32 [samples] at 16 kHz: each text in tones, a pause after each but the last."""
    parts = [np.zeros(4000, np.float32)]
    for text in texts:
        parts += [tone_speech(text), np.zeros(int(16_000 * pause_s), np.float32)]
    return np.concatenate([*parts[:-1], np.zeros(800, np.float32)])


# --- published clients --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The folder of a package, installed without its dependencies; kept between runs if
    WHISPERFUSION_TEST_CACHE is set.
    """
    kept = os.environ.get("WHISPERFUSION_TEST_CACHE")
    root = Path(kept) if kept else tmp_path_factory.mktemp("packages")

    def install(package: str) -> Path:
        content = hashlib.sha256(repr((PACKAGES[package], STUBS)).encode()).hexdigest()
        folder = root / f"{package}-{content[:8]}"
        if not (folder / "scipy.py").exists():
            wanted = tmp_path_factory.mktemp("wanted") / "package.txt"
            wanted.write_text(f"{package} --hash=sha256:{PACKAGES[package]}\n")
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
            ]
            subprocess.run(
                [*pip, "--upgrade", "--target", str(folder), "-r", str(wanted)],
                check=True,
                timeout=120,
            )
            for name, text in STUBS.items():
                (folder / name).write_text(text)
        return folder

    return install


def run_client(folder: Path, script: str, *arguments: object) -> dict:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=45,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "speech.pcm"
    path.write_bytes((speech("alpha beta gamma", "delta epsilon") * 32767).astype("<i2").tobytes())
    return path


def test_the_streaming_client_gets_partials_commits_and_a_prompt_close(
    scripted_server, installed, recording
):
    told = run_client(
        installed("whisper-live==0.10.0"), "streaming.py", scripted_server.asr_port, recording
    )
    # each once, the last after END_OF_AUDIO
    assert told["committed"] == ["alpha beta gamma", "delta epsilon"]
    assert any(text and "alpha beta gamma".startswith(text) for text in told["partial"])
    # newer websocket-client tells this client about the closing frame as an error; 1000 is what it
    # must say
    assert told["closed"] and all("1000" in error for error in told["errors"])
    times = [(float(segment["start"]), float(segment["end"])) for segment in told["transcript"]]
    assert all(start < end for start, end in times) and times[0][1] <= times[1][0]
    assert abs(times[0][0] - 0.25) < 0.5 and times[1][1] <= 4.5


@bounded
async def test_the_streaming_client_understands_a_full_server(single_server, installed, recording):
    folder = installed("whisper-live==0.10.0")
    async with connect(single_server.asr_url) as first:
        await first.send('{"uid": "first"}')
        await first.recv()
        told = await asyncio.to_thread(
            run_client, folder, "streaming.py", single_server.asr_port, recording
        )
    # which of the two it hears first, the message or the close behind it, is a race inside that
    # client
    assert "full" in told["refused"] or "busy" in told["refused"]


def test_the_older_client_gets_a_transcript_and_subtitles(
    scripted_server, installed, recording, tmp_path
):
    subtitles = tmp_path / "out.srt"
    told = run_client(
        installed("whisper-live-client==0.6.3"),
        "recording.py",
        scripted_server.asr_port,
        recording,
        subtitles,
    )
    assert told["backend"] == "faster_whisper" and told["closed"]
    assert [segment["text"].strip() for segment in told["transcript"]] == [
        "alpha beta gamma",
        "delta epsilon",
    ]
    assert "alpha beta gamma" in subtitles.read_text() and subtitles.read_text().startswith(
        "1\n00:00:0"
    )


# --- the protocol itself ------------------------------------------------------------------------


async def transcribe(
    url: str, handshake: dict | str | bytes, frames: list[bytes | str]
) -> tuple[list[dict], int]:
    """A whole call: (all messages, close code)."""
    async with connect(url, max_size=None) as socket:
        await socket.send(json.dumps(handshake) if isinstance(handshake, dict) else handshake)
        messages = [json.loads(await socket.recv())]
        with suppress(ConnectionClosed):  # it may be refused meanwhile
            for frame in frames:
                await socket.send(frame)
        try:
            while True:
                messages.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            return messages, socket.close_code


def finished(messages: list[dict]) -> list[str]:
    return [segment["text"].strip() for segment in messages[-1]["segments"] if segment["completed"]]


@pytest.mark.parametrize("end", ["END_OF_AUDIO", b"END_OF_AUDIO"], ids=["text", "binary"])
@pytest.mark.parametrize("audio_format", ["float32", "int16", "uint8"])
@bounded
async def test_every_audio_format_and_both_ends_give_the_rest_of_the_words(
    scripted_server, end, audio_format
):
    pcm = speech("alpha beta", "gamma")
    scaled = {
        "float32": pcm.astype("<f4"),
        "int16": (pcm * 32767).astype("<i2"),
        "uint8": (pcm * 127 + 128).astype("u1"),
    }[audio_format]
    data = scaled.tobytes()
    # samples cut in two
    frames: list[bytes | str] = [data[start : start + 4097] for start in range(0, len(data), 4097)]
    handshake = {
        "uid": "u",
        "language": "en",
        "task": "transcribe",
        "model": "small",
        "use_vad": True,
        "audio_format": audio_format,
    }
    messages, code = await transcribe(scripted_server.asr_url, handshake, [*frames, end])
    assert messages[0] == {"uid": "u", "message": "SERVER_READY", "backend": "faster_whisper"}
    assert finished(messages) == ["alpha beta", "gamma"] and code == 1000


@bounded
async def test_the_rules_that_clients_rely_on_hold_for_every_message(scripted_server):
    pcm = speech("one two three", "four five", "six", "seven eight").astype("<f4").tobytes()
    handshake = {
        "uid": "u",
        "language": "en",
        "task": "transcribe",
        "model": "small",
        "use_vad": True,
        "send_last_n_segments": 2,
    }
    messages, _ = await transcribe(scripted_server.asr_url, handshake, [pcm, "END_OF_AUDIO"])
    known: dict[str, dict] = {}
    assert len(messages) > 3
    for message in messages[1:]:
        assert set(message) == {"uid", "segments"} and message["uid"] == "u" and message["segments"]
        segments = message["segments"]
        assert len(segments) <= 3 and all(segment["completed"] for segment in segments[:-1])
        for segment, following in itertools.pairwise(segments):
            assert float(following["start"]) >= float(segment["end"])
        for segment in segments:
            assert (
                isinstance(segment["start"], str) and len(segment["start"].partition(".")[2]) == 3
            )
            if segment["completed"]:
                assert known.setdefault(segment["start"], segment) == segment
    assert [segment["text"].strip() for segment in known.values()] == [
        "one two three",
        "four five",
        "six",
        "seven eight",
    ]


@bounded
async def test_the_language_is_told_once_before_the_segments_when_it_was_asked_for(scripted_server):
    pcm = speech("alpha beta").astype("<f4").tobytes()
    messages, _ = await transcribe(
        scripted_server.asr_url,
        {"uid": "u", "language": None, "task": "transcribe"},
        [pcm, b"END_OF_AUDIO"],
    )
    assert messages[1] == {"uid": "u", "language": "en", "language_prob": 1.0}
    assert all("segments" in message for message in messages[2:]) and finished(messages) == [
        "alpha beta"
    ]


@pytest.mark.parametrize(
    "first", ["hello", "[]", "{}", b"\0\0\0\0", '{"uid": "u", "audio_format": "mp3"}']
)
@bounded
async def test_a_bad_handshake_is_answered_and_closed(scripted_server, first):
    messages, code = await transcribe(scripted_server.asr_url, first, [])
    assert (
        len(messages) == 1
        and messages[0]["status"] == "ERROR"
        and len(messages[0]["message"]) > 20
        and code == 1008
    )
    assert messages[0]["uid"] == ("u" if isinstance(first, str) and "mp3" in first else "")


@bounded
async def test_broken_audio_and_silence_give_no_words_and_a_clean_end(scripted_server):
    noise = (
        np.full(16_000, np.nan, "<f4").tobytes()
        + np.zeros(16_000, "<f4").tobytes()
        + b"\x01\x02\x03"
    )
    messages, code = await transcribe(
        scripted_server.asr_url, {"uid": "u", "use_vad": True}, [noise, b"", "END_OF_AUDIO"]
    )
    assert len(messages) == 1 and code == 1000


# --- the WhisperFusion page ---------------------------------------------------------------------


@bounded
async def test_the_page_gets_one_segment_at_a_time_the_whole_reply_and_one_sound_for_each(
    scripted_server,
):
    page = {"uid": "page", "multilingual": False, "language": "en", "task": "transcribe"}
    # So far ahead of real time that it is no microphone, however slow the machine: the second
    # question waits for the end of the first reply.
    before, after = np.zeros(480_000, np.float32), np.zeros(32_000, np.float32)
    pcm = np.concatenate((before, speech("alpha beta"), after)).astype("<f4").tobytes()
    messages: list[dict] = []
    async with (
        connect(scripted_server.tts_url, max_size=None) as sound,
        connect(scripted_server.asr_url) as words,
    ):
        await words.send(json.dumps(page))
        assert json.loads(await words.recv())["message"] == "SERVER_READY"
        for turn in range(2):
            for start in range(0, len(pcm), 16_384):
                await words.send(pcm[start : start + 16_384])
            frame = await sound.recv()
            assert isinstance(frame, bytes) and frame and len(frame) % 4 == 0
            assert (
                read_tones(np.frombuffer(frame, "<f4"), 24_000).replace(" ", "")
                == "yousaidalphabeta.thatis2words."
            )
            while sum("llm_output" in message for message in messages) <= turn:
                messages.append(json.loads(await words.recv()))
    segments, replies = (
        [m for m in messages if "segments" in m],
        [m for m in messages if "llm_output" in m],
    )
    assert all(
        len(m["segments"]) == 1
        and set(m) == {"uid", "segments", "eos", "latency"}
        and m["uid"] == "page"
        for m in segments
    )
    assert [m["segments"][0]["text"] for m in segments if m["eos"]] == ["alpha beta", "alpha beta"]
    assert [m["llm_output"] for m in replies] == [["You said alpha beta. That is 2 words."]] * 2
    assert all(m["eos"] is True and isinstance(m["latency"], float) for m in replies)


# --- limits and keys ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single_server():
    """One caller at once, who may stay: a client's program can take longer to start than a short
    call lasts.
    """
    server = Server(*SCRIPTED, "--max-callers=1")
    try:
        yield server.wait_ready()
    finally:
        server.stop()


@bounded
async def test_a_full_server_says_wait_and_goes_on_for_the_caller_it_has(single_server):
    url = single_server.asr_url
    async with Caller(single_server) as first:
        second, code = await transcribe(url, {"uid": "second"}, [])
        assert second == [{"uid": "second", "status": "WAIT", "message": second[0]["message"]}]
        assert isinstance(second[0]["message"], (int, float)) and second[0]["message"] > 0
        assert code == 1013
        await first.send(type="say", text="hello")
        await first.answered()
    while True:  # there is room again
        messages, _ = await transcribe(url, {"uid": "third"}, ["END_OF_AUDIO"])
        if messages[0].get("message") == "SERVER_READY":
            break


@pytest.mark.parametrize("socket", ["asr_url", "tts_url"])
@bounded
async def test_the_key_opens_the_door_in_each_of_three_ways_and_no_other(keyed_server, socket):
    url = getattr(keyed_server, socket)
    for wrong in (
        {},
        {"additional_headers": {"Authorization": "Bearer guess"}},
        {"subprotocols": ["bearer", "guess"]},
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, **wrong)
        assert refused.value.response.status_code == 401
    async with (
        connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}),
        connect(f"{url}/?token={KEY}"),
        connect(url, additional_headers={"Authorization": "Bearer open sesame"}),
        connect(f"{url}/?token=open%20sesame"),
    ):
        pass
    async with connect(url, subprotocols=["bearer", KEY]) as chosen:
        assert chosen.subprotocol == "bearer"


@bounded
async def test_a_page_of_another_site_may_not_call(scripted_server):
    with pytest.raises(InvalidStatus) as refused:
        await connect(scripted_server.asr_url, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    async with connect(
        scripted_server.asr_url, origin=f"http://127.0.0.1:{scripted_server.http_port}"
    ):
        pass


# --- port 8888 ----------------------------------------------------------------------------------


@bounded
async def test_a_text_is_said_in_either_format(scripted_server):
    for audio_format, dtype in (("float32", "<f4"), ("int16", "<i2")):
        async with connect(
            f"{scripted_server.tts_url}/?uid=sayer&format={audio_format}", max_size=None
        ) as socket:
            await socket.send(json.dumps({"type": "say", "text": "Hello there.", "id": 7}))
            sound = b""
            while isinstance(frame := await socket.recv(), bytes):
                assert len(frame) <= 2400 * np.dtype(dtype).itemsize
                sound += frame
        pcm = np.frombuffer(sound, dtype).astype(np.float32) / (32_767 if dtype == "<i2" else 1)
        assert read_tones(pcm, 24_000) == "hello there."
        assert json.loads(frame) == {
            "type": "said",
            "id": 7,
            "seconds": round(len(pcm) / 24_000, 3),
        }


@bounded
async def test_a_frame_that_cannot_be_said_is_answered_and_the_next_is(scripted_server):
    async with connect(f"{scripted_server.tts_url}/?uid=sayer2", max_size=None) as socket:
        for frame, code in (
            (b'{"type": "say", "id": "a"}', "bad_frame"),
            (b"nonsense", "bad_frame"),
            (b'{"type": "say", "text": "hi", "voice": "nobody", "id": "b"}', "unknown_voice"),
            (b'{"type": "say", "text": "unspeakable", "id": "c"}', "tts_failed"),
        ):
            await socket.send(frame.decode())
            answer = json.loads(await socket.recv())
            assert answer["type"] == "error" and answer["code"] == code and answer["message"]
        await socket.send('{"type": "say", "text": "hi"}')
        assert isinstance(await socket.recv(), bytes)


@bounded
async def test_a_second_listener_of_the_same_caller_is_refused(scripted_server):
    async with connect(f"{scripted_server.tts_url}/?uid=twice"):
        async with connect(f"{scripted_server.tts_url}/?uid=twice") as second:
            answer = json.loads(await second.recv())
            assert answer["type"] == "error" and "uid" in answer["message"]
            await second.wait_closed()
            assert second.close_code == 1008
