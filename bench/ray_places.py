"""Where the engines of `ray_latency` are: single servers, or a cluster with one replica of each."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx

from bench.common import OUT, ROOT, BenchError
from whisperfusion.runtime.ports import free_ports

PYTHON = ROOT / ".venv-cluster" / "bin" / "python"
KINDS = ("asr", "llm", "tts")
START_S = 300.0
LOG = OUT / "ray_latency.log"


@contextmanager
def single_servers() -> Iterator[dict[str, str]]:
    """The address of one scripted engine of each kind, each a process with uvicorn alone."""
    ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    with ExitStack() as running:
        for kind, port in ports.items():
            command = [sys.executable, "-m", "cluster.serve_engine", kind, f"--port={port}"]
            running.enter_context(_process([*command, "--engine=scripted"]))
        addresses = {kind: f"http://127.0.0.1:{port}" for kind, port in ports.items()}
        for address in addresses.values():
            _wait(partial(_answers, f"{address}/about"), address)
        yield addresses


@contextmanager
def cluster(config: Path) -> Iterator[dict[str, str]]:
    if not PYTHON.exists():
        raise BenchError("Ray is not installed; run: make .venv-cluster/installed")
    port = free_ports(1)[0]
    command = [str(PYTHON), "-m", "cluster", "up", str(config), f"--port={port}"]
    with _process(command) as process:
        _wait(lambda: _all_run(port, process), f"the cluster of {config}")
        yield {kind: f"http://127.0.0.1:{port}/{kind}" for kind in KINDS}


def _all_run(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise BenchError(f"the cluster did not start; see {LOG}")
    asked = [str(PYTHON), "-m", "cluster", "status", "--json", f"--port={port}"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        return False
    applications = json.loads(found.stdout)["applications"]
    return len(applications) == len(KINDS) and all(
        one["status"] == "RUNNING" for one in applications.values()
    )


@contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    OUT.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as lines:
        process = subprocess.Popen(command, cwd=ROOT, stdout=lines, stderr=lines)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def _wait(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > until:
            raise BenchError(f"{what} did not start; see {LOG}")
        time.sleep(0.2)


def one_replica_each(folder: Path, engines: Mapping[str, str]) -> Path:
    """A file for a cluster with one replica of each engine, as the server has one of each."""
    applications = [
        {
            "name": kind,
            "route_prefix": f"/{kind}",
            "import_path": "cluster.deployments:build",
            "args": {"kind": kind, "engine": engines[kind]},
            "deployments": [
                {
                    "name": kind,
                    "num_replicas": 1,
                    "max_ongoing_requests": 64,
                    "ray_actor_options": {"num_cpus": 0.5},
                }
            ],
        }
        for kind in KINDS
    ]
    path = folder / "ray_latency.yaml"  # JSON is YAML
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"proxy_location": "HeadOnly", "applications": applications}))
    return path
