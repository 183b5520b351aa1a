"""Random messages on every socket: each is taken or refused in the protocol's own form."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from typing import Any

from bench.attacks.floods import cut
from bench.attacks.mutations import disturbed, sendable, sound, text_of
from bench.attacks.target import Tally, Target

CALLS_AT_ONCE = 8
ANSWER_S = 20.0
MOST_A_CALL = 50
CLOSINGS = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013)  # 1011 is counted as a fault
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "tells the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "enum": ["a", "b"]},
                "when": {"$ref": "#/$defs/t"},
            },
            "$defs": {"t": {"type": "string", "pattern": "^[0-9]{1,4}$"}},
        },
    },
}
HISTORY = [
    {"role": "user", "text": "hello"},
    {"role": "assistant", "text": "good day"},
    {"role": "call", "text": '{"id": "1", "name": "weather", "arguments": "{}"}'},
    {"role": "result", "text": '{"id": "1", "output": "sun"}'},
]
HANDSHAKE = {
    "uid": "x",
    "events": True,
    "language": "en",
    "voice": "tone",
    "speed": 1.0,
    "audio_format": "int16",
    "history": HISTORY,
    "tools": [TOOL],
    "tool_choice": "auto",
    "max_tokens": 20,
}
ON_6006 = (
    {"type": "say", "text": "alpha beta"},
    {"type": "interrupt"},
    {"type": "commit"},
    {"type": "clear"},
    {"type": "respond", "instructions": "be brief", "tools": [TOOL], "id": "r1", "max_tokens": 9},
    {"type": "history", "lines": HISTORY},
    {"type": "result", "id": "1", "output": "rain"},
    {
        "type": "update",
        "voice": "soft",
        "speed": 1.2,
        "eagerness": 0.4,
        "silence": 0.5,
        "tools": [TOOL],
    },
    {"type": "heard", "turn": 1, "seconds": 0.4},
)
ON_8888 = (
    {"type": "say", "text": "alpha beta", "voice": "soft", "speed": 1.3, "id": "s"},
    {"uid": "x", "events": True},
)
SESSION = {
    "type": "realtime",
    "instructions": "be brief",
    "output_modalities": ["audio"],
    "tools": [
        {
            "type": "function",
            "name": "weather",
            "description": "",
            "parameters": TOOL["function"]["parameters"],
        }
    ],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
        },
        "output": {"voice": "alloy", "speed": 1.0, "format": {"type": "audio/pcmu"}},
    },
}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "alpha"}]}
ON_REALTIME = (
    {"type": "session.update", "session": SESSION},
    {
        "type": "session.update",
        "session": {"voice": "alloy", "input_audio_format": "g711_ulaw", "modalities": ["text"]},
    },
    {"type": "input_audio_buffer.append", "audio": "AAAAAAAAAAAAAAAA" * 40},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": ITEM},
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call_output", "call_id": "c", "output": "sun"},
    },
    {
        "type": "conversation.item.create",
        "item": {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_audio", "audio": "AAAA" * 200}],
        },
    },
    {
        "type": "conversation.item.truncate",
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 200,
    },
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {
        "type": "response.create",
        "response": {"instructions": "brief", "conversation": "none", "input": [ITEM]},
    },
    {"type": "response.create"},
    {"type": "response.cancel"},
    {"type": "output_audio_buffer.clear"},
)
ON_WYOMING = (
    {"type": "describe"},
    {"type": "transcribe", "data": {"language": "en", "name": "x"}},
    {"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}},
    {"type": "audio-stop", "data": {}},
    {"type": "synthesize", "data": {"text": "alpha", "voice": {"name": "tone"}}},
    {"type": "ping", "data": {"text": "x"}},
    {"type": "synthesize-start", "data": {}},
    {"type": "synthesize-chunk", "data": {"text": "alpha"}},
    {"type": "synthesize-stop"},
)
ON_WS = ({"type": "end_stream"}, {"type": "start"}, {"type": "ping"})


async def messages(target: Target, count: int, seed: int) -> Tally:
    """`count` messages over all sockets, `CALLS_AT_ONCE` connections at a time."""
    tally, numbers, began = Tally("random messages"), itertools.count(), time.monotonic()
    base = target.http_url.replace("http", "ws", 1)
    places = (  # address, template of the first frame, templates, share of binary frames
        (target.asr_url, HANDSHAKE, ON_6006, 0.3),
        (f"{base}/transcription", HANDSHAKE, ON_6006, 0.3),
        (f"{target.tts_url}/?uid=nobody&events=1", None, ON_8888, 0.05),
        (f"{base}/audio", None, ON_8888, 0.05),
        (f"{base}/v1/realtime?model=x", None, ON_REALTIME, 0.02),
        (f"{base}/v1/realtime?intent=transcription", None, ON_REALTIME, 0.02),
        (f"{base}/ws", None, ON_WS, 0.6),
        ("wyoming", None, ON_WYOMING, 0.3),
    )

    async def caller() -> None:
        while tally.tried < count:
            number = next(numbers)
            chance = random.Random(f"{seed}/{number}")
            address, first, templates, binary = chance.choice(places)
            what = f"{seed}/{number} {address}"
            most = min(chance.randrange(1, MOST_A_CALL), max(1, count - tally.tried))
            if address == "wyoming":
                await _wyoming(target, tally, chance, templates, binary, most, what)
            else:
                await _websocket(address, tally, chance, (first, templates, binary), most, what)

    await asyncio.gather(*(caller() for _ in range(CALLS_AT_ONCE)))
    tally.seconds = time.monotonic() - began
    return tally


async def _websocket(
    address: str,
    tally: Tally,
    chance: random.Random,
    plan: tuple[Any, Any, float],
    most: int,
    what: str,
) -> None:
    """One connection: up to `most` messages, then a ping must come back unless the server
    closed.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

    first, templates, binary = plan
    try:
        connection = await connect(
            address, max_size=None, open_timeout=ANSWER_S, close_timeout=2, ping_interval=None
        )
    except InvalidStatus as refused:
        tally.http(refused.response.status_code, what)
        return
    except (OSError, WebSocketException, asyncio.TimeoutError) as error:
        tally.wrong(
            f"{what}: not opened: {error!r}",
            hung=isinstance(error, (TimeoutError, asyncio.TimeoutError)),
        )
        return
    reading = asyncio.create_task(_read_all(connection))
    try:
        if first is not None:
            tally.tried += 1
            uid = f"x{chance.randrange(10**9)}"
            frame = (
                json.dumps({**first, "uid": uid})
                if chance.random() < 0.7
                else text_of(first, chance)
            )
            await connection.send(sendable(frame))
        for _ in range(most):
            tally.tried += 1
            one = (
                sound(chance)
                if chance.random() < binary
                else sendable(text_of(chance.choice(templates), chance))
            )
            await connection.send(one)
        if chance.random() < 0.2:  # hangs up in the middle of the server's work
            cut(connection)
            return
        await asyncio.wait_for(await connection.ping(), ANSWER_S)
        tally.answered += 1
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else 1006
        if code in CLOSINGS and code != 1011:
            tally.refused += 1
        else:
            tally.wrong(f"{what}: closed with {code} {closed.rcvd.reason if closed.rcvd else ''}")
    except (TimeoutError, asyncio.TimeoutError):
        tally.wrong(f"{what}: no pong within {ANSWER_S:.0f} s", hung=True)
    except (OSError, AttributeError):  # the last: asyncio, of a connection that the server has cut
        tally.refused += 1
    finally:
        reading.cancel()
        try:
            await asyncio.wait_for(connection.close(), 5)
        except (OSError, WebSocketException, asyncio.TimeoutError):
            cut(connection)


