"""Ray nodes and Serve on this machine, in one process that `supervisor` starts again when it ends.

Two nodes of one machine are what Ray's own tests use for a cluster (`ray.cluster_utils.Cluster`).
They differ from two machines in the address alone. The nodes listen on 127.0.0.1: Ray does so where
it thinks that no cluster is possible, which is said by its variable for macOS and Windows. A node
that dies is started again; when it is the head node, everything is (Ray's documentation calls the
head's store of state "GCS", and keeps it over a death only with a Redis).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cluster import rundir

STORE_BYTES = 80_000_000  # of Ray's objects on a node, of which Serve needs next to none
POLL_S = 0.25
LINES = 4  # of an error
PLAIN_EXIT, HEAD_DIED, NOT_DEPLOYED = 0, 3, 4

log = logging.getLogger("cluster")


class Local:
    """The nodes, and Serve on them."""

    def __init__(self, config: Path, path: Path, nodes: int, cpus: float, port: int) -> None:
        from ray.cluster_utils import Cluster

        self._config_file, self._path, self._cpus, self._port = config, path, cpus, port
        self._names = ["head", *(f"node-{number}" for number in range(1, nodes))]
        self._cluster = Cluster()
        self._nodes: dict[str, Any] = {}  # by our names
        self._state: dict[str, Any] = {}
        self._served = False  # all of it, once

    def start(self) -> None:
        import ray

        for name in self._names:
            self._add(name)
        ray.init(address=self._cluster.address, namespace="serve", log_to_driver=False)
        self._deploy()

    def _add(self, name: str) -> None:
        extra = {"include_dashboard": False} if name == "head" else {}
        self._nodes[name] = self._cluster.add_node(
            num_cpus=self._cpus,
            object_store_memory=STORE_BYTES,
            include_log_monitor=False,  # it would send here what replicas print
            **extra,
        )
        log.info("%s runs, process %d", name, self._pid(name))

    def _deploy(self) -> None:
        """As `serve run CONFIG` does; the program has no option for the address."""
        import yaml
        from ray import serve
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        config = ServeDeploySchema.model_validate(yaml.safe_load(self._config_file.read_text()))
        http = {**config.http_options.model_dump(), "host": "127.0.0.1", "port": self._port}
        serve.start(config.proxy_location, http, logging_config=config.logging_config)
        self._client: Any = _get_global_client()
        self._client.deploy_apps(config)

    def watch(self) -> int:
        """Until the head node dies or an application cannot be deployed: the exit status."""
        from ray.exceptions import RayError

        while True:
            if self._dead("head"):
                log.error("the head node died: everything is started again")
                return HEAD_DIED
            self._replace_dead()
            try:
                why = self._report(self._current())
            except RayError as error:  # Serve's controller died, and Ray starts it again
                log.warning("Serve does not answer: %s", _end(str(error)))
                why = ""
            if why:
                log.error("%s", why)
                return NOT_DEPLOYED
            time.sleep(POLL_S)

    def _replace_dead(self) -> None:
        for name in [name for name in self._nodes if self._dead(name)]:
            log.error("%s died, and is started again", name)
            self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)
        for name in self._names:
            if name not in self._nodes:
                try:
                    self._add(name)
                except Exception as error:  # Ray gives it half a minute, and has many kinds
                    log.error("%s does not start, and is tried again: %s", name, _end(str(error)))

    def _dead(self, name: str) -> bool:
        return any(
            kind in ("raylet", "gcs_server") for kind, _ in self._nodes[name].dead_processes()
        )

    def _pid(self, name: str) -> int:
        return int(self._nodes[name].all_processes["raylet"][0].process.pid)

    def _current(self) -> dict[str, Any]:
        details = self._client.get_serve_details()
        names = {node.node_id: name for name, node in self._nodes.items()}
        return {
            "pid": os.getpid(),
            "url": f"http://127.0.0.1:{self._port}",
            "nodes": {name: self._pid(name) for name in self._nodes},
            "applications": {
                name: _application(about, names) for name, about in details["applications"].items()
            },
        }

    def _report(self, state: dict[str, Any]) -> str:
        """Writes what is new. Why the cluster will not serve; empty = it does, or may yet."""
        if state != self._state:
            self._state = state
            rundir.write_state(self._path, state)
        found = state["applications"]
        running = [about["status"] == "RUNNING" for about in found.values()]
        if not self._served and running and all(running):
            self._served = True
            log.info("%s", table(state))
        failed = [] if self._served else [n for n in found if found[n]["status"] == "DEPLOY_FAILED"]
        return "\n".join(f"{name} is not deployed. {found[name]['message']}" for name in failed)

    def stop(self) -> None:
        import ray
        from ray import serve

        serve.shutdown()
        ray.shutdown()
        for name in reversed(list(self._nodes)):
            self._cluster.remove_node(self._nodes.pop(name), allow_graceful=True)


def _application(about: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    deployments = about["deployments"].values()
    replicas = [
        {
            "id": one["replica_id"],
            "state": one["state"],
            "pid": one.get("pid"),
            "node": names.get(one.get("node_id") or "", ""),
        }
        for deployment in deployments
        for one in deployment["replicas"]
    ]
    message = "\n".join([about["message"], *(one["message"] for one in deployments)])
    return {
        "status": about["status"],
        "message": _end(message),
        "replicas": sorted(replicas, key=lambda one: str(one["id"])),
    }


def _end(text: str) -> str:
    """Of an error, which says why at its end."""
    return "\n".join(text.strip().splitlines()[-LINES:])


def table(state: dict[str, Any]) -> str:
    """What runs where, for a person."""
    lines = [f"{state['url']}"]
    lines += [f"  {name:8} process {pid}" for name, pid in state["nodes"].items()]
    for name, about in state["applications"].items():
        lines.append(
            f"{state['url']}/{name}: {about['status'].lower()} {about['message']}".rstrip()
        )
        lines += [
            f"  {one['state'].lower():8} process {one['pid'] or '-'} on {one['node'] or '-'}"
            for one in about["replicas"]
        ]
    return "\n".join(lines)


def set_up_log(file: Path) -> None:
    """Our lines to the terminal, and to the file what Ray and its processes print."""
    terminal = os.fdopen(os.dup(1), "w", buffering=1)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=terminal)
    log.setLevel(logging.INFO)
    with file.open("ab") as rest:
        os.dup2(rest.fileno(), 1)
        os.dup2(rest.fileno(), 2)


def main() -> int:
    asked = argparse.ArgumentParser()
    asked.add_argument("config", type=Path)
    asked.add_argument("--folder", type=Path, required=True)
    asked.add_argument("--nodes", type=int, required=True)
    asked.add_argument("--cpus", type=float, required=True)
    asked.add_argument("--port", type=int, required=True)
    given = asked.parse_args()
    set_up_log(given.folder / "ray.log")
    local = Local(given.config, given.folder, given.nodes, given.cpus, given.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(PLAIN_EXIT))
    try:
        local.start()
        return local.watch()
    except SystemExit:
        local.stop()
        return PLAIN_EXIT
    except Exception as error:  # of Ray, which has many kinds
        log.error("Ray does not start or answer: %s", _end(str(error)) or repr(error))
        raise


if __name__ == "__main__":
    sys.exit(main())
