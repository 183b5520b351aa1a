"""Shared by the two WebSocket servers: who may connect, and how frames are sent.

A client that never reads must not cost other clients anything: frames are queued without waiting;
when more than `LIMIT` bytes are queued for a connection, it is closed, and when more than `TOTAL`
are queued for all, the one with the longest queue is. Received frames are
`whisperfusion.runtime.incoming`'s part.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlsplit

from whisperfusion.runtime.devices import Keys
from whisperfusion.runtime.failed_keys import LONGEST_S, FailedKeyThrottle
from whisperfusion.runtime.incoming import READ_BYTES
from whisperfusion.runtime.listener import HEAD_S, Listener, listen_on, max_connections
from whisperfusion.runtime.peers import (
    GATEWAY_HEADER,
    Peer,
    client_address,
    from_this_machine,
    is_gateway_token,
    is_local,
)
from whisperfusion.runtime.rate_limits import Limits, TooMany, names_of
from whisperfusion.settings import Settings, may_call
from whisperfusion.wire.auth import SUBPROTOCOL, offered, origin_allowed
from whisperfusion.wire.trace import REQUEST_ID, trace_of_headers

LIMIT = 8 * 1024 * 1024  # bytes; 85 s of float32 speech at 24 kHz
TOTAL = 128 * 1024 * 1024  # bytes that may be queued for all connections of a process
OPEN_S = HEAD_S + LONGEST_S + 5.0  # for the opening handshake; the head has a limit of its own
WRONG_HOST = (
    "This server does not answer to the name {host}; its owner can allow that with "
    "ALLOWED_HOSTS={host}, or with a SHARED_SECRET\n"
)
OVER_CAPACITY = "Too many connections are open; try again in a few seconds\n"
NO_KEY = "This server wants a key: Authorization: Bearer KEY, or ?token=KEY\n"
WRONG_ORIGIN = "Pages of this origin may not connect; add it to CORS_ORIGINS\n"
FRAME_BYTES = 16 * 1024 * 1024  # the largest frame: over four minutes of float32 audio at 16 kHz

log = logging.getLogger("sockets")


class Outgoing:
    """The send queue of one connection, and the task that sends it."""

    _all: ClassVar[set[Outgoing]] = set()  # that have something queued
    _total: ClassVar[int] = 0  # bytes in their queues

    def __init__(
        self, connection: Any, limit: int = LIMIT, sent: Callable[[], object] = lambda: None
    ) -> None:
        """`sent` is called after a frame was sent."""
        self._connection, self._limit, self._sent = connection, limit, sent
        self._frames: deque[str | bytes] = deque()
        self.size = 0  # bytes in the queue
        self._changed = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._task = asyncio.create_task(self._write())

    def send(self, frame: str | bytes) -> None:
        if self._closing is not None:
            return
        self._frames.append(frame)
        self._add(size_of(frame))
        self._all.add(self)
        if self.size > self._limit:
            self._cut()
        elif Outgoing._total > TOTAL:
            max(self._all, key=lambda one: one.size)._cut()
        self._changed.set()

    def _add(self, size: int) -> None:
        self.size += size
        Outgoing._total += size

    def _cut(self) -> None:
        self._closing = (1008, "not read")
        self._forget()
        log.warning("%s does not read its frames: closed", self._connection.remote_address)
        # a closing handshake would wait behind frames that are never read
        self._connection.transport.abort()
        self._changed.set()

    def _forget(self) -> None:
        self._frames.clear()
        self._add(-self.size)
        self._all.discard(self)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after what is queued has been sent."""
        if self._closing is None:
            self._closing = (code, reason)
            self._changed.set()

    @property
    def closed(self) -> bool:
        return self._closing is not None

    def abandon(self) -> None:
        """Drop the queue, and close without waiting."""
        self._closing = self._closing or (1001, "the server stops")
        self._forget()
        self._task.cancel()

    async def finished(self) -> None:
        await self._task

    async def _write(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                while self._frames:
                    frame = self._frames.popleft()
                    await self._connection.send(frame)
                    self._add(-min(self.size, size_of(frame)))
                    self._sent()
                self._all.discard(self)
                if self._closing is not None:
                    await self._connection.close(*self._closing)
                    return
                self._changed.clear()
                await self._changed.wait()
        except ConnectionClosed:
            self._closing = self._closing or (1006, "gone")
        finally:
            self._forget()


def size_of(frame: str | bytes) -> int:
    """Bytes on the wire."""
    return (
        len(frame)
        if isinstance(frame, bytes) or frame.isascii()
        else len(frame.encode("utf-8", "replace"))
    )


class Gatekeeper:
    """Checks each opening handshake, and limits each connection, of one WebSocket server."""

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings, self._listener = settings, listener
        self._keys, self._failed_keys = Keys(settings), FailedKeyThrottle()
        self._limits = Limits(settings.rate_limit, settings.calls_limit)

    async def check(self, connection: Any, request: Any) -> Any:
        """The HTTP response that refuses the handshake; None: it is accepted, with a `Peer`."""
        peer = _peer(self._settings, self._keys, connection.remote_address, request)
        self._listener.head_received(connection.remote_address, peer.from_gateway)
        refusal = self._refusal(connection.remote_address, peer, request.headers)
        if refusal is None:
            connection.peer = peer
            connection.transport.max_size = READ_BYTES
            return None
        if refusal[0] is HTTPStatus.UNAUTHORIZED and _offered_keys(request):
            await asyncio.sleep(self._failed_keys.delay_s(peer.address, time.monotonic()))
        return connection.respond(*refusal)

    def _refusal(self, remote: Any, peer: Peer, headers: Any) -> tuple[HTTPStatus, str] | None:
        """The checks in their order: capacity, Host, key, origin."""
        if self._listener.over_capacity(remote):
            return HTTPStatus.SERVICE_UNAVAILABLE, OVER_CAPACITY
        hosts = headers.get_all("Host")
        if not peer.from_gateway and not may_call(self._settings, hosts):
            return HTTPStatus.FORBIDDEN, WRONG_HOST.format(host=hosts[-1][:100])
        here = from_this_machine(peer.address, hosts, "X-Forwarded-For" in headers)
        if self._keys.needed(here or peer.from_gateway) and peer.key is None:
            return HTTPStatus.UNAUTHORIZED, NO_KEY
        host = hosts[0] if hosts else ""
        if not origin_allowed(headers.get("Origin"), host, self._settings.origins):
            return HTTPStatus.FORBIDDEN, WRONG_ORIGIN
        return None

    def limited(self, handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Any]:
        """`handler` with rate limits: by address for other machines, by key except the gateway's,
        which counts the keys of its clients itself.
        """

        async def run(connection: Any) -> None:
            peer = peer_of(connection)
            key = None if peer.from_gateway else peer.key
            names = () if is_local(peer.address) else names_of(key, peer.address)
            try:
                with self._limits.admitted(names):
                    await handler(connection)
            except TooMany as problem:
                again = f"{problem.message}; again in {problem.retry_after_s:.0f} s"
                await connection.close(1013, again)

        return run


def listen(
    settings: Settings,
    port: int,
    variable: str,
    handler: Callable[[Any], Awaitable[None]],
    frame_bytes: int = FRAME_BYTES,
) -> Any:
    """A WebSocket server on `port` that checks the Host, key and origin before the upgrade.

    `variable` names the port's setting in errors. Of each connection one frame of up to
    `frame_bytes` is buffered while another is processed: see `whisperfusion.runtime.incoming`.
    `peer_of` gives the `Peer` of a connection that `handler` gets.
    """
    from websockets.asyncio.server import serve
    from websockets.typing import Subprotocol

    from whisperfusion.runtime.received import Connection

    listener = listen_on(settings.host, port, variable, max_connections(1), settings.proxies)
    gatekeeper = Gatekeeper(settings, listener)
    return serve(
        gatekeeper.limited(handler),
        sock=listener,
        process_request=gatekeeper.check,
        max_size=frame_bytes,
        create_connection=Connection,
        compression=None,
        process_response=echo_request_id,
        open_timeout=OPEN_S,
        close_timeout=1,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        select_subprotocol=_select_subprotocol,
    )


def echo_request_id(connection: Any, request: Any, response: Any) -> None:
    """The answer to an opening handshake carries its `X-Request-ID`."""
    if found := trace_of_headers(request.headers).id:
        response.headers[REQUEST_ID] = found


def peer_of(connection: Any) -> Peer:
    """The client of a connection that `listen` accepted."""
    peer: Peer = connection.peer
    return peer


def _peer(settings: Settings, keys: Keys, remote: Any, request: Any) -> Peer:
    from_gateway = is_gateway_token(request.headers.get(GATEWAY_HEADER))
    address = client_address(
        remote[0] if remote else "",
        request.headers.get_all("X-Forwarded-For"),
        settings.proxies,
        from_gateway,
    )
    return Peer(address, keys.number(_offered_keys(request)), from_gateway)


def _offered_keys(request: Any) -> list[str]:
    return offered(request.headers.raw_items(), urlsplit(request.path).query)


def _select_subprotocol(connection: Any, offered: Sequence[str]) -> Any:
    """Only the name of the subprotocol is echoed, never the key that is sent beside it."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


class _HandshakeFilter(logging.Filter):
    """Drops websockets' tracebacks about incomplete requests: port scans would fill the log, and a
    broken request line may contain a key.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if record.exc_info else None
        theirs = error is not None and (
            issubclass(error, (EOFError, ConnectionError))
            or error.__module__.startswith("websockets.")
        )
        return not (theirs and record.msg == "opening handshake failed")


logging.getLogger("websockets.server").addFilter(_HandshakeFilter())
