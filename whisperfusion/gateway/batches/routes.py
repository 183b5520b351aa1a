"""/v1/batches, and /v1/files beside it."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from whisperfusion.gateway import forms, openapi
from whisperfusion.gateway.batches import expiry, file_routes, state
from whisperfusion.gateway.batches.file_routes import ERRORS, as_json, page
from whisperfusion.gateway.batches.owners import Owners
from whisperfusion.gateway.batches.requests import STAGES
from whisperfusion.gateway.batches.runner import Runner, route_of
from whisperfusion.gateway.batches.state import Batch
from whisperfusion.gateway.batches.store import Store
from whisperfusion.settings import Settings
from whisperfusion.wire.fields import FieldError, json_object
from whisperfusion.wire.openai_rest import ApiError

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512  # of the metadata, as upstream
MOST_LISTED = 100


def router(settings: Settings, runner: Runner, store: Store) -> APIRouter:
    routes = APIRouter(prefix=settings.api_prefix, tags=["OpenAI"])
    owners = Owners(settings)
    routes.include_router(file_routes.router(runner, store, owners))

    async def found(id: str) -> Batch:
        batch = await runner.disk(store.batch, id)
        if batch is None or batch.owner != owners.present():
            raise ApiError(
                404,
                f"no batch {id[:80]!r} is kept for this key: it ended more than a day ago, or "
                "never was",
                param="id",
                code="batch_not_found",
            )
        return batch

    @routes.post("/batches", openapi_extra=openapi.BATCH, responses=ERRORS)
    async def create(request: Request) -> Response:
        """Have the requests of an uploaded file done within a day, behind all callers."""
        body = await forms.small_body(request)
        asked = _asked(body, settings.api_prefix, owners.present(), int(store.now()))
        file = await runner.disk(store.file, asked.input_file_id)
        if file is None or file.owner != asked.owner:
            raise ApiError(
                400,
                f"no file {asked.input_file_id[:80]!r} is kept for this key; upload the requests "
                f"to {settings.api_prefix}/files with purpose=batch, and send the id",
                param="input_file_id",
                code="file_not_found",
            )
        await runner.disk(store.add_batch, asked)
        runner.submit(asked)
        return _json(asked)

    @routes.get("/batches", responses=ERRORS)
    async def batches(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
        after: str = "",
    ) -> Response:
        """The batches of this key, the newest first."""
        owner = owners.listing(request)
        kept = [batch for batch in await runner.disk(store.batches) if batch.owner == owner]
        shown = [state.body(batch) for batch in reversed(kept)]
        return as_json(page(shown, after, limit))

    @routes.get("/batches/{id}", responses=ERRORS)
    async def batch(id: str) -> Response:
        """One of them."""
        return _json(await found(id))

    @routes.post("/batches/{id}/cancel", responses=ERRORS)
    async def cancel(id: str) -> Response:
        """Stop it. What is done already is in its output file."""
        batch = await found(id)
        if batch.status in state.ENDED:
            raise ApiError(
                400,
                f"batch {id!r} is {batch.status}, so it cannot be cancelled",
                param="id",
                code="invalid_value",
            )
        return _json(await runner.cancel(id))

    return routes


def _asked(body: bytes, prefix: str, owner: str, now: int) -> Batch:
    """A new batch as the client wants it. Raises ApiError."""
    try:
        values = json_object(body.decode("utf-8", "replace"))
    except FieldError as problem:
        raise ApiError(400, str(problem)) from None
    endpoint, file = values.get("endpoint"), values.get("input_file_id")
    if not isinstance(file, str) or not file:
        raise _unusable("input_file_id", file, "the id of an uploaded file")
    if not isinstance(endpoint, str) or route_of(endpoint, prefix) not in STAGES:
        allowed = ", ".join(f"{prefix}{route}" for route in STAGES)
        raise _unusable("endpoint", endpoint, f"{allowed}; this server has no other in batches")
    if values.get("completion_window") != "24h":
        raise _unusable("completion_window", values.get("completion_window"), "'24h'")
    kept = values.get("output_expires_after") or {}
    if not isinstance(kept, dict):
        raise _unusable("output_expires_after", kept, "an object with anchor and seconds")
    keep_s = expiry.seconds("output_expires_after", kept.get("anchor"), kept.get("seconds"))
    id = f"batch_{secrets.token_hex(12)}"
    metadata = _metadata(values.get("metadata"))
    return Batch(id, owner, endpoint, file, now, metadata, keep_s)


def _metadata(given: Any) -> dict[str, str] | None:
    """Raises ApiError."""
    if given is None:
        return None
    usable = isinstance(given, dict) and len(given) <= MOST_PAIRS
    if not usable or not all(
        isinstance(value, str) and len(key) <= LONGEST_KEY and len(value) <= LONGEST_VALUE
        for key, value in given.items()
    ):
        longest = f"keys of {LONGEST_KEY} and texts of {LONGEST_VALUE} characters"
        raise _unusable("metadata", given, f"{MOST_PAIRS} pairs, with {longest} at most")
    return dict(given)


def _unusable(name: str, value: Any, allowed: str) -> ApiError:
    why = f"{name} is {str(value)[:80]!r}; allowed: {allowed}"
    return ApiError(400, why, param=name, code="invalid_value")


def _json(batch: Batch) -> Response:
    return as_json(state.body(batch))
