"""What the benches share: recordings with the span of their speech, a server to measure, its memory, tables and files."""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "out"
START_S = 900.0  # the first start may download models
VAD_WINDOW = 512
LOAD_BEFORE = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # what else was running tells how far to trust a figure


@dataclass(frozen=True)
class Recording:
    """`pcm` is float32 [samples] at 16 kHz; speech is from sample `first` to `last`, as Silero hears it."""

    name: str
    text: str
    tags: tuple[str, ...]
    pcm: np.ndarray
    first: int
    last: int


@dataclass(frozen=True)
class Server:
    asr_url: str
    tts_url: str
    pid: int | None = None  # of main.py, when it was started here
    start_s: float | None = None


def read_recordings(want: Any) -> list[Recording]:
    """The English recordings whose manifest entry `want` accepts, from WHISPERFUSION_SPEECH or beside the project."""
    from fusion.engines.silero import Silero
    from fusion.talk import read_audio

    folder = Path(os.environ.get("WHISPERFUSION_SPEECH", ROOT.parent / "shared" / "data" / "speech"))
    if not (folder / "manifest.jsonl").is_file():
        sys.exit(f"no recordings in {folder}; set WHISPERFUSION_SPEECH to the folder with manifest.jsonl")
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    vad, found = Silero(), []
    for entry in entries:
        if entry["lang"] == "en" and want(entry):
            pcm = read_audio(str(folder / entry["file"]))
            found.append(Recording(entry["file"], entry["text"], tuple(entry["tags"]), pcm, *_speech(vad, pcm)))
    return found


def _speech(vad: Any, pcm: np.ndarray) -> tuple[int, int]:
    stream = vad.begin()
    windows = range(0, len(pcm) - VAD_WINDOW + 1, VAD_WINDOW)
    loud = [start for start in windows if stream.probability(pcm[start : start + VAD_WINDOW]) >= 0.5]
    return (loud[0], loud[-1] + VAD_WINDOW) if loud else (0, len(pcm))


@contextmanager
def server(start: bool, flags: Sequence[str], asr_port: int, tts_port: int) -> Iterator[Server]:
    """The running server, or with `start` one of our own on free ports, stopped at the end."""
    if not start:
        yield Server(f"ws://127.0.0.1:{asr_port}", f"ws://127.0.0.1:{tts_port}")
        return
    asr_port, tts_port, http_port = free_ports(3)
    ports = [f"--asr-port={asr_port}", f"--tts-port={tts_port}", f"--http-port={http_port}"]
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "main.py", *ports, *flags], cwd=ROOT)
    try:
        while not _healthy(http_port):
            if process.poll() is not None or time.monotonic() - began > START_S:
                sys.exit("the server did not start; the lines above say why")
            time.sleep(0.05)
        yield Server(f"ws://127.0.0.1:{asr_port}", f"ws://127.0.0.1:{tts_port}", process.pid, time.monotonic() - began)
    finally:
        process.terminate()
        process.wait(15)


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind a bare `--`."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:at]), list(arguments[at + 1 :])


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def memory_mb(pid: int | None) -> dict[str, float]:
    """Resident and proportional memory of main.py and all its processes, MiB; empty when it is not ours."""
    if pid is None:
        return {}
    import psutil

    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    sizes = [member.memory_full_info() for member in family]
    return {"rss": sum(s.rss for s in sizes) / 2**20, "pss": sum(getattr(s, "pss", 0) for s in sizes) / 2**20}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and count."""
    return {"p50": statistics.median(values), "p95": float(np.percentile(values, 95)), "n": len(values)} if values else {"n": 0}


def print_table(title: str, rows: dict[str, dict[str, float]], unit: str = "ms") -> None:
    print(f"\n{title}\n{'':34}{'median':>10}{'95 %':>10}{'n':>6}")
    for name, row in rows.items():
        if row["n"]:
            print(f"{name:34}{row['p50']:>7.0f} {unit}{row['p95']:>7.0f} {unit}{row['n']:>6.0f}")


def write(name: str, result: dict[str, Any]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "system": platform.platform(), "load_before": LOAD_BEFORE}
    path.write_text(json.dumps({"machine": machine, **result}, indent=1))
    print(f"\nwritten to {path.relative_to(ROOT)}")
