"""Liveness of the stage processes: when is one dead or stuck, and when does it start again?

Pure: heartbeats and a clock come in, reasons go out. Time is measured on a `PausableClock`, which
stands still while the process is suspended, so that no deadline passes that no process could keep.
A suspended machine, a stopped container, a closed laptop and a clock that jumps look alike from
inside: between two reads of the clock, which come at least every `step_s`, much more time has
passed. Of such a gap only `step_s` counts. So a machine that was suspended for minutes kills no
process, and a single process that was stopped is still detected (`Liveness`). Nor does a machine
that has too much to do: a process that is silent because it gets no processor is not ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from whisperfusion.messages import Heartbeat

# torch.compile warms up for minutes on a GPU; a slow disk needs 40 s for the largest default
# model
LOAD_S = 600.0
SILENT_S = 15.0  # heartbeats are sent every second
STUCK_S = 120.0  # longest step of a job without a sign of life
PROBE_S = 5.0  # of silence, after which it is looked at what the threads of the process wait for
# A thread waits for a processor for this share of the time: its machine has too much to do. In a
# process that is stopped or locked none does; where threads compute more than the cores can, some
# wait for half of the time.
STARVED = 0.7
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 30.0  # before a restart, doubling
# a process that lived this long starts again without delay, as does one that did useful work
HEALTHY_S = 60.0


class PausableClock:
    """A clock derived from another one, of whose gaps only `step_s` counts; never goes back. Not
    thread safe, except for reading `seconds`.
    """

    def __init__(self, step_s: float, now: float) -> None:
        self.seconds = now  # starts at the other clock's time
        self._step_s, self._last = step_s, now

    def at(self, now: float) -> float:
        """The time on this clock when the other one shows `now`."""
        gap, self._last = now - self._last, now
        self.seconds += min(max(gap, 0.0), self._step_s)
        return self.seconds


@dataclass
class Liveness:
    """Liveness of one process, started at `started`. All times are seconds on main's clock.

    `busy_since` of a `Heartbeat` is only compared with the previous one: any change is progress.
    """

    started: float
    delay: float = FIRST_DELAY_S  # before the next start, unless the process did useful work
    ready: bool = False
    served: int = 0  # jobs since this start
    _beat_at: float = 0.0
    _busy_since: float | None = None
    _busy_at: float = 0.0  # when that value first arrived
    _probe: tuple[float, Mapping[int, float]] | None = None  # in this silence: when, and the waits

    def on_start(self, now: float) -> None:
        self.started = self._beat_at = now
        self.ready, self.served, self._busy_since = False, 0, None

    def on_ready(self, now: float) -> None:
        self.ready, self._beat_at = True, now

    def on_heartbeat(self, beat: Heartbeat, now: float) -> None:
        if beat.busy_since != self._busy_since:
            self._busy_since, self._busy_at = beat.busy_since, now
        self._beat_at, self.served = now, beat.served

    def failure(self, now: float, waits: Callable[[], Mapping[int, float]] = dict) -> str:
        """Why the process must be killed; "" = it is alive. `waits`: for how many seconds each of
        its threads has waited for a processor so far (`process.run_queue_waits`).
        """
        if not self.ready and now - self.started > LOAD_S:
            return f"was not ready within {LOAD_S:.0f} s"
        if self.ready and self._silent_for_too_long(now, waits):
            return f"gave no sign of life for {SILENT_S:.0f} s"
        if self._busy_since is not None and now - self._busy_at > STUCK_S:
            return f"was stuck in one job for {STUCK_S:.0f} s"
        return ""

    def _silent_for_too_long(self, now: float, waits: Callable[[], Mapping[int, float]]) -> bool:
        silent = now - self._beat_at
        if silent <= PROBE_S:
            self._probe = None
            return False
        since, before = self._probe = self._probe or (now, waits())
        if silent <= SILENT_S or silent > STUCK_S:
            return silent > STUCK_S
        most = max((s - before.get(thread, s) for thread, s in waits().items()), default=0.0)
        return most < STARVED * (now - since)

    def restart_delay_s(self, now: float) -> float:
        """Seconds until the next start of a dead process: exponential back-off."""
        useful = self.served > 0 or now - self.started > HEALTHY_S
        self.delay = FIRST_DELAY_S if useful else min(self.delay * 2, LAST_DELAY_S)
        return self.delay
