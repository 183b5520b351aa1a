"""What each caller may ask of the machine now, and what the transcription process has counted.

`Load` (whisperfusion/turns/load_shedding.py) says how bad it is; this limits all callers: how
often they get interim transcripts, whether replies are begun while the user speaks, which
recognizer new utterances get, how long replies are. Everything runs on the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping

from whisperfusion.call.caller import Caller
from whisperfusion.messages import Histogram, Metrics, Stage
from whisperfusion.turns.commands import Latency, TurnCounts
from whisperfusion.turns.load_shedding import Load, interim_every_s
from whisperfusion.turns.states import SPEAKING_OVER, State
from whisperfusion.turns.wait_estimate import WaitEstimate, WaitEstimator

SMALL_LEVEL = 2  # from here on new utterances get the smaller recognizer
SHORT_LEVEL = 3  # from here on replies are short
# callers in a turn at once, up to which replies are begun while the user speaks, although most of
# those are wasted
SPARE = 2
# Upper bounds of the histograms, in seconds: closest where replies should come, up to what no user
# waits for.
BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
# of `Latency`, each with its metric
LATENCIES = {
    "words": "transcription_delay_seconds",
    "decided": "end_of_turn_delay_seconds",
    "first_token": "time_to_first_token_seconds",
    "first_sound": "time_to_first_audio_seconds",
}


class Durations:
    """A histogram."""

    def __init__(self) -> None:
        self._counts, self._sum_s = [0] * (len(BOUNDS_S) + 1), 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def histogram(self, name: str) -> Histogram:
        return Histogram(name, BOUNDS_S, tuple(self._counts), self._sum_s)


class Degradation:
    """`callers` is the process's own, living collection."""

    def __init__(self, callers: Collection[Caller]) -> None:
        self.load, self.counts, self._estimator = Load(smaller=False), TurnCounts(), WaitEstimator()
        self._callers = callers
        self._decodes = {"interim": 0, "final": 0}
        self._durations = {name: Durations() for name in LATENCIES}
        self._lost = {"asr": 0, "llm": 0, "tts": 0}
        self._wasted = 0

    def transcribed(self, waited_s: float, decode_s: float, urgent: bool, now: float) -> None:
        """A transcript came `waited_s` after its request, of which the engine took `decode_s`."""
        self._decodes["final" if urgent else "interim"] += 1
        if urgent:
            self.load.transcript_took(waited_s, self.in_turn(), now)
        else:
            self.load.decode_took(decode_s)

    def replied(self, latency: Latency, now: float) -> None:
        for name, durations in self._durations.items():
            durations.add(getattr(latency, f"{name}_s"))
        self.load.reply_took(latency.first_sound_s, self.in_turn(), now)
        self._estimator.reply_took(latency.first_sound_s, now)

    def estimate_wait(self, stages: Mapping[str, Stage], now: float) -> WaitEstimate | None:
        """Why and how long a reply that is requested now will be late; None: it comes soon."""
        since = [caller.conversation.awaited_since for caller in self._callers]
        waiting_s = [now - at for at in since if at is not None]
        return self._estimator.estimate(stages, waiting_s, now)

    def turn_lost(self, stage: str) -> None:
        """A turn failed because of `stage`."""
        self._lost[stage] = self._lost.get(stage, 0) + 1

    def use_small(self, now: float) -> bool:
        """Should new utterances get the smaller recognizer?"""
        return self.load.level(now) >= SMALL_LEVEL

    def apply(self, jobs_waiting: int, now: float) -> str | None:
        """To be called once a second: limits every caller; returns a sentence for all of them when
        the level changed.
        """
        self.load.jobs_wait(jobs_waiting, self.in_turn(), now)
        speaking = sum(
            caller.conversation.state in SPEAKING_OVER | {State.USER_SPEAKING}
            for caller in self._callers
        )
        level, spare = self.load.level(now), self.in_turn() <= SPARE
        every_s = interim_every_s(speaking, self.load.decode_s, level if spare else max(level, 1))
        for caller in self._callers:
            caller.limit(every_s, early_replies=spare and level < 1, brief=level >= SHORT_LEVEL)
        return self.load.changed(now)

    def metrics(self, now: float) -> Metrics:
        counts = self.counts
        # one in progress may yet be used: a counter never falls
        self._wasted = max(self._wasted, counts.preemptive - counts.preemptive_used)
        values = {
            "user_turns_total": counts.turns,
            "preemptive_generations_total": counts.preemptive,
            "preemptive_generations_used_total": counts.preemptive_used,
            "preemptive_generations_wasted_total": self._wasted,
            "interruptions_total": counts.interruptions,
            "false_interruptions_total": counts.false_interruptions,
            "premature_turn_ends_total": counts.merged_turns,
            "interim_transcripts_total": self._decodes["interim"],
            "final_transcripts_total": self._decodes["final"],
            "active_calls": len(self._callers),
            "degradation_level": self.load.level(now),
            "unexpected_events_total": counts.unexpected_events,
        }
        return Metrics(
            "asr",
            tuple((name, float(value)) for name, value in values.items()),
            tuple(one.histogram(LATENCIES[name]) for name, one in self._durations.items()),
            tuple(self._lost.items()),
        )

    def in_turn(self) -> int:
        """Callers whose turn, or the reply to it, is not over."""
        return sum(caller.conversation.state is not State.IDLE for caller in self._callers)
