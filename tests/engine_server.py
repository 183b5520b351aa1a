"""Engines as servers for tests: in a thread of the test with engines that it holds, or as a process
of its own that can be killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import httpx
import uvicorn
from engine_checks import eventually
from forwarder import Forwarder
from running import ROOT

from cluster.app import create_app, one_engine
from cluster.calls import BODY_LIMIT
from whisperfusion.runtime.ports import free_ports

START_S = 180  # of a process, on a machine that is busy


class EngineServer:
    """The app around `engine`, or around what `engines` returns for a name, on a free port."""

    def __init__(self, kind: str, engine: Any = None, port: int = 0, **options: Any) -> None:
        engines = options.pop("engines", None) or one_engine(engine)
        self.app = create_app(kind, engines, **options)
        self.service = self.app.state.service
        self.port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app,
            port=self.port,
            log_config=None,
            ws_max_size=BODY_LIMIT,
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        eventually(lambda: self._server.started)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve()

    def drain(self) -> None:
        """As SIGTERM does for a server in a process of its own."""
        self._loop.call_soon_threadsafe(self.service.draining.set)

    def stop(self) -> None:
        """The connections end too, as at a death."""
        self._server.force_exit = self._server.should_exit = True
        self._thread.join()


class EngineProcess:
    """`python -m cluster.serve_engine`, on `port`, ready for calls."""

    def __init__(self, kind: str, *flags: str, port: int = 0, **environment: str) -> None:
        self.port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "cluster.serve_engine", kind, f"--port={self.port}"]
        self.process = subprocess.Popen(
            [*command, *flags], cwd=ROOT, env={**os.environ, **environment}
        )
        try:
            self._wait_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while self.status() != 200:
            assert time.monotonic() < deadline, f"not ready after {START_S} s"
            time.sleep(0.05)

    def status(self) -> int:
        """Of /healthz; 0 = it does not answer."""
        assert self.process.poll() is None, "the server ended"
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def stop(self, number: int = signal.SIGKILL) -> int:
        """The exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


class Front:
    """One address in front of servers, as that of a cluster is, on a thread of its own. New
    connections go to `port`.
    """

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._forwarder = Forwarder(port)
        self._run(self._forwarder.__aenter__())
        self.url = self._forwarder.url

    def goes_to(self, port: int) -> None:
        """The server of before is lost: what was open ends, what is new goes to `port`."""
        self._run(self._switch(port))

    def stop(self) -> None:
        self._run(self._forwarder.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _switch(self, port: int) -> None:
        self._forwarder.port = port
        for task in self._forwarder._tasks:
            task.cancel()
        await asyncio.gather(*self._forwarder._tasks, return_exceptions=True)
        self._forwarder._tasks.clear()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
