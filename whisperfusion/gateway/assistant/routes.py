"""POST /interact and the WebSocket /ws."""

from __future__ import annotations

from typing import BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import Response

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.gateway import forms, media, openapi, proxy
from whisperfusion.gateway.assistant.connection import Assistant
from whisperfusion.gateway.assistant.query import Query, names_itself
from whisperfusion.gateway.assistant.reply import TURN, SpokenReply, reply_to
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.leaving import while_there
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import ApiError


def router(settings: Settings, upstream: Upstream, decoders: DecoderPool, host: str) -> APIRouter:
    routes = APIRouter(tags=["Voice assistant"])

    @routes.post(
        "/interact", openapi_extra=openapi.INTERACT, responses=openapi.WAV, response_class=Response
    )
    async def interact(request: Request) -> Response:
        """A spoken question to a spoken answer.

        What was understood and said is in X-Transcript and X-Reply, percent-encoded.
        """
        file = await _recording(request)
        address = request.client.host if request.client else ""
        call = await upstream.open_call(TURN, address=address)
        try:
            reply = SpokenReply()
            pieces = decoders.pieces(forms.needed(file, "file"), address)
            pcm = b"".join(await while_there(request, reply_to(call, reply, pieces)))
        finally:
            await call.close()
        headers = {"X-Transcript": quote(reply.transcript), "X-Reply": quote(reply.text)}
        return Response(
            media.wav_header(SPEECH_RATE, len(pcm)) + pcm, media_type="audio/wav", headers=headers
        )

    @routes.websocket("/ws")
    async def ws(client: WebSocket) -> None:
        await client.accept()
        first = await client.receive()
        if first.get("text") and names_itself(first["text"]):
            await proxy.relay(client, host, settings.asr_port, first["text"])
            return
        try:
            query = Query(dict(client.query_params))
        except ApiError as problem:
            await client.send_json(
                {"type": "error", "code": problem.code, "message": problem.message}
            )
            await client.close(1008)
            return
        await Assistant(client, upstream, decoders, query, settings).serve(first)

    return routes


async def _recording(request: Request) -> BinaryIO | None:
    """The recording in a form or as the whole body. Raises ApiError."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        return (await forms.form(request, "file", "audio", "audio_file")).file
    if kind.startswith(("audio/", "application/octet-stream")):
        return await forms.body(request)
    raise ApiError(
        415,
        "send a form with the field 'file', or the bare recording as audio/wav or the like, not "
        f"{kind[:80]!r}",
    )
