"""ROOT_PATH: the server below a path of another site, such as https://example.org/voice/, behind a
reverse proxy.

Proxies either strip the path or pass it on; both work. Every address in the pages is relative.
"""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """ASGI middleware that strips ROOT_PATH where the proxy passes it on, so that every path of the
    application begins at /.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == self._root and scope["type"] == "http":
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{self._root}/{'?' if query else ''}{query}", 307)(
                scope, receive, send
            )
            return
        if path.startswith(self._root + "/"):
            raw = scope.get("raw_path") or path.encode()
            scope = {
                **scope,
                "path": path.removeprefix(self._root),
                "raw_path": raw.removeprefix(self._root.encode()),
            }
        await self._app(scope, receive, send)
