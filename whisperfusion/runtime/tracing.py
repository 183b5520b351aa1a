"""Spans of calls and turns, for any OTLP collector (OTLP_ENDPOINT) or for files (TRACE_DIR).

A span is built when its work is over, from the times that are known by then, and put into a bounded
queue; a thread sends it. Nothing waits for that, and what finds no room is dropped and counted.
Span ids of calls and turns follow from the call's id, so that each process knows the parents of its
spans without asking. While neither setting is set, `current` is None and nothing is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from whisperfusion.errors import SettingsError
from whisperfusion.messages import Trace
from whisperfusion.settings import Settings
from whisperfusion.wire.trace import trace_id_of

Value = str | bool | int | float | Sequence[str]
NEEDED = "opentelemetry.exporter.otlp.proto.http"
QUEUE = 2048  # spans that wait; a turn has about ten


@dataclass(frozen=True)
class Span:
    """Work that is over. Times are seconds on any clock of this process.

    `parent` is the traceparent of the span around it; `id` is 16 hex digits, "" = random. `events`
    are (name, time), `error` is the type of what went wrong. `kind`: "internal", "server" or
    "client".
    """

    name: str
    parent: str
    began: float
    ended: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    id: str = ""
    events: tuple[tuple[str, float], ...] = ()
    error: str = ""
    kind: str = "internal"


@dataclass(frozen=True)
class Timed:
    """A span for an exporter. Times are nanoseconds of Unix time; `parent_id` may be ""."""

    span: Span
    trace_id: str
    id: str
    parent_id: str
    began: int
    ended: int
    events: tuple[tuple[str, int], ...]


class Exporter(Protocol):
    """Thread-safe; `put` does not wait."""

    sent: int  # spans
    dropped: int

    def put(self, span: Timed) -> None: ...
    def stop(self) -> None: ...


# --- ids ----------------------------------------------------------------------------------------


def id_of(*names: object) -> str:
    """The id of a span that several processes know."""
    return hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).hexdigest()


def sampled(parent: str) -> bool:
    """Whether the client's tracing records this trace; a client that says nothing leaves it to
    this server, which records all.
    """
    return bool(int(parent[-2:] or "01", 16) & 1)


def turn_of(parent: str, turn: int) -> str:
    """The traceparent of a turn, by that of its call."""
    return f"{parent[:36]}{id_of(parent, turn)}{parent[-3:]}"


def of_call(call: str, client: Trace) -> Trace:
    """The trace of a call: that of its client, or a new one, with the call's own span as parent."""
    flags = client.parent[-2:] or "01"
    trace_id = trace_id_of(client.parent) or secrets.token_hex(16)
    return Trace(client.id or trace_id, f"00-{trace_id}-{id_of(call)}-{flags}")


def zero_of(now: float) -> int:
    """Unix time, in nanoseconds, of the zero of a clock that shows `now`."""
    return time.time_ns() - int(now * 1e9)


# --- the tracer of a process --------------------------------------------------------------------


class Tracer:
    def __init__(self, exporters: Sequence[Exporter]) -> None:
        self._exporters = exporters

    def add(self, span: Span, zero: int) -> None:
        """`zero`: see `zero_of`."""
        if not sampled(span.parent):
            return
        timed = Timed(
            span,
            trace_id_of(span.parent),
            span.id or secrets.token_hex(8),
            "" if span.parent[36:52] == "0" * 16 else span.parent[36:52],
            int(span.began * 1e9) + zero,
            int(max(span.began, span.ended) * 1e9) + zero,
            tuple((name, int(at * 1e9) + zero) for name, at in span.events),
        )
        for exporter in self._exporters:
            exporter.put(timed)

    def metrics(self) -> tuple[tuple[str, float], ...]:
        return (
            ("spans_sent_total", float(sum(one.sent for one in self._exporters))),
            ("spans_dropped_total", float(sum(one.dropped for one in self._exporters))),
        )

    def stop(self) -> None:
        """Sends what waits, for a moment at most."""
        for exporter in self._exporters:
            exporter.stop()


@dataclass
class _State:
    tracer: Tracer | None = None


_state = _State()


def current() -> Tracer | None:
    """The tracer of this process; None = no spans are asked for."""
    return _state.tracer


def start(settings: Settings, process: str) -> None:
    """Called in each process that makes spans, before its work begins."""
    exporters: list[Exporter] = []
    if settings.otlp_endpoint:
        from whisperfusion.runtime.otlp import OtlpExporter

        exporters.append(OtlpExporter(settings.otlp_endpoint, process))
    if settings.trace_dir:
        from whisperfusion.runtime.trace_files import FileExporter

        exporters.append(FileExporter(settings.traces, process))
    _state.tracer = Tracer(exporters) if exporters else None


def stop() -> None:
    if _state.tracer is not None:
        _state.tracer.stop()


def metrics() -> tuple[tuple[str, float], ...]:
    return () if _state.tracer is None else _state.tracer.metrics()


def check_installed(settings: Settings) -> None:
    """Raises SettingsError where the packages of the extra `tracing` are missing."""
    if not settings.otlp_endpoint:
        return
    try:
        found = importlib.util.find_spec(NEEDED) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise SettingsError(
            "OTLP_ENDPOINT needs packages that are not installed; install them with: pip install "
            "opentelemetry-exporter-otlp-proto-http. TRACE_DIR needs none"
        )
