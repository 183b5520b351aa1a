"""The server that is attacked, as seen from outside: its processes, memory, descriptors,
restarts.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench import common
from bench.common import OUT, ROOT
from whisperfusion.runtime.ports import free_ports

SCRIPTED = tuple(f"--{stage}-engine=scripted" for stage in ("asr", "vad", "turn", "llm", "tts"))
STAGES = ("asr", "llm", "tts", "gateway")
LOG = "hostile.log"  # of the server, in bench/out
LAG = "whisperfusion_event_loop_lag_seconds"
RESTARTS = "whisperfusion_stage_restarts"
METRICS_S = 60.0
KEY = "right"  # of a server that asks for one


@dataclass(frozen=True)
class Target:
    """Where the server listens, and the process id of its `main.py`."""

    asr_url: str
    tts_url: str
    http_url: str
    asr_port: int
    tts_port: int
    http_port: int
    wyoming_port: int
    pid: int

    @property
    def ports(self) -> tuple[int, ...]:
        return self.http_port, self.asr_port, self.tts_port

    def processes(self) -> list[psutil.Process]:
        main = psutil.Process(self.pid)
        return [main, *main.children(recursive=True)]

    def stage_pid(self, name: str) -> int:
        """The present process of a stage, as the log tells it."""
        log = (OUT / LOG).read_text(encoding="utf-8", errors="replace")
        return int(re.findall(rf"\b{name}\s+ready: .*\(process (\d+)\)", log)[-1])

    def memory(self) -> dict[str, int]:
        """Bytes that each process holds for itself (unique set size); "others" are the decoders."""
        names = {self.pid: "main", **{self.stage_pid(name): name for name in STAGES}}
        held: dict[str, int] = {}
        for one in self.processes():
            name = names.get(one.pid, "others")
            held[name] = held.get(name, 0) + _of(one, lambda p: p.memory_full_info().uss)
        return held

    def descriptors(self) -> int:
        return sum(_of(one, lambda p: p.num_fds()) for one in self.processes())

    def metrics(self) -> dict[str, dict[str, float]]:
        """Metric -> stage -> value, of /metrics; empty when it does not answer."""
        asked = urllib.request.Request(
            f"{self.http_url}/metrics", headers={"Authorization": f"Bearer {KEY}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        found: dict[str, dict[str, float]] = {}
        for name, stage, number in re.findall(r'^(\w+)\{stage="(\w+)"\} (\S+)$', text, re.M):
            found.setdefault(name, {})[stage] = float(number)
        return found

    def restarts(self) -> int:
        """Raises RuntimeError when /metrics does not answer in `METRICS_S`; 0 would be a guess."""
        deadline = time.monotonic() + METRICS_S
        while time.monotonic() < deadline:
            if found := self.metrics().get(RESTARTS):
                return int(sum(found.values()))
            time.sleep(0.2)
        raise RuntimeError(f"/metrics did not answer within {METRICS_S:.0f} s")

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http_url}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def back(self, seconds: float) -> bool:
        """Wait until every stage is ready again, no longer than `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            if await asyncio.to_thread(self.healthy):
                return True
            await asyncio.sleep(0.2)
        return False


def _of(process: psutil.Process, what: Callable[[psutil.Process], Any]) -> int:
    try:
        return int(what(process))
    except psutil.Error:  # it ended meanwhile
        return 0


@contextmanager
def running(flags: Sequence[str]) -> Iterator[Target]:
    """This checkout's server with `flags`, on free ports; stopped at the end."""
    (wyoming,) = free_ports(1)
    with common.server(ROOT, [*flags, f"--wyoming-port={wyoming}"], log=LOG) as server:
        asr, tts, http = (
            int(url.rsplit(":", 1)[1]) for url in (server.asr_url, server.tts_url, server.http_url)
        )
        yield Target(
            server.asr_url, server.tts_url, server.http_url, asr, tts, http, wyoming, server.pid
        )


@dataclass
class Tally:
    """What came of one attack.

    `broken`: answers that no client should get; `hung`: no answer in time.
    """

    name: str
    tried: int = 0
    answered: int = 0
    refused: int = 0
    broken: int = 0
    hung: int = 0
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def wrong(self, text: str, *, hung: bool = False) -> None:
        if hung:
            self.hung += 1
        else:
            self.broken += 1
        if len(self.examples) < 8:
            self.examples.append(text[:300])

    def http(self, status: int, text: str = "") -> None:
        """Sort an HTTP answer: 503 is what a full or starting server says, other 5xx are faults."""
        self.tried += 1
        if status < 400:
            self.answered += 1
        elif status < 500 or status == 503:
            self.refused += 1
        else:
            self.wrong(f"HTTP {status}: {text}")
