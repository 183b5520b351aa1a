"""A scripted OTLP collector: takes spans over HTTP, may refuse them or let them wait."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    process: str
    name: str
    trace_id: str
    id: str
    parent: str
    began: int
    ended: int
    attributes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    failed: bool = False


class Collector:
    """`status`: of its answers; `delay_s`: before them."""

    def __init__(self, status: int = 200, delay_s: float = 0.0) -> None:
        self.status, self.delay_s = status, delay_s
        self.spans: list[Received] = []
        self.requests = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                time.sleep(collector.delay_s)
                if collector.status == 200 and self.path == "/v1/traces":
                    collector.spans.extend(read(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def named(self, name: str) -> list[Received]:
        return [span for span in tuple(self.spans) if span.name == name]


def read(body: bytes) -> list[Received]:
    found = []
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {one.key: value(one.value) for one in of_process.resource.attributes}
        process = resource["service.name"].removeprefix("whisperfusion-")
        for scope in of_process.scope_spans:
            for span in scope.spans:
                found.append(
                    Received(
                        process,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        {one.key: value(one.value) for one in span.attributes},
                        tuple(event.name for event in span.events),
                        span.status.code == 2,
                    )
                )
    return found


def value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return tuple(value(one) for one in any_value.array_value.values)
    return getattr(any_value, kind)
