"""What a connection on 8888 goes through: admission, its frames, its end."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any, Protocol

from whisperfusion import json_log
from whisperfusion.runtime.incoming import Incoming
from whisperfusion.runtime.sockets import Outgoing, peer_of
from whisperfusion.synthesis.listeners import Listener, Listeners
from whisperfusion.synthesis.texts import Texts
from whisperfusion.wire import FrameError, WireError
from whisperfusion.wire import tts_socket as wire
from whisperfusion.wire.trace import log_ids, trace_of_headers
from whisperfusion.wire.tts_events import Rejected

log = logging.getLogger("tts")


class Service(Protocol):
    listeners: Listeners
    texts: Texts


async def serve(service: Service, connection: Any) -> None:
    """Returns when the connection is closed, and the client has left `service.listeners`."""
    with json_log.scope(ids=log_ids(trace_of_headers(connection.request.headers))):
        await _serve(service, connection)


async def _serve(service: Service, connection: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    out = Outgoing(connection, sent=lambda: service.texts.sent(listener))
    peer = peer_of(connection)
    listener = Listener(f"say-{uuid.uuid4().hex[:8]}", out, wire.Name(), peer.address, peer.key)
    try:
        listener.name = wire.parse_address(connection.request.path)
        service.listeners.listen(listener)
        async with Incoming(connection) as frames:
            async for frame in frames:
                if isinstance(frame, str) and not out.closed:
                    _frame(service, listener, frame)
    except ConnectionClosed:
        pass
    except WireError as problem:
        listener.refuse(problem.message)
    except Exception:
        log.exception("a connection is ended by an error of this server")
        message = "the server made a mistake; its log tells more. Please connect again"
        listener.answer(Rejected(None, "server_error", message))
        out.close(1011, "see the message before")
    except asyncio.CancelledError:
        out.abandon()
        raise
    finally:
        service.listeners.leave(listener)
    out.close()
    await out.finished()


def _frame(service: Service, listener: Listener, frame: str) -> None:
    try:
        request = wire.parse_frame(frame)
        if isinstance(request, wire.Name):
            listener.name = request
            service.listeners.listen(listener)
        elif isinstance(request, wire.Say):
            service.texts.add(listener, request)
    except FrameError as problem:
        listener.answer(Rejected(problem.id, problem.code, problem.message))
