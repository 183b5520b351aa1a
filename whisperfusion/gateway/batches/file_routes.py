"""/v1/files: the inputs of batches, recordings for them, and their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response

from whisperfusion.gateway import forms, openapi
from whisperfusion.gateway.batches import expiry
from whisperfusion.gateway.batches.owners import Owners
from whisperfusion.gateway.batches.runner import Runner
from whisperfusion.gateway.batches.store import MOST_FILES, Store, StoredFile
from whisperfusion.wire.openai_rest import ApiError

PURPOSES = ("batch", "user_data")
LONGEST_NAME = 200  # characters of a file's name
ERRORS: dict[int | str, dict[str, Any]] = {
    **openapi.ERRORS,
    403: {**openapi.ERRORS[401], "description": "only this machine, or a client with a key, may"},
    507: {**openapi.ERRORS[413], "description": "the disk or the key's share of it is full"},
}


def router(runner: Runner, store: Store, owners: Owners) -> APIRouter:
    routes = APIRouter()

    async def found(id: str) -> StoredFile:
        file = await runner.disk(store.file, id)
        if file is None or file.owner != owners.present():
            raise ApiError(
                404,
                f"no file {id[:80]!r} is kept for this key: it was deleted, has expired, or never "
                "was",
                param="id",
                code="file_not_found",
            )
        return file

    @routes.post("/files", openapi_extra=openapi.FILE, responses=ERRORS)
    async def upload(request: Request) -> Response:
        """Keep a file for a day: the input of a batch, or a recording for one."""
        form = await forms.form(request, "file")
        fields = dict(form.fields)
        purpose = fields.get("purpose", "")
        if purpose not in PURPOSES:
            raise ApiError(
                400,
                f"purpose is {purpose[:40]!r}; allowed: batch, for the requests and the recordings "
                "of batches, or user_data",
                param="purpose",
                code="invalid_value",
            )
        content = forms.needed(form.file, "file")
        anchor, seconds = (fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
        keep_s = expiry.seconds("expires_after", anchor, seconds)
        name = form.filename.encode("utf-8", "replace").decode()[:LONGEST_NAME] or "file"
        file = await runner.disk(store.add_file, content, name, purpose, owners.present(), keep_s)
        return as_json(file.body())

    @routes.get("/files", responses=ERRORS)
    async def files(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MOST_FILES)] = MOST_FILES,
        after: str = "",
        order: Literal["asc", "desc"] = "desc",
        purpose: str = "",
    ) -> Response:
        """The files of this key."""
        owner = owners.listing(request)
        kept = [file for file in await runner.disk(store.files) if file.owner == owner]
        shown = [file.body() for file in kept if purpose in ("", file.purpose)]
        return as_json(page(shown if order == "asc" else shown[::-1], after, limit))

    @routes.get("/files/{id}", responses=ERRORS)
    async def file(id: str) -> Response:
        """One of them."""
        return as_json((await found(id)).body())

    @routes.get("/files/{id}/content", responses=openapi.CONTENT)
    async def content(id: str) -> Response:
        """What is in it."""
        file = await found(id)
        return FileResponse(
            store.content(id),
            media_type="application/octet-stream",
            filename=file.filename,
            headers=openapi.NO_STORE,
        )

    @routes.delete("/files/{id}", responses=ERRORS)
    async def delete(id: str) -> Response:
        """Delete it. A batch that was made of it goes on."""
        file = await found(id)
        await runner.disk(store.delete_file, file.id)
        return as_json({"id": file.id, "object": "file", "deleted": True})

    return routes


def page(shown: list[dict[str, Any]], after: str, limit: int) -> dict[str, Any]:
    """A list in OpenAI's form: `limit` of `shown`, from behind the one with the id `after` on.

    Raises ApiError.
    """
    ids = [one["id"] for one in shown]
    if after and after not in ids:
        raise ApiError(400, f"after is {after[:80]!r}, which is not in the list", param="after")
    start = ids.index(after) + 1 if after else 0
    part = shown[start : start + limit]
    return {
        "object": "list",
        "data": part,
        "first_id": part[0]["id"] if part else None,
        "last_id": part[-1]["id"] if part else None,
        "has_more": start + limit < len(shown),
    }


def as_json(body: Mapping[str, Any]) -> Response:
    """ASCII, since texts of clients may have halves of characters, which UTF-8 cannot encode."""
    return Response(json.dumps(body), media_type="application/json", headers=openapi.NO_STORE)
