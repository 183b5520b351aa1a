"""Short-lived keys that a server fetches for a browser, in both dialects."""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from whisperfusion.gateway import forms, openapi
from whisperfusion.gateway.access.client_key import client_key
from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.realtime.agents import SessionAgents
from whisperfusion.gateway.rest.voice_names import VoiceNames
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.realtime import RealtimeError, Session, as_dict
from whisperfusion.wire.realtime_beta import session_in, session_out
from whisperfusion.wire.realtime_update import updated

SHORTEST_S, LONGEST_S, USUAL_S = 10, 7200, 600
MOST_KEYS = 10_000
SPENT = (
    "this client secret was used or has expired: it is good for one session; ask POST {path} "
    "for another"
)
SHOWN: dict[str, Any] = {
    "openapi_extra": openapi.CLIENT_SECRET,
    "responses": openapi.ERRORS,
}


class ClientSecrets:
    """Keys for one session each, as long as they last; kept in memory, so a restart ends them."""

    def __init__(self, path: str) -> None:
        self.path = path
        # when it expires, its session (None: it was used), the key that it was fetched with
        self._keys: OrderedDict[str, tuple[float, Session | None, str]] = OrderedDict()

    def issue(self, session: Session, seconds: float) -> tuple[str, int]:
        """A new key and when it expires (unix seconds)."""
        key, expires_at = f"ek_{secrets.token_urlsafe(32)}", time.time() + seconds
        self._keys[key] = expires_at, session, client_key()
        while len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return key, int(expires_at)

    def known(self, key: str) -> bool:
        """Whether it was given out, and not too long ago."""
        return key in self._keys

    def redeem(self, key: str) -> Session:
        """The session that the key is good for, once. Raises ApiError."""
        expires_at, session, fetched_with = self._keys[key]
        self._keys[key] = expires_at, None, fetched_with
        if session is None or time.time() >= expires_at:
            raise ApiError(
                401, SPENT.format(path=f"{self.path}/client_secrets"), code="invalid_api_key"
            )
        return session

    def issued_with(self, key: str) -> str:
        """The key of the client that fetched this one; "" = it needed none."""
        return self._keys[key][2]


def router(
    settings: Settings, agents: SessionAgents, snapshot: StageSnapshot, issued: ClientSecrets
) -> APIRouter:
    names = VoiceNames(settings, snapshot)
    routes = APIRouter()

    async def session_of(given: dict[str, Any], request: Request) -> Session:
        voices = await names.all()
        began = agents.begun(new_session(settings, voices), request.scope)
        try:
            began = agents.changed(began, given, began)
            return updated(began, given, voices, hosts=settings.mcp_hosts)
        except RealtimeError as problem:
            raise ApiError(400, problem.message, param=problem.param, code=problem.code) from None

    async def beta(request: Request, transcribes: bool) -> JSONResponse:
        given = await _body(request)
        given.pop("type", None)
        session = await session_of(session_in(given, transcribes), request)
        key, expires_at = issued.issue(session, USUAL_S)
        secret = {"value": key, "expires_at": expires_at}
        shown = {**session_out(as_dict(session, expires_at)), "client_secret": secret}
        return JSONResponse(shown, headers=openapi.NO_STORE)

    @routes.post("/realtime/client_secrets", **SHOWN)
    async def client_secrets(request: Request) -> JSONResponse:
        """A key for a browser, good for one kind of session and some minutes."""
        given = await _body(request)
        seconds, wanted = _seconds(given), given.get("session")
        wanted = wanted if wanted is not None else {"type": "realtime"}
        session = await session_of(wanted, request)
        key, expires_at = issued.issue(session, seconds)
        shown = {"value": key, "expires_at": expires_at, "session": as_dict(session, expires_at)}
        return JSONResponse(shown, headers=openapi.NO_STORE)

    @routes.post("/realtime/sessions", **SHOWN)
    async def sessions(request: Request) -> JSONResponse:
        """The same in the older dialect."""
        return await beta(request, False)

    @routes.post("/realtime/transcription_sessions", **SHOWN)
    async def transcription_sessions(request: Request) -> JSONResponse:
        """The same in the older dialect, for transcription alone."""
        return await beta(request, True)

    return routes


async def _body(request: Request) -> dict[str, Any]:
    """Raises ApiError."""
    text = await forms.small_body(request)
    try:
        given = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ApiError(400, "the body must be a JSON object")
    return given


def _seconds(given: Mapping[str, Any]) -> float:
    """How long the key lasts. Raises ApiError."""
    after = given.get("expires_after")
    seconds = after.get("seconds", USUAL_S) if isinstance(after, dict) else USUAL_S
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not SHORTEST_S <= seconds <= LONGEST_S
    ):
        raise ApiError(
            400,
            f"expires_after.seconds is {str(seconds)[:40]}; allowed: {SHORTEST_S} to {LONGEST_S}",
            param="expires_after.seconds",
        )
    return seconds


def new_session(
    settings: Settings, voices: tuple[str, ...], query: dict[str, str] | None = None
) -> Session:
    """A session as this server begins it."""
    query = query or {}
    voice = (
        settings.default_voice
        if settings.default_voice in voices
        else next(iter(voices), settings.default_voice)
    )
    kind = "transcription" if query.get("intent") == "transcription" else "realtime"
    return Session(
        kind=kind,
        model=query.get("model", "gpt-realtime")[:200],
        instructions=settings.instructions,
        voice=voice,
        transcription={"model": "whisper-1"} if kind == "transcription" else None,
    )
