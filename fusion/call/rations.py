"""What each caller may ask of the machine now, and what the hearing process has counted.

`Load` (fusion/core/load.py) says how bad it is; here that becomes rations: how often a caller gets partial
transcripts, whether answers are guessed while somebody speaks, which recognizer new utterances get, how long answers are.
Everything runs on the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

from fusion.call.caller import Caller
from fusion.core.conversation import State
from fusion.core.load import Load, partial_every_s
from fusion.core.turns import Counts, Latency
from fusion.messages import Histogram, Metrics

SMALL_LEVEL = 2  # from here on the smaller recognizer listens
SHORT_LEVEL = 3  # from here on answers are short
SPARE = 2  # callers in a turn at once, up to whom answers are begun while somebody still speaks: guesses that are mostly dropped
# Upper bounds of the histograms, in seconds: closest where answers shall come, up to what nobody waits for.
BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
LATENCIES = ("words", "decided", "first_token", "first_sound")


class Took:
    """How often something took how long."""

    def __init__(self) -> None:
        self._counts, self._sum_s = [0] * (len(BOUNDS_S) + 1), 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def histogram(self, name: str) -> Histogram:
        return Histogram(name, BOUNDS_S, tuple(self._counts), self._sum_s)


class Rations:
    """`callers` is the process's own, living collection."""

    def __init__(self, callers: Collection[Caller]) -> None:
        self.load, self.counts = Load(smaller=False), Counts()
        self._callers = callers
        self._decodes = {"partial": 0, "final": 0}
        self._took = {name: Took() for name in LATENCIES}
        self._lost = {"asr": 0, "llm": 0, "tts": 0}
        self._wasted = 0

    def words_came(self, waited_s: float, decode_s: float, urgent: bool, now: float) -> None:
        """A transcript came `waited_s` after it was asked for, of which the engine took `decode_s`."""
        self._decodes["final" if urgent else "partial"] += 1
        if urgent:
            self.load.words_took(waited_s, self._in_turn(), now)
        else:
            self.load.decode_took(decode_s)

    def answered(self, latency: Latency, now: float) -> None:
        for name, took in self._took.items():
            took.add(getattr(latency, f"{name}_s"))
        self.load.answer_took(latency.first_sound_s, self._in_turn(), now)

    def lost(self, stage: str) -> None:
        """A turn failed because of `stage`."""
        self._lost[stage] = self._lost.get(stage, 0) + 1

    def small(self, now: float) -> bool:
        """Shall a new utterance be heard by the smaller recognizer?"""
        return self.load.level(now) >= SMALL_LEVEL

    def share_out(self, jobs_waiting: int, now: float) -> str | None:
        """To be called once a second: gives every caller its ration; a sentence for all of them when the level changed."""
        self.load.jobs_wait(jobs_waiting, self._in_turn(), now)
        speaking = sum(caller.conversation.state in (State.USER, State.DOUBT) for caller in self._callers)
        level, spare = self.load.level(now), self._in_turn() <= SPARE
        partial_s = partial_every_s(speaking, self.load.decode_s, level if spare else max(level, 1))
        for caller in self._callers:
            caller.ration(partial_s, early=spare and level < 1, brief=level >= SHORT_LEVEL)
        return self.load.changed(now)

    def metrics(self, now: float) -> Metrics:
        counts = self.counts
        values = {f"{name}_total": float(value) for name, value in vars(counts).items()}
        self._wasted = max(self._wasted, counts.guesses - counts.guesses_used)  # one at hand may yet be used: a counter never falls
        values["guesses_wasted_total"] = float(self._wasted)
        values.update({f"{kind}_decodes_total": float(count) for kind, count in self._decodes.items()})
        values["callers"], values["load_level"] = float(len(self._callers)), float(self.load.level(now))
        histograms = tuple(took.histogram(f"{name}_seconds") for name, took in self._took.items())
        return Metrics("asr", tuple(values.items()), histograms, tuple(self._lost.items()))

    def _in_turn(self) -> int:
        return sum(caller.conversation.state is not State.IDLE for caller in self._callers)
