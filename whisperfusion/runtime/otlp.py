"""Spans to an OTLP collector over HTTP, by OpenTelemetry's SDK (the extra `tracing`).

The SDK's batch processor has the queue, the thread and the retries. A collector that is down or
slow costs spans, which are counted, and two lines in the log: when it begins and when it ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from whisperfusion import __version__
from whisperfusion.runtime.tracing import QUEUE, Timed

DELAY_MS = 1000.0  # that spans wait for others
SEND_S = 5.0  # a request with its retries
STOP_S = 0.5  # to send the last ones when the process ends
PATH = "/v1/traces"

log = logging.getLogger("tracing")


class OtlpExporter:
    """`endpoint` is the collector's base URL, or has the path of its traces."""

    def __init__(self, endpoint: str, process: str) -> None:
        # what it writes of each failed try is told once, by `_told`
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        base = endpoint.rstrip("/")
        self._url = base if base.endswith(PATH) else base + PATH
        self._to = OTLPSpanExporter(self._url, timeout=SEND_S)
        self._processor = BatchSpanProcessor(
            self,  # type: ignore[arg-type]  # it has what is used of a SpanExporter
            max_queue_size=QUEUE,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=QUEUE // 4,
        )
        self._resource = Resource.create(
            {
                "service.namespace": "whisperfusion",
                "service.name": f"whisperfusion-{process}",
                "service.version": __version__,
            }
        )
        self._scope = InstrumentationScope("whisperfusion", __version__)
        self._lock = threading.Lock()
        self._waiting = self.sent = self.dropped = 0
        self._lost = False

    def put(self, span: Timed) -> None:
        with self._lock:
            if self._waiting >= QUEUE:
                self.dropped += 1
                return
            self._waiting += 1
        self._processor.on_end(self._readable(span))

    def stop(self) -> None:
        # its own patience is 30 s, and a process has to end in less than two
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(STOP_S)

    # --- for the processor, in its thread ---------------------------------------------------------

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._to.export(spans)
        except Exception as error:  # a library's; the thread must go on
            log.debug("spans could not be sent", exc_info=error)
            result = SpanExportResult.FAILURE
        good = result is SpanExportResult.SUCCESS
        with self._lock:
            self._waiting -= len(spans)
            self.sent += len(spans) * good
            self.dropped += len(spans) * (not good)
        self._log_change(good)
        return result

    def shutdown(self) -> None:
        self._to.shutdown()  # type: ignore[no-untyped-call]

    def _log_change(self, good: bool) -> None:
        if good == self._lost:
            self._lost = not good
            if good:
                log.info("the collector at %s takes spans again", self._url)
            else:
                log.warning("the collector at %s takes no spans; they are dropped", self._url)

    def _readable(self, timed: Timed) -> ReadableSpan:
        span, flags = timed.span, TraceFlags(TraceFlags.SAMPLED)
        trace_id = int(timed.trace_id, 16)

        def context(span_id: str, remote: bool) -> SpanContext:
            return SpanContext(trace_id, int(span_id, 16), remote, flags)

        attributes: Any = span.attributes
        status = Status(StatusCode.ERROR, span.error) if span.error else Status()
        return ReadableSpan(
            span.name,
            context(timed.id, False),
            context(timed.parent_id, True) if timed.parent_id else None,
            self._resource,
            {**attributes, "error.type": span.error} if span.error else attributes,
            [Event(name, timestamp=at) for name, at in timed.events],
            kind=SpanKind[span.kind.upper()],
            status=status,
            start_time=timed.began,
            end_time=timed.ended,
            instrumentation_scope=self._scope,
        )
