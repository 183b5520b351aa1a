"""The other ways to the server: one visit each, with an answer that is checked.

A visit raises `Told` where the server said that it cannot, `Wrong` where it said something that it
should not, and `asyncio.TimeoutError` where it said nothing. Visits are made by `Visitor`, over and
over.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.faults.account import Account
from bench.faults.material import Line, Material, echoes, s16, wav
from bench.faults.outcome import APOLOGIES
from bench.faults.people import AGAIN_S, STUCK_S
from bench.faults.topology import Front
from whisperfusion.audio import MICROPHONE_RATE, Samples

CONNECT_S = 20.0
UNHEARD_S = 30.0
CHUNK = 8192
MOST = 64 * 2**20


class Told(Exception):
    """The server said why it does not answer, or closed the connection."""


class Wrong(Exception):
    """The answer is not that of the question."""


@dataclass
class Visitor:
    """One client of one interface. The line that is said is the same in all its visits' answers."""

    code: str
    interface: str
    front: Front
    account: Account
    material: Material
    chance: random.Random
    number: int = 0
    uid: str = ""

    async def live(self, over: asyncio.Event) -> None:
        visit = VISITS[self.interface]
        while not over.is_set():
            self.number += 1
            try:
                await asyncio.wait_for(visit(self), STUCK_S)
                self.account.add(self.interface, "answered")
            except asyncio.TimeoutError:
                self.account.stuck.append(f"{self.interface}: visit {self.number} had no answer")
            except Wrong as error:
                self.account.wrong.append(f"{self.interface}: {error}")
            except httpx.TimeoutException:
                self.account.stuck.append(f"{self.interface}: visit {self.number} had no answer")
            except (Told, OSError, EOFError, httpx.HTTPError, WebSocketException) as error:
                self.account.add(
                    self.interface, "told", "", f"{type(error).__name__} {error}"[:200]
                )
            await asyncio.sleep(AGAIN_S * (1 + 3 * self.chance.random()))

    def line(self) -> Line:
        return self.material.line(self.code, self.number, self.chance)

    def read(self, text: str) -> str:
        self.account.read(self.interface, self.code, text)
        return text

    def answers(self, line: Line, transcript: str, reply: str, sound: Samples) -> None:
        """Checks all three. Raises Wrong."""
        for text in (transcript, reply, heard := self.material.heard(sound)):
            self.read(text)
        if not self.material.fits(line, transcript):
            raise Wrong(f"{line.text!r} was transcribed as {transcript!r}")
        if self.material.scripted and line.text not in reply:
            raise Wrong(f"{line.text!r} was answered {reply!r}")
        if self.material.scripted and self.code not in heard:
            raise Wrong(f"{line.text!r} sounded like {heard!r}")

    def client(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(STUCK_S, connect=CONNECT_S)
        return httpx.AsyncClient(base_url=self.front.http_url, timeout=timeout)


def checked(answer: httpx.Response) -> httpx.Response:
    """Raises Told for an error; a 5xx that is none of those that a server out of order sends is
    told, too: what matters is that the client is not left alone.
    """
    if answer.status_code >= 400:
        raise Told(f"HTTP {answer.status_code}: {answer.text[:120]}")
    return answer


def samples(data: bytes) -> Samples:
    """Of s16, without the header of a WAV file."""
    data = data[44:] if data[:4] == b"RIFF" else data
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)


# --- HTTP ----------------------------------------------------------------------------------------


async def transcription(one: Visitor) -> None:
    line = one.line()
    async with one.client() as client:
        answer = checked(
            await client.post(
                "/v1/audio/transcriptions",
                files={"file": ("line.wav", wav(line.pcm))},
                data={"language": "en", "model": "whisper-1"},
            )
        )
    _transcribed(one, line, answer.json()["text"])


async def bazarr(one: Visitor) -> None:
    line = one.line()
    async with one.client() as client:
        answer = checked(
            await client.post(
                "/asr?task=transcribe&language=en&output=txt&encode=false",
                files={"audio_file": ("line.raw", s16(line.pcm))},
            )
        )
    _transcribed(one, line, answer.text)


def _transcribed(one: Visitor, line: Line, text: str) -> None:
    one.read(text)
    if not one.material.fits(line, text):
        raise Wrong(f"{line.text!r} was transcribed as {text!r}")


async def speech(one: Visitor) -> None:
    text = f"{one.code} is the code."
    body = {"input": text, "voice": "alloy", "model": "tts-1", "response_format": "wav"}
    async with one.client() as client:
        answer = checked(await client.post("/v1/audio/speech", json=body))
    sound = samples(answer.content)
    heard = one.read(one.material.heard(sound))
    if not len(sound) or (one.material.scripted and one.code not in heard):
        raise Wrong(f"{text!r} sounded like {heard!r}, {len(sound)} samples")


async def interact(one: Visitor) -> None:
    line = one.line()
    async with one.client() as client:
        answer = checked(
            await client.post(
                "/interact", content=wav(line.pcm), headers={"Content-Type": "audio/wav"}
            )
        )
    transcript, reply = (unquote(answer.headers[name]) for name in ("X-Transcript", "X-Reply"))
    one.answers(line, transcript, reply, samples(answer.content))


