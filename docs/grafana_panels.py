"""A panel of the Grafana dashboard as a value, and the expressions that panels are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "heatmap", "state-timeline"]


@dataclass(frozen=True)
class Panel:
    """`queries`: (expression, legend). `alert`: the section of the runbook that it belongs to.
    `limits`: (value, colour) from which on a value is coloured so.
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    description: str
    alert: str = ""
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    limits: tuple[tuple[float, str], ...] = ()


def stat(
    title: str, unit: str, expression: str, description: str, alert: str, *limits: tuple[float, str]
) -> Panel:
    queries = ((expression, title),)
    return Panel(title, unit, queries, description, alert, "stat", 4, 4, limits)


def states(title: str, unit: str, queries: dict[str, str], description: str, alert: str) -> Panel:
    asked = tuple((expression, legend) for legend, expression in queries.items())
    return Panel(title, unit, asked, description, alert, "state-timeline")


def quantiles(metric: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """The 50th and 95th percentile of a latency; `by`: for each value of that label."""
    labels, legend = (f", {by}", f" {{{{{by}}}}}") if by else ("", "")
    rate = f"sum by (le{labels}) (rate(whisperfusion_{metric}_bucket{{CELL}}[$__rate_interval]))"
    return tuple(
        (f"histogram_quantile({share}, {rate})", f"{name}{legend}")
        for name, share in (("p50", 0.5), ("p95", 0.95))
    )


def rate(metric: str, by: str, labels: str = "CELL") -> str:
    """Per second, summed by a label; "" = over all."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate(whisperfusion_{metric}{{{labels}}}[$__rate_interval]))"


def per_minute(metric: str, by: str, labels: str = "CELL") -> str:
    return f"60 * {rate(metric, by, labels)}"


def share(part: str, whole: str) -> str:
    return f"{rate(part, '')} / {rate(whole, '')}"
