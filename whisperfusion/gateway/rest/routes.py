"""All routes of the REST interface under its prefix."""

from __future__ import annotations

from fastapi import APIRouter

from whisperfusion.agents import Agents
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.rest import models, speech, transcriptions, voices
from whisperfusion.gateway.rest.samples import Samples
from whisperfusion.gateway.rest.voice_names import VoiceNames
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
    names = VoiceNames(settings, snapshot)
    routes.include_router(speech.router(upstream, names))
    routes.include_router(voices.router(settings, Samples(upstream, decoders), names))
    routes.include_router(models.router(settings, snapshot, agents))
    return routes
