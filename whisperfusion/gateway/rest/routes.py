"""All routes of the REST interface under its prefix."""

from __future__ import annotations

from fastapi import APIRouter

from whisperfusion.agents import Agents
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.rest import models, speech, transcriptions
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.settings import Settings


def router(
    settings: Settings,
    upstream: Upstream,
    decoders: DecoderPool,
    snapshot: StageSnapshot,
    agents: Agents,
) -> APIRouter:
    routes = APIRouter(prefix=settings.api_prefix, tags=["OpenAI"])
    routes.include_router(transcriptions.router(upstream, decoders, snapshot))
    routes.include_router(speech.router(upstream, snapshot))
    routes.include_router(models.router(settings, snapshot, agents))
    return routes
