"""Replies streamed from language model servers over HTTP.

All requests of an engine live on one event loop in a thread of its own, because only there can a request be
cancelled at any moment: while connecting, while the server is silent, and between two pieces.
"""

from __future__ import annotations

import atexit
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from queue import SimpleQueue
from typing import Any, TypeVar

from fusion.engines import EngineError
from fusion.engines.pump import pulsing

CONNECT_S, BETWEEN_PIECES_S = 3.0, 30.0
T = TypeVar("T")


class HttpStreams:
    """A client for one server. `name` and `advice` go into error messages."""

    def __init__(self, url: str, headers: Mapping[str, str], name: str, advice: str) -> None:
        import asyncio

        import httpx

        self._httpx, self._url, self._name, self._advice = httpx, url.rstrip("/"), name, advice
        timeout = httpx.Timeout(BETWEEN_PIECES_S, connect=CONNECT_S)
        self._client = httpx.AsyncClient(headers=dict(headers), timeout=timeout)
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name=f"{name}-requests", daemon=True)
        thread.start()
        atexit.register(self._loop.call_soon_threadsafe, self._loop.stop)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON body (None when it is none); blocks."""
        return self._wait(self._request("GET", path, None, BETWEEN_PIECES_S))

    def post(self, path: str, body: Any, timeout_s: float = BETWEEN_PIECES_S) -> tuple[int, Any]:
        """As `get`, for a request whose answer comes whole."""
        return self._wait(self._request("POST", path, body, timeout_s))

    def pieces(self, read: Callable[[], AsyncIterator[str]]) -> Iterator[str]:
        """What `read` gives, in order, with "" while it is silent: a chance to close. Closing cancels `read` at once."""
        found: SimpleQueue[str | None] = SimpleQueue()

        async def run() -> None:
            try:
                async for piece in read():
                    found.put(piece)
            except self._httpx.HTTPError as error:
                raise self._unreachable(error) from error
            finally:
                found.put(None)

        import asyncio

        task = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            yield from pulsing(found, "")
        except GeneratorExit:
            task.cancel()
            raise
        task.result()

    async def lines(self, path: str, body: Any) -> AsyncIterator[Any]:
        """The JSON objects of an answer with one a line (application/x-ndjson)."""
        async with self._client.stream("POST", self._url + path, json=body) as response:
            await self._accepted(response)
            rest = b""
            async for data in response.aiter_bytes():
                *whole, rest = (rest + data).split(b"\n")
                for line in filter(None, map(bytes.strip, whole)):
                    yield self._parsed(line)
            if rest.strip():
                yield self._parsed(rest)

    async def events(self, path: str, body: Any) -> AsyncIterator[Any]:
        """The JSON objects of an answer in server-sent events, up to "[DONE]"."""
        from httpx_sse import EventSource, SSEError

        async with self._client.stream("POST", self._url + path, json=body) as response:
            await self._accepted(response)
            try:
                async for event in EventSource(response).aiter_sse():
                    if event.data == "[DONE]":
                        return
                    if event.data:
                        yield self._parsed(event.data)
            except SSEError as error:
                raise EngineError(f"{self._name} at {self._url} does not stream ({error}); check LLM_URL") from error

    def refused(self, status: int, body: Any) -> EngineError:
        """The server said no, in one of the forms that servers use."""
        return Refused(status, body, f"{self._name} at {self._url} refused ({status}): {message_in(body)}. {self._advice}")

    async def _accepted(self, response: Any) -> None:
        if response.status_code >= 400:
            await response.aread()
            raise self.refused(response.status_code, body_of(response))

    def _parsed(self, text: str | bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise EngineError(f"{self._name} at {self._url} sent something that is not JSON: {text[:80]!r}") from error

    async def _request(self, method: str, path: str, body: Any, timeout_s: float) -> tuple[int, Any]:
        timeout = self._httpx.Timeout(timeout_s, connect=CONNECT_S)
        try:
            response = await self._client.request(method, self._url + path, json=body, timeout=timeout)
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        return response.status_code, body_of(response)

    def _unreachable(self, error: Exception) -> EngineError:
        return EngineError(f"{self._name} does not answer at {self._url} ({error or type(error).__name__}). {self._advice}")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio

        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Refused(EngineError):
    """An HTTP status of 400 and more."""

    def __init__(self, status: int, body: Any, text: str) -> None:
        super().__init__(text)
        self.status, self.body = status, body


def body_of(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def message_in(body: Any) -> str:
    """The reason in {"error": {"message"}}, {"error": text}, {"detail"} or {"message"}."""
    if not isinstance(body, dict):
        return "no reason given"
    error = body.get("error") or body.get("detail") or body.get("message") or "no reason given"
    return str(error.get("message", error) if isinstance(error, dict) else error)
