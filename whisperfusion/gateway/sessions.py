"""/v1/sessions and /v1/callers: what the store keeps, for its owners to see, export and delete.

With a key a client sees what was made with the same key. Without one, this machine sees everything,
and another machine only sessions whose id it knows, which is a key of its own kind. The store
blocks, so every request to it runs in one of a few threads that only these routes use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from whisperfusion.gateway import openapi
from whisperfusion.gateway.access.client_key import client_key
from whisperfusion.gateway.access.middleware import is_here
from whisperfusion.paths import COMMAND
from whisperfusion.runtime.devices import Keys
from whisperfusion.sessions import (
    Session,
    Store,
    StoreError,
    is_caller,
    is_id,
    keep_s,
    open_store,
    owner_of,
)
from whisperfusion.sessions.guarded import RETRY_S
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import ApiError

THREADS = 4  # that may wait for the store at once
MOST_LISTED, MOST_OFFSET = 100, 1_000_000
NOT_LISTED = (
    "without a key only the machine that runs this server may see that; set SHARED_SECRET and send "
    f"the key, or use `{COMMAND} sessions` there"
)
ERRORS: dict[int | str, dict[str, Any]] = {
    **openapi.ERRORS,
    403: {**openapi.ERRORS[401], "description": "only this machine, or a client with a key, may"},
}
OFF = "this server keeps no sessions (STORE_URL=none)"
EXAMPLE = "an id as SERVER_READY has it in `session`"
T = TypeVar("T")


def router(settings: Settings) -> APIRouter:
    routes = APIRouter(prefix=settings.api_prefix, tags=["Sessions"])
    shelf = Shelf(settings)

    @routes.get("/sessions", responses=ERRORS)
    async def sessions(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
        offset: Annotated[int, Query(ge=0, le=MOST_OFFSET)] = 0,
    ) -> Response:
        """The sessions of this key, the newest first."""
        owner = shelf.lists(request)
        found, count = await shelf.ask(
            lambda store: (store.list(owner, offset, limit), store.count(owner))
        )
        listed = {
            "object": "list",
            "data": [shelf.shown(session) for session in found],
            "total": count,
            "has_more": offset + len(found) < count,
        }
        return _json(listed)

    @routes.get("/sessions/{id}", responses=ERRORS)
    async def session(request: Request, id: str) -> Response:
        """One of them, with its history."""
        found = await shelf.get(request, id)
        return _json({**shelf.shown(found), **_contents(found)})

    @routes.get("/sessions/{id}/export", responses=ERRORS)
    async def export(request: Request, id: str) -> Response:
        """All that is stored under this id, as a JSON file."""
        found = await shelf.get(request, id)
        name = f'attachment; filename="session-{found.id}.json"'
        headers = {"Content-Disposition": name, **openapi.NO_STORE}
        return Response(found.to_json(), media_type="application/json", headers=headers)

    @routes.delete("/sessions/{id}", responses=ERRORS)
    async def delete(request: Request, id: str) -> dict[str, Any]:
        """Delete it. A call that goes on with it is not stored any more."""
        found = await shelf.get(request, id)
        await shelf.ask(lambda store: store.delete(found.id))
        return {"id": found.id, "object": "session.deleted", "deleted": True}

    @routes.get("/callers/{caller:path}/facts", responses=ERRORS)
    async def facts(request: Request, caller: str) -> Response:
        """What is known about a caller who gave this identity with this key."""
        owner = shelf.owner_of_facts(request, caller)
        known = await shelf.ask(lambda store: store.facts(owner, caller))
        return _json({"object": "caller.facts", "caller": caller, "facts": list(known)})

    @routes.delete("/callers/{caller:path}/facts", responses=ERRORS)
    async def forget(request: Request, caller: str) -> dict[str, Any]:
        """Forget the caller."""
        owner = shelf.owner_of_facts(request, caller)
        deleted = await shelf.ask(lambda store: store.delete_facts(owner, caller))
        return {"object": "caller.facts.deleted", "caller": caller, "deleted": deleted}

    return routes


class Shelf:
    """The store as one client may see it. Methods raise ApiError."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._keys = settings, Keys(settings)
        self._store: Store | None = open_store(settings)
        self._limiter: anyio.CapacityLimiter | None = None

    async def ask(self, request: Callable[[Store], T]) -> T:
        """The store's answer, from a thread."""
        store = self._store
        if store is None:
            raise ApiError(404, OFF, code="sessions_off")
        if self._limiter is None:  # it belongs to the loop that runs now
            self._limiter = anyio.CapacityLimiter(THREADS)
        try:
            return await anyio.to_thread.run_sync(lambda: request(store), limiter=self._limiter)
        except StoreError as error:
            message = f"sessions cannot be read at the moment: {error}"
            raise ApiError(503, message, code="store_down", retry_after_s=RETRY_S) from error

    async def get(self, request: Request, id: str) -> Session:
        """The session, if it belongs to the client's key."""
        found = await self.ask(lambda store: store.load(id)) if is_id(id) else None
        owner = self._owner()
        everything = not owner and is_here(request)
        if found is None or not (everything or found.owner == owner):
            raise ApiError(
                404,
                f"no session {id[:80]!r} is kept for this key: it was deleted, has expired, or "
                f"never was; send {EXAMPLE}",
                param="id",
                code="session_not_found",
            )
        return found

    def lists(self, request: Request) -> str | None:
        """Whose sessions the client may list; None = all."""
        owner = self._owner()
        if owner:
            return owner
        if not is_here(request):
            raise ApiError(403, NOT_LISTED, code="key_needed")
        return None

    def owner_of_facts(self, request: Request, caller: str) -> str:
        """An identity can be guessed, so facts need more than it."""
        if not is_caller(caller):
            raise ApiError(400, "the caller must be 1 to 200 printable characters", param="caller")
        return self.lists(request) or ""

    def shown(self, session: Session) -> dict[str, Any]:
        """A session without its contents."""
        return {
            "id": session.id,
            "object": "session",
            "created_at": int(session.created),
            "updated_at": int(session.updated),
            "ended_at": None if session.ended is None else int(session.ended),
            "expires_at": int(session.updated + keep_s(self._settings)),
            "agent": session.agent,
            "language": session.language,
            "caller": session.caller,
            "messages": len(session.history),
        }

    def _owner(self) -> str:
        key = client_key()
        return owner_of(self._settings, self._keys.number([key])) if key else ""


def _json(body: dict[str, Any]) -> Response:
    """ASCII, since a transcript may have halves of characters, which UTF-8 cannot encode."""
    text = json.dumps(body)
    return Response(text, media_type="application/json", headers=openapi.NO_STORE)


def _contents(session: Session) -> dict[str, Any]:
    return {
        "summary": session.summary,
        "history": [message._asdict() for message in session.history],
        "timers": [timer._asdict() for timer in session.timers],
        "pending": session.pending._asdict() if session.pending else None,
    }
