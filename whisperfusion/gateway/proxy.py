"""/transcription and /audio: the sockets on 6006 and 8888, passed through unchanged, so that a page
needs one address and one certificate.

Each direction is one loop that reads a message, writes it and only then reads the next. A slow side
therefore stops the reading of the other, down to the sender's own socket; what waits in between is
at most the few frames that the two libraries hold. Either loop ends with the close code and the
reason that the other side is to get.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from whisperfusion.client.sockets import release
from whisperfusion.gateway.upstream import forwarded_headers
from whisperfusion.settings import Settings
from whisperfusion.wire.auth import HEADERS as KEY_HEADERS

# bytes; a reply in one message (float32, 24 kHz) may be almost three minutes long
LARGEST_MESSAGE = 16 * 2**20
QUEUED_MESSAGES = 16  # for a slow client; then the upstream socket is not read
LONGEST_REASON = 123  # bytes, a rule of the protocol
CONNECT_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 0.5  # upstream is near; and a gateway that stops has one second in all

BUSY = "the speech server is starting or down; try again in a few seconds"
LOST = "the speech server went away; connect again"
REFUSED = "the speech server does not accept this connection"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How one side closed: the close frame for the other side."""

    code: int
    reason: str = ""


def router(settings: Settings, host: str) -> APIRouter:
    """The two WebSocket routes; the sockets behind them are at `host`."""
    routes = APIRouter()

    @routes.websocket("/transcription")
    async def transcription(client: WebSocket) -> None:
        await relay(client, host, settings.asr_port)

    @routes.websocket("/audio")
    async def audio(client: WebSocket) -> None:
        await relay(client, host, settings.tts_port)

    return routes


async def relay(client: WebSocket, host: str, port: int, first: str | None = None) -> None:
    """Join `client` to the socket at `host:port` until one of them closes, then close the other
    alike.

    `first`: a frame that was read from it already, after it was accepted.
    """
    try:
        upstream = await _reach(client, host, port)
    except (OSError, TimeoutError, WebSocketException) as error:
        # Not the error itself: what it says of an address may hold a key.
        log.warning("no connection to %s:%d for %s: %s", host, port, client.url.path, why(error))
        if first is None:
            await client.accept()  # a browser sees the reason only of a WebSocket that was accepted
        await _close_client(client, _refusal(error))
        return
    try:
        if first is None:
            await client.accept(subprotocol=upstream.subprotocol)
        else:
            await upstream.send(first)
        await _join(client, upstream)
    finally:
        await release(upstream)


async def _reach(client: WebSocket, host: str, port: int) -> ClientConnection:
    # A "#" has no meaning to a server, but the library for clients refuses it, and would write the
    # whole address into its error.
    query = client.scope["query_string"].decode("latin-1").replace("#", "%23")
    headers = forwarded_headers(client.client.host if client.client else "")
    headers += [
        (name, client.headers[name])
        for name in ("authorization", *KEY_HEADERS)
        if name in client.headers
    ]
    return await connect(
        f"ws://{host}:{port}{client.url.path}{'?' if query else ''}{query}",
        additional_headers=headers,
        subprotocols=[Subprotocol(name) for name in client.scope["subprotocols"]] or None,
        user_agent_header=client.headers.get("user-agent"),
        compression=None,  # speech does not shrink, and it would cost both cores
        proxy=None,
        open_timeout=CONNECT_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=LARGEST_MESSAGE,
        max_queue=QUEUED_MESSAGES,
    )


def why(error: Exception) -> str:
    """An error without what the client sent."""
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    return str(error) if isinstance(error, OSError) else type(error).__name__


def _refusal(error: Exception) -> Ending:
    if isinstance(error, InvalidStatus) and 400 <= error.response.status_code < 500:
        return Ending(CloseCode.POLICY_VIOLATION, REFUSED)
    return Ending(CloseCode.TRY_AGAIN_LATER, BUSY)


async def _join(client: WebSocket, upstream: ClientConnection) -> None:
    up, down = (
        asyncio.create_task(_upload(client, upstream)),
        asyncio.create_task(_download(upstream, client)),
    )
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        # Upstream first: its close decides, also when both ended in the same
        # moment.
        if down.done() and (ending := down.result()):
            await _close_client(client, ending)
        elif ending := await up:
            await upstream.close(ending.code, ending.reason)
        else:
            await _close_client(client, await down or Ending(CloseCode.SERVICE_RESTART, LOST))
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _upload(client: WebSocket, upstream: ClientConnection) -> Ending | None:
    """Client to server.

    The client's close, or None when the server is gone (`_download` knows how it went).
    """
    while True:
        message = await client.receive()
        if message["type"] == "websocket.disconnect":
            return _sendable(
                message.get("code"), message.get("reason"), Ending(CloseCode.GOING_AWAY)
            )
        data = message.get("bytes")
        try:
            await upstream.send(data if data is not None else message["text"])
        except ConnectionClosed:
            return None


async def _download(upstream: ClientConnection, client: WebSocket) -> Ending | None:
    """Server to client.

    The server's close, or None when the client is gone (`_upload` knows how it went).
    """
    while True:
        try:
            data = await upstream.recv()
        except ConnectionClosed as closed:
            too_big = (
                closed.sent
                if closed.sent and closed.sent.code == CloseCode.MESSAGE_TOO_BIG
                else None
            )
            # anything else that we sent first means that no answer came
            close = closed.rcvd or too_big
            return _sendable(
                close.code if close else None,
                close.reason if close else "",
                Ending(CloseCode.SERVICE_RESTART, LOST),
            )
        try:
            await (client.send_text(data) if isinstance(data, str) else client.send_bytes(data))
        except WebSocketDisconnect:
            return None


def _sendable(code: int | None, reason: str | None, lost: Ending) -> Ending:
    """A close that may be sent on: two codes only describe what was missing and never travel."""
    if code is None or code == CloseCode.ABNORMAL_CLOSURE:
        return lost
    if code == CloseCode.NO_STATUS_RCVD:
        return Ending(CloseCode.NORMAL_CLOSURE)
    return Ending(code, (reason or "").encode()[:LONGEST_REASON].decode(errors="ignore"))


async def _close_client(client: WebSocket, ending: Ending) -> None:
    try:
        await client.close(ending.code, ending.reason)
    except (WebSocketDisconnect, RuntimeError) as error:  # it left in the same moment
        log.debug("the client was gone before its close: %s", error)
