"""What hangs up, or is cancelled, at any await leaves nothing open: no connection, no task, no line
(field case A8)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from answering_sockets import Answering, answering
from cancelling import cancel_at_every_await, nothing
from test_rest import speech_of, wav

import gateway
from whisperfusion.gateway.wyoming.messages import LINE_BYTES
from whisperfusion.gateway.wyoming.server import Connection
from whisperfusion.messages import Stage

STAGES = {
    name: Stage(name, "ready", engine="scripted", model="none", device="cpu")
    for name in ("asr", "llm", "tts", "gateway")
}
SECOND = bytes(32_000)
HANG_UP = "hang up"
HOW = [None, 1, HANG_UP]


class World:
    """The gateway's application over sockets that answer by themselves."""

    def __init__(self, server: Answering, **settings: Any) -> None:
        self.server, self.settings = server, server.settings(**settings)
        self.app = gateway.build_app(self.settings, STAGES, {})
        self.upstream = self.app.state.upstream
        self.hang_up: Callable[[], None] = lambda: None  # of the client that is there

    async def at_every_await(self, entry: Callable[[], Any], how: int | str | None) -> int:
        """`how`: cancelled once (None), again so many awaits later, or left by the client."""
        if how == HANG_UP:
            return await cancel_at_every_await(entry, self._check, leave=self.hang_up)
        return await cancel_at_every_await(entry, self._check, how)  # type: ignore[arg-type]

    async def _check(self, at: int) -> None:
        """No connection is open; those that are kept for the next text are at rest, and are closed
        first."""
        spare, self.upstream.speech.spare = self.upstream.speech.spare, []
        for connection in spare:
            await connection.close()
        await nothing(
            lambda: list(self.server.open.values()),
            f"cancelled at await {at}, it left connections open:",
        )


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with answering() as server:
        yield World(server)


class Peer:
    """The client's end of one ASGI connection: says its frames, the last after a word of the
    server, then hangs up."""

    def __init__(self, *frames: Any, after: str = "", scope: dict[str, Any] | None = None) -> None:
        self._frames, self._after, self._scope = list(frames), after, scope or {}
        self._sent: list[str] = []
        self._gone = False
        self._news = asyncio.Event()

    def hang_up(self) -> None:
        self._gone = True
        self._news.set()

    async def receive(self) -> dict[str, Any]:
        if self._frames and (not self._gone or self._frames[0]["type"] == "websocket.connect"):
            return self._frames.pop(0)
        while self._after and not self._gone and not any(self._after in one for one in self._sent):
            self._news.clear()
            await self._news.wait()
        return {"type": f"{self._scope['type']}.disconnect", "code": 1000}

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)  # as a socket may
        self._sent.append(str(message.get("text") or message.get("bytes") or message))
        self._news.set()

    async def visit(
        self, world: World, path: str, query: str = "", headers: dict[str, str] | None = None
    ) -> None:
        world.hang_up = self.hang_up
        found = {"host": "127.0.0.1", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in found.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
            "subprotocols": [],
            "state": {},
            "extensions": {},
            **self._scope,
        }
        self._scope = scope
        await world.app(scope, self.receive, self.send)


def socket(*frames: Any, after: str) -> Peer:
    said_frames = [
        {"type": "websocket.receive", "bytes" if isinstance(one, bytes) else "text": one}
        for one in frames
    ]
    return Peer(
        {"type": "websocket.connect"},
        *said_frames,
        after=after,
        scope={"type": "websocket", "scheme": "ws"},
    )


