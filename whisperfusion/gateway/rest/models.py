"""The models of this server."""

from __future__ import annotations

import re
import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from whisperfusion.agents import Agents
from whisperfusion.gateway import openapi
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.settings import Settings
from whisperfusion.wire import openai_rest as wire
from whisperfusion.wire.openai_rest import ApiError

RECOGNIZES, SPEAKS, ANSWERS = "automatic-speech-recognition", "text-to-speech", "text-generation"
ALIASES = {  # names that clients have built in
    **dict.fromkeys(("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"), RECOGNIZES),
    **dict.fromkeys(("tts-1", "tts-1-hd", "gpt-4o-mini-tts"), SPEAKS),
    **dict.fromkeys(("gpt-realtime", "gpt-realtime-mini", "gpt-4o-realtime-preview"), ANSWERS),
}
DATED = re.compile(r"-(\d{4}-\d\d-\d\d|1106|latest)$")  # OpenAI's names of versions


def router(settings: Settings, snapshot: StageSnapshot, agents: Agents) -> APIRouter:
    routes = APIRouter()
    began = int(time.time())

    async def listed() -> list[dict[str, Any]]:
        found = await _models(snapshot, began)
        theirs = agents.all()
        return [*found, *(wire.model(name, "whisperfusion", began, ANSWERS) for name in theirs)]

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The models of this server, the names that clients have built in for them, and the agents
        that Realtime takes as models.
        """
        return {"object": "list", "data": await listed()}

    @routes.get("/audio/models")
    async def audio_models() -> dict[str, Any]:
        """The same as Open WebUI asks for it."""
        found = await _models(snapshot, began)
        return {"models": [model for model in found if model["task"] != ANSWERS]}

    @routes.get("/models/{name:path}", responses=openapi.ERRORS)
    async def model(name: str) -> Response:
        """One of them."""
        return JSONResponse(_named(name, await listed(), settings.api_prefix))

    return routes


async def _models(snapshot: StageSnapshot, began: int) -> list[dict[str, Any]]:
    stages, tasks = await snapshot(), {"asr": RECOGNIZES, "llm": ANSWERS, "tts": SPEAKS}
    own = [
        wire.model(stages[name].model, "whisperfusion", began, task)
        for name, task in tasks.items()
        if name in stages and stages[name].model
    ]
    return [*own, *(wire.model(name, "openai", began, task) for name, task in ALIASES.items())]


def _named(name: str, models: list[dict[str, Any]], prefix: str) -> dict[str, Any]:
    """The model of that name, with or without its date. Raises ApiError."""
    known = {model["id"].casefold(): model for model in models}
    plain = name.casefold()
    found = known.get(plain) or known.get(DATED.sub("", plain))
    if found is None:
        raise ApiError(
            404,
            f"there is no model {name[:80]!r} here; GET {prefix}/models lists them",
            param="model",
            code="model_not_found",
        )
    return found
