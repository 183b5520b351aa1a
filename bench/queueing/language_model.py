"""llama.cpp's server with many replies at once: one loop, each step of which writes a token of
every reply and reads a chunk of prompts.

Which reply goes on is decided by the server's own scheduler (whisperfusion/engines/llama/pace.py),
on the clock of the simulation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy

from bench.queueing.parameters import Engines
from bench.queueing.processor import Processor
from whisperfusion.engines.llama.pace import Pace, Writing

CHUNK = 64
PULSE_S = 0.1  # between two looks whether it is a reply's turn
NICE = 2  # llm_service.NICE
TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]")


def tokens(text: str) -> list[str]:
    """About the tokens of a text: words and marks, each with the space before it."""
    return TOKEN.findall(text)


class Reply:
    """`wrote(piece, last)` is called with each token."""

    def __init__(
        self,
        to_read: int,
        pieces: Sequence[str],
        wrote: Callable[[str, bool], object],
        writing: Writing | None,
    ) -> None:
        self.to_read, self.pieces, self.wrote, self.writing = to_read, list(pieces), wrote, writing
        self.cancelled = False
        self.stopped: simpy.Event | None = None  # the present instalment

    @property
    def over(self) -> bool:
        return self.cancelled or not (self.pieces or self.to_read)

    @property
    def must_wait(self) -> bool:
        return self.writing is not None and self.writing.must_wait

    def cancel(self) -> None:
        self.cancelled = True


class LanguageModel:
    def __init__(
        self,
        env: simpy.Environment,
        processor: Processor,
        engines: Engines,
        *,
        threads: int,
        slots: int,
        at_once: int,
        chunk: int = CHUNK,
        work: float = 1.0,
    ) -> None:
        """`chunk`: tokens of prompts in one step. `work`: factor on the seconds of a step, which
        are those of each of `threads`.
        """
        self._env, self._processor, self._engines = env, processor, engines
        self._threads, self._chunk, self._work = threads, chunk, work
        self._slots = simpy.Resource(env, slots)
        self._pace = Pace(at_once, clock=lambda: float(env.now))
        self._running: list[Reply] = []
        self._joined, self._stepped = env.event(), env.event()
        self.written = 0
        env.process(self._run())

    def write(
        self, to_read: int, pieces: Sequence[str], wrote: Callable[[str, bool], object]
    ) -> Reply:
        """A reply to a prompt of which `to_read` tokens are new."""
        reply = Reply(to_read, pieces, wrote, self._pace.start())
        self._env.process(self._write(reply))
        return reply

    def prefill(self, to_read: int) -> None:
        """Read ahead, unless replies begin, which are more urgent."""
        if self._pace.idle:
            self._env.process(self._write(Reply(to_read, (), lambda piece, last: None, None)))

    def _write(self, reply: Reply) -> Generator[simpy.Event, Any, None]:
        with self._slots.request() as slot:
            yield slot
            while not reply.over:
                if reply.must_wait:
                    yield self._env.any_of([self._stepped, self._env.timeout(PULSE_S)])
                    continue
                reply.to_read = max(1, reply.to_read)  # going on costs one token
                reply.stopped = self._env.event()
                self._running.append(reply)
                joined, self._joined = self._joined, self._env.event()
                joined.succeed()
                yield reply.stopped
        if reply.writing is not None:
            reply.writing.end()

    def _run(self) -> Generator[simpy.Event, Any, None]:
        engines = self._engines
        while True:
            while not self._running:
                yield self._joined
            writing = [one for one in self._running if not one.to_read]
            left = self._chunk
            for one in self._running:
                read = min(left, one.to_read)
                one.to_read, left = one.to_read - read, left - read
            read_ready = [one for one in self._running if not one.to_read and one not in writing]
            step_s = (
                engines.step + engines.token * len(writing) + engines.prompt * (self._chunk - left)
            )
            work = self._processor.start(step_s * self._work, self._threads, NICE)
            yield work.done
            for one in (*writing, *read_ready):
                self._token(one)
            for one in tuple(self._running):
                if one.over or (not one.to_read and one.must_wait):
                    self._running.remove(one)
                    if one.stopped is not None:
                        one.stopped.succeed()
            stepped, self._stepped = self._stepped, self._env.event()
            stepped.succeed()

    def _token(self, one: Reply) -> None:
        if one.cancelled or not one.pieces:
            return
        piece = one.pieces.pop(0)
        self.written += 1
        if one.writing is not None:
            one.writing.wrote(piece)
        one.wrote(piece, not one.pieces)
