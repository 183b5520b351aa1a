"""Fixtures that several test files share: servers, recordings, engines, models."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from whisperfusion.runtime.ports import free_ports

# before numpy is imported: its own threads wait by spinning, and cost a test that computes with it
# twice the processor time (main.py sets the same for the server)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
from hypothesis import settings as random_inputs
from running import ROOT, SCRIPTED, Server

from whisperfusion import settings
from whisperfusion.engines import load
from whisperfusion.models import store as models

# no test depends on what a hub elsewhere has; those with a hub of their own say so
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# no deadlines: a busy machine may stop any example for a while; half of hypothesis's examples. They
# are others in each run, but for a submission: that is not judged by what chance finds on a day
same = {"deadline": None, "derandomize": "CI" in os.environ}
random_inputs.register_profile("undated", max_examples=50, **same)
random_inputs.load_profile("undated")
# for `make test-gpu-stack`, whose subject is another Python: --hypothesis-profile=few
random_inputs.register_profile("few", max_examples=20, **same)


# What computes most, so that it is begun first and nothing is left to one worker at the end.
LONGEST_FIRST = (
    "test_asr.py",
    "test_docker_scripts.py",
    "test_tts.py",
    "test_tensorrt_whisper.py",
    "test_llm.py",
    "test_field_recognition.py",
    "test_models.py",
    "test_regular_expressions.py",
    "test_world.py",
    "test_bad_input.py",
    "test_conformance.py",
    "test_realtime.py",
    "test_processes.py",
    "test_field_media.py",
    "test_schema.py",
    "test_examples.py",
    "test_cancellation.py",
    "test_gateway.py",
    "test_golden_frames.py",
    "test_isolated.py",
    "test_isolated_life.py",
    # of those that are marked `live`: the page comes last, for it has to see interim transcripts,
    # which a machine leaves out that has too much to do
    "test_clients.py",
    "test_end_to_end.py",
    "test_hostile.py",
)
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in LONGEST_FIRST if not (TESTS / name).is_file()]
    assert not missing, f"tests/conftest.py, LONGEST_FIRST: {missing}"
    place = {TESTS / name: at for at, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: (place.get(item.path, len(place)), _mixed(item.path)))


def _mixed(path: Path) -> int:
    """An order that is always the same and not that of the alphabet, in which files of one kind
    stand beside each other: three browsers would run at once.
    """
    return zlib.crc32(str(path.relative_to(TESTS)).encode())


@pytest.fixture
def start_server():
    """Start servers with flags of the test's own; all are stopped and none leaves a process
    behind.
    """
    servers: list[Server] = []

    def start(*flags: str, **environment: str) -> Server:
        servers.append(Server(*flags, **environment))
        return servers[-1].wait_ready()

    yield start
    for server in servers:
        server.stop()


def with_wyoming(*flags: str) -> Server:
    (port,) = free_ports(1)
    running = Server(*flags, f"--wyoming-port={port}")
    running.wyoming_port = port
    return running


@pytest.fixture(scope="session")
def pipeline():
    """The real pipeline with its default models and Wyoming, shared by all tests that only talk
    to it.
    """
    running = with_wyoming()
    try:
        yield running.wait_ready(600)
    finally:
        running.stop()


@pytest.fixture(scope="session")
def scripted_server():
    """The real processes with scripted engines and Wyoming, shared by all tests that do not break
    them.
    """
    running = with_wyoming(*SCRIPTED)
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def english_server():
    """The English default voice; all else is scripted."""
    running = Server(*(flag for flag in SCRIPTED if not flag.startswith("--tts")))
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def keyed_server():
    """Three keys, both families of addresses, and a log that holds all that can be had."""
    keys = "--shared-secret=sesame-one,sesame-two,open sesame"
    running = Server(*SCRIPTED, "--host=::", keys, "--log-level=debug")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def recordings() -> dict[str, dict]:
    """Human speech with its text, by file name; `path` is where it lies."""
    folder = Path(
        os.environ.get("WHISPERFUSION_SPEECH", ROOT.parent / "shared" / "data" / "speech")
    )
    manifest = folder / "manifest.jsonl"
    assert manifest.is_file(), (
        f"no recordings in {folder}; set WHISPERFUSION_SPEECH to the folder with manifest.jsonl"
    )
    entries = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return {entry["file"]: {**entry, "path": folder / entry["file"]} for entry in entries}


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Engines as servers, each until the end of the test."""
    from engine_server import EngineServer

    running: list[EngineServer] = []

    def start(kind: str, engine: Any = None, **options: Any) -> EngineServer:
        running.append(EngineServer(kind, engine, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


# --- engines that several contracts use, and models of the store


@pytest.fixture(scope="session")
def apart() -> Iterator[Callable[..., Any]]:
    """Engines in an interpreter of their own, by kind, name and options; each is started once."""
    made: dict[str, Any] = {}

    def get(kind: str, name: str, **options: Any) -> Any:
        key = f"{kind} {name} {options}"
        made[key] = made.get(key) or load(kind, name, python=sys.executable, **options)
        return made[key]

    yield get
    for engine in made.values():
        engine.close()


@pytest.fixture(scope="session")
def stored() -> Callable[[str, str], str]:
    """The path of a model of the store, fetched if need be."""
    chosen = settings.build({}, os.environ, {})
    return lambda id, kind: str(
        models.fetch(models.resolve(id, kind, chosen), chosen.cache, chosen.sources)
    )


@pytest.fixture(scope="session")
def sound(recordings) -> Callable[[str], np.ndarray]:
    return lambda name: soundfile.read(recordings[name]["path"], dtype="float32")[0]


@pytest.fixture(scope="session")
def whisper(stored) -> Any:
    return load(
        "asr",
        "faster-whisper",
        model=stored("whisper-base", "asr"),
        device="cpu",
        compute_type="auto",
        threads=1,
    )


@pytest.fixture(scope="session")
def whisper_english(stored) -> Any:
    return load(
        "asr",
        "faster-whisper",
        model=stored("whisper-tiny.en", "asr"),
        device="cpu",
        compute_type="auto",
        threads=1,
    )


@pytest.fixture(scope="session")
def openai_whisper(stored) -> Iterator[Any]:
    """The engine `whisper` in an interpreter of its own, over a package of its signatures."""
    folder = stored("whisper-tiny.en", "asr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS / "openai_site"))
        patch.setenv("FAKE_WHISPER", folder)
        engine = load("asr", "whisper", python=sys.executable, model=folder, device="cpu")
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def hibari() -> Any:
    return load("tts", "hibari", model="", voice="")


@pytest.fixture(scope="session")
def llama(stored) -> Any:
    return load("llm", "llama.cpp", model=stored("qwen2.5-coder-0.5b", "llm"), threads=2)
