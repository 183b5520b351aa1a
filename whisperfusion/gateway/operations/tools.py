"""/tools, the operator's page of MCP servers, and /mcp-servers, what it reads and changes.

Changes hold for everyone who calls, so only the machine that runs the server may make them: a key
of SHARED_SECRET lets a client talk, and does not make it an operator. They are written to a file
(`tools.mcp.added`) that the language model's process reads again by itself. A program is added only
where MCP_PROGRAMS allows it, since that page could otherwise start anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.access.middleware import is_here
from whisperfusion.gateway.page import HEADERS
from whisperfusion.messages import Metrics
from whisperfusion.paths import WEB
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import tool_file
from whisperfusion.tools.mcp import added
from whisperfusion.tools.mcp.checks import INSTALL
from whisperfusion.tools.mcp.configuration import Configuration, Server, read
from whisperfusion.wire.auth import origin_allowed
from whisperfusion.wire.openai_rest import ApiError

LONGEST_BODY = 64 * 1024
NO_STORE = {"Cache-Control": "no-store"}
NOT_HERE = (
    "only the machine that runs this server may see and change its tools; open this page there, or "
    "through a tunnel: ssh -L 8000:localhost:8000 SERVER"
)
NO_PROGRAMS = (
    "servers that start a program cannot be added here; write it into tools.toml, or let this page "
    "start programs with MCP_PROGRAMS=true"
)
NOT_A_SERVER = "the body must be a JSON object: a server as in tools.toml (docs/tools.md)"
NOT_A_SWITCH = 'the body must be {"on": true} or {"on": false}'
TOO_LARGE = f"the body is larger than {LONGEST_BODY} bytes; a server has an address or a command"
ELSEWHERE = "the language model is at UPSTREAM_HOST; open this page of the server there"


def router(settings: Settings, by_process: Mapping[str, Metrics]) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/tools")
    async def page() -> FileResponse:
        return FileResponse(WEB / "tools.html", headers=HEADERS)

    # Plain functions run in a thread: they read and write files.
    @routes.get("/mcp-servers")
    def servers(request: Request) -> JSONResponse:
        _check(request, settings)
        return JSONResponse(_shown(settings, by_process.get("llm")), headers=NO_STORE)

    @routes.put("/mcp-servers/{label}")
    async def put(request: Request, label: str) -> JSONResponse:
        _check(request, settings)
        given = await _body(request)
        if given.get("command") and not settings.mcp_programs:
            raise ApiError(403, NO_PROGRAMS, code="programs_not_allowed", param="command")
        if label in _of_file(settings).servers:
            raise ApiError(
                409, f"{label} is in tools.toml; change it there", code="in_file", param="label"
            )
        if find_spec("mcp") is None:
            raise ApiError(409, f"the package for MCP is missing: {INSTALL}", code="not_installed")
        return _changed(settings, lambda before: before.with_server(label, given))

    @routes.patch("/mcp-servers/{label}")
    async def switch(request: Request, label: str) -> JSONResponse:
        _check(request, settings)
        on = (await _body(request)).get("on")
        if not isinstance(on, bool):
            raise ApiError(400, NOT_A_SWITCH, code="invalid_value", param="on")
        _known(settings, label)
        return _changed(settings, lambda before: before.switched(label, on))

    @routes.delete("/mcp-servers/{label}")
    async def delete(request: Request, label: str) -> JSONResponse:
        _check(request, settings)
        if label in _of_file(settings).servers:
            raise ApiError(
                409, f"{label} is in tools.toml; delete it there, or switch it off", code="in_file"
            )
        _known(settings, label)
        return _changed(settings, lambda before: before.without(label))

    return routes


def _check(request: Request, settings: Settings) -> None:
    """Raises ApiError for a client that may not."""
    if settings.upstream_host:
        raise ApiError(409, ELSEWHERE, code="upstream_elsewhere")
    if not is_here(request):
        raise ApiError(403, NOT_HERE, code="not_the_operator")
    origin = request.headers.get("origin")
    if not origin_allowed(origin, request.headers.get("host", ""), ()):
        raise ApiError(403, f"pages of {origin} may not do that", code="origin_not_allowed")


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise ApiError(413, TOO_LARGE, code="request_too_large")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ApiError(400, NOT_A_SERVER, code="invalid_value")
    return given


def _changed(settings: Settings, change: Any) -> JSONResponse:
    try:
        added.save(settings, change(added.load(settings)))
    except SettingsError as error:
        raise ApiError(400, str(error), code="invalid_value") from None
    return JSONResponse({"saved": True}, headers=NO_STORE)


def _of_file(settings: Settings) -> Configuration:
    """`tools.toml` as it is now; one that is not valid has no servers that are used."""
    file = tool_file(settings)
    try:
        return read(file) if file is not None else Configuration()
    except SettingsError:
        return Configuration()


def _known(settings: Settings, label: str) -> None:
    try:
        servers = {**added.load(settings).servers, **_of_file(settings).servers}
    except SettingsError as error:
        raise ApiError(400, str(error), code="invalid_value") from None
    if label not in servers:
        known = ", ".join(servers) or "none"
        raise ApiError(
            404, f"{label[:40]!r} is not a server here; known: {known}", code="server_not_found"
        )


def _shown(settings: Settings, metrics: Metrics | None) -> dict[str, Any]:
    """Without values of headers and environment, which are secrets."""
    try:
        page = added.load(settings)
        problem = ""
    except SettingsError as error:
        page, problem = added.Added(), str(error)
    own = _of_file(settings).servers
    servers = {**own, **{label: one for label, one in page.servers.items() if label not in own}}
    values = {
        (one.name, dict(one.labels).get("server")): one.value
        for one in (metrics.labelled if metrics is not None else ())
    }
    return {
        "servers": [
            {
                "label": label,
                "from": "file" if label in own else "page",
                "on": label not in page.off,
                **_place(server),
                "tools": list(server.tools),
                "permission": server.permission,
                "trusted": server.trusted,
                "up": bool(values.get(("mcp_server_up", label), 0.0)),
                "found": int(values.get(("mcp_server_tools", label), 0.0)),
            }
            for label, server in servers.items()
        ],
        "programs": settings.mcp_programs,
        "problem": problem,
    }


def _place(server: Server) -> dict[str, Any]:
    names = {"headers": sorted(server.headers), "env": sorted(server.env)}
    return {"url": server.url, "command": list(server.command), **names}
