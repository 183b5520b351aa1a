"""An engine as a server: an ASGI application around one engine of a kind, or several models of it.

What travels: `wire/engine_server.py`. The header `serve_multiplexed_model_id` (Ray Serve's own
name) says which model is meant; without it, the usual one. A replica that ends answers 503 to what
is new. An engine that is lost for good makes `healthz` fail, and the supervisor (Ray, Kubernetes,
systemd) starts a new process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from cluster import calls
from cluster.decoding import Batches, Decode
from cluster.frames import Frames
from cluster.health import Health, is_deterministic
from cluster.jobs import Jobs, failure
from cluster.recordings import Recordings
from cluster.utterance import Passes, serve
from whisperfusion.engines.elsewhere.calls import attributes_of
from whisperfusion.errors import EngineError, WhisperFusionError
from whisperfusion.wire import engine_pipe as wire
from whisperfusion.wire import engine_server
from whisperfusion.wire.auth import authorized
from whisperfusion.wire.engine_server import MODEL, PROTOCOL

AT_ONCE = {"asr": 2, "tts": 2}  # jobs of one engine; a language model tells its own number
MOST_RUNNING = 256  # jobs, with those that wait, and utterances; beyond, 503
RETRY_S = 1
NAME_LIMIT, ENDED_MOST = 64, 32  # characters of a call's id; ids of one header
Engines = Callable[[str], Awaitable[Any]]


class Denied(WhisperFusionError):
    """A request that is answered with `status`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class UnknownModel(Denied):
    """The header names a model that is not offered; `engines` may raise it."""

    def __init__(self, model: str, allowed: Iterable[str]) -> None:
        super().__init__(
            404, f"the model {model[:80]!r} is not here; allowed: {', '.join(allowed)}"
        )


def one_engine(engine: Any) -> Engines:
    """The engine for requests that name no model, or its own."""

    async def get(model: str) -> Any:
        if model not in ("", engine.model):
            raise UnknownModel(model, [engine.model])
        return engine

    return get


class Service:
    """What the application does, without HTTP.

    `engines` returns the engine for the name of a model, "" = the usual one. `decode` is what makes
    batches of utterances (decoding.py); None = the engine's own.
    """

    def __init__(self, kind: str, engines: Engines, decode: Decode | None, at_once: int) -> None:
        self.kind, self.engine_of = kind, engines
        self.decode = decode or Batches().decode
        self.health = Health(kind)
        self.jobs = Jobs(at_once, self.health.ended)
        self.recordings = Recordings()
        self.utterances = 0  # present ones
        self.denied = 0  # requests that another replica has to do
        self.draining = asyncio.Event()
        self._told: dict[str, tuple[Any, dict[str, Any]]] = {}

    @property
    def running(self) -> int:
        """Jobs and utterances."""
        return self.jobs.present + self.utterances

    @property
    def unhealthy(self) -> str:
        """Why this replica should get no requests; empty = it should."""
        return self.health.lost or ("draining" if self.draining.is_set() else "")

    async def about(self, model: str = "") -> dict[str, Any]:
        """What `GET about` answers. The first time, a voice says a word, and so is warm."""
        engine = await self.engine_of(model)
        known = self._told.get(model)
        if known is None or known[0] is not engine:
            attributes = attributes_of(self.kind, engine)
            if self.kind == "tts":
                attributes["deterministic"] = await asyncio.to_thread(is_deterministic, engine)
            known = self._told[model] = engine, attributes
        return {"protocol": PROTOCOL, "kind": self.kind, "attributes": known[1]}

    def refusal(self) -> str:
        """Why no new job is accepted now; empty = one is."""
        busy = "too many requests wait" if self.running >= MOST_RUNNING else ""
        return self.unhealthy or busy


def create_app(
    kind: str,
    engines: Engines,
    *,
    key: str = "",
    decode: Decode | None = None,
    at_once: int | None = None,
) -> FastAPI:
    """`kind` is "asr", "llm" or "tts"; `key` "" = none is asked for. The `Service` is
    `app.state.service`.
    """
    app = FastAPI(openapi_url=None)
    service = Service(kind, engines, decode, at_once or AT_ONCE.get(kind, 8))
    app.state.service = service

    @app.get("/healthz")
    async def healthz() -> Response:
        why = service.unhealthy
        body = {"ready": not why, "reason": why, "running": service.running}
        return JSONResponse(body, 503 if why else 200)

    @app.get("/about")
    async def about(request: Request) -> Response:
        _check_key(key, request)
        return JSONResponse(await service.about(request.headers.get(MODEL, "")))

    @app.post("/call")
    async def call(request: Request) -> Response:
        _check_key(key, request)
        return await _answer(service, request)

    @app.websocket("/utterance")
    async def utterance(socket: WebSocket) -> None:
        try:
            _check_key(key, socket)
            engine = await _engine_of_utterance(service, socket)
        except (Denied, EngineError) as error:
            await _deny(socket, error)
            return
        await _utterance(service, engine, socket)

    for kind_of_error in (calls.BadCall, Denied, EngineError):
        app.add_exception_handler(kind_of_error, _error)
    return app


async def _answer(service: Service, request: Request) -> Response:
    _check_room(service)
    call = calls.read(await _body(request))
    calls.check(call, calls.METHODS[service.kind])
    engine = await service.engine_of(request.headers.get(MODEL, ""))
    headers = {engine_server.SAMPLE_RATE: str(engine.sample_rate)} if service.kind == "tts" else {}
    try:
        calls.check_ability(call, engine)
        call = service.recordings.on_disk(call)
    except EngineError as error:
        return Frames(_only(failure(call, error)), headers)
    name = request.headers.get(engine_server.CALL, "")[:NAME_LIMIT]
    ended = request.headers.get(engine_server.ENDED, "").split(",", ENDED_MOST)[:ENDED_MOST]
    return Frames(service.jobs.frames(engine, call, name, ended), headers)


async def _engine_of_utterance(service: Service, socket: WebSocket) -> Any:
    if service.kind != "asr":
        raise Denied(404, "only speech to text has utterances")
    _check_room(service)
    return await service.engine_of(socket.headers.get(MODEL, ""))


async def _utterance(service: Service, engine: Any, socket: WebSocket) -> None:
    service.utterances += 1
    try:
        await socket.accept()
        await serve(socket, Passes(engine, service.decode, service.health.ended), service.draining)
    finally:
        service.utterances -= 1


async def _deny(socket: WebSocket, error: Exception) -> None:
    """A status, or the code of a closed socket behind a server that knows no answer to a WebSocket
    but yes.
    """
    answer = _told(error)
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(answer)
        return
    await socket.accept()
    full = answer.status_code >= 500
    await socket.close(engine_server.FULL if full else engine_server.WRONG, str(error)[:100])


async def _only(message: wire.Message) -> AsyncIterator[bytes]:
    yield b"".join(wire.encode(message))


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > calls.BODY_LIMIT:
            limit = f"{calls.BODY_LIMIT >> 20} MB"
            raise Denied(413, f"a body of more than {limit} is too large; send less at once")
    return bytes(body)


def _check_key(key: str, asked: HTTPConnection) -> None:
    if not authorized((key,) if key else (), asked.headers.items(), asked.url.query):
        raise Denied(401, "the key is missing or wrong; send Authorization: Bearer KEY")


def _check_room(service: Service) -> None:
    if why := service.refusal():
        service.denied += 1
        raise Denied(503, why)


def _told(error: Exception) -> JSONResponse:
    match error:
        case Denied():
            status = error.status
        case calls.BadCall():
            status = 400
        case _:  # a model that cannot be loaded
            status = 500
    headers = {"Retry-After": str(RETRY_S)} if status == 503 else None
    return JSONResponse({"error": {"message": str(error)}}, status, headers)


async def _error(request: Request, error: Exception) -> Response:
    return _told(error)
