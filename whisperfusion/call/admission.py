"""Admission: whether one more call can be answered in time, or its client is asked to wait.

Load shedding makes what callers get cheaper, not the waits of a machine that is full: with sixteen
callers on 2 cores the median reply came after 9.6 s. Eight are answered within twice the time of
one. So a call beyond that is not admitted, its client learns for how long, and the admitted ones do
not notice it. Calls in which no user speaks cost next to nothing and do not count.

What decides is the time to first audio that is predicted for one more active caller, from what the
replies of the last moments took, wherever their engines run: once load shedding has begun, it may
not pass its limit. Before that no caller waits too long, and a machine that is slow for another
reason is not taken for one that is full. Where this machine's processor writes the replies, a
number of active callers for each core counts too: until the processor is full it lets beginnings of
replies go first, so the measurements rise late, and a server that has just started has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from whisperfusion.messages import Stage
from whisperfusion.turns.commands import Latency
from whisperfusion.turns.latency_prediction import LatencyPrediction, smoothed
from whisperfusion.turns.load_shedding import Load
from whisperfusion.turns.states import State

# active calls, where this machine's processor also writes the replies: the figures above
ACTIVE_PER_CORE = 4
ACTIVE_S = 20.0  # after its last turn, or its beginning, a call is still active
# interim transcripts are rarer and the recognizer is smaller, and replies are late all the same
FULL_LEVEL = 2
FEW = 4  # below so many active calls the load of a moment ago has ended with its callers
WAIT_MIN = 0.5  # until one of many callers has paused, or the load has been shed
LONGEST_WAIT_MIN = 5.0
LINE_S = 60.0  # clients that were turned away within this time come back, and are before the next
NEARLY = 0.99  # the load of a server that admits one more call


class Conversing(Protocol):
    @property
    def state(self) -> State: ...


class Member(Protocol):
    @property
    def call(self) -> str: ...

    @property
    def conversation(self) -> Conversing: ...


class Admission:
    """`stages` is the process's own, living mapping; `most_calls`: that may be connected, 0 = any
    number. `now` never goes back. Not thread safe.
    """

    def __init__(
        self, load: Load, stages: Mapping[str, Stage], cores: int, most_calls: int = 0
    ) -> None:
        self._load, self._stages, self._most = load, stages, ACTIVE_PER_CORE * cores
        self._most_calls = most_calls
        self._active: dict[str, float] = {}  # call -> when it was last in a turn, or began
        self._spoke: dict[str, float] = {}  # call -> when it was last in a turn
        self._began: dict[str, float] = {}
        self._prediction = LatencyPrediction()
        self._call_min = 0.0  # how long a call is, smoothed; 0 = none has ended
        self._turned_away: deque[float] = deque(maxlen=1000)
        self.draining = False  # the server ends with the calls that it has
        self.admitted = self.refused = 0  # calls; refused for whatever limit

    # --- what is observed ------------------------------------------------------------------------

    def started(self, call: str, now: float) -> None:
        self.admitted += 1
        self._active[call] = self._began[call] = now

    def update(self, callers: Iterable[Member], now: float) -> None:
        """To be called once a second, with all callers."""
        for one in callers:
            if one.conversation.state is not State.IDLE:
                self._active[one.call] = self._spoke[one.call] = now

    def ended(self, call: str, now: float) -> None:
        self._active.pop(call, None)
        self._spoke.pop(call, None)
        began = self._began.pop(call, None)
        if began is not None and now - began > ACTIVE_S:  # else it was no conversation
            self._call_min = smoothed(self._call_min, (now - began) / 60)

    def replied(self, latency: Latency, in_turn: int, now: float) -> None:
        """The first sound of a reply; `in_turn`: callers in a turn."""
        service_s = latency.words_s + max(0.0, latency.first_sound_s - latency.decided_s)
        speaking = self._speaking_calls(now)
        self._prediction.reply_took(latency.first_sound_s, service_s, speaking, in_turn, now)

    def turned_away(self, now: float) -> None:
        """A client was told to come back, for whatever limit."""
        self.refused += 1
        self._turned_away.append(now)

    # --- what follows ----------------------------------------------------------------------------

    def wait_min(self, now: float) -> float:
        """0 = the next call is admitted; else the minutes after which its client may try again."""
        if self.draining:
            return WAIT_MIN
        active = self._active_calls(now)
        crowded = self._own_llm() and active >= self._most
        level = self._load.level(now)
        late = level >= FULL_LEVEL or level >= 1 and self._predicted(now) > 1.0
        return self._place_free_min(active, now) if crowded or late and active >= FEW else 0.0

    @property
    def reason(self) -> str:
        """Why the next call is not admitted."""
        if self.draining:
            return "this server is being restarted"
        return "as many people talk as can be answered in time"

    def load(self, now: float) -> float:
        """0 to 1, where 1.0 = the next call would be asked to wait."""
        if self.wait_min(now) or self._at_limit():
            return 1.0
        active, calls = self._active_calls(now), len(self._began)
        shares = [
            active / self._most if self._own_llm() else 0.0,
            calls / self._most_calls if self._most_calls else 0.0,
            self._predicted(now),
        ]
        return min(max(shares), NEARLY)

    def metrics(self, now: float) -> tuple[tuple[str, float], ...]:
        wait_min = self.wait_min(now) or (LONGEST_WAIT_MIN if self._at_limit() else 0.0)
        return (
            ("calls_total", float(self.admitted)),
            ("calls_refused_total", float(self.refused)),
            ("load", self.load(now)),
            ("draining", float(self.draining)),
            ("admission_wait_seconds", 60 * wait_min),
        )

    # --- how -------------------------------------------------------------------------------------

    def _predicted(self, now: float) -> float:
        """Of what callers accept to wait beyond the time of a single one, the share that one more
        active caller would wait. Clients that have only connected use nothing: many of them at once
        say nothing of a server that is busy already.
        """
        expected_s = self._prediction.first_audio_s(self._speaking_calls(now) + 1, now)
        if expected_s is None:
            return 0.0
        alone_s = self._prediction.alone_s(now)
        spare_s = self._load.reply_limit_s - alone_s
        return (expected_s - alone_s) / spare_s if spare_s > 0 else 0.0

    def _place_free_min(self, active: int, now: float) -> float:
        """Of `active` calls one ends in an n-th of the time of a call; each client that was turned
        away before takes one such place (Little's law).
        """
        while self._turned_away and self._turned_away[0] <= now - LINE_S:
            self._turned_away.popleft()
        before = len(self._turned_away)
        free_min = self._call_min * (before + 1) / max(1, active)
        return min(max(WAIT_MIN, free_min), LONGEST_WAIT_MIN)

    def _at_limit(self) -> bool:
        return 0 < self._most_calls <= len(self._began)

    def _active_calls(self, now: float) -> int:
        return sum(at > now - ACTIVE_S for at in self._active.values())

    def _speaking_calls(self, now: float) -> int:
        return sum(at > now - ACTIVE_S for at in self._spoke.values())

    def _own_llm(self) -> bool:
        llm = self._stages.get("llm")
        return llm is not None and (llm.engine, llm.device) == ("llama.cpp", "cpu")
