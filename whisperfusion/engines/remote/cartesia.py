"""Text to speech by Cartesia: all sentences over one WebSocket, each in a context of its own.

A request names its context, and so do the chunks of sound, the end and the errors that come back;
so many sentences share one connection, which is opened before the first of them. A sentence that is
no longer wanted is cancelled by its context. The server closes a connection that was idle for some
minutes; the next sentence opens another one.

Sources: docs.cartesia.ai/api-reference/tts/websocket, /use-the-api/tts-websocket/contexts,
/use-the-api/api-errors, /use-the-api/concurrency-limits-and-timeouts, /api-reference/voices/list.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.remote import web_socket
from whisperfusion.engines.remote.audio_server import ANSWER_S, shown
from whisperfusion.engines.remote.http_stream import HttpStreams
from whisperfusion.engines.remote.openai_tts import FIRST_TEXT, voices_in
from whisperfusion.engines.remote.sound import SoundReader
from whisperfusion.errors import EngineError

URL, USUAL_MODEL, VERSION = "https://api.cartesia.ai", "sonic-3", "2026-03-01"
NAME = "the Cartesia server"
ADVICE = "Check CARTESIA_API_KEY (or TTS_KEY), TTS_MODEL and TTS_VOICE."
SLOWEST, FASTEST = 0.6, 1.5  # of `generation_config`


class Cartesia:
    """`voice` is an id, None = the first that the account lists; `language` an ISO code;
    `timeout_s` is the longest wait for the first sound and between two pieces.
    """

    sample_rate = SPEECH_RATE

    def __init__(
        self,
        *,
        model: str | None = None,
        voice: str | None = None,
        url: str | None = None,
        key: str | None = None,
        language: str = "en",
        timeout_s: float = ANSWER_S,
    ) -> None:
        if not (key or url):
            raise EngineError("Cartesia wants a key; set CARTESIA_API_KEY")
        headers = {"Cartesia-Version": VERSION}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        self._http = HttpStreams(url or URL, headers, NAME, ADVICE)
        self.model, self.device = model or USUAL_MODEL, self._http.url
        self.language: str | None = language
        self._timeout_s, self._socket = timeout_s, _Socket(self._http, headers)
        listed = self._http.get("/voices?limit=100")
        if listed[0] >= 400:
            raise self._http.refused(*listed)
        names = voices_in(listed)
        if not (voice or names):
            raise EngineError(f"{NAME} lists no voice; set TTS_VOICE to the id of one")
        first = voice or names[0]
        self.voices: tuple[str, ...] = (first, *(name for name in names if name != first))
        # so that a wrong model or voice ends the start, and the first caller finds it connected
        for _ in self.synthesize(FIRST_TEXT):
            pass

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        voice = voice or self.voices[0]
        if voice not in self.voices:
            raise EngineError(f"no voice {voice!r}; available: {shown(self.voices)}, by their ids")
        text = text.encode("utf-8", "replace").decode().replace("\0", " ")
        if not any(sign.isalnum() for sign in text):
            return
        request: dict[str, Any] = {
            "model_id": self.model,
            "transcript": text,
            "voice": {"mode": "id", "id": voice},
            "language": self.language,
            "output_format": {
                "container": "raw",
                "encoding": "pcm_s16le",
                "sample_rate": self.sample_rate,
            },
            "continue": False,
        }
        if speed != 1.0:
            request["generation_config"] = {"speed": min(max(speed, SLOWEST), FASTEST)}
        yield from self._http.pieces(partial(self._read, request), np.zeros(0, np.float32))

    # --- on the event loop of the requests -------------------------------------------------------

    async def _read(self, request: dict[str, Any]) -> AsyncIterator[Samples]:
        import asyncio

        context, begun, reader = str(uuid.uuid4()), False, SoundReader(self.sample_rate)
        ended = False
        try:
            answers = await asyncio.wait_for(
                self._socket.ask(context, request), self._timeout_s + web_socket.CLOSE_S
            )
            while True:
                message = await asyncio.wait_for(answers.get(), self._timeout_s)
                ended = isinstance(message, Exception) or bool(message.get("done"))
                sound = self._sound(message)
                if sound is None:
                    break
                begun = True
                yield reader.feed(sound)
            yield reader.rest()
        except (TimeoutError, asyncio.TimeoutError):
            what = "stopped sending in the middle" if begun else "did not answer in time"
            raise EngineError(f"{NAME} at {self.device} {what} ({self._timeout_s:g} s)") from None
        finally:
            self._socket.forget(context, cancel=not ended)

    def _sound(self, message: Any) -> bytes | None:
        """Of one message; None: it was the last. Raises EngineError."""
        if isinstance(message, Exception):
            raise message
        match message.get("type"):
            case "chunk":
                try:
                    return base64.b64decode(message["data"], validate=True)
                except (KeyError, TypeError, binascii.Error) as error:
                    raise EngineError(f"{NAME} sent a chunk that is not sound") from error
            case "error":
                raise self._http.refused(int(message.get("status_code") or 500), message)
            case "done":
                return None
            case _:  # timestamps and flushes
                return b""


class _Socket:
    """The connection, and a queue for each context that is under way."""

    def __init__(self, http: HttpStreams, headers: dict[str, str]) -> None:
        self._http, self._headers = http, headers
        self._connection: Any = None
        self._contexts: dict[str, Any] = {}
        self._opening: Any = None
        self._tasks: set[Any] = set()

    async def ask(self, context: str, request: dict[str, Any]) -> Any:
        """A queue of the answers: objects, and an exception at the end of the connection. Asked
        once more when the connection has ended meanwhile.
        """
        import asyncio

        from websockets.exceptions import ConnectionClosed

        text = json.dumps(request | {"context_id": context})
        answers: asyncio.Queue[Any] = asyncio.Queue()
        for last in (False, True):
            connection = await self._open()
            self._contexts[context] = answers
            try:
                await connection.send(text)
                break
            except ConnectionClosed as error:
                self._lost(connection, web_socket.closed(NAME, error))
                if last:
                    raise web_socket.closed(NAME, error) from error
                answers = asyncio.Queue()
        return answers

    def forget(self, context: str, cancel: bool) -> None:
        """No more of its sound is wanted; `cancel`: none is to be made."""
        if self._contexts.pop(context, None) is not None and cancel:
            self._start(self._cancel(context))

    # ---------------------------------------------------------------------------------------------

    async def _cancel(self, context: str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            if self._connection is not None:
                await self._connection.send(json.dumps({"context_id": context, "cancel": True}))
        except ConnectionClosed:
            pass  # and with it the context

    async def _open(self) -> Any:
        import asyncio

        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._connection is None:
                path = f"/tts/websocket?cartesia_version={VERSION}"
                self._connection = await web_socket.connect(self._http, path, self._headers)
                self._start(self._dispatch(self._connection))
            return self._connection

    async def _dispatch(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                message = self._http.parsed(await connection.recv())
                answers = self._contexts.get(str(message.get("context_id")))
                if answers is not None:
                    answers.put_nowait(message)
        except ConnectionClosed as error:
            self._lost(connection, web_socket.closed(NAME, error))
        except EngineError as error:
            self._lost(connection, error)
            await connection.close()

    def _lost(self, connection: Any, error: EngineError) -> None:
        """All contexts of it end, and the next request opens another."""
        if connection is self._connection:
            self._connection = None
            for answers in self._contexts.values():
                answers.put_nowait(error)
            self._contexts = {}

    def _start(self, work: Any) -> None:
        import asyncio

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
