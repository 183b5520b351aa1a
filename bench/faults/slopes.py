"""Does a series grow? Its slope, with a confidence interval that knows of correlated samples.

The slope is that of Theil and Sen, the median of the slopes between all pairs of samples, which a
few outliers do not move (Sen 1968). Samples of a process follow each other closely (a cache that is
full stays full), so an interval that takes them for independent is too narrow: the residuals are
drawn anew in blocks of neighbours (moving block bootstrap, Künsch 1989), and the slope is computed
for each draw. Medians of `BINS` stretches stand for the samples; that makes no difference to the
slope, and keeps the number of pairs small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 96
DRAWS = 400
LEAST = 12  # samples, below which nothing is said
COVERED = 0.95
HOUR_S = 3600.0

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slope:
    """Change per hour, with the ends of its interval of 95 %; `growth` is what that makes over the
    time that was observed, `typical` the median of the samples.
    """

    per_hour: float
    low: float
    high: float
    hours: float
    typical: float
    samples: int

    @property
    def growth(self) -> float:
        return self.per_hour * self.hours

    def verdict(self, floor: float) -> str:
        """ "within noise" where the interval holds 0, or all growth is less than `floor`."""
        if self.samples < LEAST:
            return "too few samples"
        if self.low <= 0.0 <= self.high or abs(self.growth) < floor:
            return "within noise"
        return "grows" if self.per_hour > 0 else "falls"


def slope(seconds: Sequence[float], values: Sequence[float], seed: int = 1) -> Slope:
    """Of `values` at `seconds`, which rise. With fewer than `LEAST` samples all figures are 0."""
    at, found = np.asarray(seconds, np.float64), np.asarray(values, np.float64)
    typical = float(np.median(found)) if len(found) else 0.0
    if len(at) < LEAST:
        return Slope(0.0, 0.0, 0.0, 0.0, typical, len(at))
    x, y = _binned(at, found)
    middle = theil_sen(x, y)
    low, high = _interval(x, y, middle, np.random.default_rng(seed))
    hours = float(at[-1] - at[0]) / HOUR_S
    return Slope(middle * HOUR_S, low * HOUR_S, high * HOUR_S, hours, typical, len(at))


def theil_sen(x: Values, y: Values) -> float:
    """Median slope of all pairs; `x` must differ."""
    left, right = np.triu_indices(len(x), 1)
    return float(np.median((y[right] - y[left]) / (x[right] - x[left])))


def _binned(x: Values, y: Values) -> tuple[Values, Values]:
    parts = np.array_split(np.arange(len(x)), min(BINS, len(x)))
    return (
        np.array([x[part].mean() for part in parts]),
        np.array([np.median(y[part]) for part in parts]),
    )


def _interval(
    x: Values, y: Values, middle: float, chance: np.random.Generator
) -> tuple[float, float]:
    """Percentiles of the slopes of series with the same line and residuals in drawn blocks."""
    line = middle * x
    line = line + np.median(y - line)
    residuals = y - line
    size = block_size(residuals)
    starts = chance.integers(0, len(x) - size + 1, (DRAWS, -(-len(x) // size)))
    slopes = []
    for row in starts:
        drawn = np.concatenate([residuals[start : start + size] for start in row])[: len(x)]
        slopes.append(theil_sen(x, line + drawn))
    low, high = np.quantile(slopes, ((1 - COVERED) / 2, (1 + COVERED) / 2))
    return float(low), float(high)


def block_size(residuals: Values) -> int:
    """Long enough that blocks are nearly independent: three times the lag at which the
    autocorrelation has fallen below 1/e, at least the cube root of the count, at most a quarter.
    """
    count = len(residuals)
    centred = residuals - residuals.mean()
    power = float(np.dot(centred, centred))
    lag = 1
    while power > 0 and lag < count // 4:
        if float(np.dot(centred[:-lag], centred[lag:])) / power < np.exp(-1):
            break
        lag += 1
    return int(min(max(3 * lag, round(count ** (1 / 3))), max(1, count // 4)))
