"""What each of the four processes does at its start and end: logging, signals, the parent's death,
the inbox, heartbeats and metrics.
"""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import logging
import multiprocessing
import os
import pickle
import queue
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn

from whisperfusion import json_log
from whisperfusion.messages import Heartbeat, Ready, Ticket, call_of
from whisperfusion.runtime import memory, tracing
from whisperfusion.runtime.event_loop import STALL_MONITOR

TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)-7s %(message)s"
BEAT_S = 1.0
BEGAN = time.monotonic()  # this module is imported first in every process
# in a message: C0, DEL, C1 and what Unicode calls ends of lines
CONTROL = re.compile("[\x00-\x08\n-\x1f\x7f-\x9f\u2028\u2029]")
INBOX_WAIT_S = 1.0  # how long one get() blocks: the latest that a stop is noticed


log = logging.getLogger("process")


def set_up_logging(level: str, form: str = "text", name: str = "main") -> None:
    """`form` is "text" or "json", `name` the process in lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        json_log.start(name)
        handler.setFormatter(json_log.JsonFormatter(name))
        _log_what_python_prints()
    else:
        json_log.stop()
        handler.setFormatter(TextFormatter(TEXT_FORMAT, "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in (
        "websockets",
        "httpx",
        "httpx2",
        "httpcore",
        "mcp",
        "ddgs",
        "primp",
        "uvicorn",
        "faster_whisper",
        "urllib3",
        "filelock",
        "asyncio",
        "python_multipart",
    ):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """Text in which a message cannot pretend to be a line of its own: its further lines are
    indented, and other control characters are written as escapes.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = CONTROL.sub(_escaped, record.message)
        return super().formatMessage(record)


def _escaped(found: re.Match[str]) -> str:
    if found[0] == "\n":
        return "\n    "
    return found[0].encode("unicode_escape").decode()


def _log_what_python_prints() -> None:
    """Uncaught exceptions, warnings and progress bars go to stderr as text, past the log."""
    logging.captureWarnings(True)
    os.environ.setdefault("TQDM_DISABLE", "1")

    def uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        log.critical("an error was not handled", exc_info=(kind, error, traceback))

    def uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread else "that has ended"
        error = arguments.exc_value
        log.critical("an error in the thread %s was not handled", name, exc_info=error)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread


def set_up(name: str, level: str, form: str = "text") -> logging.Logger:
    """Called first in a spawned process. main handles Ctrl-C; a process ends with main."""
    set_up_logging(level, form, name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    memory.start_heap_trimmer()
    return logging.getLogger(name)


def report_ready(outbox: Any, ready: Ready) -> None:
    """Have main know that this process takes work from now on."""
    memory.freeze_heap()
    outbox.put(ready)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # the queues are broken, and a clean-up could block on them


def start_inbox_thread(inbox: Any, handle: Callable[[Any], None], stopping: asyncio.Event) -> None:
    """Start a thread that passes every message to `handle` on the running loop. `stopping` is set
    when it ends, also unexpectedly.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed: a signal came before the last message
            try:
                read_inbox(
                    inbox, lambda message: loop.call_soon_threadsafe(_handled, handle, message)
                )
            finally:
                loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=read, name="inbox", daemon=True).start()


def _handled(handle: Callable[[Any], None], message: Any) -> None:
    """Log a message that cannot be handled, and go on."""
    with scope_of(message):
        try:
            handle(message)
        except Exception:
            log.exception("a %s could not be handled", type(message).__name__)


def scope_of(message: object) -> AbstractContextManager[None]:
    """Lines that are logged inside belong to the call and the turn of `message`."""
    ticket = getattr(message, "ticket", None)
    turn = ticket.turn if isinstance(ticket, Ticket) else 0
    return json_log.scope(call_of(message), lambda: turn)


def read_inbox(
    inbox: Any, handle: Callable[[Any], object], tick: Callable[[], None] = lambda: None
) -> None:
    """Pass every message to `handle` until None arrives; `tick` runs at least once a second."""
    while True:
        try:
            message = inbox.get(timeout=INBOX_WAIT_S)
        except queue.Empty:
            tick()
            continue
        except (pickle.UnpicklingError, AttributeError, ImportError):
            log.exception("a message cannot be read")
            continue
        if message is None:
            return
        STALL_MONITOR.round_started()
        with scope_of(message):
            handle(message)
        STALL_MONITOR.round_ended()
        tick()


async def send_heartbeats(
    name: str,
    outbox: Any,
    busy_since: Callable[[], float | None],
    stopping: asyncio.Event,
    served: Callable[[], int] = lambda: 0,
) -> None:
    """Send heartbeats of a process from its event loop, until `stopping` is set. `served`: jobs
    since the start.
    """
    STALL_MONITOR.start()
    while not stopping.is_set():
        try:
            busy = busy_since()
        except Exception:  # the counters beside it must not end the process
            log.exception("the metrics of %s cannot be collected", name)
            busy = None
        outbox.put(Heartbeat(name, busy, served()))
        try:
            await asyncio.wait_for(stopping.wait(), BEAT_S)
        except (TimeoutError, asyncio.TimeoutError):  # two types before Python 3.11
            continue


def process_metrics() -> tuple[tuple[str, float], ...]:
    """For `Metrics`: uptime, event loop lag and stalls, processor time; memory, descriptors and
    threads where Linux reports them.
    """
    found = [("process_uptime_seconds", time.monotonic() - BEGAN)]
    if STALL_MONITOR.started:
        found += [
            ("event_loop_lag_seconds", STALL_MONITOR.longest_s()),
            ("event_loop_stalls_total", float(STALL_MONITOR.stalls)),
        ]
    found.append(("process_cpu_seconds_total", time.process_time()))
    with suppress(OSError):
        found.append(("process_resident_memory_bytes", float(memory.resident())))
    with suppress(OSError):
        found.append(("process_threads", float(len(os.listdir("/proc/self/task")))))
    with suppress(OSError):
        found += _descriptors()
    return (*found, *tracing.metrics())


def _descriptors() -> list[tuple[str, float]]:
    """How many are open, and how many may be. Raises OSError where Linux does not report them."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        count = len(os.listdir("/proc/self/fd")) - 1  # one of them reads the folder
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        count = most  # none is left to read the folder
    limits = [] if most == resource.RLIM_INFINITY else [("process_max_fds", float(most))]
    return [("process_open_fds", float(count)), *limits]


def run_queue_waits(pid: int) -> dict[int, float]:
    """For how many seconds each thread of a process has been ready to run without a processor,
    by the number of the thread; nothing where the system does not count them.
    """
    waits = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # the thread has ended
            waits[int(path.parent.name)] = int(path.read_text().split()[1]) / 1e9
    return waits


def exit_now(code: int) -> NoReturn:
    """Called last: exit without Python's clean-up. Native libraries abort when their threads still
    run at a normal exit, and a queue's thread waits for a reader that may be gone.
    """
    logging.shutdown()
    os._exit(code)
