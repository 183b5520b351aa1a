"""/metrics: what the processes count, in the text format of Prometheus.

Each process sends all its values once a second (`Metrics`); here they get their type, a line of
help and the label `stage`, which is the process. They are rendered when a scrape comes, so nothing
is counted twice. A process that restarts counts from 0, which Prometheus expects of counters; while
it is down it has no values. `metric_catalog` describes all of them; a value that it lacks is served
without a type. Deprecated names are served beside the new ones.

Latencies are histograms, for percentiles over any span of time:
histogram_quantile(0.95, rate(whisperfusion_time_to_first_audio_seconds_bucket[5m])).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from whisperfusion import __version__
from whisperfusion.gateway.operations.disk import DiskSpace
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.operations.metric_catalog import CATALOG, PREFIX
from whisperfusion.messages import Histogram, Metrics, Stage
from whisperfusion.runtime import process

LABELS = ("stage",)
FAMILIES: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "untyped": UntypedMetricFamily,
}


class StageCollector(Collector):
    """One scrape: the states of the stages, and the latest values of each process."""

    def __init__(self, stages: Mapping[str, Stage], by_process: Mapping[str, Metrics]) -> None:
        self._stages, self._by_process = stages, by_process

    def collect(self) -> Iterator[Metric]:
        version = {"version": __version__}
        yield InfoMetricFamily(PREFIX + "build", "What is installed here", version)
        yield from self._states()
        families: dict[str, Any] = {}
        for process_name, metrics in self._by_process.items():
            for name, stage, sample, kind in _samples(process_name, metrics):
                for family in _families(name, kind):
                    families.setdefault(family.name, family).add_metric([stage], *sample)
            for one in metrics.labelled:
                (family,) = _families(one.name, "untyped", tuple(name for name, _ in one.labels))
                labels = [process_name, *(text for _, text in one.labels)]
                families.setdefault(family.name, family).add_metric(labels, one.value)
        yield from families.values()

    def _states(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            PREFIX + "stage_up", "1 = the process is ready, 0 = it starts or is down", labels=LABELS
        )
        restarts = GaugeMetricFamily(
            PREFIX + "stage_restarts", "How often the process was restarted", labels=LABELS
        )
        for name, stage in self._stages.items():
            up.add_metric([name], float(stage.state == "ready"))
            restarts.add_metric([name], float(stage.restarts))
        return iter((up, restarts))


def _samples(
    process_name: str, metrics: Metrics
) -> Iterator[tuple[str, str, tuple[Any, ...], str]]:
    """Name, stage, value and kind (where nothing describes it) of all that one process has sent."""
    for name, value in metrics.values:
        yield name, process_name, (value,), "untyped"
    for histogram in metrics.histograms:
        yield histogram.name, process_name, (_buckets(histogram), histogram.sum_s), "histogram"
    for stage, turns in metrics.lost:
        yield "failed_turns_total", stage, (float(turns),), "counter"


def _families(name: str, kind: str, more: tuple[str, ...] = ()) -> list[Metric]:
    """The families that a value belongs to: its own, and that of its deprecated name. `more`
    labels follow the stage.
    """
    known, labels = CATALOG.get(name), (*LABELS, *more)
    if known is None:
        return [FAMILIES[kind](PREFIX + name, "Not described", labels=labels)]
    family = FAMILIES[known.kind]
    families = [family(PREFIX + name, known.help, labels=labels)]
    if known.was:
        help = f"Deprecated, use {PREFIX}{name}. {known.help}"
        families.append(family(PREFIX + known.was, help, labels=labels))
    return families


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bounds with cumulative counts, as Prometheus wants them."""
    bounds = [*map(floatToGoString, histogram.bounds_s), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


def router(
    snapshot: StageSnapshot,
    by_process: Mapping[str, Metrics],
    own: Callable[[], tuple[tuple[str, float], ...]],
    disk: DiskSpace,
) -> APIRouter:
    """The route; it needs a key, like all but the page and /health. `own`: what the gateway counts
    itself; `disk`: where the server keeps what it writes.
    """
    routes = APIRouter(tags=["metrics"])

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        here = Metrics("gateway", (*process.process_metrics(), *own(), *await disk.metrics()))
        body = generate_latest(StageCollector(await snapshot(), {**by_process, here.name: here}))
        return Response(
            body, media_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"}
        )

    return routes
