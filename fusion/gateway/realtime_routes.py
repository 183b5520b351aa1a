"""Where Realtime sessions begin: the WebSocket, and the short-lived keys that a server fetches for a browser."""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import JSONResponse

from fusion.gateway import forms, openapi
from fusion.gateway.health import Look
from fusion.gateway.inner import Inner
from fusion.gateway.realtime import Realtime
from fusion.gateway.rest import voices_of
from fusion.settings import Settings
from fusion.wire.auth import REALTIME, SUBPROTOCOL, offered
from fusion.wire.openai_rest import ApiError
from fusion.wire.realtime import RealtimeError, Session, as_dict, updated
from fusion.wire.realtime_beta import Beta, session_in, session_out

SHORTEST_S, LONGEST_S, USUAL_S = 10, 7200, 600
MOST_KEYS = 10_000
BETA_HEADER, BETA_PROTOCOL = "realtime=v1", "openai-beta.realtime-v1"


class Guests:
    """Keys for one session each, as long as they last; kept in memory, so a restart ends them."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, tuple[float, Session]] = OrderedDict()

    def invite(self, session: Session, seconds: float) -> tuple[str, int]:
        """A new key and when it expires (unix seconds)."""
        key, expires_at = f"ek_{secrets.token_urlsafe(32)}", time.time() + seconds
        self._keys[key] = expires_at, session
        while len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return key, int(expires_at)

    def session(self, key: str) -> Session | None:
        expires_at, session = self._keys.get(key, (0.0, None))
        return session if time.time() < expires_at else None


def router(settings: Settings, inner: Inner, look: Look, guests: Guests) -> APIRouter:
    routes = APIRouter(prefix=settings.api_prefix, tags=["OpenAI Realtime"])

    async def asked(request: Request) -> dict[str, Any]:
        text = await forms.small_body(request)
        try:
            given = json.loads(text or b"{}")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise ApiError(400, "the body must be a JSON object")
        return given

    async def session_of(given: dict[str, Any]) -> Session:
        voices = await voices_of(look)
        try:
            return updated(fresh(settings, voices), given, voices)
        except RealtimeError as problem:
            raise ApiError(400, problem.message, param=problem.param, code=problem.code) from None

    @routes.post("/realtime/client_secrets", openapi_extra=openapi.CLIENT_SECRET, responses=openapi.ERRORS)
    async def client_secrets(request: Request) -> JSONResponse:
        """A key for a browser, good for one kind of session and some minutes."""
        given = await asked(request)
        after = given.get("expires_after")
        seconds = after.get("seconds", USUAL_S) if isinstance(after, dict) else USUAL_S
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not SHORTEST_S <= seconds <= LONGEST_S:
            raise ApiError(
                400, f"expires_after.seconds is {str(seconds)[:40]}; allowed: {SHORTEST_S} to {LONGEST_S}", param="expires_after.seconds"
            )
        wanted = given.get("session")
        session = await session_of(wanted if wanted is not None else {"type": "realtime"})
        key, expires_at = guests.invite(session, seconds)
        return JSONResponse({"value": key, "expires_at": expires_at, "session": as_dict(session, expires_at)}, headers=openapi.NO_STORE)

    async def beta(request: Request, transcribes: bool) -> JSONResponse:
        given = await asked(request)
        session = await session_of(session_in({name: value for name, value in given.items() if name != "type"}, transcribes))
        key, expires_at = guests.invite(session, USUAL_S)
        shown = session_out(as_dict(session, expires_at))
        return JSONResponse({**shown, "client_secret": {"value": key, "expires_at": expires_at}}, headers=openapi.NO_STORE)

    @routes.post("/realtime/sessions", openapi_extra=openapi.CLIENT_SECRET, responses=openapi.ERRORS)
    async def sessions(request: Request) -> JSONResponse:
        """The same in the older dialect."""
        return await beta(request, False)

    @routes.post("/realtime/transcription_sessions", openapi_extra=openapi.CLIENT_SECRET, responses=openapi.ERRORS)
    async def transcription_sessions(request: Request) -> JSONResponse:
        """The same in the older dialect, for transcription alone."""
        return await beta(request, True)

    @routes.websocket("/realtime")
    async def realtime(client: WebSocket) -> None:
        protocols = client.scope["subprotocols"]
        old = client.headers.get("openai-beta", "") == BETA_HEADER or BETA_PROTOCOL in protocols
        voices = await voices_of(look)
        invited = (guests.session(key) for key in offered(client.headers.items(), client.url.query))
        session = next((one for one in invited if one is not None), None) or fresh(settings, voices, dict(client.query_params))
        chosen = next((name for name in (REALTIME, SUBPROTOCOL) if name in protocols), None)
        await client.accept(subprotocol=chosen)
        await Realtime(client, inner, settings, voices, session, Beta() if old else None).serve()

    return routes


def fresh(settings: Settings, voices: tuple[str, ...], query: dict[str, str] | None = None) -> Session:
    """A session as this server begins it."""
    query = query or {}
    voice = settings.tts_voice if settings.tts_voice in voices else next(iter(voices), settings.tts_voice)
    kind = "transcription" if query.get("intent") == "transcription" else "realtime"
    return Session(
        kind=kind,
        model=query.get("model", "gpt-realtime")[:200],
        instructions=settings.instructions,
        voice=voice,
        transcription={"model": "whisper-1"} if kind == "transcription" else None,
    )
