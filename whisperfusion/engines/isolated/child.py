"""The other side of `engine.py`: one engine in an interpreter of its own, whose libraries need not
get along with ours.

Run with two arguments, IN and OUT (`paths.run_module`): the numbers of two inherited pipe
ends. Standard output is the log here, and standard input is empty, so whatever libraries print or
ask cannot harm a frame. Each call has a thread, which builds on what the protocols promise of
engines; `create_utterance` alone has none, because it must come before the `accept_audio` that
follows. The end of IN is the end of the server, and so of this process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, NoReturn

if sys.version_info < (3, 10):  # noqa: UP036 - it is not the interpreter that the server was installed with
    sys.exit(
        f"{sys.executable} is Python {sys.version.split()[0]}; an engine needs 3.10 or newer there"
    )

from whisperfusion import json_log
from whisperfusion.engines import load
from whisperfusion.engines.elsewhere.calls import (
    STREAMS,
    Job,
    asr_options,
    attributes_of,
    failed,
    history,
    kind_of,
    stream,
)
from whisperfusion.errors import EngineError, failed_on_input, lost_for_good
from whisperfusion.wire import engine_pipe as wire

CHUNK = 1 << 16  # what a pipe holds
FORMAT = "%(asctime)s %(levelname)-7s %(name)-7s %(message)s"  # as the server's own log
BUG = 70  # exit status

log = logging.getLogger("engine")


class Far:
    """The engine and its calls."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._inbox: SimpleQueue[wire.Message] = SimpleQueue()
        self._sending = threading.Lock()
        self._engine: Any = None
        self._jobs: dict[int, Job] = {}
        self._utterances: dict[int, Any] = {}

    def run(self) -> NoReturn:
        threading.Thread(target=guarded, args=(self._read,), daemon=True).start()
        self._send(wire.Hello(sys.version.split()[0]))
        request = self._inbox.get()
        assert isinstance(request, wire.Load), request
        self._load(request)
        while True:
            self._handle(self._inbox.get())

    def _read(self) -> None:
        decoder = wire.Decoder()
        while data := os.read(self._requests, CHUNK):
            for message in decoder.feed(data):
                self._inbox.put(message)
        os._exit(0)  # native libraries abort when they are used at a normal exit

    def _send(self, message: wire.Message) -> None:
        parts = wire.encode(message)
        with self._sending:
            try:
                for part in parts:
                    write(self._answers, part)
            except BrokenPipeError:
                os._exit(0)

    def _load(self, request: wire.Load) -> None:
        logging.basicConfig(format=FORMAT, datefmt="%H:%M:%S", stream=sys.stderr, force=True)
        if request.log_process:
            json_log.start(request.log_process)
            for handler in logging.getLogger().handlers:
                handler.setFormatter(json_log.JsonFormatter(request.log_process))
        for name, level in request.log_levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            import numpy  # noqa: F401 - audio is numpy's on both sides; without it nothing works

            # "": in this interpreter, also where the engine has an environment of its own
            self._engine = load(request.kind, request.name, python="", **request.options)
        except EngineError as error:
            self._send(wire.Failed(0, str(error), kind_of(error)))
        except ImportError as error:
            what = (
                f"the package {error.name!r} is missing"
                if isinstance(error, ModuleNotFoundError)
                else f"a package is broken ({error})"
            )
            self._send(
                wire.Failed(
                    0,
                    f"{what} in {sys.executable} (Python {sys.version.split()[0]}); install there "
                    f"what {request.name} needs, and numpy: {sys.executable} -m pip install ...",
                    EngineError.__name__,
                )
            )
        else:
            self._send(wire.Ready(attributes_of(request.kind, self._engine)))

    # --- calls -----------------------------------------------------------------------------------

    def _handle(self, message: wire.Message) -> None:
        if isinstance(message, wire.Call) and message.method == "create_utterance":
            self._answer(self._create_utterance, message)
        elif isinstance(message, wire.Call):
            if message.method in STREAMS:
                self._jobs[message.id] = Job()
            work = self._stream if message.id in self._jobs else self._value
            threading.Thread(
                target=guarded, args=(self._answer, work, message), daemon=True
            ).start()
        # else it has ended
        elif (
            isinstance(message, (wire.Took, wire.Unwanted, wire.Cancel))
            and (job := self._jobs.get(message.id)) is not None
        ):
            if isinstance(message, wire.Took):
                job.room.release(message.count)
            elif isinstance(message, wire.Unwanted):
                job.unwanted.update(message.parts)
            else:
                job.cancel()

    def _answer(self, work: Callable[[wire.Call], Any], call: wire.Call) -> None:
        try:
            answer: wire.Message = wire.Done(call.id, work(call))
        except BaseException as error:  # a panic of a Rust library is not an Exception
            if lost_for_good(error):
                raise
            answer = failed(call, error)
        self._jobs.pop(call.id, None)
        self._send(answer)

    def _create_utterance(self, call: wire.Call) -> None:
        for id in call.arguments["drop"]:
            self._utterances.pop(id, None)
        self._utterances[call.id] = self._engine.create_utterance(
            asr_options(call.arguments["options"])
        )

    def _value(self, call: wire.Call) -> Any:
        given = call.arguments
        match call.method:
            case "accept_audio":
                utterance = self._utterances[given["utterance"]]
                return asdict(utterance.accept_audio(call.pcm, given["final"]))
            case "finish":
                return asdict(self._utterances[given["utterance"]].finish())
            case "decode_batch":
                return self._decode_batch(call)
            case "detect_language":
                return self._engine.detect_language(call.pcm)
        return self._engine.warm_up(history(call))

    def _decode_batch(self, call: wire.Call) -> list[dict[str, Any]]:
        """What `accept_audio` of each returns, or why it failed."""
        assert call.pcm is not None, call
        jobs, at = [], 0
        for id, length, final in call.arguments["jobs"]:
            jobs.append((self._utterances[id], call.pcm[at : at + length], final))
            at += length
        told: list[dict[str, Any]] = []
        for found in self._engine.decode_batch(jobs):
            if not isinstance(found, Exception):
                told.append(asdict(found))
            elif lost_for_good(found):
                raise found
            else:
                known = isinstance(found, EngineError)
                text = str(found if known else failed_on_input(found))
                told.append({"failed": text, "kind": kind_of(found)})
        return told

    def _stream(self, call: wire.Call) -> None:
        stream(self._engine, call, self._jobs[call.id], self._send)


def write(descriptor: int, data: bytes | memoryview) -> None:
    """All of `data`; a pipe takes less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def guarded(work: Callable[..., None], *arguments: Any) -> None:
    """An error that belongs to no call: the engine is lost or the child is broken, and the
    process ends.
    """
    try:
        work(*arguments)
    except BaseException:
        log.exception("the process ends and will be started again")
        logging.shutdown()
        os._exit(BUG)


def prepare_process(*pipes: int) -> None:
    """Processes that libraries start must not keep our pipes open, or the other end would
    never read its end.
    """
    for pipe in pipes:
        os.set_inheritable(pipe, False)
        os.register_at_fork(after_in_child=lambda pipe=pipe: os.close(pipe))
    # a library that hangs with the interpreter's lock keeps us from reading the end of the pipe
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    requests, answers = int(sys.argv[1]), int(sys.argv[2])
    prepare_process(requests, answers)
    guarded(Far(requests, answers).run)
