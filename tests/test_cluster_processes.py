"""`python -m cluster.serve_engine` as an operator uses it: real processes, which are started, ended
and killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from engine_checks import ENGLISH, errors, eventually
from engine_server import EngineProcess, Front
from far_engines import ALPHA, BETA, asked
from running import ROOT

import llm_service
from whisperfusion.engines import EngineError, load
from whisperfusion.engines.scripted import read_tones
from whisperfusion.runtime.ports import free_ports

pytestmark = pytest.mark.sites
SENTENCE = "the birch canoe slid on the smooth planks and then it rained"


@pytest.fixture
def start() -> Iterator[Callable[..., EngineProcess]]:
    running: list[EngineProcess] = []

    def one(kind: str, *flags: str, **environment: str) -> EngineProcess:
        running.append(EngineProcess(kind, *flags, **environment))
        return running[-1]

    yield one
    for process in running:
        if process.process.poll() is None:
            process.stop()


def both(start: Callable[..., EngineProcess], kind: str, *flags: str) -> list[EngineProcess]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: start(kind, "--engine=scripted", *flags), range(2)))


def test_a_process_is_killed_in_mid_utterance(start):
    one, other = both(start, "asr")
    front = Front(one.port)
    utterance = load("asr", "ray", url=front.url).create_utterance(ENGLISH)
    assert utterance.accept_audio(ALPHA).text == "alpha"
    one.stop(signal.SIGKILL)
    front._forwarder.port = other.port
    assert utterance.accept_audio(BETA).text == "alpha beta"
    front.stop()


def test_a_process_is_killed_in_mid_sentence(start):
    one, other = both(start, "tts", "--option=delay_s=0.1")
    front = Front(one.port)
    tts = load("tts", "ray", url=front.url)
    pieces = tts.synthesize(SENTENCE)
    begun = next(piece for piece in pieces if len(piece))
    front._forwarder.port = other.port
    one.stop(signal.SIGKILL)
    assert read_tones(np.concatenate([begun, *pieces]), tts.sample_rate) == SENTENCE
    front.stop()


def test_sigterm_lets_what_runs_end(start):
    server = start("llm", "--engine=scripted", "--option=delay_s=0.02", "--key=sesame")
    llm = load("llm", "ray", url=server.url, key="sesame")
    endless = asked(llm, "forever")
    assert next(piece for piece in endless if piece)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.status() == 503)
    with pytest.raises(EngineError, match="503.*draining"):
        list(asked(llm, "alpha"))
    assert [next(piece for piece in endless if piece) for _ in range(100)]
    endless.close()
    assert server.process.wait(30) == 0


def test_a_lost_engine_ends_the_process_and_a_second_signal_too(start):
    server = start("llm", "--engine=scripted", "--option=delay_s=0.02")
    llm = load("llm", "ray", url=server.url)
    endless = asked(llm, "forever")
    assert next(piece for piece in endless if piece)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.status() == 503)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    with pytest.raises(EngineError, match="broke off in the middle"):
        list(endless)
    server = start("llm", "--engine=scripted")
    llm = load("llm", "ray", url=server.url)
    with pytest.raises(EngineError):
        list(asked(llm, "lose the gpu"))
    assert server.process.wait(30) == 70


def test_a_real_recognizer_and_models_by_their_names(start, stored, recordings, sound):
    stored("whisper-tiny.en", "asr")
    server = start("asr", "--model=whisper-tiny.en", ENGINE_KEY="sesame")
    about = httpx.get(f"{server.url}/about", headers={"Authorization": "Bearer sesame"}).json()
    assert about["attributes"]["model"] == "whisper-tiny.en"
    asr = load("asr", "ray", url=server.url, key="sesame", timeout_s=60.0)
    name = "harvard-sb-birch.flac"
    utterance = asr.create_utterance(ENGLISH)
    for part in np.array_split(sound(name), 3):
        utterance.accept_audio(part, False)
    found = utterance.finish()
    assert errors(recordings[name]["text"], found.text) == 0
    assert found.end_of_turn is None or 0 <= found.end_of_turn <= 1


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster.serve_engine", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_language_model_yields_as_the_process_of_a_cell_does(start):
    own = os.getpriority(os.PRIO_PROCESS, 0)  # the tests may be nice themselves
    for kind, nicer in (("llm", llm_service.NICE), ("tts", 0)):
        process = start(kind, "--engine=scripted").process
        threads = [int(one) for one in os.listdir(f"/proc/{process.pid}/task")]
        found = {os.getpriority(os.PRIO_PROCESS, one) for one in threads}
        assert found == {min(own + nicer, 19)}, kind


def test_what_is_wrong_is_told_in_one_line():
    helped = run("--help")
    assert helped.returncode == 0
    for flag in ("--engine", "--models", "--key", "--drain", "docs/cluster.md"):
        assert flag in helped.stdout
    (port,) = free_ports(1)
    for flags, why in (
        (("--host=0.0.0.0",), "no key is set; give --key or ENGINE_KEY"),
        (("--engine=nonsuch",), "no llm engine is called 'nonsuch'; known: "),
        (("--engine=llama.cpp", "--model=nonsuch"), "there is no llm model 'nonsuch'"),
    ):
        told = run("llm", f"--port={port}", *flags)
        assert told.returncode == 1 and why in told.stderr, told.stderr
        assert "Traceback" not in told.stderr
