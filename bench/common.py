"""What all parts of the bench share: recordings with the span of their speech, a server to
measure, progress and files.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.verdicts import inner_pauses, speech_span
from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, Samples
from whisperfusion.runtime.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "out"
START_S = 900.0  # the first start may download models
SPEECH = 0.5  # Silero's probability from which a window counts as speech
# what else was running tells how far to trust a figure
LOAD_BEFORE = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
BEGAN = time.monotonic()


class BenchError(Exception):
    """The bench cannot go on; the text says what to do."""


@dataclass(frozen=True)
class Recording:
    """`pcm` is float32 [samples] at 16 kHz; speech is from sample `first` to `last`, as Silero
    hears it.

    `pauses`: the stretches of silence between them that last 0.3 s or more, as (start, end) in
    seconds.
    """

    name: str
    text: str
    tags: tuple[str, ...]
    pcm: Samples
    first: int
    last: int
    pauses: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Server:
    asr_url: str
    tts_url: str
    start_s: float
    http_url: str = ""
    pid: int = 0  # of its main.py


def manifest(folder: Path, choose: str = "--data names") -> list[dict[str, Any]]:
    """What the recordings of `folder` are. Raises BenchError; `choose` says how to name another."""
    path = folder / "manifest.jsonl"
    if not path.is_file():
        raise BenchError(f"no recordings in {folder}; {choose} a folder with manifest.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@functools.lru_cache(maxsize=1)
def recordings() -> tuple[Recording, ...]:
    """The English recordings of WHISPERFUSION_SPEECH, or of the folder beside the project."""
    from whisperfusion.cli.talk import read_audio
    from whisperfusion.engines.silero import Silero

    folder = Path(
        os.environ.get("WHISPERFUSION_SPEECH", ROOT.parent / "shared" / "data" / "speech")
    )
    vad, found = Silero(), []
    for entry in manifest(folder, "set WHISPERFUSION_SPEECH to"):
        if entry["lang"] == "en":
            pcm = read_audio(str(folder / entry["file"]))
            voiced = _voiced(vad, pcm)
            span = speech_span(voiced, VAD_WINDOW) or (0, len(pcm))
            pauses = tuple(inner_pauses(voiced, VAD_WINDOW / MICROPHONE_RATE))
            found.append(
                Recording(entry["file"], entry["text"], tuple(entry["tags"]), pcm, *span, pauses)
            )
    return tuple(found)


def _voiced(vad: Any, pcm: Samples) -> list[bool]:
    """For each window of 512 samples: is it speech?"""
    stream = vad.create_stream()
    return [
        stream.probability(pcm[at : at + VAD_WINDOW]) >= SPEECH
        for at in range(0, len(pcm) - VAD_WINDOW + 1, VAD_WINDOW)
    ]


def utterances() -> list[Recording]:
    """Whole things that people say in a dialogue: questions, commands and short sentences, none
    of them a fragment of a reading.
    """
    return [r for r in recordings() if {"single-turn", "short"} & set(r.tags)]


# --- the server under test ----------------------------------------------------------------------


@contextmanager
def server(
    code: Path, flags: Sequence[str] = (), without: str = "", log: str = "server.log"
) -> Iterator[Server]:
    """`python main.py` of the checkout `code` on free ports, by this interpreter; stopped at the
    end.

    `without`: a mechanism to switch off (bench/without.py), which only this checkout can do.
    """
    asr_port, tts_port, http_port = free_ports(3)
    ports = [f"--asr-port={asr_port}", f"--tts-port={tts_port}", f"--http-port={http_port}"]
    script, environment = (
        ("bench/without.py", {"BENCH_WITHOUT": without}) if without else ("main.py", {})
    )
    OUT.mkdir(parents=True, exist_ok=True)
    began, written = time.monotonic(), OUT / log
    with written.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, script, *ports, *flags],
            cwd=code,
            stdout=lines,
            stderr=lines,
            env={**os.environ, **environment},
        )
        try:
            while not _healthy(http_port):
                if process.poll() is not None or time.monotonic() - began > START_S:
                    raise BenchError(f"the server of {code} did not start:\n{_tail(written)}")
                time.sleep(0.05)
            yield Server(
                f"ws://127.0.0.1:{asr_port}",
                f"ws://127.0.0.1:{tts_port}",
                time.monotonic() - began,
                f"http://127.0.0.1:{http_port}",
                process.pid,
            )
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if " ERROR " in line] or lines[-12:])


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def version(code: Path) -> str:
    """The commit of a checkout, with a + when files differ from it; its name when it is no
    checkout.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(code), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return code.resolve().name


# --- progress and files -------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.0f} s] {text}", flush=True)


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": LOAD_BEFORE,
    }


def write(path: Path, result: Mapping[str, Any]) -> None:
    """By way of a second file, so that a run that is broken off leaves what it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(result, indent=1), encoding="utf-8")
    beside.replace(path)
