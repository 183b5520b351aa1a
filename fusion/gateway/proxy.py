"""/transcription and /audio: the sockets on 6006 and 8888, passed through unchanged, so that a page needs
one address and one certificate.

Each direction is one loop that reads a message, writes it and only then reads the next. A slow side
therefore stops the reading of the other, down to the sender's own socket; what waits in between is at
most the few frames that the two libraries hold. Either loop ends with the close code and the reason that
the other side is to get.
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

from fusion.settings import Settings

LARGEST_MESSAGE = 16 * 2**20  # bytes; a reply in one message (float32, 24 kHz) may be almost three minutes long
QUEUED_MESSAGES = 16  # held for a slow client before the reading from the inner socket stops
LONGEST_REASON = 123  # bytes, a rule of the protocol
CONNECT_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 0.5  # the inner socket is near; and a gateway that stops has one second in all

BUSY = "the speech server is starting or down; try again in a few seconds"
LOST = "the speech server went away; connect again"
REFUSED = "the speech server does not accept this connection"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How one side closed: what the other side is told."""

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
    """Join `client` to the socket at `host:port` until one of them closes, then close the other alike.

    `first`: a frame that was read from it already, after it was accepted.
    """
    try:
        upstream = await _reach(client, host, port)
    except (OSError, TimeoutError, WebSocketException) as error:
        log.warning("no connection to %s:%d for %s: %s", host, port, client.url.path, error)
        if first is None:
            await client.accept()  # only an accepted WebSocket can tell a browser the reason
        await _close_client(client, _refusal(error))
        return
    try:
        if first is None:
            await client.accept(subprotocol=upstream.subprotocol)
        else:
            await upstream.send(first)
        await _join(client, upstream)
    finally:
        await upstream.close()


async def _reach(client: WebSocket, host: str, port: int) -> ClientConnection:
    query = client.scope["query_string"].decode("latin-1")
    # The peer as uvicorn sees it: a header of the client's own is believed only from a trusted proxy.
    headers = {"X-Forwarded-For": client.client.host} if client.client else {}
    if "authorization" in client.headers:
        headers["Authorization"] = client.headers["authorization"]
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


def _refusal(error: Exception) -> Ending:
    if isinstance(error, InvalidStatus) and 400 <= error.response.status_code < 500:
        return Ending(CloseCode.POLICY_VIOLATION, REFUSED)
    return Ending(CloseCode.TRY_AGAIN_LATER, BUSY)


async def _join(client: WebSocket, upstream: ClientConnection) -> None:
    up, down = asyncio.create_task(_upload(client, upstream)), asyncio.create_task(_download(upstream, client))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        # The inner socket first: what it said last decides, also when both ended in the same moment.
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
    """Client to server. The client's close, or None when the server is gone (`_download` knows how it went)."""
    while True:
        message = await client.receive()
        if message["type"] == "websocket.disconnect":
            return _sendable(message.get("code"), message.get("reason"), Ending(CloseCode.GOING_AWAY))
        data = message.get("bytes")
        try:
            await upstream.send(data if data is not None else message["text"])
        except ConnectionClosed:
            return None


async def _download(upstream: ClientConnection, client: WebSocket) -> Ending | None:
    """Server to client. The server's close, or None when the client is gone (`_upload` knows how it went)."""
    while True:
        try:
            data = await upstream.recv()
        except ConnectionClosed as closed:
            too_big = closed.sent if closed.sent and closed.sent.code == CloseCode.MESSAGE_TOO_BIG else None
            close = closed.rcvd or too_big  # anything else that we sent first means that no answer came
            return _sendable(close.code if close else None, close.reason if close else "", Ending(CloseCode.SERVICE_RESTART, LOST))
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
