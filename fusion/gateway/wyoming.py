"""The Wyoming protocol (Home Assistant): speech to text and text to speech over TCP, off unless WYOMING_PORT is set.

A message is one JSON line, then as many bytes of JSON and of sound as the line says. The protocol knows no keys, so whoever reaches
the port may use it. Written here and not taken from the package `wyoming`, because that reads whatever length a stranger claims.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fusion.gateway.health import Look
from fusion.gateway.inner import Inner
from fusion.gateway.wyoming_hearing import Hearing
from fusion.settings import Settings
from fusion.wire.languages import NAMES, code_of
from fusion.wire.openai_rest import LONGEST_INPUT, ApiError
from fusion.wire.pcm import SPOKEN_RATE

LINE_BYTES, DATA_BYTES, PAYLOAD_BYTES = 64 * 1024, 1024 * 1024, 4 * 1024 * 1024
IDLE_S = 300.0  # a connection that says nothing is closed
MOST_CONNECTIONS = 64
VERSION = "1.8.0"  # of the protocol
ABOUT = {"attribution": {"name": "WhisperFusion", "url": ""}, "installed": True, "version": "1"}
SPOKEN = {"rate": SPOKEN_RATE, "width": 2, "channels": 1}

log = logging.getLogger("gateway")


@dataclass
class Event:
    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


class Broken(Exception):
    """The peer sent something that is no message; the text says what."""


async def read(reader: asyncio.StreamReader) -> Event | None:
    """The next message; None at the end. Raises Broken."""
    try:
        line = await asyncio.wait_for(reader.readline(), IDLE_S)
        if not line:
            return None
        head = json.loads(line)
        if not isinstance(head, dict) or not isinstance(head.get("type"), str):
            raise Broken("a message begins with one line of JSON with a type")
        data = head.get("data") or {}
        length = _length(head, "data_length", DATA_BYTES)
        if length:
            data = {**data, **json.loads(await asyncio.wait_for(reader.readexactly(length), IDLE_S))}
        if not isinstance(data, dict):
            raise Broken("the data of a message must be an object")
        payload = await asyncio.wait_for(reader.readexactly(_length(head, "payload_length", PAYLOAD_BYTES)), IDLE_S)
        return Event(head["type"], data, payload)
    except asyncio.IncompleteReadError:
        return None
    except (ValueError, TypeError, RecursionError):  # a line that is too long is a ValueError, too
        raise Broken(f"a message is one line of JSON of at most {LINE_BYTES // 1024} KiB, with the lengths of what follows") from None
    except (TimeoutError, asyncio.TimeoutError):
        raise Broken(f"nothing came for {IDLE_S:.0f} s") from None


def _length(head: dict[str, Any], name: str, most: int) -> int:
    value = head.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Broken(f"{name} is {str(value)[:40]}; allowed: 0 to {most}")
    return value


async def write(writer: asyncio.StreamWriter, type: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
    packed = json.dumps(data).encode() if data else b""
    head = {
        "type": type,
        "version": VERSION,
        **({"data_length": len(packed)} if packed else {}),
        **({"payload_length": len(payload)} if payload else {}),
    }
    writer.write(json.dumps(head).encode() + b"\n" + packed + payload)
    await writer.drain()


class Server:
    """Use `start`; it listens until `close`."""

    def __init__(self, settings: Settings, inner: Inner, look: Look) -> None:
        self._settings, self._inner, self._look = settings, inner, look
        self._open: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._settings.host, self._settings.wyoming_port, limit=LINE_BYTES)
        log.info("Wyoming on port %d", self._settings.wyoming_port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) > MOST_CONNECTIONS:
                await write(writer, "error", {"text": "too many connections; try again later", "code": "busy"})
                return
            await Connection(reader, writer, self._inner, self._look).serve()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()


class Connection:
    """One client: requests come one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner: Inner, look: Look) -> None:
        self._reader, self._writer, self._inner, self._look = reader, writer, inner, look
        self._language: str | None = None
        self._prompt = ""
        self._hearing: Hearing | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._texts: asyncio.Queue[str | None] = asyncio.Queue(64)
        self._streamed = False  # the text of a streaming request: what `synthesize` repeats is not said again

    async def serve(self) -> None:
        try:
            while (event := await read(self._reader)) is not None:
                try:
                    await self._take(event)
                except ApiError as problem:
                    await write(self._writer, "error", {"text": problem.message, "code": problem.code or "error"})
        except Broken as problem:
            await write(self._writer, "error", {"text": str(problem), "code": "bad_message"})
        finally:
            if self._hearing is not None:
                self._hearing.cancel()
            if self._speaking is not None:
                self._speaking.cancel()

    async def _take(self, event: Event) -> None:
        kind, data = event.type, event.data
        if kind == "describe":
            await write(self._writer, "info", await self._info())
        elif kind == "ping":
            await write(self._writer, "pong", {"text": data.get("text")} if data.get("text") else None)
        elif kind == "transcribe":
            self._language, self._prompt = _language(data.get("language")), _prompt(data)
        elif kind == "audio-start":
            if self._hearing is not None:
                self._hearing.cancel()
            self._hearing = self._hear(data)
        elif kind == "audio-chunk":
            if self._hearing is None:
                self._hearing = self._hear(data)
            await self._hearing.feed(event.payload)
        elif kind == "audio-stop" and self._hearing is not None:
            hearing, self._hearing = self._hearing, None
            await self._tell(hearing)
        elif kind == "synthesize-start":
            self._streamed = False
            self._begin(data)
        elif kind == "synthesize-chunk":
            self._streamed = True
            await self._add(_text(data))
        elif kind == "synthesize":
            await self._synthesize(data)
        elif kind == "synthesize-stop" and self._speaking is not None:
            await self._add(None)

    # --- speech to text -----------------------------------------------------------------------------------

    def _hear(self, data: dict[str, Any]) -> Hearing:
        async def tell(type: str, told: dict[str, Any]) -> None:
            await write(self._writer, type, told)

        return Hearing(self._inner, data, self._language, self._prompt, tell)

    async def _tell(self, hearing: Hearing) -> None:
        text, language = await hearing.finish()
        await write(self._writer, "transcript", {"text": text, **({"language": language} if language else {})})
        await write(self._writer, "transcript-stop")

    # --- text to speech -----------------------------------------------------------------------------------

    def _begin(self, data: dict[str, Any]) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
        self._texts = asyncio.Queue(64)
        self._speaking = asyncio.create_task(self._stream(_voice(data)))

    async def _synthesize(self, data: dict[str, Any]) -> None:
        if self._speaking is not None and not self._speaking.done():
            if not self._streamed:  # a client that announces a stream and sends one text
                await self._add(_text(data))
            return
        await self._said(_text(data), _voice(data), opened=False)
        await write(self._writer, "audio-stop")

    async def _add(self, text: str | None) -> None:
        """To what is being said; when that has failed, or never began, there is nobody to wait for."""
        if self._speaking is None:
            raise ApiError(400, "send synthesize-start first", code="bad_order")
        put = asyncio.ensure_future(self._texts.put(text))
        await asyncio.wait({put, self._speaking}, return_when=asyncio.FIRST_COMPLETED)
        put.cancel()

    async def _stream(self, voice: str) -> None:
        """Sentences are said as they become complete."""
        opened = False
        try:
            async for sentence in sentences(self._texts):
                opened = await self._said(sentence, voice, opened)
            await write(self._writer, "audio-stop" if opened else "audio-start", None if opened else SPOKEN)
            if not opened:
                await write(self._writer, "audio-stop")
            await write(self._writer, "synthesize-stopped")
        except ApiError as problem:
            await write(self._writer, "error", {"text": problem.message, "code": problem.code or "error"})
        except ConnectionError:
            return

    async def _said(self, text: str, voice: str, opened: bool) -> bool:
        known = voice if voice in await self._voices() else ""
        async for pcm in self._inner.say(text, known):
            if not opened:
                await write(self._writer, "audio-start", SPOKEN)
                opened = True
            await write(self._writer, "audio-chunk", SPOKEN, pcm)
        if not opened:
            await write(self._writer, "audio-start", SPOKEN)
        return True

    # --- what is here -------------------------------------------------------------------------------------

    async def _voices(self) -> tuple[str, ...]:
        stage = (await self._look()).get("tts")
        return tuple(stage.voices) if stage else ()

    async def _info(self) -> dict[str, Any]:
        stages = await self._look()
        asr, tts = stages.get("asr"), stages.get("tts")
        model = {"name": (asr.model if asr else "") or "whisper", "languages": list(NAMES), "description": "speech to text", **ABOUT}
        voices = [{"name": name, "languages": ["en"], "description": name, **ABOUT} for name in (tts.voices if tts else ())]
        hears = {
            "name": "whisperfusion",
            "description": "speech to text",
            "models": [model],
            "supports_transcript_streaming": True,
            **ABOUT,
        }
        speaks = {
            "name": "whisperfusion",
            "description": "text to speech",
            "voices": voices,
            "supports_synthesize_streaming": True,
            **ABOUT,
        }
        return {"asr": [hears], "tts": [speaks], "handle": [], "intent": [], "wake": [], "mic": [], "snd": []}


