"""Cells with scripted engines for the load generator, on this machine, with HAProxy before them
where that is wanted: both sockets of a call reach one cell by the hash of its uid.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.attacks.target import SCRIPTED
from bench.common import ROOT, BenchError, Server, server
from whisperfusion.runtime.ports import free_ports

BALANCER = """
global
    maxconn {most}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    balance url_param uid
    hash-type consistent
listen asr
    bind 127.0.0.1:{asr}
{asr_cells}
listen tts
    bind 127.0.0.1:{tts}
{tts_cells}
"""


@dataclass(frozen=True)
class Cells:
    """`sockets`: what callers connect to, 6006 and 8888; `pids`: of each main.py, and HAProxy's."""

    sockets: tuple[tuple[str, str], ...]
    pids: tuple[int, ...]
    balancer: int = 0


@contextmanager
def cells(count: int, callers: int, balanced: bool) -> Iterator[Cells]:
    """`count` servers of this checkout that take `callers` together, with one store of sessions.

    A balancer divides callers by chance, so each cell has a third more places than its share.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cells-")))
        flags = [
            *SCRIPTED,
            f"--max-callers={callers * 4 // (3 * count) + 20}",
            f"--store-url=sqlite://{folder}/sessions.sqlite3",
        ]
        started = [
            stack.enter_context(server(ROOT, flags, log=f"cell{number}.log"))
            for number in range(count)
        ]
        sockets = tuple((one.asr_url, one.tts_url) for one in started)
        pids = tuple(one.pid for one in started)
        if balanced:
            yield stack.enter_context(_balanced(started, pids, folder, callers))
        else:
            yield Cells(sockets, pids)


@contextmanager
def _balanced(
    started: list[Server], pids: tuple[int, ...], folder: Path, callers: int
) -> Iterator[Cells]:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        raise BenchError("--haproxy needs the program haproxy; install the package of that name")
    asr, tts = free_ports(2)
    file = folder / "haproxy.cfg"
    file.write_text(
        BALANCER.format(
            most=4 * callers + 100,
            asr=asr,
            tts=tts,
            asr_cells=_servers([one.asr_url for one in started]),
            tts_cells=_servers([one.tts_url for one in started]),
        ),
        encoding="utf-8",
    )
    balancer = subprocess.Popen([program, "-db", "-f", str(file)])
    try:
        yield Cells(((f"ws://127.0.0.1:{asr}", f"ws://127.0.0.1:{tts}"),), pids, balancer.pid)
    finally:
        balancer.terminate()
        balancer.wait(10)


def _servers(urls: list[str]) -> str:
    return "\n".join(
        f"    server cell{number} {url.removeprefix('ws://')}" for number, url in enumerate(urls)
    )
