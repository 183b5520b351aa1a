"""A WebSocket to the server of an engine, with what goes wrong in words. It lives on the event loop
of `HttpStreams`, which knows the server's address, key and name.
"""

from __future__ import annotations

import json
import time
from typing import Any

from whisperfusion.engines.remote.http_stream import CONNECT_S, HttpStreams
from whisperfusion.engines.remote.rate_limits import retry_after_s
from whisperfusion.errors import EngineError

CLOSE_S = 2.0  # for the server's part of closing


async def connect(http: HttpStreams, path: str, headers: dict[str, str]) -> Any:
    """An open connection to `path` of the server. Raises `Refused` for an answer of its own (a
    wrong key, no credit, too many connections), and EngineError.
    """
    import asyncio

    from websockets.asyncio.client import connect as connecting
    from websockets.exceptions import InvalidStatus, WebSocketException

    try:
        return await connecting(
            http.url.replace("http", "ws", 1) + path,
            additional_headers=headers,
            open_timeout=CONNECT_S,
            close_timeout=CLOSE_S,
            max_size=None,
        )
    except InvalidStatus as error:
        answer = error.response
        body, told = _body(answer.body), dict(answer.headers.raw_items())
        rest_s = retry_after_s(told, body, time.time())
        raise http.refused(answer.status_code, body, rest_s) from error
    except (OSError, TimeoutError, asyncio.TimeoutError, WebSocketException) as error:
        raise http.unreachable(error) from error


def closed(name: str, error: Any) -> EngineError:
    """The end of a connection that was still needed, for a person; `error` is ConnectionClosed."""
    frame = error.rcvd
    if frame is None:
        return EngineError(f"the connection to {name} broke off")
    why = f"{frame.code} {frame.reason}".strip()
    return EngineError(f"{name} closed the connection ({why})")


def _body(data: bytes | bytearray | None) -> Any:
    """Of a refusal: JSON, or text as its reason."""
    try:
        return json.loads(data or b"")
    except ValueError:
        return {"message": data.decode("utf-8", "replace")[:200]} if data else None
