"""Work for a client that hung up stops: routes run it with `while_there`, and answers that
stream are a `Stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from whisperfusion.gateway.openapi import NO_STORE
from whisperfusion.wire.openai_rest import ApiError

T = TypeVar("T")


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client is gone; its body must have been
    read. Raises ApiError then.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(499, "the client hung up before the answer was there")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return working.result()
    except BaseException:
        for task in (working, gone):
            task.cancel()
        try:
            await asyncio.gather(working, gone, return_exceptions=True)
        finally:
            await _drop(working)
        raise


async def _drop(working: asyncio.Future[Any]) -> None:
    """An answer that came together with the end of the client reaches no one."""
    if (
        working.done()
        and not working.cancelled()
        and working.exception() is None
        and isinstance(answer := working.result(), Stream)
    ):
        await answer.close()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Stream(StreamingResponse):
    """Closes its content when it is sent or the client is gone: a generator that waits between two
    parts would live on.

    `source`: what the content is made from, which has begun already, while the content may never do
    so.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        source: AsyncGenerator[Any, None],
        media_type: str,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=NO_STORE)
        self._content, self._source = content, source

    async def close(self) -> None:
        try:
            await self._content.aclose()
        finally:
            await self._source.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.close()
