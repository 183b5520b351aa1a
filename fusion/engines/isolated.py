"""An engine in another interpreter, for libraries whose dependencies cannot live in one environment with the rest.

The other interpreter is a child process with this repository on its path and libraries of its own; see
`wire/engine_pipe.py` for what travels, `isolated_child.py` for its side, `isolated_process.py` for one life of it as
seen from here. Services see an engine like any other.

| the child | what happens |
| --- | --- |
| loads for the first time | the constructor waits; what fails then is an `EngineError` from it |
| is up | calls go to it; nobody ever blocks on the pipe: a thread writes |
| dies, talks nonsense, or is stuck | calls under way end with `EngineError`; a new child is started, later and later while they die young |
| is being started again | calls wait `GIVE_UP_S` for it, then end with `EngineError` |
| loses its server | it reads the end of its pipe and exits; one that hangs in a library is killed by Linux |

Stuck is what has not ended a minute after it was closed. What nobody closes (hear, prepare) has main's own bound.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from queue import Empty
from typing import Any

import numpy as np

from fusion.engines import ASROptions, EngineError, Hypothesis, Segment, Word
from fusion.engines.isolated_process import Call, Child
from fusion.engines.pump import PULSE_S
from fusion.wire import WireError
from fusion.wire import engine_pipe as wire

HELLO_S = 30.0  # up to there an interpreter only starts
LOAD_S = 600.0  # main is stricter at the start; this bounds what nobody watches, a load after a death
GIVE_UP_S = 10.0  # how long a call waits for a child that is being started
BEGIN_S = 0.25  # `begin` is called by an event loop
STOP_S = 2.0
FIRST_DELAY_S, LAST_DELAY_S, HEALTHY_S = 0.1, 30.0, 60.0  # as main starts its processes again

log = logging.getLogger("engine")


class Keeper:
    """Keeps one child alive, and is the way to it."""

    def __init__(self, kind: str, name: str, python: str, options: dict[str, Any]) -> None:
        program = shutil.which(os.path.expanduser(python))
        if program is None:
            raise EngineError(f"python={python} is no program that can be run; give the path of an interpreter, such as /opt/x/bin/python")
        self._who, self._program = f"{name} in {program}", program
        self._load = wire.Load(kind, name, options, log_levels())
        wire.encode(self._load)  # options that cannot travel are told to who gave them
        self._changed = threading.Condition()
        self._child: Child | None = None
        self._last: Child | None = None  # perhaps not loaded yet
        self._failure, self._refused = "", ""  # why it ended; what the engine itself said
        self._closing = threading.Event()
        self.attributes: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._keep, name="engine-keeper", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._child is not None or self._failure)
        if self._failure and not self.attributes:
            self._thread.join()
            raise EngineError(self._refused or f"{self._who} ended before it was loaded ({self._failure})")

    def child(self, wait_s: float) -> Child | None:
        with self._changed:
            there = self._changed.wait_for(lambda: self._child is not None and not self._child.gone, wait_s)
            return self._child if there else None

    def child_now(self) -> Child:
        """Waits for it; `EngineError` when it does not come soon."""
        child = self.child(GIVE_UP_S)
        if child is None:
            raise self._absent()
        return child

    def stream(self, method: str, arguments: dict[str, Any], of: Callable[[wire.Piece], Any], pulse: Any,
               pcm: np.ndarray | None = None) -> Iterator[Any]:
        """The pieces of a call as `of` makes them, and `pulse` (unless it is None) while there are none. To close it cancels the call."""
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
                try:
                    answer = call.answers.get(timeout=PULSE_S)
                except Empty:
                    if pulse is not None:
                        yield pulse
                    continue
                if isinstance(answer, wire.Failed):
                    raise EngineError(answer.text)
                if isinstance(answer, wire.Done):
                    return
                taken += 1
                if taken % (wire.WINDOW // 2) == 0:
                    child.send(wire.Took(call.id, wire.WINDOW // 2))
                yield of(answer)
        finally:
            child.leave(call)

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

    # --- the thread that keeps it ------------------------------------------------------------------------------

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
                log.warning("%s ended after %.1f s (%s); starting it again in %.1f s", self._who, lived, why, delay)
            self._closing.wait(delay)

    def _live(self) -> str:
        """One child from its start to its end, whose reason is returned."""
        child = self._last = Child(self._who, self._program)
        limit = timer(HELLO_S, child, "it did not say hello")
        try:
            for message in child.messages():
                if isinstance(message, wire.Hello):
                    log.info("%s runs on Python %s (process %d)", self._who, message.python, child.pid)
                    limit.cancel()
                    limit = timer(LOAD_S, child, "it was not loaded")
                    child.send(self._load)
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
        with self._changed:
            if self.attributes:
                log.info("%s is back", self._who)
            self.attributes = {name: tuple(v) if isinstance(v, list) else v for name, v in message.attributes.items()}
            self._child = child
            self._changed.notify_all()


def timer(limit_s: float, child: Child, why: str) -> threading.Timer:
    started = threading.Timer(limit_s, child.kill, (f"{why} within {limit_s:g} s",))
    started.daemon = True
    started.start()
    return started


def log_levels() -> dict[str, int]:
    """What is logged here is what shall be logged there: some libraries have been told to be quiet."""
    named = logging.root.manager.loggerDict.items()
    return {"": logging.root.level, **{name: one.level for name, one in named if isinstance(one, logging.Logger) and one.level}}


# --- the engines --------------------------------------------------------------------------------------------------


class IsolatedASR:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.close = keeper, keeper.close
        self.model, self.device, self.languages = (keeper.attributes[name] for name in ("model", "device", "languages"))

    def begin(self, options: ASROptions) -> IsolatedUtterance:
        return IsolatedUtterance(self._keeper, options)

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Segment]:
        yield from self._keeper.stream("transcribe", {"options": asdict(options)}, lambda piece: segment(piece.value), None, pcm)


class IsolatedUtterance:
    """Belongs to one child: when that is gone, so is what was heard."""

    def __init__(self, keeper: Keeper, options: ASROptions) -> None:
        self._child: Child | None = None
        self._keeper, self._options = keeper, options
        child = keeper.child(0)
        if child is not None:
            self._begin(child)
            with suppress(Empty):  # it is busy: what it thinks of the options comes with the first `hear`
                self._settle(BEGIN_S)

    def __del__(self) -> None:
        if self._child is not None:
            self._child.dropped.append(self._id)

    def hear(self, pcm: np.ndarray, final: bool = True) -> Hypothesis:
        return self._ask("hear", pcm)

    def finish(self) -> Hypothesis:
        return self._ask("finish")

    def _ask(self, method: str, pcm: np.ndarray | None = None) -> Hypothesis:
        if self._child is None:
            self._begin(self._keeper.child_now())
        self._settle(None)
        assert self._child is not None
        values = self._child.ask(method, {"utterance": self._id}, pcm).result()
        return Hypothesis(**{**values, "segments": tuple(segment(one) for one in values["segments"])})

    def _begin(self, child: Child) -> None:
        drop = [child.dropped.popleft() for _ in range(len(child.dropped))]
        self._begun: Call | None = child.ask("begin", {"options": asdict(self._options), "drop": drop})
        self._child, self._id = child, self._begun.id

    def _settle(self, timeout_s: float | None) -> None:
        """The answer to `begin`, if it has not come yet."""
        if self._begun is None:
            return
        try:
            self._begun.result(timeout_s)
        except EngineError:
            self._child = None  # asked again, it says so again
            raise
        self._begun = None


class IsolatedLLM:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.close = keeper, keeper.close
        self.model, self.device, self.parallel = (keeper.attributes[name] for name in ("model", "device", "parallel"))

    def reply(self, lines: Sequence[tuple[str, str]], *, max_tokens: int, temperature: float) -> Iterator[str]:
        asked = {"lines": list(lines), "max_tokens": max_tokens, "temperature": temperature}
        yield from self._keeper.stream("reply", asked, lambda piece: piece.value, "")

    def prepare(self, lines: Sequence[tuple[str, str]]) -> None:
        self._keeper.child_now().ask("prepare", {"lines": list(lines)}).result()


class IsolatedTTS:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.close = keeper, keeper.close
        self.model, self.device, self.sample_rate, self.voices = (
            keeper.attributes[name] for name in ("model", "device", "sample_rate", "voices"))

    def speak(self, text: str, voice: str, speed: float) -> Iterator[np.ndarray]:
        said = {"text": text, "voice": voice, "speed": speed}
        yield from self._keeper.stream("speak", said, lambda piece: piece.pcm, np.zeros(0, np.float32))


ENGINES: dict[str, type[IsolatedASR] | type[IsolatedLLM] | type[IsolatedTTS]] = {"asr": IsolatedASR, "llm": IsolatedLLM, "tts": IsolatedTTS}


def isolated(kind: str, name: str, python: str, options: dict[str, Any]) -> IsolatedASR | IsolatedLLM | IsolatedTTS:
    """The engine `name` of `kind`, in the interpreter `python`."""
    if kind not in ENGINES:
        raise EngineError(f"a {kind} engine cannot run in another interpreter; only {', '.join(ENGINES)} engines take python=")
    return ENGINES[kind](Keeper(kind, name, python, options))


def segment(values: dict[str, Any]) -> Segment:
    return Segment(**{**values, "words": tuple(Word(**word) for word in values["words"])})
