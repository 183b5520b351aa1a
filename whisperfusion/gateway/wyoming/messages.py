"""The messages of the Wyoming protocol: one JSON line, then as many bytes of JSON and of sound as
the line says.

Written here and not taken from the package `wyoming`, because that reads any length that a client
claims.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from anyio import fail_after, move_on_after

from whisperfusion.errors import WireError

LINE_BYTES, DATA_BYTES, PAYLOAD_BYTES = 64 * 1024, 256 * 1024, 4 * 1024 * 1024
LINGER_S, LINGER_READS = 1.0, 32  # of 64 KiB
WRITE_S = 30.0  # a peer that reads nothing for so long is cut off
VERSION = "1.8.0"  # of the protocol


@dataclass
class Event:
    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


class Broken(WireError):
    """The peer sent something that is not a message; the text says what."""


async def read(reader: asyncio.StreamReader, idle_s: float) -> Event | None:
    """The next message; None at the end. Raises Broken, also when nothing comes for `idle_s`."""
    try:
        with fail_after(idle_s):
            line = await reader.readline()
        if not line:
            return None
        head = json.loads(line)
        if not isinstance(head, dict) or not isinstance(head.get("type"), str):
            raise Broken("a message begins with one line of JSON with a type")
        data = head.get("data") or {}
        length = _length(head, "data_length", DATA_BYTES)
        if length:
            with fail_after(idle_s):
                data = {**data, **json.loads(await reader.readexactly(length))}
        if not isinstance(data, dict):
            raise Broken("the data of a message must be an object")
        with fail_after(idle_s):
            payload = await reader.readexactly(_length(head, "payload_length", PAYLOAD_BYTES))
        return Event(head["type"], data, payload)
    except asyncio.IncompleteReadError:
        return None
    except (ValueError, TypeError, RecursionError):  # a line that is too long is a ValueError, too
        raise Broken(
            f"a message is one line of JSON of at most {LINE_BYTES // 1024} KiB, with the lengths "
            "of what follows"
        ) from None
    except TimeoutError:
        raise Broken(f"nothing came for {idle_s:.0f} s") from None


def _length(head: dict[str, Any], name: str, most: int) -> int:
    value = head.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Broken(f"{name} is {str(value)[:40]}; allowed: 0 to {most}")
    return value


async def write(
    writer: asyncio.StreamWriter,
    type: str,
    data: dict[str, Any] | None = None,
    payload: bytes = b"",
) -> None:
    """Raises ConnectionError."""
    packed = json.dumps(data).encode() if data else b""
    head = {
        "type": type,
        "version": VERSION,
        **({"data_length": len(packed)} if packed else {}),
        **({"payload_length": len(payload)} if payload else {}),
    }
    writer.write(json.dumps(head).encode() + b"\n" + packed + payload)
    try:
        with fail_after(WRITE_S):
            await writer.drain()
    except TimeoutError:
        raise ConnectionError(f"nothing was read for {WRITE_S:.0f} s") from None


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Before a connection is closed in the middle of what the peer sends: unread bytes would make
    it lose the reason as well."""
    if writer.can_write_eof():
        writer.write_eof()
    with move_on_after(LINGER_S):
        for _ in range(LINGER_READS):
            if not await reader.read(LINE_BYTES):
                return
