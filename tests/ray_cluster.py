"""`python -m cluster up` for tests, and a cell's requests to it, without the engine of a cell."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from running import ROOT
from websockets.sync.client import ClientConnection, connect

from cluster import rundir
from whisperfusion.audio import Samples
from whisperfusion.runtime.ports import free_ports
from whisperfusion.wire import engine_pipe as wire

PYTHON = ROOT / ".venv-cluster" / "bin" / "python"
START_S = 600.0  # on a machine that is very busy; some 15 s on a quiet one
OPTIONS = {
    "language": None,
    "task": "transcribe",
    "initial_prompt": "",
    "hotwords": "",
    "word_timestamps": False,
    "temperature": 0.0,
    "default_language": "en",
    "languages": [],
    "expected": "",
    "suspected": "",
}


class Cluster:
    """Two nodes with the engines of `config`."""

    def __init__(self, config: Path, **environment: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = rundir.folder(self.port)
        self.process = subprocess.Popen(
            [PYTHON, "-m", "cluster", "up", str(config), f"--port={self.port}"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        self._lines.extend(self.process.stdout)

    @property
    def log(self) -> str:
        return "the cluster has ended:\n" + "".join(self._lines)

    @property
    def state(self) -> dict[str, Any]:
        return rundir.read_state(self.folder)

    def replicas(self, kind: str, state: str = "RUNNING") -> list[dict[str, Any]]:
        about = self.state.get("applications", {}).get(kind, {"replicas": []})
        return [one for one in about["replicas"] if one["state"] == state]

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = START_S) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}: {self.state}"
            time.sleep(0.05)
        return found

    def wait_ready(self, replicas: int) -> Cluster:
        self.until(
            lambda: all(len(self.replicas(kind)) >= replicas for kind in ("asr", "llm", "tts")),
            f"{replicas} replicas of each kind",
        )
        return self

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)

    # --- requests ---------------------------------------------------------------------------------

    @contextmanager
    def call(self, kind: str, method: str, model: str = "", **arguments: Any) -> Iterator[Any]:
        """The messages that answer it. Leaving the block closes the connection."""
        body = b"".join(wire.encode(wire.Call(1, method, arguments)))
        headers = {"serve_multiplexed_model_id": model} if model else {}
        with httpx.Client(timeout=60) as client:
            address = f"{self.url}/{kind}/call"
            with client.stream("POST", address, content=body, headers=headers) as answer:
                if answer.status_code != 200:
                    raise Refused(answer.status_code, answer.read().decode())
                yield _messages(answer.iter_raw())

    def reply(self, asked: str) -> str:
        with self.chat(asked) as messages:
            return "".join(one.value for one in pieces(messages))

    def chat(self, asked: str) -> Any:
        history = [["user", asked]]
        return self.call(
            "llm", "stream_chat", history=history, max_tokens=200, temperature=0.0, tools=None
        )

    def speech(self, text: str, model: str = "") -> Samples:
        arguments = {"text": text, "voice": None, "speed": 1.0}
        with self.call("tts", "synthesize", model, **arguments) as messages:
            return np.concatenate([one.pcm for one in pieces(messages)])

    def running(self, kind: str) -> int:
        """Calls and utterances of the replica that happens to answer; 0 where none answers."""
        try:
            answer = httpx.get(f"{self.url}/{kind}/healthz", timeout=10)
        except httpx.HTTPError:
            return 0
        return int(answer.json()["running"]) if answer.status_code == 200 else 0

    def utterance(self) -> LiveUtterance:
        return LiveUtterance(f"{self.url}/asr/utterance".replace("http", "ws"))


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class LiveUtterance:
    def __init__(self, url: str) -> None:
        self._socket: ClientConnection = connect(url, compression=None, open_timeout=60)
        self._decoder = wire.Decoder()
        self._ask("create_utterance", options=OPTIONS, passes=[1])

    def _send(self, method: str, pcm: Samples | None = None, **arguments: Any) -> None:
        self._socket.send(b"".join(wire.encode(wire.Call(1, method, arguments, pcm))))

    def _ask(self, method: str, **arguments: Any) -> Any:
        self._send(method, **arguments)
        (answer,) = self._decoder.feed(self._socket.recv(60))
        assert isinstance(answer, wire.Done), answer
        return answer.value

    def audio(self, pcm: Samples) -> None:
        self._send("audio", pcm.astype(np.float32))

    def finish(self, length: int) -> str:
        self._ask("accept_audio", which=1, upto=length, final=True)
        return str(self._ask("finish", which=1)["text"])

    def close(self) -> None:
        self._socket.close()


def _messages(data: Iterator[bytes]) -> Iterator[wire.Message]:
    decoder = wire.Decoder()
    for some in data:
        yield from (one for one in decoder.feed(some) if not isinstance(one, wire.Pulse))


def pieces(messages: Iterator[wire.Message]) -> Iterator[wire.Piece]:
    for message in messages:
        if isinstance(message, wire.Piece):
            yield message
            continue
        assert isinstance(message, wire.Done), message
        return
    raise AssertionError("the answer ends without an end")
