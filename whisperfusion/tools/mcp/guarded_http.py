"""HTTP to an MCP server that a client has named: no other host, and no more bytes than fit.

The operator allowed a host, so a redirect may not leave it. A response is counted as it arrives,
uncompressed, because a small one may be enormous once it is decompressed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from whisperfusion.errors import WhisperFusionError

if TYPE_CHECKING:
    import httpx2

MOST_BYTES = 4 * 2**20  # of one response: a list of very many tools has some 100 KB


class GuardError(WhisperFusionError):
    """The server does what one of a client may not do."""


def guarded_client(
    url: str, headers: dict[str, str], timeout: httpx2.Timeout
) -> httpx2.AsyncClient:
    import httpx2

    start = httpx2.URL(url)

    class Counted(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self._stream:
                size += len(part)
                if size > MOST_BYTES:
                    raise GuardError(f"the server sent more than {MOST_BYTES // 2**20} MiB")
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def same_host(request: httpx2.Request) -> None:
        # the SDK follows redirects to the same origin only; this holds whatever it does
        if (request.url.scheme, request.url.netloc) != (start.scheme, start.netloc):
            raise GuardError("the server redirects to another host")

    async def counted(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise GuardError("the server compresses its responses")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = Counted(response.stream)

    return httpx2.AsyncClient(
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=timeout,
        event_hooks={"request": [same_host], "response": [counted]},
    )
