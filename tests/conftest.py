"""Fixtures that several test files share: servers, recordings, engines, models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from running import ROOT, SCRIPTED, Server

from fusion import models, settings
from fusion.engines import load


@pytest.fixture
def start_server():
    """Start servers with flags of the test's own; all are stopped and none leaves a process behind."""
    servers: list[Server] = []

    def start(*flags: str, **environment: str) -> Server:
        servers.append(Server(*flags, **environment))
        return servers[-1].wait_ready()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def pipeline():
    """The real pipeline with its default models, shared by all tests that only talk to it."""
    running = Server()
    try:
        yield running.wait_ready(600)
    finally:
        running.stop()


@pytest.fixture(scope="session")
def scripted_server():
    """The real processes with scripted engines, shared by all tests that do not break them."""
    running = Server(*SCRIPTED)
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def recordings() -> dict[str, dict]:
    """Human speech with its text, by file name; `path` is where it lies."""
    folder = Path(os.environ.get("WHISPERFUSION_SPEECH", ROOT.parent / "shared" / "data" / "speech"))
    manifest = folder / "manifest.jsonl"
    assert manifest.is_file(), f"no recordings in {folder}; set WHISPERFUSION_SPEECH to the folder with manifest.jsonl"
    entries = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return {entry["file"]: {**entry, "path": folder / entry["file"]} for entry in entries}


# --- engines that several contracts use, and models of the store


@pytest.fixture(scope="session")
def stored() -> Callable[[str, str], str]:
    """The path of a model of the store, fetched if need be."""
    chosen = settings.build({}, os.environ, {})
    return lambda id, kind: str(models.fetch(models.resolve(id, kind, chosen), chosen.cache, chosen.sources))


@pytest.fixture(scope="session")
def sound(recordings) -> Callable[[str], np.ndarray]:
    return lambda name: soundfile.read(recordings[name]["path"], dtype="float32")[0]


@pytest.fixture(scope="session")
def whisper(stored) -> Any:
    return load("asr", "faster-whisper", model=stored("whisper-base", "asr"), device="cpu", compute_type="auto", threads=1)


@pytest.fixture(scope="session")
def whisper_english(stored) -> Any:
    return load("asr", "faster-whisper", model=stored("whisper-tiny.en", "asr"), device="cpu", compute_type="auto", threads=1)


@pytest.fixture(scope="session")
def hibari() -> Any:
    return load("tts", "hibari", model="", voice="")
