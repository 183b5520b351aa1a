"""Requests by hand, for what no library would send."""

from __future__ import annotations

import asyncio

from client import PATIENCE_S


async def opened(port: int, sent: bytes = b"", host: str = "127.0.0.1", source: str | None = None):
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(host, port, local_addr=local)
    writer.write(sent)
    return reader, writer


def with_host(headers: tuple[str, ...]) -> tuple[str, ...]:
    named = any(header.lower().startswith("host:") for header in headers)
    return headers if named else ("Host: 127.0.0.1", *headers)


async def asked(
    port: int, path: str, *headers: str, host: str = "127.0.0.1", source: str | None = None
) -> tuple[int, str]:
    """Status and body of one request on a connection of its own.

    `headers` with their names; Host is 127.0.0.1 unless given.
    """
    head = "\r\n".join((f"GET {path} HTTP/1.1", *with_host(headers), "Connection: close", "", ""))
    reader, writer = await opened(port, head.encode(), host, source)
    try:
        answer = (await asyncio.wait_for(reader.read(), PATIENCE_S)).decode("utf-8", "replace")
    finally:
        writer.close()
    return int(answer.split(" ", 2)[1]), answer.partition("\r\n\r\n")[2]


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
)


async def upgraded(port: int, path: str, *headers: str) -> int:
    """The status of a WebSocket handshake: 101 when it is let in."""
    head = "\r\n".join((f"GET {path} HTTP/1.1", *with_host(headers), *UPGRADE, "", ""))
    reader, writer = await opened(port, head.encode())
    try:
        return int((await asyncio.wait_for(reader.readline(), PATIENCE_S)).split()[1])
    finally:
        writer.close()
