"""Texts to audio, over 8888."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Iterable
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from whisperfusion.client.errors import ServerDown, SynthesisFailed
from whisperfusion.client.sockets import open_socket, release, within
from whisperfusion.wire import WireError, tts_events

SPARE = 4  # connections that are kept
SILENT_S = 60.0  # without audio of a text


class SpeechClient:
    """Connections are kept for the next text: opening one takes 5 ms, a quarter of what the voice
    needs for its first words.
    """

    def __init__(self, tts_url: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._url, self._headers = tts_url, list(headers)
        self.spare: list[ClientConnection] = []  # at rest

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        """`text` as s16 mono at 24 kHz, as it is made. Raises CallError."""
        connection = self.spare.pop() if self.spare else await self._open()
        if connection.state is not State.OPEN:
            connection = await self._open()
        clean = False
        asked = {"type": "say", "text": text, **({"voice": voice} if voice else {}), "speed": speed}
        try:
            await connection.send(json.dumps(asked))
            while True:
                frame = await within(SILENT_S, connection.recv())
                if isinstance(frame, bytes):
                    yield frame
                    continue
                match tts_events.parse(frame):
                    case tts_events.TextSpoken():
                        clean = True
                        return
                    case tts_events.Rejected(_, code, message):
                        raise SynthesisFailed(code, message)
        except (ConnectionClosed, TimeoutError) as error:
            raise ServerDown(
                "the server closed the connection before the text was spoken"
            ) from error
        except WireError as error:
            raise SynthesisFailed("bad_frame", str(error)) from None
        finally:
            if clean and len(self.spare) < SPARE:
                self.spare.append(connection)
            else:
                await release(connection)

    async def _open(self) -> ClientConnection:
        query = urlencode({"uid": str(uuid.uuid4()), "format": "int16", "events": 1})
        return await open_socket(f"{self._url}?{query}", self._headers)
