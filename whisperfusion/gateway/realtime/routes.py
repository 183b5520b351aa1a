"""The routes of Realtime: the WebSocket, and the keys for browsers (`client_secrets`)."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from whisperfusion.gateway.access.middleware import REDEEMED_SESSION
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.realtime import client_secrets
from whisperfusion.gateway.realtime.agents import SessionAgents
from whisperfusion.gateway.realtime.client_secrets import ClientSecrets, new_session
from whisperfusion.gateway.realtime.connection import Realtime
from whisperfusion.gateway.rest.voice_names import VoiceNames
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.settings import Settings
from whisperfusion.wire.auth import REALTIME, SUBPROTOCOL
from whisperfusion.wire.limits import NAME_LENGTH
from whisperfusion.wire.realtime_beta import Beta

BETA_HEADER, BETA_PROTOCOL = "realtime=v1", "openai-beta.realtime-v1"


def router(
    settings: Settings,
    upstream: Upstream,
    agents: SessionAgents,
    snapshot: StageSnapshot,
    issued: ClientSecrets,
) -> APIRouter:
    names = VoiceNames(settings, snapshot)
    routes = APIRouter(prefix=settings.api_prefix, tags=["OpenAI Realtime"])
    routes.include_router(client_secrets.router(settings, agents, snapshot, issued))

    @routes.websocket("/realtime")
    async def realtime(client: WebSocket) -> None:
        protocols = client.scope["subprotocols"]
        old = client.headers.get("openai-beta", "") == BETA_HEADER or BETA_PROTOCOL in protocols
        voices = await names.all()
        query = dict(client.query_params)
        session = client.scope.get(REDEEMED_SESSION) or agents.begun(
            new_session(settings, voices, query), client.scope, query.get("number", "")
        )
        chosen = next((name for name in (REALTIME, SUBPROTOCOL) if name in protocols), None)
        await client.accept(subprotocol=chosen)
        beta = Beta() if old else None
        earlier = query.get("conversation", "")[:NAME_LENGTH]
        more = (session, agents, beta)
        connection = Realtime(client, upstream, settings, voices, *more, earlier=earlier)
        with client.app.state.draining.session(client, connection.at_rest):
            await connection.serve()

    return routes
