"""One stage as main sees it: its process, its two queues, its state and its liveness.

A queue never outlives its process: one that was killed inside `get()` leaves the queue's lock held
for ever, so a restarted stage gets new queues (`replace_queues`), and messages sent from then on
wait for the new process.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from whisperfusion.messages import Metrics, Stage
from whisperfusion.runtime import debugger, process, tracing
from whisperfusion.runtime.channel import Channel
from whisperfusion.runtime.heartbeats import Liveness
from whisperfusion.runtime.redaction import keep_keys_out_of_logs
from whisperfusion.settings import Settings

DRAIN_S = 0.5  # to read the last messages of a dead process
STACK_DUMP_S = 0.3  # for a hung process to write the stacks of its threads, before it is killed

log = logging.getLogger("main")


def run_stage(module: str, name: str, chosen: Settings, inbox: Any, outbox: Any) -> None:
    """The body of a spawned process: `run(settings, inbox, outbox)` of `module`."""
    process.set_up(name, chosen.log_level, chosen.log_format)
    choose_gpu(getattr(chosen, f"{name}_gpu", ""))
    keep_keys_out_of_logs(chosen)
    code = 0
    try:
        tracing.start(chosen, name)
        if chosen.debugpy:
            debugger.start(chosen.debugpy, name)
        importlib.import_module(module).run(chosen, inbox, outbox)
    # the reason belongs in one line; the traceback, which is for developers, in the debug log
    except Exception as error:
        debug = log.isEnabledFor(logging.DEBUG) or not str(error)
        log.error("%s cannot go on: %s", name, error, exc_info=debug)
        code = 1
    tracing.stop()
    process.exit_now(code)


def choose_gpu(gpu: str) -> None:
    """The GPU that the libraries of this process will see as their only one, by nvidia-smi's number
    or by UUID; "" leaves all. Comes before any of them is imported: they ask the driver once.
    """
    if gpu:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts; else by speed
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu


@dataclass
class StageProcess:
    """`module` has the stage's `run`; `stage` is the state that the other processes are sent."""

    name: str
    module: str
    context: Any  # of multiprocessing
    stage: Stage
    inbox: Any
    outbox: Any
    process: Any = None
    reader: threading.Thread | None = None  # of its outbox
    liveness: Liveness = field(default_factory=lambda: Liveness(0.0))
    metrics: Metrics | None = None  # the latest
    start_at: float = 0.0  # when to start it (again), on the supervisor's clock
    retry_at: float = 0.0  # when to try again after the machine had no process or descriptor

    @classmethod
    def of(cls, name: str, module: str, context: Any) -> StageProcess:
        stage = Stage(name, "starting")
        return cls(name, module, context, stage, Channel(context), Channel(context))

    def start(self, settings: Settings, read_outbox: Callable[[str, Any], None]) -> None:
        """Spawn the process, and the thread that reads its outbox. Raises OSError."""
        self.process = self.context.Process(
            target=run_stage,
            name=self.name,
            args=(self.module, self.name, settings, self.inbox, self.outbox),
        )
        self.process.start()
        self.outbox.only_read()
        self.inbox.only_write()
        self.reader = threading.Thread(
            target=read_outbox, args=(self.name, self.outbox), daemon=True
        )
        self.reader.start()

    def drain(self) -> None:
        """The process is dead: wait until its last messages have been read."""
        if self.reader is not None:
            self.reader.join(DRAIN_S)

    def replace_queues(self) -> None:
        """New queues at once. The reader closes the old outbox."""
        old = self.inbox
        self.inbox, self.outbox = Channel(self.context), Channel(self.context)
        old.close()

    def exit_reason(self) -> str:
        """How a process that is not alive ended."""
        code = self.process.exitcode
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def failure(self, now: float) -> str:
        """Why a process that lives must be killed; "" = it is well."""
        return self.liveness.failure(now, partial(process.run_queue_waits, self.process.pid))

    def dump_and_kill(self) -> None:
        """End a hung process; faulthandler first logs where each of its threads is."""
        os.kill(self.process.pid, signal.SIGUSR1)
        self.process.join(STACK_DUMP_S)
        self.process.kill()
        self.process.join()

    def is_running(self) -> bool:
        return self.process is not None and self.process.is_alive()
