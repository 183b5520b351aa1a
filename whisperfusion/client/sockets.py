"""The sockets of a client: opened with errors of its own, and closed whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

from whisperfusion.client.errors import CallRefused, KeyRefused, ServerDown

CONNECT_S, CLOSE_S = 5.0, 0.5
LARGEST_FRAME = 16 * 2**20  # bytes

T = TypeVar("T")


async def open_socket(url: str, headers: Iterable[tuple[str, str]] = ()) -> ClientConnection:
    """A WebSocket to a server. Raises ServerDown, KeyRefused and CallRefused."""
    place = url.partition("?")[0]
    try:
        return await connect_socket(
            url,
            additional_headers=list(headers),
            compression=None,
            proxy=None,
            open_timeout=CONNECT_S,
            close_timeout=CLOSE_S,
            max_size=LARGEST_FRAME,
        )
    except InvalidStatus as refused:
        status = refused.response.status_code
        if status == 401:
            raise KeyRefused(
                f"the server at {place} refused the call: the key is missing or wrong"
            ) from refused
        raise ServerDown(f"the server at {place} refused the call: HTTP {status}") from refused
    except InvalidURI:
        raise CallRefused(
            f"{place!r} is not the address of a server; use ws://HOST or wss://HOST"
        ) from None
    except (OSError, WebSocketException, asyncio.TimeoutError) as error:
        raise ServerDown(
            f"no server answers at {place} ({error}); start one with: whisperfusion, or in a "
            "checkout: python main.py"
        ) from error


async def release(
    *connections: ClientConnection, tasks: Iterable[asyncio.Future[Any]] = ()
) -> None:
    """Stop the tasks and close the connections.

    Cancelled in the meantime, it closes them at once, without a goodbye: nothing that it was given
    outlives it.
    """
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in connections:
            await connection.close()
    finally:
        for connection in connections:
            connection.transport.abort()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Raises TimeoutError. (`asyncio.wait_for` forgets a cancellation before Python 3.12.)"""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
