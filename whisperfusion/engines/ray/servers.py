"""The way to an engine on the servers of a cluster (`wire/engine_server.py`), as
`elsewhere/adapters.py` wants it.

Behind one address are many replicas, and each may go at any moment. A call that lost its replica
is sent again, at most `AGAIN` times, if its caller cannot notice: before its first piece, or where
the pieces are the same each time and those that were given can be left out (`Delivered`). Else it
fails, and the chain of engines decides. A deadline that passed is not tried again: its caller has
waited.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

from whisperfusion.audio import Samples
from whisperfusion.engines.elsewhere.adapters import engine_error, told_attributes
from whisperfusion.engines.remote.http_stream import BrokeOff, HttpStreams, Refused
from whisperfusion.errors import EngineError
from whisperfusion.wire import WireError, engine_server
from whisperfusion.wire import engine_pipe as wire

AGAIN = 2
ENDED_MOST = 16
PAUSE_S = (0.05, 0.2)  # before the first repetition; twice that before the second
NAMES = {"asr": "speech to text", "llm": "language model", "tts": "text to speech"}
PULSE = object()
Value = TypeVar("Value")


class Lost(Exception):
    """A call's replica is lost, or takes no more; `error` is what the caller gets in the end."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(str(error))
        self.error = error


class Servers:
    """`url` of an engine's servers; `model` is the name of one of theirs, None = their usual one.

    `timeout_s` is the longest wait for the first piece of an answer and between two. Raises
    EngineError where the servers do not answer, or are of another kind.
    """

    def __init__(
        self, kind: str, url: str | None, key: str | None, model: str | None, timeout_s: float
    ) -> None:
        setting = kind.upper()
        if not url:
            raise EngineError(
                f"{setting}_URL is not set; {setting}_ENGINE=ray needs the address of the cluster, "
                f"such as http://10.0.0.5:8100/{kind}"
            )
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        if model:
            self.headers[engine_server.MODEL] = model
        self.advice = f"Check {setting}_URL, {setting}_KEY and {setting}_MODEL."
        self.name, self.timeout_s = f"the {NAMES[kind]} cluster", timeout_s
        url = url if "://" in url else f"http://{url}"
        self.http = HttpStreams(url, self.headers, self.name, self.advice)
        # ids of calls that were given up, for the server to end before it begins the next one
        self._ended: deque[str] = deque(maxlen=ENDED_MOST)
        self.attributes = told_attributes(self._about(kind))

    def stream(
        self,
        method: str,
        arguments: dict[str, Any],
        of: Callable[[wire.Piece], Value],
        pulse: Value | None,
        pcm: Samples | None = None,
        wanted: Callable[[], bool] = lambda: True,
        timeout_s: float | None = None,
    ) -> Iterator[Value]:
        """As `Way.stream`. Ends early when it is not `wanted()` any more. The servers are never
        further ahead of the reader than what the network and a window of pieces hold.
        """
        import asyncio

        body, room, taken = self._body(method, arguments, pcm), asyncio.Semaphore(wire.WINDOW), 0
        call, whole = secrets.token_hex(6), False
        delivered = Delivered(method, bool(self.attributes.get("deterministic")))

        async def read() -> AsyncIterator[wire.Piece]:
            async for message in self._messages(body, delivered, timeout_s, call):
                if isinstance(message, wire.Piece):
                    await room.acquire()
                    yield message

        try:
            with closing(self.http.pieces(read, PULSE)) as found:
                for piece in found:
                    if not wanted():
                        return
                    if piece is not PULSE:
                        taken += 1
                        self.http.soon(room.release)
                        yield of(piece)
                    elif pulse is not None:
                        yield pulse
            whole = True
        finally:
            if not whole:
                self._ended.append(call)

    def value(self, method: str, arguments: dict[str, Any], pcm: Samples | None = None) -> Any:
        body = self._body(method, arguments, pcm)
        return self.http.run(self._value(body, Delivered(method, True)))

    def close(self) -> None:
        """Nothing of an engine is kept here."""

    # --- on the event loop of the requests -------------------------------------------------------

    async def _value(self, body: bytes, delivered: Delivered) -> Any:
        async for message in self._messages(body, delivered):
            if isinstance(message, wire.Done):
                return message.value
        return None

    async def _messages(
        self, body: bytes, delivered: Delivered, timeout_s: float | None = None, call: str = ""
    ) -> AsyncIterator[wire.Piece | wire.Done]:
        """Pieces, and Done. Sends the call again where it is lost and that is safe."""
        for attempt in range(AGAIN + 1):
            await self.pause(attempt)
            try:
                async for message in self._answer(body, timeout_s or self.timeout_s, call):
                    for one in delivered.fresh(message):
                        yield one
                return
            except Lost as error:
                if attempt == AGAIN or not delivered.can_repeat():
                    raise delivered.broken(self, error.error) from error

    async def pause(self, attempt: int) -> None:
        """Before the attempt of this number, from 0."""
        if attempt:
            await self.http.sleep(attempt * random.uniform(*PAUSE_S))

    async def _answer(
        self, body: bytes, timeout_s: float, call: str
    ) -> AsyncIterator[wire.Piece | wire.Done]:
        """One try. Raises `Lost`."""
        told = {engine_server.CALL: call, engine_server.ENDED: ",".join(tuple(self._ended))}
        content = {"content": body, "headers": {name: text for name, text in told.items() if text}}
        decoder, begun = wire.Decoder(), False
        last: wire.Message | None = None
        heard_at = time.monotonic()
        try:
            timeout = self.http.timeout(timeout_s)
            async with self.http.opened("/call", timeout=timeout, **content) as response:
                begun = True
                self._check_rate(response)
                # to the end of the body: then the connection serves the next call
                async for data in response.aiter_bytes():
                    for message in decoder.feed(data):
                        if isinstance(message, wire.Pulse):
                            self._check_silence(time.monotonic() - heard_at, timeout_s)
                            continue
                        if isinstance(message, wire.Piece):
                            yield message
                        else:
                            last = message
                        heard_at = time.monotonic()
        except Refused as refusal:
            raise self.lost_or(refusal) from refusal
        except WireError as error:
            raise self.strange(error) from error
        except self.http.errors as error:
            trouble = self.http.trouble(error, begun)
            if last is None:
                raise (trouble if is_late(error) else Lost(trouble)) from error
        if last is None:
            raise Lost(BrokeOff(f"{self.name} at {self.http.url} broke off in its answer"))
        yield self.checked(last)

    def _check_silence(self, silent_s: float, timeout_s: float) -> None:
        """A server whose engine is silent still sends pulses."""
        if silent_s > timeout_s:
            import httpx

            raise httpx.ReadTimeout("the engine is silent")

    def checked(self, message: wire.Message) -> wire.Piece | wire.Done:
        """A piece or the end of an answer. Raises what the engine raised, and `Lost`."""
        match message:
            case wire.Piece() | wire.Done():
                return message
            case wire.Failed(kind=engine_server.LOST):
                raise Lost(EngineError(f"{self.name} lost its engine: {message.text}"))
            case wire.Failed():
                raise engine_error(message.kind, message.text)
        raise self.strange(WireError(f"{type(message).__name__} is not an answer"))

    def lost_or(self, refusal: Refused) -> Exception:
        """A server of which another replica may do better says so by a status of 5xx."""
        return Lost(refusal) if refusal.status >= 500 else refusal

    def strange(self, error: WireError) -> EngineError:
        return EngineError(
            f"{self.name} at {self.http.url} does not speak this protocol ({error}). {self.advice}"
        )

    def _check_rate(self, response: Any) -> None:
        told = response.headers.get(engine_server.SAMPLE_RATE)
        known = self.attributes.get("sample_rate")
        if told and str(known) != told:
            raise EngineError(
                f"{self.name} speaks at {told} Hz now and spoke at {known} Hz before: its voice "
                "was changed; start this server again"
            )

    # ---------------------------------------------------------------------------------------------

    def _body(self, method: str, arguments: dict[str, Any], pcm: Samples | None) -> bytes:
        try:
            return b"".join(wire.encode(wire.Call(1, method, arguments, pcm)))
        except WireError as error:
            raise EngineError(str(error)) from error

    def _about(self, kind: str) -> dict[str, Any]:
        """The attributes of the engine."""
        status, body = self.http.get("/about")
        if status >= 400:
            raise self.http.refused(status, body)
        told = body if isinstance(body, dict) else {}
        if told.get("protocol") != engine_server.PROTOCOL:
            raise self.strange(
                WireError(
                    f"it has version {told.get('protocol')!r}, and this server has "
                    f"{engine_server.PROTOCOL}"
                )
            )
        if told.get("kind") != kind:
            raise EngineError(
                f"{self.http.url} serves {told.get('kind')!r}, and {kind!r} is needed. "
                f"{self.advice}"
            )
        attributes: dict[str, Any] = told["attributes"]
        return attributes


