"""One port for https and http: the first byte of a connection tells which it is.

A TLS client begins with byte 22 (a handshake record), an HTTP client with a letter. Users type
addresses without https, phones need the certificate authority before they can trust the
certificate, and health probes on this machine use plain HTTP: so the port serves both, and
`PlainHttpMiddleware` decides what is served without TLS.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.access import install, pairing
from whisperfusion.gateway.access.certificates.identity import TlsIdentity
from whisperfusion.gateway.access.middleware import is_here
from whisperfusion.messages import Stage
from whisperfusion.settings import Settings, is_loopback

HANDSHAKE = 22  # the first byte of a TLS record that begins a connection
PAUSE_S = 1.0  # before accepting again, as in asyncio's own servers
RENEWAL_S = 60.0  # between two checks of the certificate
READY_S = 0.5  # between two checks whether all stages are ready
ONLY_TLS = "this server speaks https: open https://{host} (wss:// for WebSockets)"

log = logging.getLogger("https")


class HttpAndHttpsPort:
    """Accepts on `listener` until closed; `make` creates a protocol for each connection.

    The listener limits connections and closes those without a request, so no wait here is endless.
    """

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener, self._context, self._make = listener, context, make
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = {self._loop.create_task(self._accept())}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # out of descriptors; the listener has logged it
                await asyncio.sleep(PAUSE_S)
                continue
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        owned = True  # until a transport takes it over
        try:
            first = await self._first_byte(client)
            if first:
                owned = False
                context = self._context if first[0] == HANDSHAKE else None
                await self._loop.connect_accepted_socket(self._make, client, ssl=context)
        except OSError as error:  # TLS errors too: a port scan, a phone without the authority
            log.debug("a connection was not made: %s", error or type(error).__name__)
        finally:
            if owned:
                client.close()

    async def _first_byte(self, client: socket.socket) -> bytes:
        """Peeked, so the transport reads it again; b"" when the client has disconnected."""
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(client, _settle, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(client)
        with suppress(BlockingIOError):
            return client.recv(1, socket.MSG_PEEK)
        return b""


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Https:
    """HTTPS of a gateway: its certificate, its port and device pairing. `port`: the bound port.
    Raises SettingsError.
    """

    def __init__(self, settings: Settings, port: int) -> None:
        self._settings, self._port_number = settings, port
        self._identity = TlsIdentity(settings)
        self.authority = self._identity.authority
        self.pairing = pairing.Pairing(settings, self.authority, port)
        self._tasks: list[asyncio.Task[None]] = []
        self._port: HttpAndHttpsPort | None = None

    def start(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        stages: Mapping[str, Stage] | None,
    ) -> None:
        """Listen, renew the certificate, and print the QR codes when all `stages` are ready."""
        self._port = HttpAndHttpsPort(listener, self._identity.context, make)
        self._tasks = [
            asyncio.create_task(self._renew()),
            asyncio.create_task(self._invite(stages)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._port is not None:
            await self._port.close()

    async def _renew(self) -> None:
        """A machine that changes networks has other addresses; open connections are kept."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                if self._identity.refresh():
                    log.info("the https certificate was renewed")
            except SettingsError as error:
                log.warning("the https certificate could not be renewed: %s", error)

    async def _invite(self, stages: Mapping[str, Stage] | None) -> None:
        if is_loopback(self._settings.host):
            log.warning(
                "HOST=%s: only this machine reaches the https server; set HOST=0.0.0.0 for phones",
                self._settings.host,
            )
            return
        while stages is not None and not all(  # noqa: ASYNC110
            name in stages and stages[name].state == "ready" for name in ("asr", "llm", "tts")
        ):
            await asyncio.sleep(READY_S)
        pairing.show(self.pairing, self._port_number)


class PlainHttpMiddleware:
    """ASGI middleware for requests without TLS: programs of this machine are served, other machines
    get the pages that install the authority, and a redirect to https.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["scheme"] in ("https", "wss"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        if is_here(request) or (scope["type"] == "http" and install.is_plain(request.url.path)):
            await self._app(scope, receive, send)
            return
        host = request.headers.get("host", "")
        answer: Response = PlainTextResponse(ONLY_TLS.format(host=host) + "\n", 403)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(answer)
            return
        if scope["method"] in ("GET", "HEAD"):
            query = scope["query_string"].decode("latin-1")
            path = scope["raw_path"].decode("latin-1")
            answer = RedirectResponse(
                f"https://{host}{self._root}{path}{'?' if query else ''}{query}", 307
            )
        await answer(scope, receive, send)