def event(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, **fields})


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "alpha"}]}
HEARD = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_audio", "audio": base64.b64encode(bytes(4800)).decode()}],
}
APPENDED = event("input_audio_buffer.append", audio=base64.b64encode(bytes(9600)).decode())
BY_HAND = event(
    "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
)
ASIDE = event("response.create", response={"conversation": "none", "input": [ITEM]})
SESSIONS = {
    "beside": ([ASIDE, ASIDE], "response.done"),
    "spoken": (
        [BY_HAND, APPENDED, event("input_audio_buffer.commit"), event("response.create")],
        "response.done",
    ),
    "typed": (
        [event("conversation.item.create", item=ITEM), event("response.create")],
        "response.done",
    ),
    "sound": (
        [event("conversation.item.create", item=HEARD), event("response.create")],
        "response.done",
    ),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", SESSIONS)
async def test_a8_realtime_leaves_nothing(world, kind, how):
    frames, last = SESSIONS[kind]
    assert (
        await world.at_every_await(
            lambda: socket(*frames, after=last).visit(world, "/v1/realtime"), how
        )
        > 10
    )


@pytest.mark.parametrize("how", HOW)
async def test_a8_the_voice_assistant_leaves_nothing(world, how):
    def entry() -> Any:
        return socket(SECOND, event("end_stream"), after="audio_complete").visit(
            world, "/ws", "format=raw"
        )

    assert await world.at_every_await(entry, how) > 10


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("path", ["/transcription", "/audio"])
async def test_a8_the_proxies_leave_nothing(world, path, how):
    frames = (
        [json.dumps({"uid": "one", "events": True}), event("commit")]
        if path == "/transcription"
        else [event("say", text="alpha")]
    )

    def entry() -> Any:
        return socket(*frames, after="turn" if path == "/transcription" else "said").visit(
            world, path, "uid=one"
        )

    assert await world.at_every_await(entry, how) > 5


def form(name: str, data: bytes, **fields: str) -> tuple[dict[str, str], dict[str, Any]]:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = (
        f'--x\r\nContent-Disposition: form-data; name="{name}"; '
        'filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    ).encode()
    body = b"".join([*parts, head, data, b"\r\n--x--\r\n"])
    return {"content-type": "multipart/form-data; boundary=x"}, {
        "type": "http.request",
        "body": body,
        "more_body": False,
    }


UPLOADS = {
    "transcriptions": ("/v1/audio/transcriptions", form("file", wav(speech_of("alpha")))),
    "streamed": ("/v1/audio/transcriptions", form("file", wav(speech_of("alpha")), stream="true")),
    "interact": ("/interact", form("file", wav(speech_of("alpha")))),
    "speech": (
        "/v1/audio/speech",
        (
            {"content-type": "application/json"},
            {"type": "http.request", "body": b'{"input": "alpha", "response_format": "mp3"}'},
        ),
    ),
    "events": (
        "/v1/audio/speech",
        (
            {"content-type": "application/json"},
            {"type": "http.request", "body": b'{"input": "alpha", "stream_format": "sse"}'},
        ),
    ),
}


@pytest.mark.parametrize("how", [None, HANG_UP])
@pytest.mark.parametrize("kind", UPLOADS)
async def test_a8_requests_leave_nothing(world, kind, how):
    path, (headers, message) = UPLOADS[kind]

    def entry() -> Any:
        return Peer(message, after="'more_body': False").visit(world, path, headers=headers)

    assert await world.at_every_await(entry, how) > 3


# --- Wyoming ------------------------------------------------------------------------------------


class Writer:
    """Takes what a Wyoming connection writes; the client goes when it has read `last`."""

    def __init__(self, reader: asyncio.StreamReader, last: str) -> None:
        self._reader, self._last = reader, f'"type": "{last}"'.encode()

    def write(self, data: bytes) -> None:
        if self._last in data:
            self._reader.feed_eof()

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        """Nothing is open."""


def message(type: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> bytes:
    return (
        json.dumps({"type": type, "data": data or {}, "payload_length": len(payload)}).encode()
        + b"\n"
        + payload
    )


AUDIO = {"rate": 16_000, "width": 2, "channels": 1}
WYOMING = {
    # and gone, while the call is being opened
    "started": ([message("audio-start", AUDIO), message("ping")], "pong"),
    "transcribe": (
        [
            message("transcribe"),
            message("audio-start", AUDIO),
            message("audio-chunk", AUDIO, SECOND),
            message("audio-stop"),
        ],
        "transcript-stop",
    ),
    "synthesize": ([message("synthesize", {"text": "alpha"})], "audio-stop"),
    "pieces": (
        [
            message("synthesize-start"),
            message("synthesize-chunk", {"text": "alpha"}),
            message("synthesize-stop"),
        ],
        "synthesize-stopped",
    ),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", WYOMING)
async def test_a8_wyoming_leaves_nothing(world, kind, how):
    sent, last = WYOMING[kind]

    async def entry() -> None:
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        for one in sent:
            reader.feed_data(one)
        world.hang_up = reader.feed_eof
        connection = Connection(
            reader, Writer(reader, last), world.upstream, world.app.state.snapshot, "127.0.0.1"
        )  # type: ignore[arg-type]
        await connection.serve(await connection.next())

    assert await world.at_every_await(entry, how) >= 3
