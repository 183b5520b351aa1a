"""What each of the four processes does first and last: its log, its signals, its parent, its inbox."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn

from fusion.messages import Beat

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)-7s %(message)s"
BEAT_S = 1.0
BEGAN = time.monotonic()  # this is imported first in every process
INBOX_WAIT_S = 1.0  # how long one get() blocks; only bounds how late a stop is noticed


def set_up_logging(level: str) -> None:
    logging.basicConfig(level=level.upper(), format=LOG_FORMAT, datefmt="%H:%M:%S", stream=sys.stderr, force=True)
    for chatty in ("websockets", "httpx", "httpcore", "uvicorn", "faster_whisper", "urllib3", "filelock", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def enter(name: str, level: str) -> logging.Logger:
    """Called first in a spawned process. main handles Ctrl-C for all; nobody outlives main."""
    set_up_logging(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    return logging.getLogger(name)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # the queues lead nowhere now, and a clean-up could block on them


def read_inbox(inbox: Any, handle: Callable[[Any], None], tick: Callable[[], None] = lambda: None) -> None:
    """Hand every message to `handle` until None arrives; `tick` runs at least once a second."""
    while True:
        try:
            message = inbox.get(timeout=INBOX_WAIT_S)
        except queue.Empty:
            tick()
            continue
        if message is None:
            return
        handle(message)
        tick()


async def beat(name: str, outbox: Any, busy_since: Callable[[], float | None], stopping: asyncio.Event) -> None:
    """The heartbeat of a process with an event loop, from that loop, until `stopping` is set."""
    while not stopping.is_set():
        outbox.put(Beat(name, busy_since()))
        try:
            await asyncio.wait_for(stopping.wait(), BEAT_S)
        except (TimeoutError, asyncio.TimeoutError):  # two types before Python 3.11
            continue


def vitals() -> tuple[tuple[str, float], ...]:
    """How long this process has lived and, where Linux tells, how much memory it holds (resident, in bytes): for `Metrics`."""
    lived = ("uptime_seconds", time.monotonic() - BEGAN)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return (lived,)
    return lived, ("memory_bytes", float(pages * os.sysconf("SC_PAGE_SIZE")))


def leave(code: int) -> NoReturn:
    """Called last. Native libraries abort when their threads still run at a normal exit, and a queue's own thread waits for a
    reader that may be gone; what had to be said has been said."""
    logging.shutdown()
    os._exit(code)
