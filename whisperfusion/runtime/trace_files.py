"""Spans as OTLP JSON, one line each, in a file of each process: for the page /trace, and for
everything else that reads what a collector's file exporter writes. Needs no package.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from pathlib import Path
from typing import Any, TextIO

from whisperfusion import __version__
from whisperfusion.runtime.tracing import QUEUE, Span, Timed, Value

LARGEST = 8 * 2**20  # bytes of a file; then it becomes the one before, and a new one begins
STOP_S = 0.5
KINDS = {"internal": 1, "server": 2, "client": 3}  # of OTLP

log = logging.getLogger("tracing")


class FileExporter:
    """A disk that is full ends the file, with a warning, and no call."""

    def __init__(self, folder: Path, process: str) -> None:
        self._path, self._process = folder / f"{process}.jsonl", process
        self._spans: queue.Queue[Timed | None] = queue.Queue(QUEUE)
        self.sent = self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="spans", daemon=True)
        self._thread.start()

    def put(self, span: Timed) -> None:
        try:
            self._spans.put_nowait(span)
        except queue.Full:
            self.dropped += 1

    def stop(self) -> None:
        try:
            self._spans.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(STOP_S)

    def _write(self) -> None:
        file: TextIO | None = None
        told = False
        while (span := self._spans.get()) is not None:
            try:
                file = self._open() if file is None else file
                file.write(json.dumps(request_of(span, self._process)) + "\n")
                self.sent += 1
                if file.tell() > LARGEST:
                    file.close()
                    file = None
                    self._path.replace(self._path.with_suffix(".1.jsonl"))
            except OSError as error:
                self.dropped += 1
                if not told:
                    told = True
                    log.warning("spans cannot be written to %s: %s", self._path, error)

    def _open(self) -> TextIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding="ascii", buffering=1)


def request_of(timed: Timed, process: str) -> dict[str, Any]:
    """An ExportTraceServiceRequest with one span, as JSON."""
    resource = {
        "service.namespace": "whisperfusion",
        "service.name": f"whisperfusion-{process}",
        "service.version": __version__,
    }
    scope = {"name": "whisperfusion", "version": __version__}
    spans = [{"scope": scope, "spans": [_span(timed)]}]
    return {
        "resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": spans}]
    }


def _span(timed: Timed) -> dict[str, Any]:
    span: Span = timed.span
    attributes = dict(span.attributes)
    if span.error:
        attributes["error.type"] = span.error
    return {
        "traceId": timed.trace_id,
        "spanId": timed.id,
        **({"parentSpanId": timed.parent_id} if timed.parent_id else {}),
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(timed.began),
        "endTimeUnixNano": str(timed.ended),
        "attributes": _attributes(attributes),
        "events": [{"timeUnixNano": str(at), "name": name} for name, at in timed.events],
        "status": {"code": 2, "message": span.error} if span.error else {},
    }


def _attributes(values: dict[str, Value] | dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case _:
            return {"arrayValue": {"values": [_value(one) for one in value]}}
