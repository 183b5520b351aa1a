"""The web page: plain files from web/, sent as they are, and the few facts it needs in /config.json.

The files carry no version in their names, so browsers keep them but ask each time whether they changed
(an ETag makes the answer short). The security policy names this server as the only place that anything
may come from or go to.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusion.gateway.health import Look, report
from fusion.settings import Settings
from fusion.wire.languages import NAMES

WEB = Path(__file__).resolve().parents[2] / "web"
FILES = "/static"
ASR_RATE, TTS_RATE = 16_000, 24_000  # samples per second on ports 6006 and 8888 (docs/wire.md)

# A machine's own table may call a module text/plain, which browsers refuse to run.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html", ".ts": "text/plain"}

POLICY = "Content-Security-Policy"
HEADERS = {
    "Cache-Control": "no-cache",
    POLICY: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",  # the address may hold ?token=
    "X-Content-Type-Options": "nosniff",
}


def is_open(path: str) -> bool:
    """Whether everybody may ask for a path: the page itself, and the state, which probes of balancers ask for without a key."""
    return path in ("/", "/docs", "/dashboard") or path.startswith((FILES + "/", "/health"))


def add_page(app: FastAPI) -> None:
    """Serve index.html at / and the other files below /static."""
    for suffix, kind in TYPES.items():
        mimetypes.add_type(kind, suffix)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", headers=HEADERS)

    @app.get(f"{FILES}/example.html", include_in_schema=False)
    async def example() -> FileResponse:
        return FileResponse(WEB / "example.html", headers=HEADERS | {POLICY: HEADERS[POLICY].replace("'self'", f"'self' {_sum()}", 1)})

    app.mount(FILES, _with_headers(StaticFiles(directory=WEB)))


def _sum() -> str:
    """The example is one file to be copied, script and all; of scripts inside a page the policy allows exactly that one."""
    script = re.search(r'<script type="module">(.*?)</script>', (WEB / "example.html").read_text(), re.DOTALL)
    assert script is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()}'"


def router(settings: Settings, look: Look) -> APIRouter:
    """/config.json: rates, engines as they were asked for, and the stages as they are now."""
    routes = APIRouter(tags=["page"])

    @routes.get("/config.json")
    async def config() -> JSONResponse:
        return JSONResponse(facts(settings) | report(await look()), headers={"Cache-Control": "no-store"})

    return routes


def facts(settings: Settings) -> dict[str, Any]:
    """What the page may know about the settings; keys and addresses of other servers stay here."""
    return {
        "input_rate": ASR_RATE,
        "sample_rate": TTS_RATE,
        "engines": {"asr": settings.asr_engine, "llm": settings.llm_engine, "tts": settings.tts_engine},
        "models": {"asr": settings.asr_model, "llm": settings.llm_model, "tts": settings.tts_model},
        "voice": settings.tts_voice,
        "language": settings.asr_language,
        "languages": sorted(NAMES),
        "eagerness": settings.eagerness,
        "speed": settings.tts_speed,
    }


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped
