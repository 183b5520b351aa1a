"""How a client names its request, so that its lines and spans are found again in other systems.

`X-Request-ID` is a name in logs. `traceparent` (W3C Trace Context) is the place of the request in a
trace: trace id, span id and flags. What is not valid in a header is ignored, as both conventions
ask for; neither can bring anything into a log but these few characters.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from whisperfusion.messages import NO_TRACE, Trace

REQUEST_ID, TRACEPARENT = "X-Request-ID", "traceparent"
LONGEST = 128  # characters of an id
ALLOWED = (
    f"an id of at most {LONGEST} of the characters A-Z a-z 0-9 . _ : + / = -, or a traceparent "
    "such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)
_ID = re.compile(rf"[A-Za-z0-9._:+/=-]{{1,{LONGEST}}}")
_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-[!-~]*)?"
)


def new_request_id() -> str:
    return uuid.uuid4().hex


def parse_request_id(text: str | None) -> str:
    """A valid id; "" for none and for one that is not valid."""
    return text if text and _ID.fullmatch(text) else ""


def parse_traceparent(text: str | None) -> str:
    """A traceparent of version 00, made of one of any version; "" for none."""
    found = _PARENT.fullmatch(text) if text and len(text) <= 2 * LONGEST else None
    if found is None or (text or "").startswith("00") and found[2]:
        return ""
    return f"00-{found[1]}"


def trace_id_of(parent: str) -> str:
    """The trace id of a traceparent; "" of none."""
    return parent[3:35]


def trace_of_headers(headers: Mapping[str, str]) -> Trace:
    """From the headers of a request. Without an id, the trace id names the request."""
    parent = parse_traceparent(headers.get(TRACEPARENT))
    return Trace(parse_request_id(headers.get(REQUEST_ID)) or trace_id_of(parent), parent)


def trace_of_text(text: str) -> Trace | None:
    """From the handshake's field `trace`: a traceparent or an id. None: it is neither."""
    if parent := parse_traceparent(text):
        return Trace(trace_id_of(parent), parent)
    return Trace(text) if parse_request_id(text) else None


def headers_of(trace: Trace) -> list[tuple[str, str]]:
    """The headers that hand `trace` on."""
    pairs = ((REQUEST_ID, trace.id), (TRACEPARENT, trace.parent))
    return [(name, value) for name, value in pairs if value]


def merged(first: Trace, second: Trace) -> Trace:
    """`first`, completed by `second`."""
    if first == NO_TRACE:
        return second
    return Trace(first.id or second.id, first.parent or second.parent)


def log_ids(trace: Trace) -> tuple[str, str]:
    """Correlation id and trace id, for the lines of a log (whisperfusion/json_log.py)."""
    return trace.id, trace_id_of(trace.parent)
