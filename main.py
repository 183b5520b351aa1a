"""WhisperFusion: start, route, watch, restart, stop.

    main.py                     run the server (installed, the command is `whisperfusion`)
    main.py talk FILE.wav       speak a recording (or --mic) to a running server
    main.py replay FILE         replay a recorded call through the core
    main.py models              list, fetch, verify and remove models
    main.py sessions            list, show, export and delete the memory of calls
    main.py tools               list the server's own tools, try one
    main.py doctor              what this machine can do and what will be used

The supervisor spawns four stage processes, each with one inbox and one outbox, and is the only one
that is connected to all: it routes each message by its type, watches heartbeats, and restarts a
dead or hung process alone while the others go on.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from whisperfusion import json_log, settings
from whisperfusion.cli.arguments import parser
from whisperfusion.errors import ModelError, SettingsError
from whisperfusion.messages import (
    CallEnded,
    CallNotice,
    CallStarted,
    Cancel,
    CancelTimer,
    Commit,
    Drain,
    Drained,
    EndCall,
    ExtractFacts,
    FactsExtracted,
    Failed,
    Generate,
    Heartbeat,
    Metrics,
    Notice,
    Pause,
    PlaybackProgress,
    Prefill,
    Ready,
    Resume,
    Sentence,
    SetTimer,
    SpeechOmitted,
    Stage,
    Summarize,
    Summarized,
    ToolCalled,
    ToolFinished,
    ToolsListed,
    ToolStarted,
    TurnLost,
    UseServers,
)
from whisperfusion.paths import COMMAND
from whisperfusion.runtime import debugger, listener, process, tracing
from whisperfusion.runtime.heartbeats import PausableClock
from whisperfusion.runtime.ports import check_ports
from whisperfusion.runtime.redaction import keep_keys_out_of_logs
from whisperfusion.runtime.shutdown import ADMITTING, Shutdown
from whisperfusion.runtime.stage_process import StageProcess
from whisperfusion.settings import Settings

# the programs: beside this file, or in the same package where this is installed
STAGES = {
    name: f"{__package__}.{program}" if __package__ else program
    for name, program in (
        ("asr", "whisper_server"),
        ("llm", "llm_service"),
        ("tts", "tts_service"),
        ("gateway", "gateway"),
    )
}

# message type -> inboxes; the sender gets no copy
ROUTES: dict[type, tuple[str, ...]] = {
    Generate: ("llm",),
    Prefill: ("llm",),
    UseServers: ("llm",),
    Summarize: ("llm",),
    ExtractFacts: ("llm",),
    Sentence: ("tts", "asr"),
    ToolCalled: ("asr",),
    ToolStarted: ("asr",),
    ToolFinished: ("asr",),
    ToolsListed: ("asr",),
    SetTimer: ("asr",),
    CancelTimer: ("asr",),
    EndCall: ("asr",),
    Summarized: ("asr",),
    FactsExtracted: ("asr",),
    CallStarted: ("tts",),
    Commit: ("tts", "llm"),
    Pause: ("tts",),
    Resume: ("tts",),
    Cancel: ("llm", "tts"),
    CallEnded: ("llm", "tts"),
    PlaybackProgress: ("asr",),
    Failed: ("asr",),
    SpeechOmitted: ("asr",),
    CallNotice: ("asr",),
    TurnLost: ("gateway",),
    Notice: ("asr", "gateway"),
    Stage: ("asr", "llm", "tts", "gateway"),
    Metrics: ("gateway",),
    Drain: ADMITTING,
}

# engine of the language model -> the stages that are ready before it is first started: TensorRT-LLM
# sizes its cache by the GPU memory that it finds free, and a race would give it theirs
STARTED_AFTER: dict[str, tuple[str, ...]] = {"tensorrt-llm": ("asr", "tts")}

TICK_S = 0.05
STEP_S = 1.0  # a longer gap between two ticks means that main was suspended; no stage is to blame
STOP_S = 2.0  # for an orderly stop, before processes are killed
RETRY_S = 5.0  # after the machine had no process or descriptor to spare

log = logging.getLogger("main")


class Supervisor:
    def __init__(self, chosen: Settings) -> None:
        self.settings = chosen
        context = multiprocessing.get_context("spawn")
        self.children = {
            name: StageProcess.of(name, module, context) for name, module in STAGES.items()
        }
        self.signals: list[int] = []
        self.shutdown = Shutdown(chosen.drain_s)
        self.started_at = time.monotonic()
        self.clock = PausableClock(STEP_S, self.started_at)
        self._ticked_at = self.started_at
        self._queues = threading.Lock()  # held while a queue is written to or replaced
        self._debugged = debugger.ports(chosen.debugpy)
        self.announced = False
        self.failed = False

    # --- routing ---------------------------------------------------------------------------------

    def _read_outbox(self, name: str, outbox: Any) -> None:
        """One thread per process: handle each of its messages, to the last whole one; the end of
        the pipe is the death of the process.
        """
        while True:
            try:
                message = outbox.get()
            except (OSError, EOFError):  # also in the middle of a message of a killed process
                outbox.close()
                return
            except Exception:
                log.exception("a message of %s cannot be read", name)
                continue
            try:
                self._handle(name, message, self.children[name].outbox is outbox)
            except Exception:  # the thread must survive a bad message
                with process.scope_of(message):
                    log.exception("a %s of %s could not be handed on", type(message).__name__, name)

    def _handle(self, name: str, message: Any, current: bool) -> None:
        """`current`: the message is of the running process, not of one that died before it."""
        child = self.children[name]
        if isinstance(message, (Heartbeat, Ready, Metrics, Notice, Drained)) and not current:
            return
        match message:
            case Heartbeat():
                child.liveness.on_heartbeat(message, self.clock.seconds)
                return
            case Ready():
                self._on_ready(child, message)
                return
            case Drained():
                self.shutdown.finished(name)
                return
            case Metrics():
                child.metrics = message
            case Notice():  # the stage keeps it for processes that start later
                child.stage = replace(child.stage, note=message.text)
                self.route(child.stage)
        self.route(message, name)

    def route(self, message: Any, source: str = "main") -> None:
        """Put `message` into the inboxes of its type; no queue is replaced meanwhile."""
        with self._queues:
            for name in ROUTES[type(message)]:
                if name != source:
                    self.children[name].inbox.put(message)

    def _on_ready(self, child: StageProcess, message: Ready) -> None:
        child.liveness.on_ready(self.clock.seconds)
        child.stage = replace(
            child.stage,
            state="ready",
            engine=message.engine,
            model=message.model,
            device=message.device,
            load_s=message.load_s,
            voices=message.voices,
            clones=message.clones,
        )
        log.info(
            "%-7s ready: %s on %s, loaded in %.1f s (process %d)",
            message.name,
            " ".join(filter(None, (message.engine, message.model))),
            message.device,
            message.load_s,
            child.process.pid,
        )
        self.route(child.stage)

    # --- processes -------------------------------------------------------------------------------

    def _start(self, child: StageProcess) -> None:
        child.stage = replace(child.stage, state="starting", note="")
        child.liveness.on_start(self.clock.seconds)
        child.start(self.settings, self._read_outbox)
        for other in self.children.values():  # a new process gets the states of all
            child.inbox.put(other.stage)
            if other.metrics is not None and child.name in ROUTES[Metrics]:
                child.inbox.put(other.metrics)
        if self.shutdown.draining and child.name in ROUTES[Drain]:
            child.inbox.put(Drain(self.shutdown.left_s(self.clock.seconds)))

    def _on_exit(self, child: StageProcess, why: str) -> None:
        """The process is dead: schedule its restart. Messages from now on wait in new queues."""
        now = self.clock.seconds
        lived, was_ready = now - child.liveness.started, child.stage.state == "ready"
        child.drain()
        with self._queues:
            child.replace_queues()
        child.process.join()
        child.metrics = None  # the new process counts from 0
        if not self.announced and not was_ready:
            log.error("%s could not start (%s); the lines above say why", child.name, why)
            self.failed = True
            return
        delay = child.liveness.restart_delay_s(now)
        child.start_at = now + delay
        child.stage = replace(
            child.stage, state="down", restarts=child.stage.restarts + 1, note=why
        )
        log.warning(
            "%s %s after %.1f s; starting it again in %.1f s, the others go on",
            child.name,
            why,
            lived,
            delay,
        )
        self.route(child.stage)

    def _supervise(self, child: StageProcess) -> None:
        """Start, restart or kill; a resource that the machine refuses now is asked for later."""
        if self.clock.seconds < child.retry_at:
            return
        try:
            self._check(child)
        except OSError as error:
            log.error(
                "%s cannot be supervised (%s); trying again in %.0f s", child.name, error, RETRY_S
            )
            child.retry_at = self.clock.seconds + RETRY_S
            if child.process is not None and child.process.pid is None:  # it was never started
                child.process = None
                child.stage = replace(child.stage, state="down", note=str(error))

    def _check(self, child: StageProcess) -> None:
        now = self.clock.seconds
        if child.process is None or child.stage.state == "down":
            if now >= child.start_at and not self._awaits_others(child):
                self._start(child)
        elif not child.process.is_alive():
            self._on_exit(child, child.exit_reason())
        elif (why := child.failure(now)) and child.name not in self._debugged:
            child.dump_and_kill()
            self._on_exit(child, why)

    def _awaits_others(self, child: StageProcess) -> bool:
        if self.announced or child.name != "llm":
            return False
        others = STARTED_AFTER.get(self.settings.llm_engine, ())
        return any(self.children[name].stage.state != "ready" for name in others)

    # --- the main loop ---------------------------------------------------------------------------

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda signum, frame: self.signals.append(signum))
        try:
            while not self.failed and not self._is_over():
                self._tick(time.monotonic())
                for child in self.children.values():
                    self._supervise(child)
                self._announce()
                time.sleep(TICK_S)
        finally:
            self.stop()
        return 1 if self.failed else 0

    def _is_over(self) -> bool:
        """Whether to stop; at the first signal, main may ask the processes to drain instead."""
        now = self.clock.seconds
        if self.shutdown.drains(self.signals, self.announced, now):
            drain = Drain(self.shutdown.left_s(now))
            log.info(
                "draining for up to %.0f s: no new calls (Ctrl-C or SIGTERM stops at once)",
                drain.within_s,
            )
            self.route(drain)
        ready = [child.name for child in self.children.values() if child.stage.state == "ready"]
        return self.shutdown.is_due(self.signals, ready, now)

    def _tick(self, now: float) -> None:
        before = self.clock.seconds
        suspended_s = now - self._ticked_at - (self.clock.at(now) - before)
        self._ticked_at = now
        if suspended_s > 0:
            log.warning(
                "this machine was paused for %.1f s, or main was; no time-out counts that",
                suspended_s,
            )

    def _announce(self) -> None:
        """Log the address once, when all stages are ready."""
        if self.announced or any(one.stage.state != "ready" for one in self.children.values()):
            return
        self.announced = True
        anywhere = self.settings.host in ("127.0.0.1", "0.0.0.0", "::", "localhost")
        log.info(
            "ready after %.1f s: open http://%s:%d and speak (Ctrl-C stops)",
            time.monotonic() - self.started_at,
            listener.url_host("localhost" if anywhere else self.settings.host),
            self.settings.http_port,
        )

    def stop(self) -> None:
        """Ask all processes to stop, then kill those that do not."""
        running = [child for child in self.children.values() if child.is_running()]
        for child in running:
            child.inbox.put(None)
        deadline = time.monotonic() + STOP_S
        for child in running:
            child.process.join(max(0.0, deadline - time.monotonic()))
            if child.process.is_alive():
                log.warning("%s did not stop in time and is killed", child.name)
                child.process.kill()
                child.process.join()
        log.info("stopped")


def serve(chosen: Settings) -> int:
    # numpy's own threads took 48 ms for 2 ms of arithmetic beside other work
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from whisperfusion.agents import check_folder
    from whisperfusion.generation.agent_chains import check_chains
    from whisperfusion.models import store as models
    from whisperfusion.tools.mcp.checks import check_file

    process.set_up_logging(chosen.log_level, chosen.log_format)
    keep_keys_out_of_logs(chosen)
    settings.check_access(chosen)
    tracing.check_installed(chosen)
    debugger.ports(chosen.debugpy)
    check_ports(chosen)
    listener.raise_descriptor_limit(chosen.max_callers)
    check_chains(check_folder(chosen.agents).values(), chosen)
    check_file(chosen)
    for kind, why in models.reasons(chosen):
        log.info("%s %s_MODEL overrides that.", why, kind.upper())
    return Supervisor(models.fetch_needed(chosen)).run()


def run_command(arguments: Any, chosen: Settings) -> int:
    """The exit status of the command. Raises SettingsError and ModelError."""
    match arguments.command:
        case "talk":
            from whisperfusion.cli import talk

            return talk.run(arguments, chosen)
        case "replay":
            from whisperfusion.cli import replay

            return replay.run(arguments.file)
        case "models":
            from whisperfusion.cli import models

            return models.command(arguments.action, arguments.names, chosen)
        case "sessions":
            from whisperfusion.cli import sessions

            return sessions.run(arguments, chosen)
        case "tools":
            from whisperfusion.cli import tools

            return tools.run(arguments, chosen)
        case "doctor":
            from whisperfusion.cli import doctor

            return doctor.run(chosen)
        case _:
            return serve(chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; without `arguments`, those of this process."""
    if arguments is None:
        arguments = sys.argv[1:]
    try:
        chosen, namespace = settings.from_command_line(arguments, parser())
    except SettingsError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    try:
        return run_command(namespace, chosen)
    except KeyboardInterrupt:
        return 130
    except (SettingsError, ModelError) as error:
        if json_log.process():
            log.critical("%s", error)
        else:
            print(f"{COMMAND}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
