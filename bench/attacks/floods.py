"""Too much of one thing: frames, texts, bytes, items, requests, wrong keys."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed

from bench.attacks.target import KEY, Tally, Target

ANSWER_S = 60.0
MIB = 2**20
Flood = Callable[[Target, float], Awaitable[Tally]]


def uid() -> str:
    return f"flood-{uuid.uuid4().hex[:10]}"


async def opened(address: str, handshake: dict[str, Any] | None = None) -> Any:
    """A WebSocket without limits of its own; the first answer to a handshake has come."""
    from websockets.asyncio.client import connect

    connection = await connect(
        address, max_size=None, open_timeout=ANSWER_S, close_timeout=2, ping_interval=None
    )
    if handshake is not None:
        await connection.send(json.dumps(handshake))
        await asyncio.wait_for(connection.recv(), ANSWER_S)
    return connection


def cut(connection: Any) -> None:
    """Hang up without a word."""
    with suppress(AttributeError):  # asyncio, when the server has cut the connection already
        connection.transport.abort()


async def _poured(
    tally: Tally, address: str, handshake: dict[str, Any] | None, frame: str | bytes, count: int
) -> None:
    """`count` times the same frame; a server that closes with a reason has defended itself."""
    from websockets.exceptions import ConnectionClosed, WebSocketException

    try:
        connection = await opened(address, handshake)
    except (OSError, WebSocketException, asyncio.TimeoutError) as error:
        tally.wrong(f"not opened: {error!r}")
        return
    reading = asyncio.create_task(_drain(connection))
    try:
        for _ in range(count):
            tally.tried += 1
            await asyncio.wait_for(connection.send(frame), ANSWER_S)
        await asyncio.wait_for(await connection.ping(), ANSWER_S)
        tally.answered += 1
    except (TimeoutError, asyncio.TimeoutError):
        tally.wrong(f"{count} frames of {len(frame)} bytes were not taken", hung=True)
    except (ConnectionClosed, OSError, AttributeError):  # the last: asyncio, of a cut connection
        tally.refused += 1
    finally:
        reading.cancel()
        cut(connection)


async def _drain(connection: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        async for _ in connection:
            pass
    except ConnectionClosed:
        pass


async def tiny_frames(target: Target, scale: float) -> Tally:
    """Four connections with 37,000 frames of one byte each."""
    tally = Tally("frames of one byte")
    await asyncio.gather(
        *(
            _poured(
                tally,
                target.asr_url,
                {"uid": uid(), "events": True, "reply": False},
                b"\0",
                int(37_000 * scale),
            )
            for _ in range(4)
        )
    )
    return tally


async def texts_to_say(target: Target, scale: float) -> Tally:
    """Eighty texts of 4,096 commas to say, on 8888."""
    tally = Tally("texts to say")
    frame = json.dumps({"type": "say", "text": "、" * 4096})
    await _poured(tally, f"{target.tts_url}/?uid={uid()}&events=1", None, frame, int(80 * scale))
    return tally


async def large_json(target: Target, scale: float) -> Tally:
    """Twenty text frames of 16 MiB on both sockets."""
    tally = Tally("text frames of 16 MiB")
    frame = '{"type":"say","text":"' + "[" * (16 * MIB - 40) + '"}'
    await _poured(
        tally, target.asr_url, {"uid": uid(), "events": True}, frame, max(2, int(20 * scale))
    )
    await _poured(tally, f"{target.tts_url}/?uid={uid()}", None, frame, max(2, int(20 * scale)))
    return tally


async def large_sound(target: Target, scale: float) -> Tally:
    """Forty frames of 16 MiB of silence on 6006."""
    tally = Tally("sound frames of 16 MiB")
    await _poured(
        tally,
        target.asr_url,
        {"uid": uid(), "events": True, "reply": False},
        bytes(16 * MIB),
        max(2, int(40 * scale)),
    )
    return tally


async def items(target: Target, scale: float) -> Tally:
    """250 Realtime items of 512 KB."""
    tally = Tally("Realtime items of 512 KB")
    address = target.http_url.replace("http", "ws", 1) + "/v1/realtime?model=x"
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "alpha " * 87_000}],
    }
    await _poured(
        tally,
        address,
        None,
        json.dumps({"type": "conversation.item.create", "item": item}),
        max(4, int(250 * scale)),
    )
    sound = base64.b64encode(bytes(384 * 1024)).decode()
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "audio": sound, "transcript": "alpha"}],
    }
    await _poured(
        tally,
        address,
        None,
        json.dumps({"type": "conversation.item.create", "item": item}),
        max(4, int(250 * scale)),
    )
    return tally


async def responses(target: Target, scale: float) -> Tally:
    """400 answers outside the conversation, in one Realtime session."""
    tally = Tally("Realtime responses aside")
    address = target.http_url.replace("http", "ws", 1) + "/v1/realtime?model=x"
    frame = json.dumps(
        {
            "type": "response.create",
            "response": {
                "conversation": "none",
                "output_modalities": ["text"],
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
    await _poured(tally, address, None, frame, int(400 * scale))
    return tally


async def slow_readers(target: Target, scale: float) -> Tally:
    """Ten callers who ask for long, unpaced answers and never read a byte of them."""
    tally, seconds = Tally("slow readers"), 4 + 16 * scale
    held: list[Any] = []
    for _ in range(10):
        name = uid()
        listener = await opened(f"{target.tts_url}/?uid={name}&events=1")
        speaker = await opened(target.asr_url, {"uid": name, "events": True, "paced": False})
        listener.transport.pause_reading()
        speaker.transport.pause_reading()
        endless = len(held) < 12  # six: the scripted model writes eight answers at a time
        text = "forever" if endless else "alpha " * 600
        tally.tried += 1
        held += [listener, speaker]
        try:
            await speaker.send(json.dumps({"type": "say", "text": text}))
        except ConnectionClosed:  # told to come back: the others are as many as can be answered
            tally.refused += 1
    await asyncio.sleep(seconds)
    for connection in held:
        cut(connection)
    tally.answered = tally.tried - tally.refused
    return tally


async def requests(target: Target, scale: float) -> Tally:
    """1,000 small requests of many kinds, 40 at a time."""
    tally, chance = Tally("requests at once"), random.Random(1)
    turn = asyncio.Semaphore(40)
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        ("/v1/audio/speech", {"model": "tts-1", "input": "alpha", "voice": "alloy"}),
        (
            "/v1/audio/speech",
            {"model": "tts-1", "input": "<break/> 😀", "voice": "alloy", "response_format": "wav"},
        ),
        ("/v1/audio/speech", {"input": "x" * 5000}),
        ("/nothing", {}),
    )

    async def one(client: httpx.AsyncClient) -> None:
        async with turn:
            path, body = chance.choice(bodies)
            try:
                answer = await client.post(path, json=body)
                tally.http(answer.status_code, answer.text[:200])
            except httpx.HTTPError as error:
                tally.wrong(f"{path}: {error!r}", hung=isinstance(error, httpx.TimeoutException))

    async with httpx.AsyncClient(base_url=target.http_url, timeout=ANSWER_S) as client:
        await asyncio.gather(*(one(client) for _ in range(int(1000 * scale))))
    return tally


async def wrong_keys(target: Target, scale: float) -> Tally:
    """2,255 wrong keys as fast as they go, for a server that has one; the right one works beside
    them.
    """
    tally, began = Tally("wrong keys"), time.monotonic()
    limits = httpx.Limits(max_connections=20)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        try:
            answer = await client.get(
                "/v1/models", headers={"Authorization": f"Bearer wrong-{number}"}
            )
            tally.http(answer.status_code, answer.text[:200])
            if answer.status_code < 400:
                tally.wrong(f"a wrong key was let in: {answer.status_code}")
        except httpx.TimeoutException:  # slowed, as it should be
            tally.tried += 1
            tally.refused += 1
        except httpx.HTTPError:
            tally.tried += 1
            tally.refused += 1

    async with httpx.AsyncClient(base_url=target.http_url, timeout=5.0, limits=limits) as client:
        work = asyncio.gather(
            *(one(client, number) for number in range(int(2255 * scale))), return_exceptions=True
        )
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(work, 5 + 25 * scale)
    tally.figures["wrong keys a second"] = tally.tried / (time.monotonic() - began)
    async with httpx.AsyncClient(base_url=target.http_url, timeout=ANSWER_S) as client:
        answer = await client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})
        if answer.status_code != 200:
            tally.wrong(f"the right key gets HTTP {answer.status_code} beside wrong ones")
    return tally


FLOODS: tuple[Flood, ...] = (
    tiny_frames,
    texts_to_say,
    large_json,
    large_sound,
    items,
    responses,
    slow_readers,
    requests,
)
