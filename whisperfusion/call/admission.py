"""Admission: whether one more call can be answered in time, or its client is asked to wait.

Load shedding makes what callers get cheaper, not the waits of a machine that is full: with sixteen
callers on 2 cores the median reply came after 9.6 s. Eight are answered within twice the time of
one. So a call beyond that is not admitted, its client learns for how long, and the admitted ones do
not notice it. Calls in which no user speaks cost next to nothing and do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from whisperfusion.messages import Stage
from whisperfusion.turns.load_shedding import Load
from whisperfusion.turns.states import State

# active calls, where this machine's processor also writes the replies: the figures above
ACTIVE_PER_CORE = 4
ACTIVE_S = 20.0  # after its last turn, or its beginning, a call is still active
# interim transcripts are rarer and the recognizer is smaller, and replies are late all the same
FULL_LEVEL = 2
FEW = 4  # below so many active calls the load of a moment ago has ended with its callers
WAIT_MIN = 0.5  # until one of many callers has paused, or the load has been shed


class Conversing(Protocol):
    @property
    def state(self) -> State: ...


class Member(Protocol):
    @property
    def call(self) -> str: ...

    @property
    def conversation(self) -> Conversing: ...


class Admission:
    """`stages` is the process's own, living mapping. `now` never goes back. Not thread safe."""

    def __init__(self, load: Load, stages: Mapping[str, Stage], cores: int) -> None:
        self._load, self._stages, self._most = load, stages, ACTIVE_PER_CORE * cores
        self._active: dict[str, float] = {}  # call -> when it was last in a turn
        self.refused = 0  # calls, for whatever limit

    def started(self, call: str, now: float) -> None:
        self._active[call] = now

    def update(self, callers: Iterable[Member], now: float) -> None:
        """To be called once a second, with all callers."""
        for one in callers:
            if one.conversation.state is not State.IDLE:
                self._active[one.call] = now

    def ended(self, call: str) -> None:
        self._active.pop(call, None)

    def wait_min(self, now: float) -> float:
        """0 = the next call is admitted; else the minutes after which its client may try again."""
        active = self._active_calls(now)
        crowded = self._own_llm() and active >= self._most
        late = active >= FEW and self._load.level(now) >= FULL_LEVEL
        return WAIT_MIN if crowded or late else 0.0

    def _active_calls(self, now: float) -> int:
        return sum(at > now - ACTIVE_S for at in self._active.values())

    def _own_llm(self) -> bool:
        llm = self._stages.get("llm")
        return llm is not None and (llm.engine, llm.device) == ("llama.cpp", "cpu")