async def sentences(texts: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    """What comes in pieces, cut where a voice may pause."""
    held = ""
    while (text := await texts.get()) is not None:
        held += text
        while (cut := _end(held)) > 0:
            yield held[:cut].strip()
            held = held[cut:]
    if held.strip():
        yield held.strip()


def _end(text: str) -> int:
    """After the last sentence that is surely complete; 0 = none is."""
    ends = [at + 1 for at, sign in enumerate(text[:-1]) if sign in ".!?…\n" and text[at + 1].isspace() and at >= 20]
    return ends[-1] if ends else len(text) if len(text) > LONGEST_INPUT // 2 else 0


def _text(data: dict[str, Any]) -> str:
    text = data.get("text")
    if not isinstance(text, str) or len(text) > LONGEST_INPUT:
        raise ApiError(400, f"text must be a string of at most {LONGEST_INPUT} characters", code="bad_text")
    return text


def _voice(data: dict[str, Any]) -> str:
    voice = data.get("voice")
    name = voice.get("name") if isinstance(voice, dict) else None
    return name if isinstance(name, str) else ""


def _language(value: Any) -> str | None:
    return code_of(value) if isinstance(value, str) else None


def _prompt(data: dict[str, Any]) -> str:
    terms = data.get("transcript_terms")
    return ", ".join(str(term) for term in terms)[:2000] if isinstance(terms, list) else ""
