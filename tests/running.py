"""The real server as a child process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from whisperfusion.runtime.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("asr", "vad", "turn", "speaker", "llm", "tts")
SCRIPTED = tuple(f"--{stage}-engine=scripted" for stage in STAGES)
STATE = tempfile.TemporaryDirectory(prefix="sessions-")


class Server:
    """`python main.py` with the given flags, on ports of its own."""

    command: tuple[str, ...] = (sys.executable, "main.py")
    folder = ROOT

    def __init__(self, *flags: str, **environment: str) -> None:
        self.asr_port, self.tts_port, self.http_port = free_ports(3)
        ports = [
            f"--asr-port={self.asr_port}",
            f"--tts-port={self.tts_port}",
            f"--http-port={self.http_port}",
        ]
        self.asr_url, self.tts_url = (
            f"ws://127.0.0.1:{self.asr_port}",
            f"ws://127.0.0.1:{self.tts_port}",
        )
        self.http_url = f"http://127.0.0.1:{self.http_port}"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*self.command, *ports, *flags],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            # sessions of tests are not this user's own
            env={**os.environ, "STORE_URL": f"sqlite://{STATE.name}/s.sqlite3", **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def health(self) -> tuple[int, dict]:
        try:
            with urllib.request.urlopen(f"{self.http_url}/health", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def wait_ready(self, timeout_s: float = 300.0) -> Server:
        self.wait_for(lambda: "ready after" in self.log, timeout_s, "to become ready")
        return self

    def wait_for(self, condition, timeout_s: float = 60.0, what: str = "") -> None:
        """Poll from outside, as an operator would; the time is only a bound for a test that
        fails.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, f"the server ended:\n{self.log}"
            assert time.monotonic() < deadline, (
                f"the server took more than {timeout_s} s {what}:\n{self.log}"
            )
            time.sleep(0.05)

    def pid(self, name: str) -> int:
        """The present process of a stage, as the log tells it."""
        found = re.findall(rf"{name}\s+ready: .*\(process (\d+)\)", self.log)
        assert found, self.log
        return int(found[-1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=5)
        return code


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
