"""`python -m cluster`: a cluster of Ray nodes on this machine, as docs/cluster.md describes it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from cluster import rundir
from cluster.local_nodes import table
from cluster.supervisor import Supervisor

CONFIG = Path(__file__).resolve().parent / "cluster.yaml"


def parser() -> argparse.ArgumentParser:
    asked = argparse.ArgumentParser(
        prog="python -m cluster",
        description="Starts Ray nodes on this machine, on 127.0.0.1 alone, with the engines of a "
        "file. For several machines use `ray start` and `serve deploy` with the same file: "
        "docs/cluster.md.",
    )
    what = asked.add_subparsers(dest="what", required=True)
    up = what.add_parser("up", help="start; Ctrl-C ends everything, a second one at once")
    up.add_argument("config", nargs="?", type=Path, default=CONFIG, help="cluster/cluster.yaml")
    up.add_argument("--nodes", type=int, default=2, help="the head node included (2)")
    up.add_argument(
        "--cpus",
        type=float,
        default=max(4, os.cpu_count() or 1),
        help="of each node, as Ray counts them: nothing is reserved (at least 4)",
    )
    status = what.add_parser("status", help="what runs where")
    status.add_argument("--json", action="store_true", help="for programs")
    for one in (up, status):
        one.add_argument("--port", type=int, default=8100, help="where engines are served (8100)")
    return asked


def main() -> int:
    given = parser().parse_args()
    try:
        if given.what == "up":
            return Supervisor(given.config, given.port, given.nodes, given.cpus).run()
    except rundir.ClusterError as error:
        sys.exit(str(error))
    state = rundir.read_state(rundir.folder(given.port))
    if not state:
        sys.exit(f"no cluster of yours runs at port {given.port}; start one with `make cluster`")
    print(json.dumps(state, indent=1) if given.json else table(state))
    return 0


if __name__ == "__main__":
    sys.exit(main())
