"""One caller's conversation, and what a silent call costs: what the parameters of
the capacity model say about people and about the server around its engines.
"""

from __future__ import annotations

import asyncio
import platform
import re
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench import turns
from bench.common import Recording, Server
from bench.people import call
from bench.queueing.parameters import Turn
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE
from whisperfusion.client.timed_call import SETTLED_S

SILENT_CALLS, SILENT_S = 4, 8.0
ALONE_S = 0.1  # from a prompt that was read ahead to the first token, on an idle machine
SLACK_S = 0.04  # a turn that ends so soon after its transcript did not wait for silence


def processor() -> str:
    """Its name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def used_s(server: Server) -> float:
    """Processor time of all processes of the server until now."""
    main = psutil.Process(server.pid)
    times = [one.cpu_times() for one in (main, *main.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def loopback_bytes() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


async def silent_calls(server: Server) -> tuple[float, float]:
    """(share of a core, bits a second on the loopback) of one silent call."""
    silence = np.zeros(int((SILENT_S + 1) * MICROPHONE_RATE), np.float32)
    used, at = used_s(server), time.monotonic()
    await asyncio.sleep(SILENT_S / 2)
    idle = (used_s(server) - used) / (time.monotonic() - at)
    calls = [call(server) for _ in range(SILENT_CALLS)]
    for one in calls:
        await one.__aenter__()
    try:
        for one in calls:
            one.speak(silence)
        await asyncio.sleep(0.5)
        used, at, sent = used_s(server), time.monotonic(), loopback_bytes()
        await asyncio.sleep(SILENT_S)
        took = time.monotonic() - at
        share = (used_s(server) - used) / took - idle
        bits = (loopback_bytes() - sent) * 8 / took
    finally:
        for one in calls:
            await one.__aexit__()
    return max(0.0, share / SILENT_CALLS), bits / SILENT_CALLS


def counter(server: Server, name: str) -> float:
    """Of /metrics, the sum over its labels."""
    with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def turn_of(recording: Recording, measured: dict[str, Any]) -> Turn | None:
    """What a measured turn (`bench.turns.turn_of`) says of its caller; None: it has no figures."""
    times = measured["server"]
    if turns.wrong(measured) or times["words"] is None or measured["turns"] != 1:
        return None
    stage = {name: (value or 0) / 1000 for name, value in times.items()}
    waited = stage["decided"] - stage["words"] > SLACK_S
    early = stage["first_token"] < stage["words"] - SLACK_S
    return Turn(
        recording.name,
        recording.first / MICROPHONE_RATE,
        (recording.last - recording.first) / MICROPHONE_RATE,
        (len(recording.pcm) - recording.last) / MICROPHONE_RATE + SETTLED_S,
        stage["decided"] if waited else 0.2,
        stage["first_token"] - ALONE_S if early else None,
        len(recording.text.split()),
        measured["reply"],
    )


def characters_per_s(measured: Sequence[dict[str, Any]]) -> float:
    """Of the replies' speech."""
    spoken = [(len(one["reply"]), one["audio"] / SPEECH_RATE) for one in measured]
    seconds = sum(took for _, took in spoken)
    return float(sum(count for count, _ in spoken) / max(1.0, seconds))
