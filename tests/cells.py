"""Several real servers with scripted engines behind a real HAProxy, with the example of deploy/."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from running import ROOT, SCRIPTED, Server

from whisperfusion.runtime.ports import free_ports

PATIENCE_S = 60.0  # bound of a test that fails
PORTS = ("http", "asr", "tts")
IN_EXAMPLE = {"http": 8000, "asr": 6006, "tts": 8888}


class Cell(Server):
    """A server on the ports of an earlier one, whose place it takes."""

    def __init__(self, ports: dict[str, int], *flags: str, **environment: str) -> None:
        given = (f"--{name}-port={port}" for name, port in ports.items())
        super().__init__(*given, *flags, **environment)
        self.asr_port, self.tts_port, self.http_port = (
            ports[name] for name in ("asr", "tts", "http")
        )
        self.asr_url = f"ws://127.0.0.1:{self.asr_port}"
        self.tts_url = f"ws://127.0.0.1:{self.tts_port}"
        self.http_url = f"http://127.0.0.1:{self.http_port}"

    def ready(self) -> dict:
        """The body of /ready."""
        try:
            with urllib.request.urlopen(f"{self.http_url}/ready", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def kill(self) -> None:
        """As when the power goes: every process of it, at once."""
        children = [self.pid(name) for name in ("asr", "llm", "tts", "gateway")]
        for pid in (self.process.pid, *children):
            os.kill(pid, signal.SIGKILL)
        self.stop(signal.SIGKILL)


class Site:
    """`cell1` and `cell2`, and the balancer in front of them, which callers connect to."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        assert shutil.which("haproxy"), "this test needs the Debian package haproxy"
        self._flags, self._folder = (*SCRIPTED, "--trusted-proxies=127.0.0.1", *flags), folder
        self.environment = environment
        numbers = free_ports(9)
        at = dict(zip(PORTS, numbers[:3], strict=True))
        self._ports = {
            name: dict(zip(PORTS, numbers[start : start + 3], strict=True))
            for name, start in (("cell1", 3), ("cell2", 6))
        }
        self.http_url = f"http://127.0.0.1:{at['http']}"
        self.asr_url, self.tts_url = (f"ws://127.0.0.1:{at[name]}" for name in ("asr", "tts"))
        web = self.http_url.replace("http", "ws")
        self.by_one_port = SimpleNamespace(asr_url=f"{web}/transcription", tts_url=f"{web}/audio")
        self._balancer: subprocess.Popen[bytes] | None = None
        self.cells = {name: self.started(name) for name in self._ports}
        try:
            self._start(folder, at)
        except BaseException:
            self.stop()
            raise

    def _start(self, folder: Path, at: dict[str, int]) -> None:
        for cell in self.cells.values():
            cell.wait_ready()
        self._socket = folder / "haproxy.sock"
        (folder / "haproxy.cfg").write_text(self._config(at))
        command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        with (folder / "haproxy.log").open("wb") as log:
            self._balancer = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait(self._socket.exists)

    def _config(self, at: dict[str, int]) -> str:
        """The example, on ports of the test, with a socket that says what it does."""
        text = (ROOT / "deploy" / "haproxy.cfg").read_text()
        changes = [
            # on a slow machine, too, `cell_of` reads it, and a cell that works is up
            ("expire 10s", "expire 10m"),
            ("timeout check 3s", "timeout check 60s"),
            (" slowstart 10s", ""),  # a cell that was restarted gets its callers at once
            ("\nglobal\n", f"\nglobal\n    stats socket {self._socket}\n"),
            *(
                (f"bind :{port}\n", f"bind 127.0.0.1:{at[name]}\n")
                for name, port in IN_EXAMPLE.items()
            ),
            *(
                (f"10.0.0.1{number}:{port}", f"127.0.0.1:{self._ports[f'cell{number}'][name]}")
                for number in (1, 2)
                for name, port in IN_EXAMPLE.items()
            ),
        ]
        for old, new in changes:
            assert old in text, f"the example has no {old!r}"
            text = text.replace(old, new)
        return text

    def started(self, name: str) -> Cell:
        return Cell(self._ports[name], *self._flags, **self.environment)

    def restart(self, name: str) -> None:
        """A new server in the place of one that has ended."""
        self.cells[name] = self.started(name).wait_ready()
        self.until(name, "UP")

    def asked(self, command: str) -> list[str]:
        """HAProxy's answer to a command of its socket, by lines."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(self._socket))
            peer.sendall(f"{command}\n".encode())
            answer = b"".join(iter(lambda: peer.recv(65536), b""))
        return answer.decode().splitlines()

    def cell_of(self, uid: str) -> str:
        """The cell that the balancer sent this caller to."""
        (row,) = [line for line in self.asked("show table callers") if f"key={uid} " in line]
        return row.partition("server_key=")[2].split()[0].removesuffix("-unready")

    def state(self, name: str) -> str:
        """ "UP" or "DOWN", as the balancer sees it."""
        rows = csv.DictReader(self.asked("show stat"))
        return next(
            row["status"].split()[0]
            for row in rows
            if (row["# pxname"], row["svname"]) == ("web_cells", name)
        )

    def until(self, name: str, state: str) -> None:
        self._wait(lambda: self.state(name) == state)

    def until_idle(self) -> None:
        """The cells have noticed that all callers hung up, and the balancer knows."""
        for name, cell in self.cells.items():
            self._wait(lambda cell=cell: cell.ready()["calls"] == 0)
            self.until(name, "UP")

    def _wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self._balancer.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        if self._balancer is not None:
            self._balancer.kill()
            self._balancer.wait()
        for cell in self.cells.values():
            cell.stop(signal.SIGINT)


async def exited(cell: Cell) -> int:
    """The exit status of a cell that ends by itself."""
    return await asyncio.wait_for(asyncio.to_thread(cell.process.wait), PATIENCE_S)
