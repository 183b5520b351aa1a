"""How the house is: /health, /healthz and /healthcheck for everything, /health/{stage} for one process.

Started by main.py, the gateway is told the state of every process. Alone on another host it is told
nothing and knocks on the two sockets instead, at most every `PROBE_PERIOD_S`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from fusion.messages import Stage
from fusion.settings import Settings

WORKERS = ("asr", "llm", "tts")  # a server without one of these cannot hold a conversation
PROBE_PERIOD_S = 2.0
PROBE_TIMEOUT_S = 2.0

NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "something is starting or down; the body is the same"}}
Look = Callable[[], Awaitable[dict[str, Stage]]]


def told(stages: Mapping[str, Stage]) -> Look:
    """Reads a table that somebody else keeps; a process that nobody spoke of yet is starting."""

    async def look() -> dict[str, Stage]:
        return {name: stages.get(name) or Stage(name, "starting") for name in WORKERS} | dict(stages)

    return look


def knocking(settings: Settings, host: str) -> Look:
    """Connects to the two sockets at `host`; two callers within the same period share one knock."""
    known: dict[str, Stage] = {}
    looked_at = -PROBE_PERIOD_S
    lock = asyncio.Lock()

    async def look() -> dict[str, Stage]:
        nonlocal looked_at
        async with lock:
            if time.monotonic() - looked_at >= PROBE_PERIOD_S:
                doors = (("asr", settings.asr_port), ("tts", settings.tts_port))
                for stage in await asyncio.gather(*(_knock(name, host, port, settings.key) for name, port in doors)):
                    known[stage.name] = stage
                looked_at = time.monotonic()
        return dict(known)

    return look


async def _knock(name: str, host: str, port: int, secret: str) -> Stage:
    # The caller's name keeps the speech socket from taking us for a listener that replies could go to.
    url = f"ws://{host}:{port}/?uid=health-{uuid.uuid4()}"
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        async with connect(url, additional_headers=headers, proxy=None, open_timeout=PROBE_TIMEOUT_S, close_timeout=0.2):
            return Stage(name, "ready")
    except (OSError, TimeoutError, WebSocketException) as error:
        return Stage(name, "down", note=f"no answer at {host}:{port}: {error}")


def overall(stages: Mapping[str, Stage]) -> str:
    """One word for all: "ok", "starting", or "degraded" when something that should run is down."""
    states = {stage.state for stage in stages.values()}
    if "down" in states:
        return "degraded"
    return "ok" if states == {"ready"} else "starting"


def report(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The body of /health."""
    return {"status": overall(stages), "stages": {name: describe(stage) for name, stage in stages.items()}}


def describe(stage: Stage) -> dict[str, Any]:
    """One stage as JSON; its name is the key that it stands under."""
    return {key: value for key, value in asdict(stage).items() if key != "name"}


def router(look: Look) -> APIRouter:
    """The health routes: status 200 when what was asked about is ready, else 503 with the same body."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health", responses=NOT_READY)
    @routes.get("/healthz", include_in_schema=False)
    @routes.get("/healthcheck", include_in_schema=False)
    async def health() -> JSONResponse:
        body = report(await look())
        return JSONResponse(body, 200 if body["status"] == "ok" else 503, {"Cache-Control": "no-store"})

    @routes.get("/health/{name}", responses={**NOT_READY, 404: {"description": "there is no such stage"}})
    async def health_of_stage(name: str) -> JSONResponse:
        stages = await look()
        if name not in stages:
            return JSONResponse({"error": {"message": f"no stage {name!r}; known: {', '.join(stages)}", "code": "not_found"}}, 404)
        stage = stages[name]
        return JSONResponse(describe(stage), 200 if stage.state == "ready" else 503, {"Cache-Control": "no-store"})

    return routes
