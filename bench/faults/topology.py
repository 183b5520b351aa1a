"""Servers as an operator would run them, whose every process can be hit.

`one` is a server with its own store. `cells` are several with one Redis, behind HAProxy. Each
program is started again when it ends (`Kept`). All that they keep lies in one folder: the stores,
the recordings of calls, temporary files and logs; what is left there at the end was leaked.
"""

from __future__ import annotations

import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import executable

import psutil

from bench.common import ROOT, BenchError
from bench.faults.kept import Kept
from whisperfusion.runtime.ports import free_ports

STAGES = ("asr", "llm", "tts", "gateway")
ENGINES = ("asr", "vad", "turn", "speaker", "llm", "tts")
SCRIPTED = tuple(f"--{kind}-engine=scripted" for kind in ENGINES)
IN_EXAMPLE = {"8000": "http", "6006": "asr", "8888": "tts"}  # ports of deploy/haproxy.cfg
START_S = 900.0  # for models that are read, and a cluster on a busy machine
READY = re.compile(r"\b(asr|llm|tts|gateway)\s+ready: .*\(process (\d+)\)")
JOINED = re.compile(r"DEBUG .* joined as \S+, uid (\S+)")


@dataclass(frozen=True)
class Front:
    """What callers are given."""

    asr_url: str
    tts_url: str
    http_url: str
    wyoming_port: int = 0

    @property
    def ws_url(self) -> str:
        return self.http_url.replace("http", "ws", 1)

    def by_gateway(self) -> Front:
        """The two sockets through port 8000, as a page has them."""
        sockets = f"{self.ws_url}/transcription", f"{self.ws_url}/audio"
        return Front(*sockets, self.http_url, self.wyoming_port)


class Log:
    """The log of a program, read as far as it is written; what is known from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read, self._rest = 0, ""
        self.pids: dict[str, int] = {}
        self.calls: set[str] = set()  # uids
        self.errors: list[str] = []

    def update(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        for line in lines:
            if found := READY.search(line):
                self.pids[found[1]] = int(found[2])
            elif found := JOINED.search(line):
                self.calls.add(found[1])
            elif " ERROR " in line or " CRITICAL " in line or line.startswith("Traceback"):
                self.errors.append(line[:300])


class Cell:
    """One server, by `python main.py`, in a folder of its own."""

    def __init__(
        self, name: str, folder: Path, flags: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.name, self.folder = name, folder
        self.state, self.temporary = folder / "state", folder / "tmp"
        for each in (folder, self.state, self.temporary):
            each.mkdir(parents=True, exist_ok=True)
        asr, tts, http, wyoming = free_ports(4)
        self.ports = {"asr": asr, "tts": tts, "http": http, "wyoming": wyoming}
        ports = [f"--{kind}-port={port}" for kind, port in self.ports.items()]
        record = f"--record-dir={self.state / 'recordings'}"
        self.program = Kept(
            name,
            [executable, "main.py", *ports, record, "--log-level=debug", *flags],
            folder / "log",
            {"TMPDIR": str(self.temporary), **environment},
        )
        self._log = Log(self.program.log)

    @property
    def log(self) -> Log:
        self._log.update()
        return self._log

    @property
    def front(self) -> Front:
        return Front(
            f"ws://127.0.0.1:{self.ports['asr']}",
            f"ws://127.0.0.1:{self.ports['tts']}",
            f"http://127.0.0.1:{self.ports['http']}",
            self.ports["wyoming"],
        )

    def healthy(self) -> bool:
        """All its processes are ready, and none of them has died since it said so, nor main, whose
        children live a moment longer.
        """
        main, stages = self.program.pid, self.log.pids.values()
        alive = runs(main) and all(parent(pid) == main and runs(pid) for pid in stages)
        return alive and status(f"{self.front.http_url}/health") == 200

    def stage_pid(self, stage: str) -> int:
        return self.program.pid if stage == "main" else self.log.pids[stage]

    def names(self) -> dict[int, str]:
        """Process id -> what it is: "a/main", "a/asr" …, "a/others" for all below, and
        "a/stray" for what is not below any more.
        """
        stages = {pid: name for name, pid in self.log.pids.items()}
        found = {}
        for process in self.program.processes():
            role = "main" if process.pid == self.program.pid else stages.get(process.pid, "others")
            found[process.pid] = f"{self.name}/{role}"
        found.update({one.pid: f"{self.name}/stray" for one in self.program.strays()})
        return found


@dataclass
class Topology:
    """`services` are the programs beside the cells, by name, with a question for each: is it up?
    `may_load`: stage -> MB of the engine that it loads when the one it uses fails.
    """

    name: str
    folder: Path
    cells: list[Cell]
    front: Front
    services: dict[str, Kept] = field(default_factory=dict)
    questions: dict[str, Callable[[], bool]] = field(default_factory=dict)
    may_load: Mapping[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Raises BenchError."""
        for service in self.services.values():
            service.start()
        first = [asked for name, asked in self.questions.items() if name != "haproxy"]
        self._until(lambda: all(asked() for asked in first))  # HAProxy waits for a cell
        for cell in self.cells:
            cell.program.start()
        self._until(self.ready)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            if time.monotonic() > deadline:
                missing = self.missing()
                raise BenchError(f"not ready after {START_S:.0f} s: {missing}; see {self.folder}")
            time.sleep(0.1)

    def ready(self) -> bool:
        return all(cell.healthy() for cell in self.cells) and all(
            asked() for asked in self.questions.values()
        )

    def missing(self) -> str:
        """What is not ready."""
        cells = [cell.name for cell in self.cells if not cell.healthy()]
        return ", ".join(cells + [name for name, asked in self.questions.items() if not asked()])

    def stop(self) -> list[str]:
        """Ends all; what outlived its program."""
        left = []
        for cell in self.cells:
            left += [f"{cell.name}: {one}" for one in cell.program.stop()]
        for service in self.services.values():
            service.stop()
        return left

    def cell_of(self, uid: str) -> str:
        """The cell that had this call; "" = none is known."""
        for cell in self.cells:
            if uid in cell.log.calls:
                return cell.name
        return ""

    def names(self) -> dict[int, str]:
        found = {}
        for cell in self.cells:
            found.update(cell.names())
        for name, service in self.services.items():
            found.update({process.pid: name for process in service.processes()})
        return found

    def errors(self) -> list[str]:
        return [f"{cell.name}: {line}" for cell in self.cells for line in cell.log.errors]


