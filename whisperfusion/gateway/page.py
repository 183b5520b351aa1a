"""The web page: static files from web/, and /config.json with the settings and state it needs.

The file names have no version, so browsers cache them but revalidate each time (an ETag keeps the
response short). The Content-Security-Policy allows no other server as a source or target.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisperfusion.agents import Agents
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE
from whisperfusion.gateway.operations.health import StageSnapshot, report
from whisperfusion.paths import WEB
from whisperfusion.settings import Settings
from whisperfusion.wire.languages import NAMES

FILES = "/static"

# The system's table may map modules to text/plain, which browsers refuse to run.
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".ts": "text/plain",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".json": "application/json",
    ".md": "text/markdown",
}

POLICY = "Content-Security-Policy"
HEADERS = {
    "Cache-Control": "no-cache",
    POLICY: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
    "'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",  # the address may hold ?token=
    "X-Content-Type-Options": "nosniff",
}


def is_public(path: str) -> bool:
    """Whether a path needs no key: the page itself, and the routes that the probes of load
    balancers request without one.
    """
    pages = (
        "/",
        "/ready",
        "/docs",
        "/dashboard",
        "/trace",
        "/tools",
        "/voices",
        "/install",
        "/pair",
    )
    return path in pages or path.startswith((FILES + "/", "/health", "/authority."))


def add_page(app: FastAPI) -> None:
    """Serve index.html at / and the other files below /static."""
    for suffix, kind in TYPES.items():
        mimetypes.add_type(kind, suffix)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", headers=HEADERS)

    @app.get("/voices", include_in_schema=False)
    async def voices() -> FileResponse:
        return FileResponse(WEB / "voices.html", headers=HEADERS)

    @app.get(f"{FILES}/example.html", include_in_schema=False)
    async def example() -> FileResponse:
        return FileResponse(
            WEB / "example.html",
            headers=HEADERS
            | {POLICY: HEADERS[POLICY].replace("'self'", f"'self' {_script_hash()}", 1)},
        )

    app.mount(FILES, _with_headers(StaticFiles(directory=WEB)))


def _script_hash() -> str:
    """The example is a single file with its script inside, which the policy allows by its hash."""
    script = (
        (WEB / "example.html")
        .read_text()
        .partition('<script type="module">')[2]
        .partition("</script>")[0]
    )
    assert script
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def router(settings: Settings, agents: Agents, snapshot: StageSnapshot) -> APIRouter:
    """/config.json: sample rates, the engines of the settings, the agents, and the current
    states.
    """
    routes = APIRouter(tags=["page"])

    @routes.get("/config.json")
    async def config() -> JSONResponse:
        return JSONResponse(
            public_settings(settings) | listed(agents) | report(await snapshot()),
            headers={"Cache-Control": "no-store"},
        )

    return routes


def public_settings(settings: Settings) -> dict[str, Any]:
    """The settings that the page may see: no keys, no addresses of other servers."""
    return {
        "input_rate": MICROPHONE_RATE,
        "sample_rate": SPEECH_RATE,
        "engines": {
            "asr": "chain" if settings.asr_chain else settings.asr_engine,
            "llm": "chain" if settings.llm_chain else settings.llm_engine,
            "tts": "chain" if settings.tts_chain else settings.tts_engine,
        },
        "models": {"asr": settings.asr_model, "llm": settings.llm_model, "tts": settings.tts_model},
        "voice": settings.default_voice,
        "language": settings.asr_language,
        "languages": sorted(NAMES),
        "eagerness": settings.eagerness,
        "speed": settings.tts_speed,
        "pairing": settings.secure,
        "resume_s": settings.resume_s,
        "api_prefix": settings.api_prefix,
    }


def listed(agents: Agents) -> dict[str, Any]:
    """The agents as a menu shows them."""
    return {"agents": [{"name": one.name, "title": one.title} for one in agents.all().values()]}


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped
