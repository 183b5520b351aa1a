"""Deepgram and Cartesia as they speak on their sockets, following a script: they read and speak in
tones. One server for both, told apart by path.

`how` is what it does from now on:

| how | live transcription and `POST /v1/listen` | speech (`/tts/websocket`) |
| --- | --- | --- |
| "" | results as audio comes, the rest at `Finalize` | chunks, then done |
| key, credit, busy, model | 401, 402, 429 with Retry-After, 400 | the same, or in an event |
| stall | takes audio and says nothing more | nothing after the request |
| silent | | nothing after the first chunk |
| idle | closes with 1011 NET-0001 at the next `Finalize` or audio | |
| cut | the connection breaks at the next audio, once | after the first chunk |
| error | an Error message at the next audio | an error event after the request |
| late | an error event after the first chunk | the same |
| nonsense | something that is not JSON | the same |
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
from typing import Any

import numpy as np
import uvicorn
from fake_audio_server import samples_in
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisperfusion.engines.scripted import _words, read_tones, tone_speech
from whisperfusion.runtime.ports import free_ports

RATE = 16_000
DEEPGRAM_REFUSALS = {
    "key": (401, {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}),
    "credit": (402, {"err_code": "ASR_PAYMENT_REQUIRED", "err_msg": "Not enough credits."}),
    "busy": (429, {"err_code": "TOO_MANY_REQUESTS", "err_msg": "Too many requests."}),
    "model": (400, {"err_code": "Bad Request", "err_msg": "No such model/language combination."}),
}
CARTESIA_REFUSALS = {
    "key": (401, {"error_code": "unauthorized", "title": "Unauthorized", "message": "Bad key."}),
    "credit": (402, {"error_code": "quota_exceeded", "title": "Quota", "message": "No credits."}),
    "busy": (429, {"error_code": "concurrency_limited", "title": "Too many", "message": "Busy."}),
    "model": (400, {"error_code": "model_not_found", "title": "Invalid model", "message": "No."}),
}
RETRY_AFTER = {"busy": {"Retry-After": "7"}}


class FakeVoiceServer:
    def __init__(self) -> None:
        self.how = ""
        self.queries: list[dict[str, Any]] = []  # of live transcriptions
        self.recordings: list[dict[str, Any]] = []  # queries of POSTs
        self.keys: list[str] = []  # Authorization of each
        self.heard: list[float] = []  # seconds of audio of each live connection
        self.controls: list[str] = []  # types of what came as text on live connections
        self.asked: list[dict[str, Any]] = []  # requests for speech
        self.cancelled: list[str] = []  # contexts
        self.voices = [{"id": "ann-1", "name": "Ann"}, {"id": "bob-2", "name": "Bob"}]
        self.release, self.arrived = threading.Event(), threading.Semaphore(0)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        app = Starlette(
            routes=[
                WebSocketRoute("/v1/listen", self._listen),
                Route("/v1/listen", self._recording, methods=["POST"]),
                WebSocketRoute("/tts/websocket", self._speak),
                Route("/voices", self._voices),
            ]
        )
        config = uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(timeout=20)

    # --- Deepgram --------------------------------------------------------------------------------

    async def _listen(self, socket: WebSocket) -> None:
        self.keys.append(socket.headers.get("Authorization", ""))
        if self.how in DEEPGRAM_REFUSALS:
            status, body = DEEPGRAM_REFUSALS[self.how]
            headers = RETRY_AFTER.get(self.how)
            await socket.send_denial_response(JSONResponse(body, status, headers))
            return
        await socket.accept()
        self.queries.append(query_of(socket))
        with contextlib.suppress(WebSocketDisconnect):
            await _Live(self, socket).run()

    async def _recording(self, request: Request) -> Response:
        self.recordings.append(query_of(request))
        if self.how in DEEPGRAM_REFUSALS:
            status, body = DEEPGRAM_REFUSALS[self.how]
            return JSONResponse(body, status, RETRY_AFTER.get(self.how))
        if self.how == "nonsense":
            return Response("<html>", media_type="text/html")
        pcm = samples_in(await request.body())
        text = read_tones(pcm)
        best = {"transcript": text, "confidence": 0.98, "words": words_of(pcm, 0.0, True)}
        channel: dict[str, Any] = {"alternatives": [best]}
        if self.recordings[-1].get("detect_language"):
            channel |= {"detected_language": "en-US", "language_confidence": 0.97}
        utterance = {"start": 0.0, "end": len(pcm) / RATE, **best}
        results = {"channels": [channel], "utterances": [utterance] if text else []}
        return JSONResponse({"metadata": {"request_id": "1"}, "results": results})

    # --- Cartesia --------------------------------------------------------------------------------

    async def _voices(self, request: Request) -> Response:
        self.keys.append(request.headers.get("Authorization", ""))
        if self.how in CARTESIA_REFUSALS:
            status, body = CARTESIA_REFUSALS[self.how]
            return JSONResponse(body, status, RETRY_AFTER.get(self.how))
        return JSONResponse({"data": self.voices, "has_more": False})

    async def _speak(self, socket: WebSocket) -> None:
        self.keys.append(socket.headers.get("Authorization", ""))
        if self.how in ("key", "credit"):
            status, body = CARTESIA_REFUSALS[self.how]
            await socket.send_denial_response(JSONResponse(body, status))
            return
        await socket.accept()
        tasks: dict[str, asyncio.Task[None]] = {}
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                request = await socket.receive_json()
                context = request["context_id"]
                if request.get("cancel"):
                    self.cancelled.append(context)
                    tasks[context].cancel()
                    continue
                self.asked.append(request)
                tasks[context] = asyncio.create_task(self._say(socket, request))
        for task in tasks.values():
            task.cancel()

    async def _say(self, socket: WebSocket, request: dict[str, Any]) -> None:
        how, context = self.how, {"context_id": request["context_id"]}
        if how in CARTESIA_REFUSALS or how == "error":
            status, body = CARTESIA_REFUSALS.get(how, (500, {"title": "Oh", "message": "no"}))
            await socket.send_json(
                {"type": "error", "done": True, "status_code": status, **body, **context}
            )
            return
        if how == "nonsense":
            await socket.send_text("<html>")
            return
        if how == "stall" or (how == "patient" and "wait" in request["transcript"]):
            self.arrived.release()
            await asyncio.to_thread(self.release.wait, 60)
        rate = request["output_format"]["sample_rate"]
        pcm = tone_speech(request["transcript"], rate)
        speed = request.get("generation_config", {}).get("speed", 1.0)
        length = int(len(pcm) / speed)
        pcm = np.interp(np.arange(length) * speed, np.arange(len(pcm)), pcm) if length else pcm
        sound = (pcm * 32767).astype("<i2").tobytes()
        step = rate // 5 * 2 + 1  # samples are cut in two
        for at in range(0, len(sound), step):
            data = base64.b64encode(sound[at : at + step]).decode()
            await socket.send_json(
                {"type": "chunk", "data": data, "done": False, "status_code": 206, **context}
            )
            if how == "silent":
                await asyncio.sleep(600)
            if how == "cut":
                await socket.close(1011, "internal error")
                return
            if how == "late":
                event = {"type": "error", "done": True, "status_code": 500, "title": "Oh"}
                await socket.send_json(event | {"message": "no"} | context)
                return
        await socket.send_json({"type": "done", "done": True, "status_code": 206, **context})


class _Live:
    """One connection: what it heard, and up to where that is final."""

    def __init__(self, script: FakeVoiceServer, socket: WebSocket) -> None:
        self._script, self._socket = script, socket
        self._pcm: np.ndarray = np.zeros(0, np.float32)
        self._final_to = 0
        self._at = len(script.heard)
        script.heard.append(0.0)

    async def run(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                if not await self._audio(message["bytes"]):
                    return
                continue
            kind = json.loads(message["text"])["type"]
            self._script.controls.append(kind)
            if kind == "Finalize" and self._script.how == "idle":
                await self._close("NET-0001")
                return
            if kind == "Finalize" and self._script.how != "stall":
                if len(self._pcm) > self._final_to:
                    await self._results(True, from_finalize=True)
            if kind == "CloseStream":
                await self._socket.send_json({"type": "Metadata", "request_id": "1"})
                await self._socket.close(1000)
                return

    async def _audio(self, data: bytes) -> bool:
        """False: the connection has ended."""
        script = self._script
        if script.how in ("cut", "idle"):
            script.how = "" if script.how == "cut" else script.how
            await self._close("NET-0000")
            return False
        if script.how == "error":
            error = {"type": "Error", "description": "the model is on fire", "variant": "X"}
            await self._socket.send_json(error)
            return True
        if script.how == "nonsense":
            await self._socket.send_text("<html>")
            return True
        self._pcm = np.concatenate((self._pcm, np.frombuffer(data, "<i2") / np.float32(32768)))
        script.heard[self._at] = len(self._pcm) / RATE
        if script.how != "stall":
            await self._results(False)
        return True

    async def _results(self, is_final: bool, **more: Any) -> None:
        start = self._final_to / RATE
        words = words_of(self._pcm[self._final_to :], start, is_final)
        text = " ".join(word["punctuated_word"] for word in words)
        best = {"transcript": text, "confidence": 0.98 if text else 0.0, "words": words}
        if self._script.queries[self._at]["language"] == "multi":
            best["languages"] = ["en"]
        message = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start,
            "duration": len(self._pcm) / RATE - start,
            "is_final": is_final,
            "speech_final": is_final,
            "channel": {"alternatives": [best]},
            **more,
        }
        if is_final:
            self._final_to = len(self._pcm)
        await self._socket.send_json(message)

    async def _close(self, reason: str) -> None:
        await self._socket.close(1011, f"{reason}: the stream has ended")


def words_of(pcm: np.ndarray, start_s: float, ended: bool) -> list[dict[str, Any]]:
    return [
        {
            "word": word.text,
            "punctuated_word": word.text,
            "start": word.start_s + start_s,
            "end": word.end_s + start_s,
            "confidence": 0.9,
        }
        for word in _words(np.asarray(pcm, np.float32), RATE, ended)
    ]


def query_of(asked: Any) -> dict[str, Any]:
    """Of a request: texts, lists of them where a name comes twice."""
    found: dict[str, Any] = {}
    for name in asked.query_params:
        values = asked.query_params.getlist(name)
        found[name] = values if len(values) > 1 else values[0]
    return found
