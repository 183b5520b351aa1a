"""What happens in the house, as it happens: /events, server-sent events, and /dashboard, the page that draws them.

The last events are kept once, for everybody, and a reader is no more than a place in them. So who comes later is told what
happened before, and who reads slowly costs nothing: what has left the list meanwhile, the oldest, it does not get.

| event | data |
| --- | --- |
| `snapshot` | first: `stages` as in /health, and `happened`, the last of the events below with their `kind` |
| `stage` | the state of a process has changed: `name` and what /health tells of it |
| `lost` | a turn failed: `call`, `turn`, `stage`, `reason` |
| `notice` | what every caller is told, such as a fall-back: `stage`, `text` |

`at` is Unix time in seconds. A comment comes where nothing happens, so that a proxy does not take the silence for the end.
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

from fusion.gateway.health import Look, describe
from fusion.gateway.page import HEADERS, WEB
from fusion.messages import Notice, Stage, TurnLost

KEPT = 200
PING_S = 15.0
STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would collect the events


class Events:
    """Everything happens on the event loop."""

    def __init__(self) -> None:
        self._happened: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0  # of all that ever happened
        self._over = False
        self._news = asyncio.Event()

    def tell(self, news: Stage | TurnLost | Notice) -> None:
        self._happened.append({"kind": _kind(news), "at": round(time.time(), 3), **_told(news)})
        self._count += 1
        self._wake()

    def end(self) -> None:
        """The server stops: every stream ends now."""
        self._over = True
        self._wake()

    async def stream(self, look: Look, ping_s: float = PING_S) -> AsyncIterator[str]:
        """The text of one reader's stream."""
        seen, happened = self._count, list(self._happened)  # before the look: what changes meanwhile is told again, not missed
        stages = {name: describe(stage) for name, stage in (await look()).items()}
        yield _written("snapshot", {"at": round(time.time(), 3), "stages": stages, "happened": happened})
        while not self._over:
            if seen == self._count:
                try:
                    await asyncio.wait_for(self._news.wait(), ping_s)
                except (TimeoutError, asyncio.TimeoutError):  # two types before Python 3.11
                    yield ": ping\n\n"
                continue
            fresh = list(self._happened)[-(self._count - seen) :]
            seen = self._count
            yield "".join(_written(one["kind"], one) for one in fresh)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _kind(news: Stage | TurnLost | Notice) -> str:
    return "stage" if isinstance(news, Stage) else "lost" if isinstance(news, TurnLost) else "notice"


def _told(news: Stage | TurnLost | Notice) -> dict[str, Any]:
    if isinstance(news, Stage):
        return {"name": news.name, **describe(news)}
    if isinstance(news, TurnLost):
        return {"call": news.ticket.call, "turn": news.ticket.turn, "stage": news.stage, "reason": news.reason}
    return {"stage": news.stage, "text": news.text}


def _written(kind: str, data: dict[str, Any]) -> str:
    """JSON has no line breaks of its own, so one line of data is enough."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def router(look: Look, events: Events | None) -> APIRouter:
    """`events` None: this gateway runs alone and is told nothing, which 204 says; a browser does not ask again then."""
    routes = APIRouter()

    @routes.get("/dashboard", include_in_schema=False)
    async def dashboard() -> FileResponse:
        return FileResponse(WEB / "dashboard.html", headers=HEADERS)

    @routes.get("/events", include_in_schema=False)  # who tries out the schema would wait for its end
    async def happening() -> Response:
        if events is None:
            return Response(status_code=204)
        return StreamingResponse(events.stream(look), media_type="text/event-stream", headers=STREAM)

    return routes
