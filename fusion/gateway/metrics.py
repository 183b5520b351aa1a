"""What the processes count, at /metrics in the text format of Prometheus.

A process sends all its numbers once a second (`Metrics`); here they get their type, a line of help and the label `stage`,
which is the process. They are read when somebody asks, so there is no second account of anything. A process that starts again
counts from 0, which Prometheus expects of counters; while it is down it has no numbers. A number that nobody described
below is served without a type.

Latencies are histograms, for percentiles over any stretch of time:
histogram_quantile(0.95, rate(whisperfusion_first_sound_seconds_bucket[5m])).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, UntypedMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fusion import process
from fusion.gateway.health import Look
from fusion.messages import Histogram, Metrics, Stage

PREFIX = "whisperfusion_"
LABELS = ("stage",)

COUNTERS = {
    "turns_total": "Turns of callers that ended with words",
    "guesses_total": "Answers begun before the end of a turn was sure",
    "guesses_used_total": "Guesses that became the answer",
    "guesses_wasted_total": "Guesses that were thrown away",
    "interruptions_total": "Answers that a caller ended by speaking over them",
    "false_interruptions_total": "Answers that were held for a sound and went on",
    "merged_turns_total": "Turns that the caller went on with after their end was taken for sure",
    "partial_decodes_total": "Transcripts made while somebody spoke",
    "final_decodes_total": "Transcripts made for the end of a turn",
    "llm_pieces_total": "Pieces of text that the language model wrote",
    "llm_pieces_wasted_total": "Pieces of them that belonged to a stale guess or answer",
    "tts_audio_seconds_total": "Seconds of speech made",
    "tts_audio_wasted_seconds_total": "Seconds of them that nobody was to hear",
    "tts_gaps_total": "Silences inside an answer because its next sentence was not there yet",
    "tts_gap_seconds_total": "Seconds of these silences",
    "errors_total": "Turns that failed, by the stage that failed them",
}
GAUGES = {
    "callers": "Callers connected now",
    "load_level": "0 = everything, 1 = fewer captions, 2 = smaller recognizer, 3 = shorter answers",
    "queue_waiting": "Jobs that wait for the engine",
    "queue_oldest_seconds": "How long the oldest of them has waited",
    "memory_bytes": "Resident memory of the process itself, where Linux tells it",
    "uptime_seconds": "How long the process has lived",
}
HISTOGRAMS = {
    "words_seconds": "From the end of speech to its words",
    "decided_seconds": "From the end of speech to the decision that the turn is over",
    "first_token_seconds": "From the end of speech to the first token of the answer",
    "first_sound_seconds": "From the end of speech to the first sound of the answer",
}


class House(Collector):
    """Everything that is known at one moment, as Prometheus wants it. `counted` is by process."""

    def __init__(self, stages: Mapping[str, Stage], counted: Mapping[str, Metrics]) -> None:
        self._stages, self._counted = stages, counted

    def collect(self) -> Iterator[Metric]:
        yield from self._of_stages()
        families: dict[str, Metric] = {}
        for stage, metrics in self._counted.items():
            for family, about, numbers in _measured(stage, metrics):
                families.setdefault(family.name, family).add_metric([about], *numbers)  # type: ignore[attr-defined]
        yield from families.values()

    def _of_stages(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(PREFIX + "stage_up", "1 = the process is ready, 0 = it starts or is down", labels=LABELS)
        restarts = GaugeMetricFamily(PREFIX + "stage_restarts", "How often the process was started again", labels=LABELS)
        for name, stage in self._stages.items():
            up.add_metric([name], float(stage.state == "ready"))
            restarts.add_metric([name], float(stage.restarts))
        return iter((up, restarts))


def _measured(stage: str, metrics: Metrics) -> Iterator[tuple[Metric, str, tuple[Any, ...]]]:
    """The family, the stage that it is about and the numbers, of all that `stage` has told."""
    for name, value in metrics.values:
        yield _described(name), stage, (value,)
    for histogram in metrics.histograms:
        help = HISTOGRAMS.get(histogram.name, "Not described")
        yield HistogramMetricFamily(PREFIX + histogram.name, help, labels=LABELS), stage, (_buckets(histogram), histogram.sum_s)
    for culprit, turns in metrics.lost:
        yield _described("errors_total"), culprit, (float(turns),)


def _described(name: str) -> Metric:
    if name in COUNTERS:
        return CounterMetricFamily(PREFIX + name, COUNTERS[name], labels=LABELS)
    if name in GAUGES:
        return GaugeMetricFamily(PREFIX + name, GAUGES[name], labels=LABELS)
    return UntypedMetricFamily(PREFIX + name, "Not described", labels=LABELS)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bound and how many were at most that long, as Prometheus counts."""
    bounds = [*map(floatToGoString, histogram.bounds_s), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


def router(look: Look, counted: Mapping[str, Metrics]) -> APIRouter:
    """The route; the doors ask for the secret before it, as everywhere but for the page and /health."""
    routes = APIRouter(tags=["metrics"])

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        here = Metrics("gateway", process.vitals())
        body = generate_latest(House(await look(), {**counted, here.name: here}))
        return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"})

    return routes
