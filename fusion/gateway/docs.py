"""/docs: the routes for people, drawn from /openapi.json by a page of our own: nothing is loaded from elsewhere."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from fusion.gateway.page import HEADERS, WEB


def router() -> APIRouter:
    routes = APIRouter()

    @routes.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(WEB / "docs.html", headers=HEADERS)

    return routes
