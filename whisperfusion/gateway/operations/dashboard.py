"""Server events: /events streams them (server-sent events), and /dashboard is the page that shows
them.

The last events are kept once for all readers, and a reader is a position among them. So a new
reader gets past events too, and a slow reader costs nothing: it skips the oldest events, which were
dropped meanwhile.

| event | data |
| --- | --- |
| `snapshot` | first: `stages` as in /health; `happened`, the last events below with their `kind` |
| `stage` | the state of a process has changed: `name` and its entry of /health |
| `lost` | a turn failed: `call`, `turn`, `stage`, `reason` |
| `notice` | a message to all callers, such as a fall-back: `stage`, `text` |

`at` is Unix time in seconds. Comments are sent between events, so that no proxy closes an idle
connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response, StreamingResponse

from whisperfusion.gateway.operations.health import StageSnapshot, describe
from whisperfusion.gateway.page import HEADERS
from whisperfusion.messages import Notice, Stage, TurnLost
from whisperfusion.paths import WEB

KEPT = 200
PING_S = 15.0
STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would collect the events


class EventLog:
    """Not thread safe: used on the event loop only."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0  # of all that ever happened
        self._over = False
        self._published = asyncio.Event()

    def publish(self, news: Stage | TurnLost | Notice) -> None:
        self._events.append({"kind": _kind(news), "at": round(time.time(), 3), **_data(news)})
        self._count += 1
        self._wake()

    def close(self) -> None:
        """End every stream: the server stops."""
        self._over = True
        self._wake()

    async def stream(self, snapshot: StageSnapshot, ping_s: float = PING_S) -> AsyncIterator[str]:
        """The text of one reader's stream."""
        # before the snapshot: a change meanwhile is sent twice, not missed
        seen, happened = self._count, list(self._events)
        stages = {name: describe(stage) for name, stage in (await snapshot()).items()}
        yield _formatted(
            "snapshot", {"at": round(time.time(), 3), "stages": stages, "happened": happened}
        )
        while not self._over:
            if seen == self._count:
                try:
                    await asyncio.wait_for(self._published.wait(), ping_s)
                except (TimeoutError, asyncio.TimeoutError):  # two types before Python 3.11
                    yield ": ping\n\n"
                continue
            fresh = list(self._events)[-(self._count - seen) :]
            seen = self._count
            yield "".join(_formatted(one["kind"], one) for one in fresh)

    def _wake(self) -> None:
        self._published.set()
        self._published = asyncio.Event()


def _kind(news: Stage | TurnLost | Notice) -> str:
    match news:
        case Stage():
            return "stage"
        case TurnLost():
            return "lost"
        case Notice():
            return "notice"


def _data(news: Stage | TurnLost | Notice) -> dict[str, Any]:
    if isinstance(news, Stage):
        return {"name": news.name, **describe(news)}
    if isinstance(news, TurnLost):
        return {
            "call": news.ticket.call,
            "turn": news.ticket.turn,
            "stage": news.stage,
            "reason": news.reason,
        }
    return {"stage": news.stage, "text": news.text}


def _formatted(kind: str, data: dict[str, Any]) -> str:
    """JSON has no line breaks of its own, so one line of data is enough."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def router(snapshot: StageSnapshot, events: EventLog | None) -> APIRouter:
    """`events` None: this gateway runs alone and receives none; 204 keeps browsers from asking
    again.
    """
    routes = APIRouter()

    @routes.get("/dashboard", include_in_schema=False)
    async def dashboard() -> FileResponse:
        return FileResponse(WEB / "dashboard.html", headers=HEADERS)

    # a client that tries out the schema would wait for its end
    @routes.get("/events", include_in_schema=False)
    async def stream() -> Response:
        if events is None:
            return Response(status_code=204)
        return StreamingResponse(
            events.stream(snapshot), media_type="text/event-stream", headers=STREAM
        )

    return routes
