"""Clients that others wrote, as they are published, against the real server with its real models
and human speech.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import wave
from concurrent.futures import Future, ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
from running import Server
from test_rest import wav
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.tts import Synthesize

from whisperfusion.text.segmentation import words

pytestmark = pytest.mark.live

SCRIPTS = Path(__file__).parent / "third_party"
VERSIONS = ("0.20.0", "0.14.3")  # of @openai/agents-realtime
QUESTION = "riva-nlp.flac"  # "What is natural language processing?"


@pytest.fixture(scope="module")
def question(recordings) -> np.ndarray:
    """float32 at 16 kHz."""
    pcm, rate = soundfile.read(recordings[QUESTION]["path"], dtype="float32")
    assert rate == 16_000
    return pcm


def upper(pcm: np.ndarray) -> np.ndarray:
    return np.interp(np.arange(len(pcm) * 3 // 2) / 1.5, np.arange(len(pcm)), pcm).astype(
        np.float32
    )


def pcm16(pcm: np.ndarray) -> bytes:
    return (np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes()


def asks_it(text: str) -> bool:
    return (
        SequenceMatcher(
            None, words(text), ("what", "is", "natural", "language", "processing")
        ).ratio()
        > 0.7
    )


def understood(server: Server, sound: bytes, name: str = "a.wav") -> str:
    """What our recognizer makes of an answer: the voice said words."""
    answer = httpx.post(
        f"{server.http_url}/v1/audio/transcriptions",
        files={"file": (name, sound)},
        data={"language": "en"},
        timeout=90,
    )
    return str(answer.json()["text"])


# --- openai -------------------------------------------------------------------------------------


def test_openai_rest(pipeline, question, tmp_path):
    client = openai.OpenAI(
        base_url=f"{pipeline.http_url}/v1", api_key="any", max_retries=0, timeout=90
    )
    recognized = client.audio.transcriptions.create(
        model="whisper-1",
        file=("q.wav", wav(question)),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (
        asks_it(recognized.text)
        and recognized.language == "english"
        and asks_it(" ".join(word.word for word in recognized.words))
        and recognized.segments
    )
    assert asks_it(client.audio.translations.create(model="whisper-1", file=wav(question)).text)
    assert "-->" in client.audio.transcriptions.create(
        model="whisper-1", file=wav(question), response_format="srt"
    )
    events = list(
        client.audio.transcriptions.create(model="whisper-1", file=wav(question), stream=True)
    )
    assert (
        events[0].type == "transcript.text.delta"
        and events[-1].type == "transcript.text.done"
        and asks_it(events[-1].text)
    )
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="The meeting begins at nine."
    ) as answer:
        answer.stream_to_file(tmp_path / "speech.mp3")
    assert "meeting" in understood(pipeline, (tmp_path / "speech.mp3").read_bytes(), "a.mp3")
    assert client.models.retrieve(client.models.list().data[0].id).object == "model"
    with pytest.raises(openai.BadRequestError, match="audio file") as refused:
        client.audio.transcriptions.create(model="whisper-1", file=b"no sound at all")
    assert refused.value.code == "unsupported_value"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")


async def test_openai_realtime(pipeline, question):
    client = openai.AsyncOpenAI(base_url=f"{pipeline.http_url}/v1", api_key="any")
    kinds, sound, spoken, recognized = [], b"", "", ""
    async with client.realtime.connect(model="gpt-realtime") as session:
        await session.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}},
            }
        )

        async def talk() -> None:
            data = pcm16(upper(question)) + bytes(48_000 * 2)
            for start in range(0, len(data), 4800):
                await session.input_audio_buffer.append(
                    audio=base64.b64encode(data[start : start + 4800]).decode()
                )
                await asyncio.sleep(0.1)

        talking = asyncio.create_task(talk())
        async for event in session:
            kinds.append(event.type)
            if event.type == "response.output_audio.delta":
                sound += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.done":
                spoken = event.transcript
            elif event.type == "conversation.item.input_audio_transcription.completed":
                recognized = event.transcript
            elif event.type == "response.done":
                assert event.response.status == "completed", event.response
                break
        await talking
    assert asks_it(recognized) and len(words(spoken)) >= 3 and "error" not in kinds
    back = understood(pipeline, wav(np.frombuffer(sound, "<i2").astype(np.float32) / 32768, 24_000))
    assert SequenceMatcher(None, words(back), words(spoken)).ratio() > 0.6, (back, spoken)


# --- the Agents SDK, under Node -----------------------------------------------------------------


@pytest.fixture(scope="session")
def agents(tmp_path_factory):
    """The folder of a version of @openai/agents-realtime, installed as its lock file says."""
    assert shutil.which("npm"), "Node is missing; .ci/run installs it"
    kept = os.environ.get("WHISPERFUSION_TEST_CACHE")
    root = Path(kept) if kept else tmp_path_factory.mktemp("node")

    def install(version: str) -> Path:
        folder = root / f"agents-{version}"
        if not (folder / "node_modules").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SCRIPTS / f"agents-{version}" / name, folder / name)
            subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"],
                cwd=folder,
                check=True,
                timeout=180,
            )
        shutil.copy(SCRIPTS / "agents.mjs", folder / "agents.mjs")
        return folder

    return install


def run_agents(
    folder: Path, server: Server, sounds: list[bytes], tmp_path: Path, **environment: str
) -> list[dict[str, Any]]:
    paths = []
    for number, sound in enumerate(sounds):
        paths.append(tmp_path / f"{number}.pcm")
        paths[-1].write_bytes(sound)
    url = server.http_url.replace("http", "ws", 1) + "/v1/realtime?model=gpt-realtime"
    done = subprocess.run(
        ["node", "agents.mjs", url, *map(str, paths)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-3000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def agents_told(
    pipeline, agents, question, recordings, tmp_path_factory
) -> dict[str, Future[list[dict[str, Any]]]]:
    """What each version made of the same conversation; both at the same time."""
    second, _ = soundfile.read(recordings["rh3-turn_on_the_lamp.flac"]["path"], dtype="float32")
    quiet = bytes(48_000 * 2)
    sounds = [pcm16(upper(question)) + quiet, pcm16(upper(second)) + quiet]
    folders = {version: agents(version) for version in VERSIONS}
    with ThreadPoolExecutor() as pool:
        return {
            version: pool.submit(
                run_agents, folder, pipeline, sounds, tmp_path_factory.mktemp("told")
            )
            for version, folder in folders.items()
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_agents_sdk_talks_and_interrupts(agents_told, version):
    told = agents_told[version].result()
    kinds = [one["kind"] for one in told]
    assert "error" not in kinds and "interrupted" in kinds and "truncated" in kinds, told
    history = next(one["items"] for one in told if one["kind"] == "history")
    spoken = [item for item in history if item.get("role") == "assistant"]
    assert spoken[0]["status"] == "incomplete" and spoken[-1]["content"][0]["transcript"]
    assert next(one["bytes"] for one in told if one["kind"] == "audio") > 48_000


# --- pipecat ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pipecat(tmp_path_factory) -> Path:
    """A Python of its own with pipecat in it."""
    kept = os.environ.get("WHISPERFUSION_TEST_CACHE")
    folder = (Path(kept) if kept else tmp_path_factory.mktemp("pipecat")) / "pipecat"
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run(
            [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            check=True,
            timeout=60,
        )
        subprocess.run(
            [
                *uv,
                "pip",
                "install",
                "--quiet",
                "--python",
                str(python),
                "-r",
                str(SCRIPTS / "pipecat.txt"),
            ],
            check=True,
            timeout=480,
        )
        (folder / "done").touch()
    return python


@pytest.mark.skipif(sys.version_info < (3, 11), reason="pipecat needs Python 3.11")
async def test_pipecats_service_takes_every_event(pipeline, pipecat, question, tmp_path):
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(pcm16(upper(question)))
    url = pipeline.http_url.replace("http", "ws", 1) + "/v1/realtime"
    done = await asyncio.to_thread(
        subprocess.run,
        [str(pipecat), str(SCRIPTS / "pipecat_service.py"), url, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["sound"] > 24_000 and told["said"] and not told["errors"], (
        told,
        done.stderr[-3000:],
    )


# --- Home Assistant and Bazarr ------------------------------------------------------------------


async def test_wyoming(pipeline, question):
    data = pcm16(question)
    async with AsyncClient.from_uri(f"tcp://127.0.0.1:{pipeline.wyoming_port}") as peer:
        await peer.write_event(Transcribe(language="en").event())
        await peer.write_event(AudioStart(rate=16_000, width=2, channels=1).event())
        for start in range(0, len(data), 2048):
            await peer.write_event(
                AudioChunk(
                    rate=16_000, width=2, channels=1, audio=data[start : start + 2048]
                ).event()
            )
        await peer.write_event(AudioStop().event())
        while not Transcript.is_type((event := await asyncio.wait_for(peer.read_event(), 60)).type):
            assert event.type in ("transcript-start", "transcript-chunk")
        assert asks_it(Transcript.from_event(event).text)
        await peer.write_event(Synthesize(text="The light in the kitchen is on.").event())
        sound = b""
        while (event := await asyncio.wait_for(peer.read_event(), 60)).type != "audio-stop":
            sound += event.payload or b""  # also past transcript-stop
    assert "kitchen" in understood(
        pipeline, wav(np.frombuffer(sound, "<i2").astype(np.float32) / 32768, 24_000)
    )


def test_bazarr(pipeline, recordings):
    """A track of half a minute, in the two requests that Bazarr sends."""
    names = [
        name
        for name, entry in recordings.items()
        if entry["lang"] == "en" and "read" in entry["tags"]
    ][:3]
    track = np.concatenate(
        [
            np.concatenate(
                (
                    soundfile.read(recordings[name]["path"], dtype="float32")[0],
                    np.zeros(16_000, np.float32),
                )
            )
            for name in names
        ]
    )
    with httpx.Client(base_url=pipeline.http_url, timeout=120) as http:
        found = http.post(
            "/detect-language", params={"encode": "false"}, files={"audio_file": pcm16(track)}
        ).json()
        assert (
            found["language_code"] == "en"
            and found["detected_language"] == "english"
            and found["confidence"] > 0.5
        )
        answer = http.post(
            "/asr",
            params={"task": "transcribe", "language": "en", "output": "srt", "encode": "false"},
            files={"audio_file": pcm16(track)},
        )
    spoken = " ".join(
        line
        for line in answer.text.splitlines()
        if line and "-->" not in line and not line.isdigit()
    )
    wanted = " ".join(recordings[name]["text"] for name in names)
    assert SequenceMatcher(None, words(spoken), words(wanted)).ratio() > 0.8
