"""The whole server in its GPU form, each library as its recorded signatures (gpu_site); and with
a language model's server by URL.
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import fake_trt
import numpy as np
import pytest
import whisper_on_fakes
from client import Caller, spoken
from dotenv import dotenv_values
from fake_llm_server import FakeLLMServer
from running import ROOT, SCRIPTED, Server

from whisperfusion import settings
from whisperfusion.client import ReplyAudio, ReplyText

GPU = (
    "--asr-engine=tensorrt-whisper",
    "--asr-model=tiny.en",
    "--llm-engine=tensorrt-llm",
    "--tts-engine=whisperspeech",
)


@pytest.fixture
def engines(stored, tmp_path) -> Path:
    """ENGINES_DIR as the build scripts leave it."""
    whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    fake_trt.write_folder(tmp_path, "phi-3", max_input_len=3000)
    return tmp_path


async def test_a_spoken_question_is_answered_by_the_gpu_engines(start_server, engines, sound):
    site = str(ROOT / "tests" / "gpu_site")
    server = start_server(*GPU, ENGINES_DIR=str(engines), MODEL="phi-3-mini", PYTHONPATH=site)
    lines = (
        "Loaded Whisper TensorRT Engine",
        "Loaded LLM TensorRT Engine",
        "Warming up torch compile model",
        "Warmed up Whisper Speech",
    )
    assert [line for line in lines if line not in server.log] == []
    question = np.concatenate((sound("riva-nlp.flac"), np.zeros(32_000, np.float32)))

    async def ask() -> None:
        async with Caller(server) as caller:
            await caller.speak(question)
            await caller.answered()
            assert caller.reply(1) == "You said What is natural language processing."
            assert np.abs(caller.audio(1)).max() > 0.5

    await asyncio.gather(ask(), ask())


async def test_an_interruption_leads_to_the_next_answer(start_server, engines):
    server = start_server(
        *GPU,
        "--asr-engine=scripted",
        "--vad-engine=scripted",
        "--turn-engine=scripted",
        ENGINES_DIR=str(engines),
        PYTHONPATH=str(ROOT / "tests" / "gpu_site"),
    )
    async with Caller(server) as caller:
        await caller.send("say", text="go on forever")
        await caller.until(lambda: caller.of(ReplyAudio))
        await caller.speak(spoken("stop that please"), live=True)
        await caller.until(
            lambda: any("stop that please" in caller.reply(turn) for turn in range(2, 5))
        )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ("--asr-engine=tensorrt-whisper", "--asr-model=small.en"),
            ("whisper-small.en", "docker/scripts/build-whisper.sh small.en"),
        ),
        (
            ("--llm-engine=tensorrt-llm", "--llm-model=phi-2"),
            ("phi-2", "docker/scripts/build-phi.sh phi-2"),
        ),
        (
            ("--llm-engine=tensorrt-llm", "--llm-model=mistral"),
            ("docker/scripts/build-mistral.sh openhermes-2.5-mistral-7b",),
        ),
    ],
)
def test_a_missing_engine_stops_the_start_with_its_folder_and_its_script(tmp_path, flags, words):
    server = Server(*SCRIPTED, *flags, f"--engines-dir={tmp_path}")
    try:
        assert server.process.wait(60) == 1
    finally:
        server.stop()
    assert (
        all(word in server.log for word in (str(tmp_path), *words))
        and "Traceback" not in server.log
    ), server.log


# --- engines by URL ----------------------------------------------------------------------


def documented_settings() -> dict[str, str]:
    """The example of docs/gpu.md, as `.env` would be read."""
    section = (
        (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8").partition("## Engines by URL")[2]
    )
    block = next(block for block in section.split("```")[1::2] if "LLM_URL=" in block)
    return {name: value or "" for name, value in dotenv_values(stream=io.StringIO(block)).items()}


async def test_the_documented_settings_reach_a_server_by_url(start_server):
    environment = documented_settings()
    chosen = settings.build({}, environment, {})
    assert (chosen.llm_engine, chosen.asr_engine, chosen.asr_model, chosen.tts_engine) == (
        "openai",
        "faster-whisper",
        "small.en",
        "hibari",
    )
    remote = FakeLLMServer(models=(environment["LLM_MODEL"],))
    environment["LLM_URL"] = environment["LLM_URL"].replace("http://127.0.0.1:8001", remote.url)
    # what hears and speaks is not the question here
    own = [flag for flag in SCRIPTED if not flag.startswith("--llm")]
    server = start_server(*own, **environment)
    async with Caller(server) as caller:
        await caller.speak(spoken("alpha beta"))
        await caller.answered()
        assert caller.reply(1) == "You said alpha beta."
        await caller.send("say", text="forever")
        await caller.until(lambda: len(caller.of(ReplyText)) > 3)
        await caller.send("interrupt")
        # the request ends with its connection
        assert await asyncio.to_thread(remote.gone.acquire, timeout=30)
    assert remote.keys[-1] == f"Bearer {environment['LLM_KEY']}"
    body = remote.requests[-1]
    assert (body["model"], body["stream"], body["messages"][0]["role"]) == (
        environment["LLM_MODEL"],
        True,
        "system",
    )
    remote.stop()
