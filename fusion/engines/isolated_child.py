"""The far side of `isolated.py`: one engine in an interpreter of its own, whose libraries need not get along with ours.

Run as `python -m fusion.engines.isolated_child IN OUT`: the numbers of two inherited pipe ends. Standard output is
the log here, and standard input is empty, so whatever libraries print or ask cannot harm a frame. Each call
has a thread, which builds on what the protocols promise of engines; `begin` alone has none, because it must
come before the `hear` that follows. The end of IN is the end of the server, and so of this process.
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
    sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; an engine needs 3.10 or newer there")

from fusion.engines import ASROptions, EngineError, load
from fusion.wire import engine_pipe as wire

CHUNK = 1 << 16  # what a pipe holds
FORMAT = "%(asctime)s %(levelname)-7s %(name)-7s %(message)s"  # as the server's own log
ATTRIBUTES = {"asr": "model device languages", "llm": "model device parallel", "tts": "model device sample_rate voices"}
BUG = 70  # exit status

log = logging.getLogger("engine")


class Job:
    """A call that gives pieces, and how far its listener is."""

    def __init__(self) -> None:
        self.room = threading.Semaphore(wire.WINDOW)
        self.cancelled = False


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
        for name, level in request.log_levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            import numpy  # noqa: F401 - audio is numpy's on both sides; without it nothing works

            self._engine = load(request.kind, request.name, **request.options)
        except EngineError as error:
            self._send(wire.Failed(0, str(error)))
        except ImportError as error:
            what = f"the package {error.name!r} is missing" if isinstance(error, ModuleNotFoundError) else f"a package is broken ({error})"
            self._send(wire.Failed(0, f"{what} in {sys.executable} (Python {sys.version.split()[0]}); install there what "
                                      f"{request.name} needs, and numpy: {sys.executable} -m pip install ..."))
        else:
            self._send(wire.Ready({name: getattr(self._engine, name) for name in ATTRIBUTES[request.kind].split()}))

    # --- calls ----------------------------------------------------------------------------------------------

    def _handle(self, message: wire.Message) -> None:
        if isinstance(message, wire.Call) and message.method == "begin":
            self._answer(self._begin, message)
        elif isinstance(message, wire.Call):
            if message.method in ("speak", "reply", "transcribe"):
                self._jobs[message.id] = Job()
            work = self._stream if message.id in self._jobs else self._value
            threading.Thread(target=guarded, args=(self._answer, work, message), daemon=True).start()
        elif isinstance(message, (wire.Took, wire.Cancel)) and (job := self._jobs.get(message.id)) is not None:  # else it has ended
            if isinstance(message, wire.Cancel):
                job.cancelled = True
            job.room.release(message.count if isinstance(message, wire.Took) else 1)  # a cancelled one may wait for room

    def _answer(self, work: Callable[[wire.Call], Any], call: wire.Call) -> None:
        try:
            answer: wire.Message = wire.Done(call.id, work(call))
        except EngineError as error:
            answer = wire.Failed(call.id, str(error))
        self._jobs.pop(call.id, None)
        self._send(answer)

    def _begin(self, call: wire.Call) -> None:
        for id in call.arguments["drop"]:
            self._utterances.pop(id, None)
        self._utterances[call.id] = self._engine.begin(ASROptions(**call.arguments["options"]))

    def _value(self, call: wire.Call) -> Any:
        if call.method == "prepare":
            return self._engine.prepare(lines(call))
        utterance = self._utterances[call.arguments["utterance"]]
        return asdict(utterance.finish() if call.method == "finish" else utterance.hear(call.pcm))

    def _stream(self, call: wire.Call) -> None:
        job, pieces = self._jobs[call.id], self._pieces(call)
        try:
            for piece in pieces:
                if isinstance(piece, str):
                    message = wire.Piece(call.id, piece)
                elif call.method == "transcribe":
                    message = wire.Piece(call.id, asdict(piece))
                else:
                    message = wire.Piece(call.id, pcm=piece)
                if job.cancelled:
                    return
                if message.value or message.pcm is not None and len(message.pcm):  # the other end makes its own pulses
                    job.room.acquire()
                    self._send(message)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _pieces(self, call: wire.Call) -> Any:
        given: dict[str, Any] = call.arguments
        if call.method == "speak":
            return self._engine.speak(given["text"], given["voice"], given["speed"])
        if call.method == "reply":
            return self._engine.reply(lines(call), max_tokens=given["max_tokens"], temperature=given["temperature"])
        return self._engine.transcribe(call.pcm, ASROptions(**given["options"]))


def lines(call: wire.Call) -> tuple[tuple[str, str], ...]:
    return tuple((role, text) for role, text in call.arguments["lines"])


def write(descriptor: int, data: bytes | memoryview) -> None:
    """All of `data`; a pipe takes less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def guarded(work: Callable[..., None], *arguments: Any) -> None:
    """What is no EngineError is a bug, and the process ends, as the server's own do."""
    try:
        work(*arguments)
    except BaseException:
        log.exception("this is a bug: the process ends and will be started again")
        logging.shutdown()
        os._exit(BUG)


def prepare_process(*pipes: int) -> None:
    """Processes that libraries start must not keep our pipes open, or nobody would see the other end go."""
    for pipe in pipes:
        os.set_inheritable(pipe, False)
        os.register_at_fork(after_in_child=lambda pipe=pipe: os.close(pipe))
    if sys.platform == "linux":  # a library that hangs with the interpreter's lock keeps us from reading the end of the pipe
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    requests, answers = int(sys.argv[1]), int(sys.argv[2])
    prepare_process(requests, answers)
    guarded(Far(requests, answers).run)
