"""A batch as a value, and the one table of what may become of it.

`receive(batch, event, now)` returns the batch after an event. The states are OpenAI's:

    validating ──► in_progress ──► finalizing ──► completed
        │              │  └─────────────────────► expired     after the completion window
        ├──► failed    ├──► cancelling ─────────► cancelled
        └──────────────┘

A batch in one of the last four is not changed any more. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

DAY_S = 86_400
ACTIVE = ("validating", "in_progress", "finalizing", "cancelling")
ENDED = ("completed", "failed", "expired", "cancelled")
# the time at which a batch came into each state, and the deadline
TIMES = (
    *("in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)


@dataclass(frozen=True)
class BatchError:
    """What is wrong with the input; `line` counts from 1, None = the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True)
class Counts:
    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Batch:
    """`owner` is whose key made it; `keep_s`: how long its result files are kept."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    created_at: int
    metadata: Mapping[str, str] | None = None
    keep_s: int = DAY_S
    status: str = "validating"
    counts: Counts = Counts()
    errors: tuple[BatchError, ...] = ()
    times: Mapping[str, int] = field(default_factory=dict)
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def expires_at(self) -> int:
        """The end of its completion window."""
        return self.created_at + DAY_S

    @property
    def ended_at(self) -> int | None:
        return self.times.get(f"{self.status}_at") if self.status in ENDED else None


@dataclass(frozen=True)
class Validated:
    """Every line of the input is a request; there are `total`."""

    total: int


@dataclass(frozen=True)
class Rejected:
    """The input cannot be used."""

    errors: tuple[BatchError, ...]


@dataclass(frozen=True)
class Done:
    """Every request has a result."""


@dataclass(frozen=True)
class Cancel:
    """The client wants no more of it."""


@dataclass(frozen=True)
class Published:
    """The results are files now; None = there are none of that kind."""

    output_file_id: str | None
    error_file_id: str | None
    counts: Counts


Event = Validated | Rejected | Done | Cancel | Published
TRANSITIONS: dict[tuple[str, type[Event]], str] = {
    ("validating", Validated): "in_progress",
    ("validating", Rejected): "failed",
    ("validating", Cancel): "cancelling",
    ("in_progress", Done): "finalizing",
    ("in_progress", Cancel): "cancelling",
    ("in_progress", Published): "expired",
    ("finalizing", Published): "completed",
    ("cancelling", Published): "cancelled",
}


def receive(batch: Batch, event: Event, now: float) -> Batch:
    """The batch after `event`; unchanged where the table has no such transition."""
    status = TRANSITIONS.get((batch.status, type(event)))
    if status is None:
        return batch
    batch = replace(batch, status=status, times={**batch.times, f"{status}_at": int(now)})
    match event:
        case Validated(total):
            return replace(batch, counts=Counts(total))
        case Rejected(errors):
            return replace(batch, errors=errors)
        case Published(output, error, counts):
            return replace(batch, output_file_id=output, error_file_id=error, counts=counts)
        case _:
            return batch


def body(batch: Batch) -> dict[str, Any]:
    """The batch as clients get it."""
    errors = {"object": "list", "data": [asdict(one) for one in batch.errors]}
    times = {name: batch.times.get(name) for name in TIMES}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        **times,
        "expires_at": batch.expires_at,
        "request_counts": asdict(batch.counts),
        "metadata": batch.metadata,
    }


def to_record(batch: Batch) -> dict[str, Any]:
    """The batch as it is stored."""
    return asdict(batch)


def from_record(record: Mapping[str, Any]) -> Batch:
    """The reverse of `to_record`. Raises LookupError, TypeError and ValueError."""
    values = dict(record)
    values["counts"] = Counts(**values["counts"])
    values["errors"] = tuple(BatchError(**one) for one in values["errors"])
    batch = Batch(**values)
    if batch.status not in (*ACTIVE, *ENDED):
        raise ValueError(f"status is {batch.status!r}")
    return batch