class Delivered:
    """What the reader of an answer has got, and what of a repeated answer is new to it.

    Recordings are given when all of their segments are there; speech that is the same each time is
    skipped up to where it broke off; anything else can be repeated before its first piece only.
    """

    def __init__(self, method: str, deterministic: bool) -> None:
        self._whole = method == "transcribe"
        self._skips = method == "synthesize" and deterministic
        self._given = self._seen = 0  # pieces, or samples of speech
        self._held: list[wire.Piece | wire.Done] = []

    def fresh(self, message: wire.Piece | wire.Done) -> Iterator[wire.Piece | wire.Done]:
        if self._whole:
            self._held.append(message)
            if isinstance(message, wire.Done):
                yield from self._held
        elif self._skips and isinstance(message, wire.Piece) and message.pcm is not None:
            start, self._seen = self._seen, self._seen + len(message.pcm)
            if self._seen > self._given:
                yield replace(message, pcm=message.pcm[max(0, self._given - start) :])
                self._given = self._seen
        else:
            self._given += 1
            yield message

    def can_repeat(self) -> bool:
        """Whether the answer may begin again; it is expected to."""
        self._held, self._seen = [], 0
        return self._skips or not self._given

    def broken(self, servers: Servers, error: EngineError) -> EngineError:
        """What the reader gets where it cannot."""
        if not self._given or isinstance(error, BrokeOff):
            return error
        return BrokeOff(f"{error}, in the middle of its answer")


def is_late(error: Exception) -> bool:
    """A deadline has passed, that of the connection too."""
    import httpx

    return isinstance(error, httpx.TimeoutException)
