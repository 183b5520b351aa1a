"""Deepgram's live transcription: one WebSocket for the utterances of a call, one after the other.

Audio is sent as it comes, and interim and final results come back with their times in the stream.
`Finalize` asks for the rest of what was sent; a connection without audio for 10 s is closed by the
server (1011 NET-0001) unless `KeepAlive` comes; `CloseStream` ends it in order. All of it runs on
the event loop of the requests.

Sources: developers.deepgram.com/docs/live-streaming-audio, /docs/finalize, /docs/audio-keep-alive,
/docs/close-stream, /docs/errors; deepgram-python-sdk, websockets-reference.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.engines.protocols import Segment, Word
from whisperfusion.engines.remote import web_socket
from whisperfusion.engines.remote.http_stream import HttpStreams, message_in
from whisperfusion.errors import EngineError
from whisperfusion.wire.languages import code_of

NAME = "the Deepgram server"
KEEP_ALIVE_S = 3.0
# results that end so close before the end of what was sent (s) leave no word out
COVERED_S = 0.1
# with little to finalize the server may not answer at all: so much silence of it, and at most so
# much audio without results, ends the wait
QUIET_S, LITTLE_S = 1.0, 1.0
LEAST_CONFIDENCE = 1e-3


class LiveStream:
    """One connection. `transcript` is that of the utterance since `begin`."""

    def __init__(self, connection: Any, parse: Callable[[str | bytes], dict[str, Any]]) -> None:
        import asyncio

        self._asyncio, self._connection, self._parse = asyncio, connection, parse
        self._sent = 0  # samples, of all its utterances
        self._begins_s = self._final_to_s = self._finalized_to_s = 0.0
        self._finals: list[Segment] = []
        self._interim: Segment | None = None
        self.language = ""  # of the latest words, where the server tells it
        self.error: Exception | None = None
        self._news = asyncio.Event()
        self._used = True  # audio was sent since the last KeepAlive
        self._unanswered_at: float | None = None  # when audio went that nothing has come of yet
        self._reading = asyncio.ensure_future(self._read())
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(KEEP_ALIVE_S, self._keep_alive)

    @property
    def clean(self) -> bool:
        """Whether another utterance may follow: nothing of this one is still to come."""
        done_to_s = max(self._final_to_s, self._finalized_to_s)
        return self.error is None and done_to_s >= self._sent_s - COVERED_S

    def start(self) -> None:
        """A new utterance, on a connection that is `clean`."""
        self._begins_s, self._finals, self._interim = self._sent_s, [], None
        self.language, self._unanswered_at = "", None

    async def send(self, audio: bytes) -> None:
        """16-bit samples at 16 kHz."""
        self._sent += len(audio) // 2
        self._used = True
        if self._unanswered_at is None:
            self._unanswered_at = self._loop.time()
        await self._send(audio)

    async def finalize(self, timeout_s: float) -> None:
        """Returns when the results of all that was sent are there. Raises EngineError."""
        end_s = self._sent_s
        if self._finalized_to_s >= end_s - COVERED_S:
            return
        await self._send(json.dumps({"type": "Finalize"}))
        deadline = self._loop.time() + timeout_s
        while max(self._finalized_to_s, self._final_to_s) < end_s - COVERED_S:
            self._news.clear()
            self._check()
            left_s = deadline - self._loop.time()
            quiet_s = QUIET_S if self._final_to_s >= end_s - LITTLE_S else left_s
            try:
                await self._asyncio.wait_for(self._news.wait(), max(0.0, min(quiet_s, left_s)))
            except (TimeoutError, self._asyncio.TimeoutError):
                if quiet_s < left_s:
                    self._finalized_to_s = end_s
                    return
                raise EngineError(
                    f"{NAME} did not give the final transcript in {timeout_s:g} s"
                ) from None
        self._check()

    def stalls(self, timeout_s: float) -> bool:
        """Whether nothing came for so long of what was sent."""
        since = self._unanswered_at
        return since is not None and self._loop.time() - since > timeout_s

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Of the present utterance, times from its start."""
        interim = (self._interim,) if self._interim is not None else ()
        return (*self._finals, *interim)

    async def close(self) -> None:
        """In order, if the server still takes part in it."""
        self._next.cancel()
        if self.error is None:
            try:
                await self._send(json.dumps({"type": "CloseStream"}))
            except EngineError:
                pass
            else:
                await self._asyncio.wait([self._reading], timeout=web_socket.CLOSE_S)
        self._reading.cancel()
        await self._connection.close()

    # ---------------------------------------------------------------------------------------------

    @property
    def _sent_s(self) -> float:
        return self._sent / MICROPHONE_RATE

    async def _send(self, data: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        self._check()
        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise Lost(str(web_socket.closed(NAME, error))) from error

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _keep_alive(self) -> None:
        if self.error is not None:
            return
        if not self._used:
            self._keeping = self._asyncio.ensure_future(self._say_alive())
        self._used = False
        self._next = self._loop.call_later(KEEP_ALIVE_S, self._keep_alive)

    async def _say_alive(self) -> None:
        try:
            await self._send(json.dumps({"type": "KeepAlive"}))
        except EngineError as error:
            self.error = self.error or error

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self._accept(self._parse(await self._connection.recv()))
                self._news.set()
        except ConnectionClosed as error:
            self.error = Lost(str(web_socket.closed(NAME, error)))
        except EngineError as error:
            self.error = error
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            self.error = EngineError(f"{NAME} sent a result that cannot be read ({error!r})")
        self._news.set()

    def _accept(self, message: dict[str, Any]) -> None:
        if message.get("type") == "Error":
            why = message.get("description") or message_in(message)
            raise EngineError(f"{NAME} failed: {why}")
        if message.get("type") != "Results":  # Metadata, SpeechStarted, UtteranceEnd
            return
        self._unanswered_at = None
        end_s = float(message["start"]) + float(message["duration"])
        if message.get("from_finalize"):
            self._finalized_to_s = max(self._finalized_to_s, end_s)
        if end_s <= self._begins_s + COVERED_S / 2:
            return  # of the utterance before
        best = message["channel"]["alternatives"][0]
        found = segment(best, float(message["start"]), end_s, self._begins_s)
        self.language = language_of(best) or self.language
        if message.get("is_final"):
            self._final_to_s = max(self._final_to_s, end_s)
            self._interim = None
            if found.text:
                self._finals.append(found)
        else:
            self._interim = found if found.text else None


class Lost(EngineError):
    """The connection ended; another one may do better."""


class Pool:
    """Connections that wait for their next utterance, by their query. Opening one costs several
    round trips, which no caller should wait for.
    """

    def __init__(self, http: HttpStreams, headers: dict[str, str], keep_s: float) -> None:
        self._http, self._headers, self._keep_s = http, headers, keep_s
        self._idle: dict[str, list[LiveStream]] = {}
        self._closing: set[Any] = set()

    async def acquire(self, query: str) -> LiveStream:
        """Raises EngineError."""
        waiting = self._idle.get(query, [])
        while waiting:
            stream = waiting.pop()
            if stream.clean:
                stream.start()
                return stream
            self._close(stream)
        connection = await web_socket.connect(self._http, f"/listen?{query}", self._headers)
        return LiveStream(connection, self._http.parsed)

    def put(self, query: str, stream: LiveStream) -> None:
        """After an utterance. One that is not clean is closed."""
        import asyncio

        if not stream.clean:
            self._close(stream)
            return
        self._idle.setdefault(query, []).append(stream)
        asyncio.get_running_loop().call_later(self._keep_s, self._expire, query, stream)

    def _expire(self, query: str, stream: LiveStream) -> None:
        if stream in self._idle.get(query, []):
            self._idle[query].remove(stream)
            self._close(stream)

    def _close(self, stream: LiveStream) -> None:
        import asyncio

        task = asyncio.ensure_future(stream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def segment(best: dict[str, Any], start_s: float, end_s: float, since_s: float = 0.0) -> Segment:
    """One alternative of a result; `since_s` is taken off all times."""
    words = tuple(
        Word(
            float(word["start"]) - since_s,
            float(word["end"]) - since_s,
            str(word.get("punctuated_word") or word["word"]),
            float(word.get("confidence", 0.0)),
        )
        for word in best.get("words") or ()
    )
    confidence = max(float(best.get("confidence") or 1.0), LEAST_CONFIDENCE)
    return Segment(
        max(0.0, start_s - since_s),
        end_s - since_s,
        str(best["transcript"]).strip(),
        words,
        math.log(confidence),
    )


def language_of(best: dict[str, Any]) -> str:
    """ISO code of the first language of an alternative; "" where none is told."""
    languages = best.get("languages")
    first = languages[0] if isinstance(languages, list) and languages else ""
    return code_of(str(first).partition("-")[0]) or ""
