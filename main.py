"""WhisperFusion: start, route, watch, restart, stop.

    main.py                     run the server
    main.py talk FILE.wav       speak a recording (or --mic) to a running server
    main.py replay FILE         play a recorded call through the core again
    main.py models              list, fetch, verify and remove models
    main.py doctor              what this machine can do and what will be used

Four processes are spawned, each with one inbox and one outbox. A queue never outlives its process: one
that was killed inside `get()` leaves the queue's lock held for ever, so a replacement gets fresh queues.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from fusion import process, settings
from fusion.messages import (
    Beat,
    Called,
    Cancel,
    Commit,
    Failed,
    Generate,
    Hangup,
    Hold,
    Joined,
    Metrics,
    Notice,
    Prepare,
    Ready,
    Resume,
    Sentence,
    Spoken,
    Stage,
    TurnLost,
)
from fusion.settings import Settings, SettingsError

STAGES = {"asr": "whisper_server", "llm": "llm_service", "tts": "tts_service", "gateway": "gateway"}

# message type -> inboxes; whoever sent it gets no copy
ROUTES: dict[type, tuple[str, ...]] = {
    Generate: ("llm",),
    Prepare: ("llm",),
    Sentence: ("tts", "asr"),
    Called: ("asr",),
    Joined: ("tts",),
    Commit: ("tts",),
    Hold: ("tts",),
    Resume: ("tts",),
    Cancel: ("llm", "tts"),
    Hangup: ("llm", "tts"),
    Spoken: ("asr",),
    Failed: ("asr",),
    TurnLost: ("gateway",),
    Notice: ("asr", "gateway"),
    Stage: ("asr", "llm", "tts", "gateway"),
    Metrics: ("gateway",),
}

LOAD_S = 600.0  # torch.compile warms up for minutes on a GPU; the slowest disk we have met needs 40 s for the largest default model
SILENT_S = 15.0  # beats come every second
STUCK_S = 120.0  # longest step of a job without a sign of life
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 30.0  # before a restart, doubling
HEALTHY_S = 60.0  # a process that lived this long starts again without delay
STOP_S = 2.0  # for an orderly stop, before it is forced

log = logging.getLogger("main")


def run_stage(module: str, name: str, chosen: Settings, inbox: Any, outbox: Any) -> None:
    """The body of a spawned process."""
    process.enter(name, chosen.log_level)
    code = 0
    try:
        importlib.import_module(module).run(chosen, inbox, outbox)
    except Exception as error:  # the reason belongs in one line; the place, which is for us, in the debug log
        log.error("%s cannot go on: %s", name, error, exc_info=log.isEnabledFor(logging.DEBUG) or not str(error))
        code = 1
    process.leave(code)


@dataclass
class Child:
    """One stage and its present process."""

    name: str
    stage: Stage
    inbox: Any
    outbox: Any
    process: Any = None
    started: float = 0.0
    beat: Beat | None = None
    beat_at: float = 0.0
    metrics: Metrics | None = None  # the latest
    start_at: float = 0.0  # when it shall be (re)started
    delay: float = FIRST_DELAY_S
    gone: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    def __init__(self, chosen: Settings) -> None:
        self.settings = chosen
        self.context = multiprocessing.get_context("spawn")
        self.signals: list[int] = []
        self.children = {name: self._child(name) for name in STAGES}
        self.began = time.monotonic()
        self.announced = False
        self.failed = False

    # --- the switchboard --------------------------------------------------------------------------------

    def _child(self, name: str) -> Child:
        return Child(name, Stage(name, "starting"), self.context.Queue(), self.context.Queue())

    def _read_outbox(self, name: str, outbox: Any, gone: threading.Event) -> None:
        """One thread per process: hand on what it says until that process is gone."""
        while not gone.is_set():
            try:
                message = outbox.get(timeout=0.5)
            except queue.Empty:
                continue
            except (OSError, EOFError, ValueError, TypeError):  # closed, or half a message from a killed process
                return
            if isinstance(message, Beat):
                child = self.children[name]
                child.beat, child.beat_at = message, time.monotonic()
            elif isinstance(message, Ready):
                self._ready(message)
            else:
                if isinstance(message, Metrics):
                    self.children[name].metrics = message
                if isinstance(message, Notice):  # whoever comes later can read it from the stage
                    self.children[name].stage = replace(self.children[name].stage, note=message.text)
                    self.route(self.children[name].stage)
                self.route(message, name)

    def route(self, message: Any, source: str = "main") -> None:
        for name in ROUTES[type(message)]:
            if name != source:
                self.children[name].inbox.put(message)

    def _ready(self, message: Ready) -> None:
        child = self.children[message.name]
        child.beat_at = time.monotonic()
        child.stage = replace(child.stage, state="ready", engine=message.engine, model=message.model, device=message.device,
                              load_s=message.load_s, voices=message.voices)
        what = " ".join(filter(None, (message.engine, message.model)))
        log.info("%-7s ready: %s on %s, loaded in %.1f s (process %d)", message.name, what, message.device, message.load_s,
                 child.process.pid)
        self.route(child.stage)

    # --- life and death ---------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        child.gone, child.beat = threading.Event(), None
        child.process = self.context.Process(
            target=run_stage, name=child.name, args=(STAGES[child.name], child.name, self.settings, child.inbox, child.outbox)
        )
        child.started = child.beat_at = time.monotonic()
        child.process.start()
        reader = threading.Thread(target=self._read_outbox, args=(child.name, child.outbox, child.gone), daemon=True)
        reader.start()
        for other in self.children.values():  # a newcomer is told how the others are
            child.inbox.put(other.stage)
            if other.metrics is not None and child.name in ROUTES[Metrics]:
                child.inbox.put(other.metrics)

    def _bury(self, child: Child, why: str) -> None:
        """The process is dead: fresh queues at once, so that what is sent from now on waits for its successor."""
        lived = time.monotonic() - child.started
        was_ready = child.stage.state == "ready"
        child.gone.set()
        old = (child.inbox, child.outbox)
        child.inbox, child.outbox = self.context.Queue(), self.context.Queue()
        for box in old:
            box.cancel_join_thread()
            box.close()
        child.process.join()
        child.metrics = None  # its successor counts from 0
        if not self.announced and not was_ready:
            log.error("%s could not start (%s); the lines above say why", child.name, why)
            self.failed = True
            return
        child.delay = FIRST_DELAY_S if lived > HEALTHY_S else min(child.delay * 2, LAST_DELAY_S)
        child.start_at = time.monotonic() + child.delay
        child.stage = replace(child.stage, state="down", restarts=child.stage.restarts + 1, note=why)
        log.warning("%s %s after %.1f s; starting it again in %.1f s, the others go on", child.name, why, lived, child.delay)
        self.route(child.stage)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None or child.stage.state == "down":
            if now >= child.start_at:
                child.stage = replace(child.stage, state="starting", note="")
                self._start(child)
            return
        if not child.process.is_alive():
            code = child.process.exitcode
            self._bury(child, f"was killed by signal {-code}" if code < 0 else f"ended with code {code}")
            return
        why = ""
        if child.stage.state == "starting" and now - child.started > LOAD_S:
            why = f"was not ready within {LOAD_S:.0f} s"
        elif child.stage.state == "ready" and now - child.beat_at > SILENT_S:
            why = f"gave no sign of life for {SILENT_S:.0f} s"
        elif child.beat and child.beat.busy_since is not None and now - child.beat.busy_since > STUCK_S:
            why = f"was stuck in one job for {STUCK_S:.0f} s"
        if why:
            child.process.kill()
            child.process.join()
            self._bury(child, why)

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda signum, frame: self.signals.append(signum))
        try:
            while not self.signals and not self.failed:
                for child in self.children.values():
                    self._look_after(child)
                self._announce()
                time.sleep(0.05)
        finally:
            self.stop()
        return 1 if self.failed else 0

    def _announce(self) -> None:
        if not self.announced and all(child.stage.state == "ready" for child in self.children.values()):
            self.announced = True
            took = time.monotonic() - self.began
            host = "localhost" if self.settings.host in ("127.0.0.1", "0.0.0.0", "::", "localhost") else self.settings.host
            log.info("ready after %.1f s: open http://%s:%d and speak (Ctrl-C stops)", took, host, self.settings.http_port)

    def stop(self) -> None:
        """Ask, then insist: no process is left behind."""
        running = [child for child in self.children.values() if child.process is not None and child.process.is_alive()]
        for child in running:
            child.inbox.put(None)
        deadline = time.monotonic() + STOP_S
        for child in running:
            child.process.join(max(0.0, deadline - time.monotonic()))
            if child.process.is_alive():
                log.warning("%s did not stop in time and is killed", child.name)
                child.process.kill()
                child.process.join()
        for child in self.children.values():
            child.gone.set()
            for box in (child.inbox, child.outbox):
                box.cancel_join_thread()
        log.info("stopped")


def check_ports(chosen: Settings) -> None:
    """A busy port is told before any model is loaded."""
    wyoming = (("WYOMING_PORT", chosen.wyoming_port),) if chosen.wyoming_port else ()
    for variable, port in (("ASR_PORT", chosen.asr_port), ("TTS_PORT", chosen.tts_port), ("HTTP_PORT", chosen.http_port), *wyoming):
        family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((chosen.host, port))
            except OSError as error:
                raise SettingsError(
                    f"cannot listen on {chosen.host}:{port} ({error.strerror}); end the program that uses it, or choose another {variable}"
                ) from error


def serve(chosen: Settings) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's own threads took 48 ms for 2 ms of arithmetic beside other work
    from fusion import models

    process.set_up_logging(chosen.log_level)
    settings.check_doors(chosen)
    check_ports(chosen)
    if chosen.llm_engine == "llama.cpp" and chosen.llm_model == "auto":
        log.info("%s LLM_MODEL overrules that.", models.default_llm(models.cores(), models.memory_bytes())[1])
    for model in models.needed(chosen):
        models.fetch(model, chosen.cache, chosen.sources)
    return Supervisor(chosen).run()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="main.py",
        description="Speak to it and it answers. Without a command, runs the server: page on 8000, microphone on 6006, speech on 8888.",
        epilog="Settings come from flags, then the environment, then .env; the README has the table, `main.py doctor` what they lead to.",
    )
    settings.add_flags(top)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="run the server (the default)")
    from fusion import talk

    talk.add_arguments(commands.add_parser("talk", help="speak a recording or the microphone to a running server"))
    again = commands.add_parser("replay", help="play a recorded call through the core again (RECORD_DIR records calls)")
    again.add_argument("file", metavar="FILE", help="a recording; ends with 1 when the core decides otherwise now, with 2 when it is none")
    store = commands.add_parser("models", help="list, fetch, verify or remove models")
    store.add_argument("action", nargs="?", default="list", choices=["list", "fetch", "verify", "remove"])
    store.add_argument("names", nargs="*", metavar="ID", help="model ids; none = the ones the settings need")
    commands.add_parser("doctor", help="ports, cores, memory, models, GPU: what will be used and why")
    return top


def main(arguments: list[str]) -> int:
    try:
        chosen, namespace = settings.from_command_line(arguments, parser())
    except SettingsError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    try:
        if namespace.command == "talk":
            from fusion import talk

            return talk.run(namespace, chosen)
        if namespace.command == "replay":
            from fusion import replay

            return replay.run(namespace.file)
        if namespace.command == "models":
            from fusion import models

            return models.command(namespace.action, namespace.names, chosen)
        if namespace.command == "doctor":
            from fusion import doctor

            return doctor.run(chosen)
        return serve(chosen)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if type(error).__name__ not in ("SettingsError", "ModelError"):
            raise
        print(f"main.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
