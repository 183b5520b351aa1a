"""Health of the server: /health, /healthz and /healthcheck for all stages, /health/{stage} for one.

Started by main.py, the gateway receives the state of every process. Alone on another host it probes
the two sockets instead, at most every `PROBE_PERIOD_S`.
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

from whisperfusion import __version__
from whisperfusion.gateway.upstream import forwarded_headers
from whisperfusion.messages import Stage
from whisperfusion.settings import Settings

WORKERS = ("asr", "llm", "tts")  # a server without one of these cannot hold a conversation
PROBE_PERIOD_S = 2.0
PROBE_TIMEOUT_S = 2.0

NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"description": "a stage is starting or down; the body is the same"}
}
StageSnapshot = Callable[[], Awaitable[dict[str, Stage]]]


def from_supervisor(stages: Mapping[str, Stage]) -> StageSnapshot:
    """Reads the table that main's messages fill; a stage that is not in it yet is starting."""

    async def snapshot() -> dict[str, Stage]:
        return {name: stages.get(name) or Stage(name, "starting") for name in WORKERS} | dict(
            stages
        )

    return snapshot


def by_probing(settings: Settings, host: str) -> StageSnapshot:
    """Connects to the two sockets at `host`; calls within one period share one probe."""
    known: dict[str, Stage] = {}
    probed_at = -PROBE_PERIOD_S
    lock = asyncio.Lock()

    async def snapshot() -> dict[str, Stage]:
        nonlocal probed_at
        async with lock:
            if time.monotonic() - probed_at >= PROBE_PERIOD_S:
                ports = (("asr", settings.asr_port), ("tts", settings.tts_port))
                for stage in await asyncio.gather(
                    *(_probe(name, host, port, settings.key) for name, port in ports)
                ):
                    known[stage.name] = stage
                probed_at = time.monotonic()
        return dict(known)

    return snapshot


async def _probe(name: str, host: str, port: int, secret: str) -> Stage:
    # The uid keeps the speech socket from routing replies to this connection.
    url = f"ws://{host}:{port}/?uid=health-{uuid.uuid4()}"
    headers = [*forwarded_headers(""), *([("Authorization", f"Bearer {secret}")] if secret else [])]
    try:
        async with connect(
            url,
            additional_headers=headers,
            proxy=None,
            open_timeout=PROBE_TIMEOUT_S,
            close_timeout=0.2,
        ):
            return Stage(name, "ready")
    except (OSError, TimeoutError, WebSocketException) as error:
        return Stage(name, "down", note=f"no response at {host}:{port}: {error}")


def overall(stages: Mapping[str, Stage]) -> str:
    """One status for all stages: "ok", "starting", or "degraded" when one is down."""
    states = {stage.state for stage in stages.values()}
    if "down" in states:
        return "degraded"
    return "ok" if states == {"ready"} else "starting"


def report(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The body of /health."""
    return {
        "status": overall(stages),
        "stages": {name: describe(stage) for name, stage in stages.items()},
    }


def describe(stage: Stage) -> dict[str, Any]:
    """One stage as JSON; its name is the key that it is stored under."""
    return {key: value for key, value in asdict(stage).items() if key != "name"}


def router(snapshot: StageSnapshot) -> APIRouter:
    """The health routes: status 200 when the server or the stage is ready, else 503 with the same
    body.
    """
    routes = APIRouter(tags=["health"])

    @routes.get("/health", responses=NOT_READY)
    @routes.get("/healthz", include_in_schema=False)
    @routes.get("/healthcheck", include_in_schema=False)
    async def health() -> JSONResponse:
        body = report(await snapshot()) | {"version": __version__}
        return JSONResponse(
            body, 200 if body["status"] == "ok" else 503, {"Cache-Control": "no-store"}
        )

    @routes.get(
        "/health/{name}", responses={**NOT_READY, 404: {"description": "there is no such stage"}}
    )
    async def health_of_stage(name: str) -> JSONResponse:
        stages = await snapshot()
        if name not in stages:
            return JSONResponse(
                {
                    "error": {
                        "message": f"no stage {name!r}; known: {', '.join(stages)}",
                        "code": "not_found",
                    }
                },
                404,
            )
        stage = stages[name]
        return JSONResponse(
            describe(stage), 200 if stage.state == "ready" else 503, {"Cache-Control": "no-store"}
        )

    return routes
