"""Clients that say nothing, say it slowly, or leave in the middle: what they held must come
back.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from bench.attacks.floods import ANSWER_S, cut, opened, uid
from bench.attacks.mutations import sources
from bench.attacks.target import Tally, Target
from whisperfusion.client import CallError, connect

PLACES = 20  # calls that must be possible at the end, of 30


async def silent(target: Target, scale: float) -> Tally:
    """100 connections to each port that say nothing, or half a request head."""
    tally, held = Tally("silent connections"), []
    for number in range(int(300 * scale)):
        port = target.ports[number % 3]
        tally.tried += 1
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), ANSWER_S)
            if number % 2:
                writer.write(b"GET / HTTP/1.1\r\nHost: local")
            held.append(writer)
        except (OSError, asyncio.TimeoutError):
            tally.refused += 1  # a limit of connections
    if not await asyncio.to_thread(target.healthy):
        tally.wrong("no answer to /health beside silent connections")
    await asyncio.sleep(6 + 24 * scale)
    tally.figures["still open"] = sum(map(_is_open, held))
    for writer in held:
        writer.transport.abort()
    return tally


def _is_open(writer: asyncio.StreamWriter) -> bool:
    reader = writer.transport.get_protocol()._stream_reader  # type: ignore[attr-defined]
    return not (writer.transport.is_closing() or reader.at_eof())


async def slow_bodies(target: Target, scale: float) -> Tally:
    """Uploads that trickle, a byte every half second."""
    tally = Tally("bodies that trickle")
    head = (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n--x\r\n"
    )

    async def one() -> None:
        tally.tried += 1
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
            writer.write(head)
            for _ in range(int(4 + 16 * scale)):
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.5)
            writer.transport.abort()
        except OSError:
            tally.refused += 1

    await asyncio.gather(*(one() for _ in range(int(40 * scale) + 4)))
    return tally


async def hang_ups(target: Target, scale: float) -> Tally:
    """Every endpoint, left 0 to 30 ms after connecting or during a reply; then all places
    are there.
    """
    tally, chance = Tally("hang-ups"), random.Random(7)
    base = target.http_url.replace("http", "ws", 1)
    content = dict(sources())["wav"]
    visits: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: _wyoming(target, chance),
        lambda: _realtime(f"{base}/v1/realtime?model=x", chance),
        lambda: _live(target, chance),
        lambda: _ws(f"{base}/ws", content, chance),
        lambda: _post(
            target,
            b"/v1/audio/speech",
            b"application/json",
            b'{"input": "forever and ever", "voice": "alloy"}',
            chance,
        ),
        lambda: _post(target, b"/interact", b"audio/wav", content, chance),
    )
    for _ in range(int(120 * scale)):
        results = await asyncio.gather(*(visit() for visit in visits), return_exceptions=True)
        tally.tried += len(results)
    await asyncio.sleep(1.0)
    await places(target, tally)
    return tally


async def places(target: Target, tally: Tally) -> None:
    """Were all calls given back? `PLACES` callers at once must get a line and a pong."""
    calls = [connect(target.asr_url, target.tts_url) for _ in range(PLACES)]
    results = await asyncio.gather(*(call.open() for call in calls), return_exceptions=True)
    for call, result in zip(calls, results, strict=True):
        if isinstance(result, CallError):
            tally.wrong(f"a place was not given back: {result}")
        elif isinstance(result, BaseException):
            raise result
        else:
            await call.close()


async def _wyoming(target: Target, chance: random.Random) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", target.wyoming_port)
    writer.write(b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n')
    await asyncio.sleep(chance.random() * 0.03)
    writer.transport.abort()


async def _realtime(address: str, chance: random.Random) -> None:
    connection = await opened(address)
    conversation = chance.choice(("none", "auto"))
    await connection.send(
        json.dumps(
            {
                "type": "response.create",
                "response": {
                    "conversation": conversation,
                    "input": [
                        {
                            "type": "message",
                            "role": "user",
                            "content": [{"type": "input_text", "text": "forever"}],
                        }
                    ],
                },
            }
        )
    )
    await asyncio.sleep(chance.random() * 0.2)
    cut(connection)


async def _live(target: Target, chance: random.Random) -> None:
    name = uid()
    listener = await opened(f"{target.tts_url}/?uid={name}")
    speaker = await opened(target.asr_url, {"uid": name, "events": True})
    await speaker.send(json.dumps({"type": "say", "text": "forever"}))
    await asyncio.sleep(chance.random() * 0.2)
    for connection in chance.sample((listener, speaker), 2):
        cut(connection)


async def _ws(address: str, content: bytes, chance: random.Random) -> None:
    connection = await opened(address)
    await connection.send(content)
    if chance.random() < 0.7:
        await connection.send('{"type": "end_stream"}')
    await asyncio.sleep(chance.random() * 0.2)
    cut(connection)


async def _post(
    target: Target, path: bytes, kind: bytes, body: bytes, chance: random.Random
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
    writer.write(
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        % (path, kind, len(body))
    )
    writer.write(body[: chance.choice((len(body), len(body) // 2))])
    await asyncio.sleep(chance.random() * 0.2)
    writer.transport.abort()


ATTACKS: tuple[Any, ...] = (silent, slow_bodies, hang_ups)
