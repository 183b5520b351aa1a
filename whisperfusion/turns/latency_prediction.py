"""Predicts the time to first audio that replies would take with one more active caller.

Callers share engines, here or on a server whose capacity is not known. Whatever it is, waiting
grows with it in the same way: a station of utilization p and mean service time S answers after
S / (1 - p), of which S * p / (1 - p) is waiting (M/M/1; Kleinrock, Queueing Systems I, 3.2). So
the waiting E that is measured with some active callers says how much the bottleneck is used,
p = E / (S + E), and callers who speak alike use it in proportion to their number. The median is
taken for the mean, so that single turns with a slow tool do not count. Excess that is small beside
the longest acceptable wait is not distinguished from jitter: `S_SHARE`.
"""

from __future__ import annotations

from collections import deque

from whisperfusion.turns.load_shedding import REPLY_S, SMOOTHING

RECENT_S, RECENT = 30.0, 64  # replies that count: of so long, and so many of them
FEWEST = 6  # replies, below which there is no prediction
S_SHARE = 0.2  # of the longest acceptable wait: the least service time that is assumed


class LatencyPrediction:
    """Times are seconds; `active` callers are those in a turn within the last moments; `now` never
    goes back. Not thread safe.
    """

    def __init__(self) -> None:
        self._replies: deque[tuple[float, float, int]] = deque(maxlen=RECENT)
        self._alone_s = self._service_s = 0.0  # first audio and service for a single caller

    def reply_took(
        self, first_audio_s: float, service_s: float, active: int, in_turn: int, now: float
    ) -> None:
        """A reply was first heard so long after the end of speech, of which `service_s` were
        spent on the engines' work and queues. `in_turn`: callers in a turn at that moment.
        """
        self._replies.append((now, first_audio_s, max(1, active)))
        if in_turn <= 1:
            self._alone_s = smoothed(self._alone_s, first_audio_s)
            self._service_s = smoothed(self._service_s, service_s)

    def alone_s(self, now: float) -> float:
        """The time to first audio without waiting: that of a single caller, else the shortest."""
        if self._alone_s:
            return self._alone_s
        return min((seconds for seconds, _ in self._recent(now)), default=0.0)

    def first_audio_s(self, callers: int, now: float) -> float | None:
        """The typical time to first audio with so many active callers; infinite where the
        bottleneck could not serve them. None: too little was measured lately.
        """
        recent = self._recent(now)
        if len(recent) < FEWEST:
            return None
        alone_s = self.alone_s(now)
        service_s = max(self._service_s, S_SHARE * REPLY_S)
        median_s = sorted(seconds for seconds, _ in recent)[len(recent) // 2]
        excess_s = max(0.0, median_s - alone_s)
        used = excess_s / (service_s + excess_s)
        used *= callers * len(recent) / sum(active for _, active in recent)
        return alone_s + service_s * used / (1 - used) if used < 1 else float("inf")

    def _recent(self, now: float) -> list[tuple[float, int]]:
        return [(seconds, active) for at, seconds, active in self._replies if at >= now - RECENT_S]


def smoothed(before: float, newest: float) -> float:
    """An exponential average that begins with its first value."""
    return before + SMOOTHING * (newest - before) if before else newest