def one(folder: Path, flags: Sequence[str], environment: Mapping[str, str]) -> Topology:
    """One server with SQLite."""
    cell = Cell("a", folder / "a", flags, environment)
    cell.program._environment.setdefault(
        "STORE_URL", f"sqlite:///{cell.state.resolve()}/sessions.sqlite3"
    )
    return Topology("one", folder, [cell], cell.front)


def cells(
    folder: Path, flags: Sequence[str], environment: Mapping[str, str], count: int = 2
) -> Topology:
    """`count` servers with one Redis, behind HAProxy with the configuration of deploy/.

    Raises BenchError where one of these is not installed.
    """
    for program in ("redis-server", "haproxy"):
        if shutil.which(program) is None:
            raise BenchError(f"{program} is not installed; it is a package of Debian")
    redis_port, *ports = free_ports(4)
    redis = _redis(folder / "redis", redis_port)
    shared = {"STORE_URL": f"redis://127.0.0.1:{redis_port}/0", **environment}
    flags = [*flags, "--trusted-proxies=127.0.0.1"]
    made = [Cell(name, folder / name, flags, shared) for name in "abcdefgh"[:count]]
    front = dict(zip(("asr", "tts", "http"), ports, strict=True))
    balancer = _haproxy(folder / "haproxy", made, front)
    return Topology(
        "cells",
        folder,
        made,
        Front(
            f"ws://127.0.0.1:{front['asr']}",
            f"ws://127.0.0.1:{front['tts']}",
            f"http://127.0.0.1:{front['http']}",
            made[0].ports["wyoming"],  # the balancer has HTTP only
        ),
        {"redis": redis, "haproxy": balancer},
        {
            "redis": lambda: _redis_answers(redis_port),
            "haproxy": lambda: status(f"http://127.0.0.1:{front['http']}/health") == 200,
        },
    )


def _haproxy(folder: Path, cells: Sequence[Cell], ports: Mapping[str, int]) -> Kept:
    folder.mkdir(parents=True, exist_ok=True)
    example = (ROOT / "deploy" / "haproxy.cfg").read_text()
    (folder / "haproxy.cfg").write_text("\n".join(_configured(example, cells, ports)) + "\n")
    return Kept("haproxy", ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], folder / "log")


def _configured(example: str, cells: Sequence[Cell], ports: Mapping[str, int]) -> Iterator[str]:
    """The example of deploy/, whose two cells become these, on these ports of this machine."""
    for line in example.splitlines():
        if re.search(r"\bserver cell2", line):
            continue
        listens = re.fullmatch(r"\s+bind :(\d+)", line)
        if listens and (kind := IN_EXAMPLE.get(listens[1])):
            yield f"    bind 127.0.0.1:{ports[kind]}"
        elif found := re.search(r"10\.0\.0\.11:(\d+)", line) if "server cell1" in line else None:
            for cell in cells:
                here = f"127.0.0.1:{cell.ports[IN_EXAMPLE[found[1]]]}"
                yield line.replace(found[0], here).replace("cell1", cell.name)
        else:
            yield line


def _redis(folder: Path, port: int) -> Kept:
    folder.mkdir(parents=True, exist_ok=True)
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly yes"
    return Kept("redis", ["redis-server", *options.split()], folder / "log")


def _redis_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as peer:
            peer.sendall(b"PING\r\n")
            return b"PONG" in peer.recv(200)
    except OSError:
        return False


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def parent(pid: int) -> int:
    """0 = it has ended."""
    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:
        return 0


def status(url: str) -> int:
    """Of a GET; 0 = no answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def metrics(cell: Cell) -> Iterator[tuple[str, str, float]]:
    """(name without prefix, stage, value) of /metrics; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"{cell.front.http_url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return
    for name, stage, value in re.findall(
        r'^whisperfusion_(\w+)\{stage="(\w+)"\} (\S+)$', text, re.M
    ):
        yield name, stage, float(value)
