"""A real Redis server of a test's own, in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PASSWORD = "hush-hush/9@x"
QUOTED = "hush-hush%2F9%40x"


class RedisServer:
    """`start`, `kill` and `start` again; what was stored before a kill is read back, as with
    Debian's settings.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://:{QUOTED}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        options = (
            f"--port {self._port} --bind 127.0.0.1 --dir {self._folder} --requirepass {PASSWORD} "
            "--appendonly yes"
        )
        self._process = subprocess.Popen(
            ["redis-server", *options.split()], stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 1) as peer:
                    peer.sendall(b"PING\r\n")
                    if b"NOAUTH" in peer.recv(200):  # -LOADING before it has read its file
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise TimeoutError("redis-server did not start")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
