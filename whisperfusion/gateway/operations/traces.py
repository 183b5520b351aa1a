"""/trace, a page that draws the spans of turns, and /traces.jsonl, those that TRACE_DIR has."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from whisperfusion.gateway.page import HEADERS
from whisperfusion.paths import WEB
from whisperfusion.settings import Settings

MOST = 2**20  # bytes of each file, the newest; about 100 turns


def router(settings: Settings) -> APIRouter:
    routes = APIRouter()

    @routes.get("/trace", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "trace.html", headers=HEADERS)

    @routes.get("/traces.jsonl", include_in_schema=False)
    def traces() -> Response:
        """In a thread: it reads from the disk."""
        if not settings.trace_dir:
            return Response(status_code=204)
        files = sorted(settings.traces.glob("*.jsonl"))
        lines = b"".join(map(newest, files))
        headers = {"Cache-Control": "no-store"}
        return Response(lines, media_type="application/jsonl", headers=headers)

    return routes


def newest(file: Path) -> bytes:
    """The last whole lines of a file."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - MOST))
            tail = opened.read(MOST)
    except OSError:  # it has just been replaced
        return b""
    first = tail.find(b"\n") + 1 if size > MOST else 0
    return tail[first : tail.rfind(b"\n") + 1]
