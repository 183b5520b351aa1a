"""/ready: whether this server takes one more caller, for balancers that choose among several.

/health says whether it works; a server that works may be full, or end with the calls that it has.
What the recognizing process measures comes with its metrics once a second, so an answer costs
nothing. A gateway that runs alone measures nothing: it is ready when the sockets behind it answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from whisperfusion.gateway.operations.health import StageSnapshot, overall
from whisperfusion.messages import Metrics

RETRY_S = 5  # for a server that starts

_BODY = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["ready", "load", "calls", "wait_s"],
            "properties": {
                "ready": {"type": "boolean"},
                "load": {"type": "number", "minimum": 0, "maximum": 1},
                "calls": {"type": "integer", "minimum": 0},
                "wait_s": {"type": "integer", "minimum": 0},
                "reason": {"enum": ["starting", "draining", "full"]},
            },
        }
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "one more caller is taken", "content": _BODY},
    503: {"description": "no caller is taken now; Retry-After says when", "content": _BODY},
}


def router(
    snapshot: StageSnapshot, by_process: Mapping[str, Metrics], draining: Callable[[], bool]
) -> APIRouter:
    """The route, which needs no key. `draining`: whether this gateway was asked to drain."""
    routes = APIRouter(tags=["health"])

    @routes.get("/ready", responses=RESPONSES)
    async def ready() -> JSONResponse:
        """`load` is 0 to 1, where 1 = the next call would be asked to wait; `wait_s`: how long."""
        status = overall(await snapshot())
        values = dict(by_process["asr"].values) if "asr" in by_process else {}
        body = report(status == "ok", values, draining())
        headers = {"Cache-Control": "no-store"}
        if not body["ready"]:
            headers["Retry-After"] = str(body["wait_s"] or RETRY_S)
        return JSONResponse(body, 200 if body["ready"] else 503, headers)

    return routes


def report(works: bool, values: Mapping[str, float], draining: bool) -> dict[str, Any]:
    """The body. `works`: all stages are ready; `values`: the metrics of the process `asr`."""
    load, wait_s = values.get("load", 0.0), ceil(values.get("admission_wait_seconds", 0.0))
    reason = None
    if draining or values.get("draining"):
        reason, load = "draining", 1.0
    elif not works:
        reason = "starting"
    elif load >= 1.0:
        reason = "full"
    body = {
        "ready": reason is None,
        "load": round(load, 2),
        "calls": int(values.get("active_calls", 0)),
        "wait_s": wait_s,
    }
    return body if reason is None else {**body, "reason": reason}
