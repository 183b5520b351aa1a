"""/docs: the API reference, rendered from /openapi.json by a page of our own that loads nothing
from other servers.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from whisperfusion.gateway.page import HEADERS
from whisperfusion.paths import WEB


def router() -> APIRouter:
    routes = APIRouter()

    @routes.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(WEB / "docs.html", headers=HEADERS)

    return routes
