"""A WebSocket of the load generator: websockets' protocol without its tasks and queues.

A thousand callers send twenty frames a second each. With a task and a queue for each socket the
generator would cost as much as the server; so received bytes are parsed in the callback of their
arrival, and frames that were serialized beforehand go to the transport as they are.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol, cast

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

LARGEST = 16 * 2**20  # bytes of a frame
CLOSED = "closed"


class Owner(Protocol):
    def opened(self, line: Line) -> None: ...
    def text(self, line: Line, message: dict[str, Any]) -> None: ...
    def audio(self, line: Line, frame: bytes) -> None: ...
    def ended(self, line: Line, why: str) -> None: ...


class Line(asyncio.Protocol):
    """One connection. Its owner learns of its end once, unless it closed it itself."""

    def __init__(self, url: str, owner: Owner) -> None:
        self._protocol = ClientProtocol(parse_uri(url), max_size=LARGEST)
        self._owner: Owner | None = owner
        self._transport: asyncio.Transport | None = None
        self.sent = self.received = 0  # bytes

    @classmethod
    async def open(cls, url: str, owner: Owner) -> Line:
        """Raises OSError."""
        to = parse_uri(url)
        _, line = await asyncio.get_running_loop().create_connection(
            lambda: cls(url, owner), to.host, to.port
        )
        return line

    @property
    def ready(self) -> bool:
        return self._protocol.state is State.OPEN and self._transport is not None

    @property
    def unsent(self) -> int:
        """Bytes that the server has not accepted."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, frame: bytes) -> None:
        """A serialized frame."""
        assert self._transport is not None
        self.sent += len(frame)
        self._transport.write(frame)

    def say(self, **message: Any) -> None:
        if self.ready:
            self._protocol.send_text(json.dumps(message).encode())
            self._flush()

    def close(self) -> None:
        """Politely, without waiting for the answer."""
        self._owner = None
        if self.ready:
            self._protocol.send_close(1000)
            self._flush()
        if self._transport is not None:
            self._transport.close()

    # --- asyncio's callbacks ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._owner is None:  # closed meanwhile
            self._transport.close()
            return
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if self._owner is None:
                return
            self._event(event, self._owner)
        self._flush()

    def eof_received(self) -> None:
        self._protocol.receive_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.ended(self, str(error or self._protocol.handshake_exc or CLOSED))

    def _event(self, event: object, owner: Owner) -> None:
        match event:
            case Response():
                if self._protocol.handshake_exc is None:
                    owner.opened(self)
            case Frame(opcode=Opcode.TEXT, data=data):
                owner.text(self, json.loads(bytes(data)))
            case Frame(opcode=Opcode.BINARY, data=data):
                owner.audio(self, bytes(data))
            case Frame(opcode=Opcode.CLOSE, data=data):
                self._owner = None
                close = Close.parse(bytes(data))
                owner.ended(self, f"{close.code} {close.reason}".strip())

    def _flush(self) -> None:
        if self._transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                self.sent += len(data)
                self._transport.write(data)
            else:
                self._transport.close()
