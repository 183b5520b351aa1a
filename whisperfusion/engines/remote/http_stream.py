"""Requests to the servers of engines: answers that stream, and answers that come whole.

All requests of an engine live on one event loop in a thread of its own, because only there can a
request be cancelled at any moment: while connecting, while the server is silent, and between two
pieces.
"""

from __future__ import annotations

import atexit
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

from whisperfusion.engines.pump import pulsing
from whisperfusion.engines.remote.rate_limits import retry_after_s
from whisperfusion.errors import EngineError

CONNECT_S, BETWEEN_PIECES_S = 3.0, 30.0
OPENAI_URL = "https://api.openai.com/v1"
KEEP_S = 60.0  # a connection waits for the next turn: opening one costs two round trips and more
REASONS = ("error", "detail", "message", "err_msg", "title")  # where servers tell why
T = TypeVar("T")


class HttpStreams:
    """A client for one server. `name` and `advice` go into error messages."""

    def __init__(self, url: str, headers: Mapping[str, str], name: str, advice: str) -> None:
        import asyncio

        import httpx

        self._httpx, self.url, self._name, self._advice = httpx, url.rstrip("/"), name, advice
        timeout = httpx.Timeout(BETWEEN_PIECES_S, connect=CONNECT_S)
        limits = httpx.Limits(keepalive_expiry=KEEP_S)
        self._client = httpx.AsyncClient(headers=dict(headers), timeout=timeout, limits=limits)
        self.errors = (httpx.HTTPError, httpx.InvalidURL)
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=self._loop.run_forever, name=f"{name}-requests", daemon=True
        )
        thread.start()
        atexit.register(self._loop.call_soon_threadsafe, self._loop.stop)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON body (None when it is none); blocks."""
        return self._wait(self._request("GET", path, None, BETWEEN_PIECES_S))

    def post(self, path: str, body: Any, timeout_s: float = BETWEEN_PIECES_S) -> tuple[int, Any]:
        """As `get`, for a request whose answer comes whole."""
        return self._wait(self._request("POST", path, body, timeout_s))

    def pieces(
        self, read: Callable[[], AsyncIterator[Any]], nothing_yet: Any = ""
    ) -> Generator[Any, None, None]:
        """What `read` gives, in order, with `nothing_yet` while it is silent: a chance to close.

        Closing cancels `read` at once.
        """
        found: SimpleQueue[Any] = SimpleQueue()

        async def run() -> None:
            try:
                async for piece in read():
                    found.put(piece)
            except self._httpx.HTTPError as error:
                raise self.unreachable(error) from error
            finally:
                found.put(None)

        import asyncio

        task = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            yield from pulsing(found, nothing_yet)
        except GeneratorExit:
            task.cancel()
            raise
        task.result()

    async def lines(self, path: str, body: Any) -> AsyncIterator[Any]:
        """The JSON objects of an answer with one a line (application/x-ndjson)."""
        async with self.opened(path, json=body) as response:
            rest = b""
            async for data in response.aiter_bytes():
                *whole, rest = (rest + data).split(b"\n")
                for line in filter(None, map(bytes.strip, whole)):
                    yield self.parsed(line)
            if rest.strip():
                yield self.parsed(rest)

    async def events(self, path: str, body: Any) -> AsyncIterator[Any]:
        """The JSON objects of an answer in server-sent events, up to "[DONE]"."""
        from httpx_sse import EventSource, SSEError

        async with self.opened(path, json=body) as response:
            try:
                async for event in EventSource(response).aiter_sse():
                    if event.data == "[DONE]":
                        return
                    if event.data:
                        yield self.parsed(event.data)
            except SSEError as error:
                raise EngineError(
                    f"{self._name} at {self.url} does not stream ({error}). {self._advice}"
                ) from error

    @asynccontextmanager
    async def opened(self, path: str, **content: Any) -> AsyncIterator[Any]:
        """The answer to a POST that the server accepted, its body unread.

        Asked once more when the connection ended before a byte of an answer came: a server closes
        one that was kept just when it is used again.
        """
        lost = (self._httpx.RemoteProtocolError, self._httpx.ReadError, self._httpx.WriteError)

        async def sent() -> Any:
            request = self._client.build_request("POST", self.url + path, **content)
            return await self._client.send(request, stream=True)

        try:
            response = await sent()
        except lost:
            response = await sent()
        try:
            if response.has_redirect_location:
                where = response.headers["Location"]
                raise self.refused(response.status_code, {"message": f"it is at {where}"})
            if response.status_code >= 400:
                await response.aread()
                raise self.refused(response.status_code, body_of(response), retry_after(response))
            yield response
        finally:
            await response.aclose()

    async def whole(
        self, path: str, timeout_s: float, read: Callable[[Any], T], **content: Any
    ) -> T:
        """What `read` makes of the answer to a POST when all of it is there."""
        import asyncio

        begun, timeout = False, self.timeout(timeout_s)

        async def answer() -> T:
            nonlocal begun
            async with self.opened(path, timeout=timeout, **content) as response:
                begun = True
                await response.aread()
                return read(response)

        try:
            return await asyncio.wait_for(answer(), timeout_s)
        except (TimeoutError, asyncio.TimeoutError):
            late = self._httpx.ReadTimeout("")
            raise self.trouble(late, begun) from None
        except self.errors as error:
            raise self.trouble(error, begun) from error

    def timeout(self, seconds: float) -> Any:
        """For the first byte of an answer and between two."""
        return self._httpx.Timeout(seconds, connect=CONNECT_S)

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which runs where the requests live; blocks."""
        return self._wait(work)

    def soon(self, work: Callable[..., object], *arguments: object) -> None:
        """Call `work` where the requests live; from any thread, and nothing waits for it."""
        self._loop.call_soon_threadsafe(work, *arguments)

    def refused(self, status: int, body: Any, retry_after_s: float = 0.0) -> Refused:
        """The server said no, in one of the forms that servers use."""
        return Refused(
            status,
            body,
            f"{self._name} at {self.url} refused ({status}): {message_in(body)}. {self._advice}",
            retry_after_s,
        )

    def trouble(self, error: Exception, begun: bool) -> EngineError:
        """An error of the connection in words; `begun`: the answer had."""
        late = isinstance(error, self._httpx.ReadTimeout)
        if not begun and not late:
            return self.unreachable(error)
        if not begun:
            what = "did not answer in time"
        elif late:
            what = "stopped sending in the middle of its answer"
        else:
            what = "broke off in the middle of its answer"
        return EngineError(f"{self._name} at {self.url} {what}; its own log may tell why")

    def parsed(self, text: str | bytes) -> dict[str, Any]:
        """A JSON object of the server."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise EngineError(
                f"{self._name} at {self.url} sent something that is not JSON: {text[:80]!r}"
            ) from error
        if not isinstance(found, dict):
            raise EngineError(
                f"{self._name} at {self.url} sent something that is not a JSON object: "
                f"{text[:80]!r}"
            )
        return found

    async def _request(
        self, method: str, path: str, body: Any, timeout_s: float
    ) -> tuple[int, Any]:
        timeout = self.timeout(timeout_s)
        try:
            response = await self._client.request(
                method, self.url + path, json=body, timeout=timeout
            )
        except self.errors as error:
            raise self.unreachable(error) from error
        return response.status_code, body_of(response)

    def unreachable(self, error: Exception) -> EngineError:
        """No connection could be made."""
        return Unreachable(
            f"{self._name} does not answer at {self.url} ({error or type(error).__name__}). "
            f"{self._advice}"
        )

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio

        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def openai_server(url: str | None, key: str | None, stage: str, setting: str) -> HttpStreams:
    """`url` as clients call it (ending in /v1, which is added to a bare host), None = OpenAI's;
    `setting` begins the names of its settings.
    """
    url = (url or OPENAI_URL).rstrip("/")
    url = url if "://" in url else f"http://{url}"
    url = url if urlsplit(url).path else f"{url}/v1"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    advice = f"Check {setting}_URL, {setting}_KEY and {setting}_MODEL."
    return HttpStreams(url, headers, f"the {stage} server", advice)


class Refused(EngineError):
    """An HTTP status of 400 and more; `retry_after_s` 0 = the server does not tell."""

    def __init__(self, status: int, body: Any, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.body, self.retry_after_s = status, body, retry_after_s


class Unreachable(EngineError):
    """No connection, or it ended before an answer."""


class BrokeOff(EngineError):
    """An answer that ended in its middle; `status` is the server's own for that, 0 = none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def retry_after(response: Any) -> float:
    """Seconds for which the server asks to be left alone; 0 where it does not tell."""
    return retry_after_s(response.headers, body_of(response), time.time())


def body_of(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def message_in(body: Any) -> str:
    """The reason in {"error": {"message"}}, or in one of the fields of `REASONS`; of a list, in its
    first.
    """
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict):
        return "no reason given"
    error = next((body[name] for name in REASONS if body.get(name)), "no reason given")
    return str(error.get("message", error) if isinstance(error, dict) else error)
