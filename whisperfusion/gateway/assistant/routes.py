"""POST /interact and the WebSocket /ws."""

from __future__ import annotations

from collections.abc import AsyncGenerator
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
from whisperfusion.gateway.upstream import RESUME_S, Upstream
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import ApiError


def router(settings: Settings, upstream: Upstream, decoders: DecoderPool, host: str) -> APIRouter:
    routes = APIRouter(tags=["Voice assistant"])

    @routes.post(
        "/interact", openapi_extra=openapi.INTERACT, responses=openapi.WAV, response_class=Response
    )
    async def interact(request: Request) -> Response:
        """A spoken question to a spoken answer.

        What was understood and said is in X-Transcript and X-Reply, percent-encoded. The next
        question goes on with the conversation where it has X-Session as `session`.
        """
        file = forms.needed(await _recording(request), "file")
        address = request.client.host if request.client else ""
        options = {**TURN, "session": request.query_params.get("session", "")}
        call = await upstream.open_call(options, address=address, resume_s=RESUME_S)

        def pieces() -> AsyncGenerator[bytes, None]:
            file.seek(0)
            return decoders.pieces(file, address)

        try:
            if call.ready.pending:  # its client asks something else now
                await call.send("interrupt")
            reply = SpokenReply()
            pcm = await while_there(request, reply_to(call, reply, pieces))
        finally:
            await call.close()
        headers = {"X-Transcript": quote(reply.transcript), "X-Reply": quote(reply.text)}
        if call.ready.session:
            headers["X-Session"] = call.ready.session
        return Response(
            media.wav_header(SPEECH_RATE, len(pcm)) + pcm, media_type="audio/wav", headers=headers
        )

    @routes.websocket("/ws")
    async def ws(client: WebSocket) -> None:
        await client.accept()
        goes_on = bool(client.query_params.get("session"))  # and may have nothing to send yet
        first = None if goes_on else await client.receive()
        if first and first.get("text") and names_itself(first["text"]):
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
        connection = Assistant(client, upstream, decoders, query, settings)
        with client.app.state.draining.session(client, connection.at_rest):
            await connection.serve(first)

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
