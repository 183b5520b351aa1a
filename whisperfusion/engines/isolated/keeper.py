"""Keeps one child process with an engine alive, and is the way to it.

| the child | what happens |
| --- | --- |
| loads for the first time | the constructor waits; what fails then is an `EngineError` from it |
| is up | calls go to it; no call blocks on the pipe: a thread writes |
| dies, talks nonsense, or is stuck | its calls end with `EngineError`; a new child starts |
| is being started again | calls wait `GIVE_UP_S` for it, then end with `EngineError` |
| loses its server | it reads the end of its pipe and exits; Linux kills one that hangs |

A call is stuck when it has not ended a minute after it was closed. Calls that cannot be closed
(`accept_audio`, `warm_up`) have main's own bound.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty
from typing import Any, TypeVar

from whisperfusion import json_log
from whisperfusion.audio import Samples
from whisperfusion.engines.elsewhere.adapters import engine_error, told_attributes
from whisperfusion.engines.isolated.process import Child
from whisperfusion.engines.pump import PULSE_S
from whisperfusion.errors import EngineError
from whisperfusion.wire import WireError
from whisperfusion.wire import engine_pipe as wire

Value = TypeVar("Value")

HELLO_S = 30.0  # up to there an interpreter only starts
# main is stricter at the start; this bounds a load after a death
LOAD_S = 600.0
GIVE_UP_S = 10.0  # how long a call waits for a child that is being started
STOP_S = 2.0
FIRST_DELAY_S, LAST_DELAY_S, HEALTHY_S = 0.1, 30.0, 60.0  # as main starts its processes again

log = logging.getLogger("engine")


class Keeper:
    """Keeps one child alive, and is the way to it."""

    def __init__(
        self, kind: str, name: str, python: str, options: dict[str, Any], again: dict[str, Any]
    ) -> None:
        program = shutil.which(os.path.expanduser(python))
        if program is None:
            raise EngineError(
                f"python={python} is not a program that can be run; give the path of an "
                "interpreter, such as /opt/x/bin/python"
            )
        self._who, self._program = f"{name} in {program}", program
        self._load = wire.Load(kind, name, options, log_levels(), json_log.process())
        wire.encode(self._load)  # raises for options that cannot travel
        self._load_again = replace(self._load, options=again)
        self._changed = threading.Condition()
        self._child: Child | None = None
        self._last: Child | None = None  # perhaps not loaded yet
        self._failure, self._refused = "", ""  # why it ended; the engine's own message
        self._closing = threading.Event()
        self.attributes: dict[str, Any] = {}
        # called with each later child when it is up, by the thread that reads its answers
        self.again: Callable[[Child], object] = lambda child: None
        self._thread = threading.Thread(target=self._keep, name="engine-keeper", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._child is not None or self._failure)
        if self._failure and not self.attributes:
            self._thread.join()
            raise EngineError(
                self._refused or f"{self._who} ended before it was loaded ({self._failure})"
            )

    def child(self, wait_s: float) -> Child | None:
        with self._changed:
            there = self._changed.wait_for(
                lambda: self._child is not None and not self._child.gone, wait_s
            )
            return self._child if there else None

    def child_now(self) -> Child:
        """Waits for it; `EngineError` when it does not come soon."""
        child = self.child(GIVE_UP_S)
        if child is None:
            raise self._absent()
        return child

    def stream(
        self,
        method: str,
        arguments: dict[str, Any],
        of: Callable[[wire.Piece], Value],
        pulse: Value | None,
        pcm: Samples | None = None,
        unwanted: Callable[[], list[int]] = list,
    ) -> Iterator[Value]:
        """The pieces of a call as `of` makes them, and `pulse` (unless it is None) while there
        are none. To close it cancels the call.

        `unwanted` gives, each time, the parts of the call that are of no use any more; the child
        gets them.
        """
        began = time.monotonic()
        while (child := self.child(PULSE_S)) is None:
            if time.monotonic() - began > GIVE_UP_S:
                raise self._absent()
            if pulse is not None:
                yield pulse
        call = child.ask(method, arguments, pcm)
        taken = 0
        try:
            while True:
                if parts := unwanted():
                    child.send(wire.Unwanted(call.id, parts))
                try:
                    answer = call.answers.get(timeout=PULSE_S)
                except Empty:
                    if pulse is not None:
                        yield pulse
                    continue
                if isinstance(answer, wire.Failed):
                    raise engine_error(answer.kind, answer.text)
                if isinstance(answer, wire.Done):
                    return
                taken += 1
                if taken % (wire.WINDOW // 2) == 0:
                    child.send(wire.Took(call.id, wire.WINDOW // 2))
                yield of(answer)
        finally:
            child.leave(call)

    def value(self, method: str, arguments: dict[str, Any], pcm: Samples | None = None) -> Any:
        """The result of a call without pieces."""
        return self.child_now().ask(method, arguments, pcm).result()

    def close(self) -> None:
        """End the child. Not needed before the end of the process, which ends it too."""
        self._closing.set()
        if self._last is not None:
            self._last.close()
            self._thread.join(STOP_S)
            self._last.kill("was closed")
        self._thread.join()

    def _absent(self) -> EngineError:
        return EngineError(f"{self._who} is being started again; try again in a moment")

    # --- the thread that keeps it ----------------------------------------------------------------

    def _keep(self) -> None:
        delay = FIRST_DELAY_S
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                why = self._live()
            except Exception as error:  # no more threads or files, say: it must be tried again
                why = f"{type(error).__name__}: {error}"
            lived = time.monotonic() - began
            with self._changed:
                self._failure = why
                self._changed.notify_all()
            if not self.attributes:
                return  # the constructor tells
            delay = FIRST_DELAY_S if lived > HEALTHY_S else min(delay * 2, LAST_DELAY_S)
            if not self._closing.is_set():
                log.warning(
                    "%s ended after %.1f s (%s); starting it again in %.1f s",
                    self._who,
                    lived,
                    why,
                    delay,
                )
            self._closing.wait(delay)

    def _live(self) -> str:
        """One child from its start to its end, whose reason is returned."""
        child = self._last = Child(self._who, self._program)
        limit = timer(HELLO_S, child, "it did not say hello")
        try:
            for message in child.messages():
                if isinstance(message, wire.Hello):
                    log.info(
                        "%s runs on Python %s (process %d)", self._who, message.python, child.pid
                    )
                    limit.cancel()
                    limit = timer(LOAD_S, child, "it was not loaded")
                    child.send(self._load_again if self.attributes else self._load)
                elif isinstance(message, wire.Ready):
                    limit.cancel()
                    self._ready(child, message)
                elif isinstance(message, wire.Failed) and message.id == 0:
                    self._refused = message.text
                    child.kill(message.text)
                elif isinstance(message, (wire.Piece, wire.Done, wire.Failed)):
                    child.answer(message)
        except WireError as error:
            child.kill(f"it talks nonsense: {error}")
        finally:
            limit.cancel()
            with self._changed:
                self._child = None
            why = child.end()
        return why

    def _ready(self, child: Child, message: wire.Ready) -> None:
        if self.attributes:
            log.info("%s is back", self._who)
            self.again(child)
        with self._changed:
            self.attributes = told_attributes(message.attributes)
            self._child = child
            self._changed.notify_all()


def timer(limit_s: float, child: Child, why: str) -> threading.Timer:
    started = threading.Timer(limit_s, child.kill, (f"{why} within {limit_s:g} s",))
    started.daemon = True
    started.start()
    return started


def log_levels() -> dict[str, int]:
    """The other interpreter logs at the same levels: some libraries are silenced."""
    named = logging.root.manager.loggerDict.items()
    return {
        "": logging.root.level,
        **{name: one.level for name, one in named if isinstance(one, logging.Logger) and one.level},
    }
