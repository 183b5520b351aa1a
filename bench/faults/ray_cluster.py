"""Cells whose engines are on a Ray cluster of two nodes on this machine, three replicas of each.

`make cluster` is what starts it for an operator; here it is one more program that is started again
when it ends. Each cell has its own engines behind those of the cluster where these are real models
(chains); scripted ones have nothing behind them, so that all that is lost is seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.common import ROOT, BenchError
from bench.faults.faults import Fault, Kill
from bench.faults.kept import Kept
from bench.faults.topology import SCRIPTED, Topology, cells, runs, status
from cluster import rundir
from whisperfusion.runtime.ports import free_ports

PYTHON = ROOT / ".venv-cluster" / "bin" / "python"
KINDS = ("asr", "llm", "tts")
REPLICAS = 3
EMBEDDED_MB = {"asr": 200.0, "llm": 650.0, "tts": 280.0}  # of the engines behind the cluster's
APPLICATION = """
- name: {kind}
  route_prefix: /{kind}
  import_path: cluster.deployments:build
  args: {{kind: {kind}, engine: scripted, models: [{model}]}}
  deployments:
  - name: {kind}
    num_replicas: 3
    max_ongoing_requests: 64
    health_check_period_s: 1
    ray_actor_options: {{num_cpus: 0.5}}
"""


class RayCluster:
    """Raises BenchError where Ray is not installed."""

    def __init__(self, folder: Path, scripted: bool) -> None:
        if not PYTHON.exists():
            raise BenchError("Ray is not installed: make .venv-cluster/installed")
        folder.mkdir(parents=True, exist_ok=True)
        config = ROOT / "cluster" / "cluster.yaml"
        if scripted:
            config = folder / "cluster.yaml"
            names = {"asr": "tones", "llm": "echo", "tts": "tones"}
            text = "".join(APPLICATION.format(kind=kind, model=names[kind]) for kind in KINDS)
            config.write_text(f"proxy_location: EveryNode\napplications:{text}")
        (self.port,) = free_ports(1)
        command = [str(PYTHON), "-m", "cluster", "up", str(config), "--port", str(self.port)]
        self.program = Kept("cluster", command, folder / "log")

    @property
    def folder(self) -> Path:
        return rundir.folder(self.port)

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.port}/{kind}"

    def chains(self) -> dict[str, str]:
        """For cells with engines of their own behind those of the cluster."""
        return {f"{kind.upper()}_CHAIN": f"ray@{self.url(kind)}, embedded" for kind in KINDS}

    def flags(self) -> list[str]:
        """For cells without."""
        flags = [flag for flag in SCRIPTED if not flag.startswith(("--asr", "--llm", "--tts"))]
        for kind in KINDS:
            flags += [f"--{kind}-engine=ray", f"--{kind}-url={self.url(kind)}"]
        return flags

    def ready(self) -> bool:
        """Both nodes, all replicas and Serve's controller run, none has died since that was
        written, and HAProxy answers for each kind.
        """
        state = rundir.read_state(self.folder)
        found = state.get("applications", {})
        return (
            bool(state)
            and all(map(runs, state["nodes"].values()))
            and set(found) == set(KINDS)
            and all(about["status"] == "RUNNING" for about in found.values())
            and all(len(self.replicas(kind)) >= REPLICAS for kind in KINDS)
            and self.process("ray::ServeController", 0) > 0
            and all(status(f"{self.url(kind)}/healthz") == 200 for kind in KINDS)
        )

    def replicas(self, kind: str) -> list[int]:
        """Processes of those that answer."""
        about = self._state()["applications"][kind]
        pids = [one["pid"] for one in about["replicas"] if one["state"] == "RUNNING"]
        return [pid for pid in pids if pid and runs(pid)]

    def node(self, head: bool) -> int:
        """The raylet of the head node, or of the other one."""
        for name, pid in self._state()["nodes"].items():
            if (name == "head") == head:
                return int(pid)
        raise ProcessLookupError("a node")

    def process(self, named: str, missing: int | None = None) -> int:
        """Of the cluster's own: "haproxy", "ray::ServeController". Raises ProcessLookupError where
        nothing else is to be said instead.
        """
        for pid in rundir.processes_of(self.folder):
            try:
                one = psutil.Process(pid)
                if one.name() == named or named in " ".join(one.cmdline()[:1]):
                    return pid
            except psutil.Error:
                continue
        if missing is None:
            raise ProcessLookupError(named)
        return missing

    def _state(self) -> dict[str, Any]:
        state = rundir.read_state(self.folder)
        return state or {"applications": {kind: {"replicas": []} for kind in KINDS}, "nodes": {}}


@dataclass
class OnCluster(Topology):
    """Two cells, and the cluster."""

    ray: RayCluster | None = None

    def stop(self) -> list[str]:
        left = super().stop()
        assert self.ray is not None
        return left + [f"cluster: process {pid}" for pid in rundir.processes_of(self.ray.folder)]


def on_cluster(folder: Path, scripted: bool, environment: dict[str, str]) -> OnCluster:
    """Raises BenchError."""
    ray = RayCluster(folder / "cluster", scripted)
    flags: Sequence[str] = ray.flags() if scripted else ()
    more = {} if scripted else ray.chains()
    base = cells(folder, flags, {**environment, **more})
    services = {"cluster": ray.program, **base.services}
    questions = {"cluster": ray.ready, **base.questions}
    found = OnCluster("cluster", base.folder, base.cells, base.front, services, questions, ray=ray)
    found.may_load = {} if scripted else EMBEDDED_MB
    return found


def ray_faults(ray: RayCluster, kind: str, chance: random.Random) -> Fault:
    """One of `RAY_KINDS`."""

    def replica(stage: str) -> int:
        """Raises ProcessLookupError."""
        if found := ray.replicas(stage):
            return chance.choice(found)
        raise ProcessLookupError(stage)

    pids = {
        **{f"kill replica {stage}": partial(replica, stage) for stage in KINDS},
        "kill ray node": partial(ray.node, False),
        "kill ray head node": partial(ray.node, True),
        "kill ray proxy": partial(ray.process, "haproxy"),
        "kill ray controller": partial(ray.process, "ray::ServeController"),
    }
    return Kill(kind, pid=pids[kind])


RAY_KINDS = (
    *(f"kill replica {stage}" for stage in KINDS),
    "kill ray node",
    "kill ray head node",
    "kill ray proxy",
    "kill ray controller",
)
