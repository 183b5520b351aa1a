"""Policies of turn-taking over recorded pauses: when would each have ended the turn?

Pure. A policy is a function from what is known of a pause to the seconds of silence after which it
ends the turn. A turn is cut off when that is not longer than one of its inner pauses; its wait is
from the true end of the speech to the decision in the last pause, whether it was cut off before or
not. Nothing ends a turn before its transcript is there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from whisperfusion.text.end_of_turn import Ending, ending
from whisperfusion.text.segmentation import words
from whisperfusion.turns.turn_detection import combined, max_silence_s, silence_needed

TRANSCRIPT_S = 0.34  # of silence until the final transcript is there: median of the bench
SHORT_WORDS = 3  # a short answer
RESAMPLED, SEED = 500, 1


@dataclass(frozen=True)
class Evidence:
    """What is known of a pause once its transcript is there.

    `at_s` is its beginning, `length_s` None where the turn ended. `score` is the end-of-turn
    model's, `by_states` that of the head on its states, `end_of_turn` the recognizer's;
    `narration` and `asked` as in the product.
    """

    at_s: float
    length_s: float | None
    text: str
    score: float | None
    end_of_turn: float | None
    narration: int
    asked: str = ""
    by_states: float | None = None


@dataclass(frozen=True)
class Spoken:
    """A turn without its sound."""

    name: str
    speaker: str
    tags: tuple[str, ...]
    end_s: float
    pauses: tuple[Evidence, ...]

    @property
    def text(self) -> str:
        return self.pauses[-1].text


@dataclass(frozen=True)
class Point:
    """Of all turns at one setting: the share that was cut off, and seconds of wait."""

    setting: float
    cut: float
    mean_s: float
    median_s: float


Policy = Callable[[Evidence, float], float]  # (pause, setting) to seconds


def ours(pause: Evidence, eagerness: float) -> float:
    needed = silence_needed(
        pause.score,
        pause.text,
        "en",
        eagerness,
        pause.narration,
        combined(pause.end_of_turn, pause.by_states),
        pause.asked,
    )
    return min(needed, max_silence_s(True, eagerness))


def without_encoder(pause: Evidence, eagerness: float) -> float:
    return ours(replace(pause, end_of_turn=None), eagerness)


def without_model(pause: Evidence, eagerness: float) -> float:
    return ours(replace(pause, score=None, by_states=None), eagerness)


def without_heads(pause: Evidence, eagerness: float) -> float:
    return ours(replace(pause, end_of_turn=None, by_states=None), eagerness)


def without_words(pause: Evidence, eagerness: float) -> float:
    """Words that say nothing about the end of a turn, in the place of those that were said."""
    return ours(replace(pause, text="I like trains."), eagerness)


def fixed(pause: Evidence, silence_s: float) -> float:
    return silence_s


def pipecat(pause: Evidence, stop_s: float) -> float:
    """Smart Turn as Pipecat asks it: over at once above 0.5, else after `stop_s` (3 s there)."""
    return 0.25 if (pause.score or 0.0) > 0.5 else stop_s


def livekit(pause: Evidence, most_s: float) -> float:
    """LiveKit's two delays (0.5 s and 3 s there), with Smart Turn in the place of its own model."""
    return 0.5 if (pause.score or 0.0) > 0.5 else most_s


EAGERNESS = tuple(at / 20 for at in range(21))
POLICIES: dict[str, tuple[Policy, Sequence[float]]] = {
    "ours": (ours, EAGERNESS),
    "ours, without the encoder": (without_encoder, EAGERNESS),
    "ours, without Smart Turn": (without_model, EAGERNESS),
    "ours, without both heads": (without_heads, EAGERNESS),
    "ours, without words": (without_words, EAGERNESS),
    "fixed silence": (fixed, tuple(at / 20 for at in range(7, 41))),
    "Smart Turn, Pipecat's way": (pipecat, (1.0, 1.5, 2.0, 3.0)),
    "Smart Turn, LiveKit's delays": (livekit, (1.0, 1.5, 2.0, 3.0)),
}


def outcome(turn: Spoken, policy: Policy, setting: float) -> tuple[bool, float]:
    """(was it cut off, seconds of wait at its end)."""
    cut = False
    for pause in turn.pauses[:-1]:
        needed = max(policy(pause, setting), TRANSCRIPT_S)
        cut = cut or needed <= (pause.length_s or 0.0)
    last = turn.pauses[-1]
    return cut, last.at_s + max(policy(last, setting), TRANSCRIPT_S) - turn.end_s


@dataclass(frozen=True)
class Outcomes:
    """Of some turns under one policy at one setting: whether each was cut off, and its wait."""

    setting: float
    found: tuple[tuple[bool, float], ...]

    def point(self) -> Point:
        waits = [wait for _, wait in self.found]
        return Point(self.setting, fmean(cut for cut, _ in self.found), fmean(waits), median(waits))

    def of(self, chosen: Sequence[int]) -> Outcomes:
        """Of the turns with these numbers, some perhaps more than once."""
        return Outcomes(self.setting, tuple(self.found[at] for at in chosen))


def outcomes(turns: Sequence[Spoken], policy: Policy, setting: float) -> Outcomes:
    return Outcomes(setting, tuple(outcome(turn, policy, setting) for turn in turns))


def cut_at(points: Iterable[Point], mean_s: float) -> float | None:
    """The share of turns that is cut off at a mean wait, between the nearest settings."""
    ordered = sorted(points, key=lambda one: one.mean_s)
    for less, more in pairwise(ordered):
        if less.mean_s <= mean_s <= more.mean_s:
            share = (mean_s - less.mean_s) / ((more.mean_s - less.mean_s) or 1.0)
            return less.cut + share * (more.cut - less.cut)
    return None


def wait_at(points: Iterable[Point], cut: float) -> float | None:
    """The shortest mean wait at which no more than this share is cut off."""
    return min((one.mean_s for one in points if one.cut <= cut), default=None)


def interval(
    turns: Sequence[Spoken], curve: Sequence[Outcomes], mean_s: float
) -> tuple[float, float] | None:
    """95 % of `cut_at` when speakers are drawn again, all turns of each together."""
    speakers: dict[str, list[int]] = {}
    for at, turn in enumerate(turns):
        speakers.setdefault(turn.speaker, []).append(at)
    names, chance = sorted(speakers), random.Random(SEED)
    found = []
    for _ in range(RESAMPLED):
        drawn = [at for name in chance.choices(names, k=len(names)) for at in speakers[name]]
        value = cut_at((one.of(drawn).point() for one in curve), mean_s)
        if value is not None:
            found.append(value)
    found.sort()
    edge = len(found) // 40
    return (found[edge], found[-1 - edge]) if len(found) > RESAMPLED // 2 else None


def kinds(turn: Spoken) -> tuple[str, ...]:
    """What sort of turn it is, by its last words and the set's tags; may be several."""
    last = ending(turn.text) if turn.text else None
    by_words = {
        Ending.QUESTION: "questions",
        Ending.REQUEST: "requests",
        Ending.DICTATION: "spelled or dictated",
    }.get(last or Ending.PLAIN, "statements")
    short = ("short answers",) if len(words(turn.text)) <= SHORT_WORDS else ()
    tagged = tuple(tag for tag in ("hesitation", "pause-before-last-word") if tag in turn.tags)
    fluent = () if len(turn.pauses) > 1 else ("fluent",)
    return (by_words, *short, *tagged, *fluent)
