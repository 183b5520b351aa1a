"""The server as stages that share cores, with its own policies: load shedding, degradation and
admission are the classes that run in it, on the clock of the simulation.

What is not modelled: memory and caches (beyond `Sharing.together`), the kernel's placing of threads
on cores, sockets, the processes' queues between each other (`Fitted.overhead_s` stands for all
that), interruptions of replies, and turns that are taken for over too early.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, cast

import simpy

from bench.queueing.language_model import CHUNK, LanguageModel
from bench.queueing.parameters import Parameters
from bench.queueing.processor import Processor
from bench.queueing.station import Station
from whisperfusion.call.admission import Admission
from whisperfusion.call.degradation import Degradation
from whisperfusion.engines.llama.llama_cpp import AT_ONCE, decoding_threads
from whisperfusion.messages import Stage
from whisperfusion.turns.commands import Latency

if TYPE_CHECKING:
    from bench.queueing.callers import Call

INTERIM_NICE = 10  # whisperfusion/engines/whisper/faster_whisper.py
TOGETHER = 4  # whisper_server.TOGETHER
PARALLEL = 8  # of LlamaCpp, which has twice as many slots
FEW_CORES = 4
HEARTBEAT_S = 1.0


class Server:
    """`admits`: the server's own admission; without it everybody is let in."""

    def __init__(self, env: simpy.Environment, parameters: Parameters, admits: bool = True) -> None:
        self.env, self.parameters, self._admits = env, parameters, admits
        cores, sharing, engines = parameters.cores, parameters.sharing, parameters.engines
        efficient, work = sharing.second_thread, parameters.fitted.work
        self.processor = Processor(env, cores, sharing.together, sharing.barrier)
        hearing: dict[str, Any] = {
            "threads": 1 if cores <= 2 else min(4, cores // 2),
            "efficient": efficient,
            "together": TOGETHER,
            "more": engines.more,
        }
        self.interim = Station(env, self.processor, nice=INTERIM_NICE, **hearing)
        self.final = Station(env, self.processor, **hearing)
        self.end_of_turn = Station(env, self.processor)
        self.voice = Station(env, self.processor)
        threads = decoding_threads(cores)
        # a step was measured on two threads
        speed = (1 + (threads - 1) * efficient) / (1 + efficient)
        self.llm = LanguageModel(
            env,
            self.processor,
            engines,
            threads=threads,
            slots=2 * PARALLEL,
            at_once=AT_ONCE if cores <= FEW_CORES else PARALLEL,
            chunk=CHUNK if cores <= FEW_CORES else 8 * CHUNK,
            work=work / speed,
        )
        self.calls: dict[str, Call] = {}
        # a caller of the simulation has what these ask of one
        self.degradation = Degradation(cast("Any", self.calls.values()))
        self.degradation.load.smaller = True
        stage = Stage("llm", "ready", "llama.cpp", device="cpu")
        self.admission = Admission(self.degradation.load, {"llm": stage}, cores)
        env.process(self._heartbeat())

    def admit(self, call: Call) -> float:
        """0: the call has begun; else the minutes after which its caller may try again."""
        wait_min = self.admission.wait_min(self.env.now) if self._admits else 0.0
        if wait_min:
            self.admission.turned_away(self.env.now)
        else:
            self.calls[call.call] = call
            self.admission.started(call.call, self.env.now)
            self._reserve()
        return wait_min

    def hang_up(self, call: Call) -> None:
        self.calls.pop(call.call, None)
        self.admission.ended(call.call, self.env.now)
        self._reserve()

    def replied(self, latency: Latency) -> None:
        self.degradation.replied(latency, self.env.now)
        self.admission.replied(latency, self.degradation.in_turn(), self.env.now)

    def _reserve(self) -> None:
        self.processor.reserve(len(self.calls) * self.parameters.engines.frames)

    def _heartbeat(self) -> Generator[simpy.Event, Any, None]:
        while True:
            yield self.env.timeout(HEARTBEAT_S)
            now = self.env.now
            self.admission.update(cast("Any", self.calls.values()), now)
            self.degradation.apply(self.interim.waiting + self.final.waiting, now)
