"""Who may come in: every route asks for the shared secret unless it is named open, and a browser's
WebSocket must come from an allowed page.

Closed is the default, so a route added tomorrow is guarded without anybody remembering to. The page and
its files are open: the page has to load before it can ask a person for the secret.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from fusion.wire.auth import authorized, origin_allowed

NO_SECRET = "this server asks for a secret: send it as 'Authorization: Bearer SECRET' or as ?token=SECRET"
WRONG_ORIGIN = "pages of {origin} may not use this server; its owner can allow them with CORS_ORIGINS"


class Doors:
    """ASGI middleware that answers 401 (no secret) or 403 (foreign page) before the app sees the request."""

    def __init__(self, app: ASGIApp, secret: str, origins: Sequence[str], is_open: Callable[[str], bool]) -> None:
        self.app, self.secret, self.origins, self.is_open = app, secret, origins, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, request: HTTPConnection) -> JSONResponse | None:
        if self.is_open(request.url.path):
            return None
        if not authorized(self.secret, request.headers.items(), request.url.query):
            return refusal(401, "invalid_api_key", NO_SECRET)
        origin = request.headers.get("origin")
        # Reading an answer across sites is the browser's own check (CORS); only a WebSocket has none.
        if request.scope["type"] == "websocket" and not origin_allowed(origin, request.headers.get("host", ""), self.origins):
            return refusal(403, "origin_not_allowed", WRONG_ORIGIN.format(origin=origin))
        return None


def refusal(status: int, code: str, message: str) -> JSONResponse:
    """An error in the shape that OpenAI clients read, which suits everybody else too."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status, headers)