# --- WebSockets ----------------------------------------------------------------------------------


async def assistant(one: Visitor) -> None:
    """/ws, two turns."""
    async with _opened(f"{one.front.ws_url}/ws") as socket:
        for _ in range(2):
            one.number += 1
            line = one.line()
            data = wav(line.pcm)
            for start in range(0, len(data), CHUNK):
                await socket.send(data[start : start + CHUNK])
            await socket.send('{"type": "end_stream"}')
            told, sound = await _answer(socket)
            if told["type"] == "error":
                raise Told(str(told))
            one.answers(line, told["transcript"], told["reply"], samples(sound))


async def _answer(socket: ClientConnection) -> tuple[dict[str, Any], bytes]:
    sound = b""
    while True:
        frame = await socket.recv()
        if isinstance(frame, bytes):
            sound += frame
        elif (told := json.loads(frame))["type"] in ("audio_complete", "error"):
            return told, sound


async def realtime(one: Visitor) -> None:
    """A session with two spoken turns, and a typed one."""
    async with _opened(f"{one.front.ws_url}/v1/realtime?model=gpt-realtime") as socket:
        if instructions := one.material.instructions(one.code):
            session = {"type": "realtime", "instructions": instructions}
            await _send(socket, "session.update", session=session)
        for spoken in (True, False):
            one.number += 1
            line = one.line()
            how = _speak if spoken else _type
            await _response(one, socket, line, partial(how, socket, line))


async def _type(socket: ClientConnection, line: Line) -> None:
    content = [{"type": "input_text", "text": line.text}]
    item = {"type": "message", "role": "user", "content": content}
    await _send(socket, "conversation.item.create", item=item)
    await _send(socket, "response.create")


async def _speak(socket: ClientConnection, line: Line) -> None:
    """At 24 kHz, in real time."""
    pcm = line.pcm
    at = np.arange(len(pcm) * 3 // 2) * 2 / 3
    data = s16(np.interp(at, np.arange(len(pcm)), pcm).astype(np.float32))
    for start in range(0, len(data), 4800):
        audio = base64.b64encode(data[start : start + 4800]).decode()
        await _send(socket, "input_audio_buffer.append", audio=audio)
        await asyncio.sleep(0.1)


async def _response(
    one: Visitor, socket: ClientConnection, line: Line, say: partial[Coroutine[Any, Any, None]]
) -> None:
    """Says the line, and again when nothing comes of it: what is said while the server starts a
    process again is lost (docs/apis.md), and a person asks whether the other side is there.
    """
    sound, reply, said_at = b"", "", time.monotonic()
    await say()
    while True:
        try:
            event = json.loads(await asyncio.wait_for(socket.recv(), UNHEARD_S))
        except asyncio.TimeoutError:
            one.account.add(one.interface, "unheard", "", line.text, said_at)
            said_at = time.monotonic()
            await say()
            continue
        match event["type"]:
            case "response.output_audio.delta":
                sound += base64.b64decode(event["delta"])
            case "response.output_audio_transcript.done":
                reply = one.read(event["transcript"])
            case "conversation.item.input_audio_transcription.completed":
                one.read(event["transcript"])
            case "error":
                raise Told(str(event["error"]))
            case "response.done":
                status = event["response"]["status"]
                if status != "completed":
                    raise Told(f"the response is {status}: {event['response']['status_details']}")
                break
    heard = one.read(one.material.heard(samples(sound)))
    if reply.strip() in APOLOGIES:
        raise Told(reply)
    whole = line.text in reply
    if one.material.scripted and not echoes(line.text, reply, say.func is _speak):
        raise Wrong(f"{line.text!r} was answered {reply!r}")
    if one.material.scripted and whole and one.code not in heard:
        raise Wrong(f"{reply!r} sounded like {heard!r}")


async def _send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


def _opened(url: str) -> connect:
    return connect(url, max_size=MOST, open_timeout=CONNECT_S, ping_interval=None)


# --- Wyoming -------------------------------------------------------------------------------------


async def wyoming(one: Visitor) -> None:
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncClient

    line, form = one.line(), {"rate": MICROPHONE_RATE, "width": 2, "channels": 1}
    data = s16(line.pcm)
    async with AsyncClient.from_uri(f"tcp://127.0.0.1:{one.front.wyoming_port}") as peer:
        await peer.write_event(Transcribe(language="en").event())
        await peer.write_event(AudioStart(**form).event())
        for start in range(0, len(data), 2048):
            chunk = AudioChunk(**form, audio=data[start : start + 2048])
            await peer.write_event(chunk.event())
        await peer.write_event(AudioStop().event())
        while True:
            event = await peer.read_event()
            if event is None or event.type == "error":
                raise Told(str(event and event.data))
            if Transcript.is_type(event.type):
                _transcribed(one, line, Transcript.from_event(event).text)
                return


VISITS: dict[str, Callable[[Visitor], Awaitable[None]]] = {
    "transcriptions": transcription,
    "bazarr": bazarr,
    "speech": speech,
    "interact": interact,
    "ws": assistant,
    "realtime": realtime,
    "wyoming": wyoming,
}
