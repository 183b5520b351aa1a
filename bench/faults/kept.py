"""A program that is started again whenever it ends, as systemd or an orchestrator does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from bench.common import ROOT

RESTART_S = 0.1  # systemd's default RestartSec
STOP_S = 60.0


class Kept:
    """`start` it, hit its process (`pid`), `stop` it. `log` gets what it writes, of all starts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.log, self.starts = name, log, 0
        self._command, self._environment = list(command), dict(environment or {})
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"keep-{name}", daemon=True)

    def start(self) -> None:
        self._spawn()
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the present process; of the last one, while there is none."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """It and all below it."""
        try:
            main = psutil.Process(self.pid)
            return [main, *main.children(recursive=True)]
        except psutil.Error:
            return []

    def strays(self) -> list[psutil.Process]:
        """Processes that it started, directly or not, and that have lost it: all have its folder
        for temporary files, or none is known.
        """
        own = {one.pid for one in self.processes()}
        mark = f"TMPDIR={self._environment.get('TMPDIR', '')}".encode()
        return [
            psutil.Process(pid)
            for pid in psutil.pids()
            if pid not in own and mark != b"TMPDIR=" and mark in _environment_of(pid)
        ]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self) -> list[str]:
        """Ends it in an orderly way; the command lines of processes that it left behind."""
        self._ending.set()
        below = self.processes()
        if self._process is not None and self._process.poll() is None:
            for one in below:  # what was stopped cannot end
                _send(one, signal.SIGCONT)
            _send(below[0], signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        _, left = psutil.wait_procs([*below, *self.strays()], timeout=3.0)
        for one in left:
            _send(one, signal.SIGKILL)
        return [_command_line(one) for one in left]

    def _spawn(self) -> None:
        self.starts += 1
        with self.log.open("ab") as lines:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
                env={**os.environ, **self._environment},
            )

    def _keep(self) -> None:
        while not self._ending.is_set():
            assert self._process is not None
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            if not self._ending.wait(RESTART_S):
                self._spawn()


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []


def _send(process: psutil.Process, number: int) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


def _command_line(process: psutil.Process) -> str:
    try:
        return str(" ".join(process.cmdline())[:200])
    except psutil.Error:
        return str(process.name())