async def _read_all(connection: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        async for _ in connection:
            pass
    except ConnectionClosed:
        pass


async def _wyoming(
    target: Target,
    tally: Tally,
    chance: random.Random,
    templates: Any,
    binary: float,
    most: int,
    what: str,
) -> None:
    """One TCP connection; at its end `describe` must be answered, unless the server closed."""
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", target.wyoming_port), ANSWER_S
        )
    except (OSError, asyncio.TimeoutError) as error:
        tally.wrong(f"{what}: not opened: {error!r}", hung=True)
        return
    try:
        for _ in range(most):
            tally.tried += 1
            writer.write(_wyoming_event(chance, templates, binary))
            await asyncio.wait_for(writer.drain(), ANSWER_S)
        writer.write(b'{"type": "describe"}\n')
        writer.write_eof()
        while await asyncio.wait_for(reader.read(65536), ANSWER_S):
            pass
        tally.answered += 1
    except (TimeoutError, asyncio.TimeoutError):
        tally.wrong(f"{what}: not read to its end within {ANSWER_S:.0f} s", hung=True)
    except OSError:
        tally.refused += 1
    finally:
        writer.close()


def _wyoming_event(chance: random.Random, templates: Any, binary: float) -> bytes:
    if chance.random() < binary:
        pcm = sound(chance)
        head: dict[str, Any] = {
            "type": "audio-chunk",
            "data": {"rate": 16000, "width": 2, "channels": 1},
        }
        return (
            json.dumps({**disturbed(head, chance), "payload_length": len(pcm)}).encode()
            + b"\n"
            + pcm
        )
    if chance.random() < 0.03:
        return chance.randbytes(60)
    event = disturbed(chance.choice(templates), chance)
    return json.dumps(event).encode("utf-8", "replace") + b"\n"
