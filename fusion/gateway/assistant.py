"""The voice assistant's two doors: POST /interact (a recording in, the answer as a WAV out) and the WebSocket /ws.

/ws: binary chunks, then {"type": "end_stream"}; the answer is {"type": "metadata"}, binary sound as it is made, then
{"type": "audio_complete"}. What the chunks of a turn hold, joined, is a file of any kind or raw s16 (16 kHz mono, unless the
address says otherwise: ?format=raw&sample_rate=48000&channels=2). `?output=pcm`: s16 without a header. Whoever sends sound while
an answer comes interrupts it. A first text frame with `uid` is a WhisperLive client that was given this path (docs/wire.md).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import Response

from fusion.gateway import forms, media, openapi, proxy
from fusion.gateway.inner import Inner
from fusion.gateway.inner_call import InnerCall
from fusion.settings import Settings
from fusion.wire.openai_rest import ApiError
from fusion.wire.pcm import HEARD_RATE, SPOKEN_RATE, encode

TURN = {"turn_detection": "manual", "paced": False}  # the client says when a turn is over, and plays at its own pace
INFO = {"sample_rate": SPOKEN_RATE, "channels": 1, "sample_width": 2}
NO_SPEECH = "no words were heard; speak up, or check the format of the sound"
FILES = (
    b"RIFF",
    b"OggS",
    b"\x1aE\xdf\xa3",
    b"ID3",
    b"fLaC",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf2",
    b"\xff\xf1",
    b"\xff\xf9",
    b"FORM",
    b"caff",
)


def router(settings: Settings, inner: Inner, host: str) -> APIRouter:
    routes = APIRouter(tags=["Voice assistant"])

    @routes.post("/interact", openapi_extra=openapi.INTERACT, responses=openapi.WAV, response_class=Response)
    async def interact(request: Request) -> Response:
        """A spoken question to a spoken answer. What was understood and said is in X-Transcript and X-Reply, percent-encoded."""
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            file = (await forms.form(request, "file", "audio", "audio_file")).file
        elif kind.startswith("audio/") or kind.startswith("application/octet-stream"):
            file = await forms.body(request)
        else:
            raise ApiError(415, f"send a form with the field 'file', or the bare recording as audio/wav or the like, not {kind[:80]!r}")
        call = await InnerCall.opened(inner, TURN, address=request.client.host if request.client else "")
        try:
            await speak(call, forms.samples(forms.needed(file, "file")))
            answer = Answer()
            sound = [part async for part in answer.parts(call)]
        finally:
            await call.close()
        pcm = b"".join(sound)
        headers = {"X-Transcript": quote(answer.transcript), "X-Reply": quote(answer.reply)}
        return Response(media.wav_header(SPOKEN_RATE, len(pcm)) + pcm, media_type="audio/wav", headers=headers)

    @routes.websocket("/ws")
    async def ws(client: WebSocket) -> None:
        await client.accept()
        first = await client.receive()
        if first.get("text") and _names_itself(first["text"]):
            await proxy.relay(client, host, settings.asr_port, first["text"])
            return
        try:
            query = Query(dict(client.query_params))
        except ApiError as problem:
            await client.send_json({"type": "error", "code": problem.code, "message": problem.message})
            await client.close(1008)
            return
        await Assistant(client, inner, query, int(settings.upload_mb * 1e6)).serve(first)

    return routes


class Answer:
    """One answer while it comes: its sound, and what was understood and said."""

    def __init__(self, after: int = 0) -> None:
        self.transcript = self.reply = ""
        self.turn = after  # what is older belongs to an answer that was interrupted
        self._began = self._written = False
        self._sounding = self._sent = after  # the turn whose sound comes; the last of which all has come

    def took(self, event: dict[str, Any]) -> bool:
        """Note an event; True: all is there. Words and sound come over two sockets, in any order. Raises ApiError."""
        kind = event["type"]
        if kind == "turn" and event["turn"] > self.turn:
            self.transcript, self.turn, self._began = event["text"], event["turn"], True
        elif kind == "sound_start":
            self._sounding = event["turn"]
        elif kind == "sound_sent":
            self._sent = event["turn"]
        elif "turn" in event and not (self._began and event["turn"] == self.turn):
            return False
        elif kind == "reply":
            self.reply = f"{self.reply} {event['text']}".strip()
            self._written = event["last"]
        elif kind == "caption" and event["final"] and not event["text"] or kind == "error" and event["code"] == "nothing_said":
            raise ApiError(400, NO_SPEECH, code="no_speech")
        elif kind == "error":
            raise ApiError(500, event["message"], code=event["code"])
        elif kind == "gone":
            raise ApiError(503, event["message"], code="server_down")
        return self._began and self._written and self._sent == self.turn

    async def parts(self, call: InnerCall) -> AsyncIterator[bytes]:
        """s16 at 24 kHz. Raises ApiError."""
        after, early, over = self.turn, [], False
        while not over:
            found = await call.happened.get()
            if not isinstance(found, bytes):
                over = self.took(found)
            elif self._sounding > after:
                early.append(found)
            if self._began and self._sounding == self.turn:  # else it is not known yet whose sound it is
                for part in early:
                    yield part
                early = []


async def speak(call: InnerCall, pcm: Iterator[np.ndarray]) -> None:
    """A whole turn: its sound, and that it is over."""
    while (piece := await asyncio.to_thread(next, pcm, None)) is not None:
        await call.hear(encode(piece, "int16"))
    await call.tell("commit")


class Query:
    """What the address says of the sound. Raises ApiError."""

    def __init__(self, values: dict[str, str]) -> None:
        self.format, self.output = values.get("format", "auto"), values.get("output", "wav")
        if self.format not in ("auto", "raw", "pcm", "wav", "file"):
            raise ApiError(400, f"format is {self.format[:40]!r}; allowed: auto, raw, file", code="invalid_value")
        if self.output not in ("wav", "pcm", "raw"):
            raise ApiError(400, f"output is {self.output[:40]!r}; allowed: wav, pcm", code="invalid_value")
        self.rate, self.channels = _whole(values, "sample_rate", HEARD_RATE, 8000, 192_000), _whole(values, "channels", 1, 1, 8)

    def is_file(self, begins: bytes) -> bool:
        return self.format in ("wav", "file") or self.format == "auto" and begins.startswith(FILES)


def _whole(values: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name, str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ApiError(400, f"{name} is {text[:40]!r}; allowed: a whole number from {low} to {high}", code="invalid_value")
    return int(text)


class Assistant:
    """One connection of /ws: a call that lives as long as it, one turn after the other."""

    def __init__(self, client: WebSocket, inner: Inner, query: Query, largest: int) -> None:
        self._client, self._inner, self._query, self._largest = client, inner, query, largest
        self._call: InnerCall | None = None
        self._held: BinaryIO | None = None  # a turn that is a file
        self._raw: media.RawDecoder | None = None  # a turn that is sent on while it comes
        self._size = 0
        self._answering: asyncio.Task[None] | None = None
        self._turn = 0  # the last that was answered

    async def serve(self, message: Any) -> None:
        try:
            while message["type"] != "websocket.disconnect":
                await self._take(message)
                message = await self._client.receive()
        finally:
            await self._stop_answer(told=False)
            if self._call is not None:
                await self._call.close()

    async def _take(self, message: Any) -> None:
        try:
            if message.get("bytes") is not None:
                await self._stop_answer(told=True)
                await self._sound(message["bytes"])
                return
            kind = _kind(message.get("text") or "")
            if kind == "ping":
                await self._client.send_json({"type": "pong"})
            elif kind == "end_stream":
                await self._stop_answer(told=True)
                await self._end_turn()
        except ApiError as problem:
            await self._fail(problem)

    async def _sound(self, data: bytes) -> None:
        if not data:
            return
        self._size += len(data)
        if self._size > self._largest:
            raise ApiError(413, f"a turn is larger than {self._largest / 1e6:g} MB; send end_stream earlier", code="request_too_large")
        if self._held is None and self._raw is None:
            if self._query.is_file(data):
                self._held = tempfile.SpooledTemporaryFile(forms.IN_MEMORY)  # type: ignore[assignment]
            else:
                self._raw = media.RawDecoder(self._query.rate, self._query.channels)
        if self._held is not None:
            self._held.write(data)
        elif self._raw is not None:
            await (await self._open()).hear(encode(self._raw.feed(data), "int16"))

    async def _end_turn(self) -> None:
        held, raw, self._held, self._raw, self._size = self._held, self._raw, None, None, 0
        call = await self._open()
        if held is not None:
            held.seek(0)
            await speak(call, forms.samples(held))
        elif raw is not None:
            await call.hear(encode(raw.close(), "int16"))
            await call.tell("commit")
        else:
            raise ApiError(400, NO_SPEECH, code="no_speech")
        self._answering = asyncio.create_task(self._answer(call))

    async def _open(self) -> InnerCall:
        if self._call is None:
            self._call = await InnerCall.opened(self._inner, TURN, address=self._client.client.host if self._client.client else "")
        return self._call

    async def _answer(self, call: InnerCall) -> None:
        answer, size = Answer(self._turn), 0
        try:
            async for part in answer.parts(call):
                if not size:
                    await self._client.send_json(
                        {
                            "type": "metadata",
                            "transcript": answer.transcript,
                            "reply": answer.reply,
                            "audio_info": {"format": "wav" if self._query.output == "wav" else "pcm", **INFO},
                        }
                    )
                    if self._query.output == "wav":
                        part = media.wav_header(SPOKEN_RATE) + part
                size += len(part)
                await self._client.send_bytes(part)
            # The client has all of it: for the call the answer is over and heard, however long it lasts, or the next turn would be over it.
            await call.tell("heard", turn=answer.turn, seconds=size)
            await call.tell("interrupt")
            await self._client.send_json(
                {
                    "type": "audio_complete",
                    "transcript": answer.transcript,
                    "reply": answer.reply,
                    "size": size,
                    "duration": round(size / 2 / SPOKEN_RATE, 3),
                }
            )
        except ApiError as problem:
            await self._fail(problem)
        finally:
            self._turn = answer.turn

    async def _stop_answer(self, *, told: bool) -> None:
        """Sound came in the middle of an answer."""
        task, self._answering = self._answering, None
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if told and self._call is not None:
            await self._call.tell("interrupt")
            await self._client.send_json({"type": "audio_complete", "interrupted": True})

    async def _fail(self, problem: ApiError) -> None:
        self._held = self._raw = None
        self._size = 0
        if self._call is not None and problem.status == 503:
            call, self._call = self._call, None
            await call.close()
        await self._client.send_json({"type": "error", "code": problem.code or "invalid_value", "message": problem.message})


def _kind(text: str) -> str:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(400, "a text frame must be one JSON object with a type", code="bad_frame") from None
    return str(values.get("type")) if isinstance(values, dict) else ""


def _names_itself(text: str) -> bool:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "uid" in values and "type" not in values
