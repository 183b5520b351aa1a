"""Estimates whether a reply that is requested now comes soon; if not, its client learns at once why
and about when.

Known are how long the last replies took until they were heard, how long those have been waiting
that have not begun, and which stages are not ready.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whisperfusion.messages import Stage

SOON_S = 3.0  # most people say "hello?" long before; a reply that comes sooner is not announced
RECENT_S, RECENT = 20.0, 8  # what replies took: of so long, and so many of them
NAMES = {"llm": "the language model", "tts": "the voice"}


@dataclass(frozen=True)
class WaitEstimate:
    """`seconds`: until the reply can be expected, 0 = not known."""

    reason: str
    seconds: float


class WaitEstimator:
    """`now` never goes back. Not thread safe."""

    def __init__(self) -> None:
        self._took: deque[tuple[float, float]] = deque(maxlen=RECENT)  # (when, seconds)

    def reply_took(self, seconds: float, now: float) -> None:
        """The first sound of a reply came so long after the end of its turn."""
        self._took.append((now, seconds))

    def estimate(
        self, stages: Mapping[str, Stage], waiting_s: Sequence[float], now: float
    ) -> WaitEstimate | None:
        """`waiting_s`: of each reply of which nothing was heard yet, since it was committed.

        None: it comes soon.
        """
        for name, what in NAMES.items():
            stage = stages.get(name)
            if stage is not None and stage.state != "ready":
                return WaitEstimate(
                    f"{what} is being started; your answer comes when it is there", stage.load_s
                )
        recent = [seconds for at, seconds in self._took if at >= now - RECENT_S]
        expected = max(sum(recent) / len(recent) if recent else 0.0, max(waiting_s, default=0.0))
        if expected < SOON_S:
            return None
        return WaitEstimate(
            f"many answers are being made at once; yours may take {expected:.0f} seconds", expected
        )
