"""One life of an engine's other interpreter: the process, its pipe and the calls that are under way
in it.

No call blocks on the pipe: a thread writes, and the thread that runs `messages` reads. Every call
ends, by an answer or by the end of the process. Frames and messages: `wire/engine_pipe.py`; the
other side: `child.py`; who keeps it alive: `keeper.py`.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from whisperfusion.audio import Samples
from whisperfusion.engines.elsewhere.adapters import engine_error
from whisperfusion.engines.isolated.child import CHUNK, write
from whisperfusion.engines.pump import soon
from whisperfusion.errors import EngineError
from whisperfusion.paths import run_module
from whisperfusion.wire import WireError
from whisperfusion.wire import engine_pipe as wire

CHILD = "whisperfusion.engines.isolated.child"
# from the close of a call to its end: engines ask ten times a second whether to go on
STUCK_S = 60.0


@dataclass
class Call:
    id: int
    answers: SimpleQueue[wire.Piece | wire.Done | wire.Failed] = field(default_factory=SimpleQueue)
    closed_at: float | None = None

    def result(self, timeout_s: float | None = None) -> Any:
        """Of a call without pieces. `queue.Empty` when the time is over."""
        answer = self.answers.get(timeout=timeout_s)
        if isinstance(answer, wire.Failed):
            raise engine_error(answer.kind, answer.text)
        return answer.value


class Child:
    """One life of the other interpreter.

    Start it in a thread that lives as long: Linux counts the end of that as ours.
    """

    def __init__(self, who: str, program: str) -> None:
        self._who = who
        # utterances that are not used any more; sent with the next `create_utterance`
        self.dropped: deque[int] = deque()
        self._ids, self._why = itertools.count(1), ""
        # garbage collection may close a generator, and so `leave`, in a thread that holds it
        self._lock = threading.RLock()
        self._calls: dict[int, Call] = {}
        self._outbox: SimpleQueue[tuple[bytes | memoryview, ...] | None] = SimpleQueue()
        theirs_in, self._requests = os.pipe()
        self._answers, theirs_out = os.pipe()
        self._writer = threading.Thread(target=self._write, name="engine-pipe", daemon=True)
        self._writer.start()
        try:
            self._process = subprocess.Popen(
                run_module(program, CHILD, str(theirs_in), str(theirs_out)),
                stdin=subprocess.DEVNULL,
                stdout=2,
                # Ctrl-C is for the server
                pass_fds=(theirs_in, theirs_out),
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            self.close()
            self._writer.join()
            os.close(self._answers)
            raise EngineError(
                f"{program} cannot be started ({error}); give another python="
            ) from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self.pid = self._process.pid

    @property
    def gone(self) -> bool:
        return bool(self._why)

    def messages(self) -> Iterator[wire.Message]:
        """What it says, until it is gone."""
        decoder = wire.Decoder()
        while data := os.read(self._answers, CHUNK):
            yield from decoder.feed(data)

    def send(self, message: wire.Message) -> None:
        try:
            self._outbox.put(wire.encode(message))
        except WireError as error:
            raise EngineError(str(error)) from error

    def ask(self, method: str, arguments: dict[str, Any], pcm: Samples | None = None) -> Call:
        """`EngineError` when it is gone or stuck."""
        stuck = not soon(lambda: not self._stuck())
        with self._lock:
            call = Call(next(self._ids))
            if stuck:
                self.kill(f"it did not stop within {STUCK_S:g} s")
            if self._why:
                raise EngineError(self._obituary())
            self._calls[call.id] = call
        try:
            self.send(wire.Call(call.id, method, arguments, pcm))
        except EngineError:
            self._calls.pop(call.id, None)
            raise
        return call

    def _stuck(self) -> bool:
        with self._lock:
            now = time.monotonic()
            return any(
                call.closed_at is not None and now - call.closed_at > STUCK_S
                for call in self._calls.values()
            )

    def answer(self, message: wire.Piece | wire.Done | wire.Failed) -> None:
        with self._lock:
            call = (
                self._calls.get(message.id)
                if isinstance(message, wire.Piece)
                else self._calls.pop(message.id, None)
            )
        if call is not None and call.closed_at is None:
            call.answers.put(message)

    def leave(self, call: Call) -> None:
        """`call` was cancelled. It is kept until the child says that it stopped."""
        with self._lock:
            call.closed_at = time.monotonic()
            if call.id in self._calls:
                self.send(wire.Cancel(call.id))

    def kill(self, why: str) -> None:
        self._why = self._why or why
        if self._process.returncode is None:  # once it is waited for, its number may be another's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # also what its libraries started

    def end(self) -> str:
        """Clean up after it has gone, and say why. Calls under way fail now."""
        self.kill("")
        code = self._process.wait()
        with self._lock:
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}; the log says why"
            self._why = self._why or how
            for call in self._calls.values():
                call.answers.put(wire.Failed(call.id, self._obituary(), EngineError.__name__))
            self._calls = {}
        self.close()
        self._writer.join()
        os.close(self._answers)
        return self._why

    def close(self) -> None:
        """It reads the end of its pipe, and exits."""
        self._outbox.put(None)

    def _obituary(self) -> str:
        return f"{self._who} ended ({self._why}); it is being started again"

    def _write(self) -> None:
        with suppress(BrokenPipeError):
            while parts := self._outbox.get():
                for part in parts:
                    write(self._requests, part)
        os.close(self._requests)


def environment() -> dict[str, str]:
    """Of the other interpreter: ours, without the place of *our* standard library."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
