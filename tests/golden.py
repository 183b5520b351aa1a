"""Sockets whose frames are kept as text, to be compared byte by byte with files in data/golden.

Of what comes, the distinct frames of each kind are kept in the order in which they first came:
frames of different kinds may overtake each other. Values that are measured give way to a
placeholder that keeps their type; all else stays as it came: order of keys, spaces, escapes,
numbers. Nothing here knows the package.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PATIENCE_S = 40.0  # bound of a test that fails
RATE = 16_000
# Of the scripted engines: a tone of 40 ms for each.
ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789'-.,?!"

ANY_TIME = {
    "thinking",
    "waiting",
    "notice",
    "notice of load",
    "stage",
    "interim caption",
}  # they depend on how fast the machine is
OF_LOAD = ("many people are talking", "the rush is over")  # notices of how fast the machine is
MEASURED = {  # kind of frame -> fields whose value is measured, or made for this call
    "SERVER_READY": ("listen_secret", "session"),
    "caption": ("end",),
    "interim caption": ("end", "text", "stable"),
    "spoken": ("seconds",),
    "latency": (
        "stopped",
        "words",
        "decided",
        "first_token",
        "first_clause",
        "first_sound",
        "reused",
    ),
    "waiting": ("seconds",),
    "interrupted": ("heard",),
    "segments": ("latency",),
    "interim segments": ("latency",),
    "interim segment of the page": ("latency", "text"),
    "llm_output": ("latency",),
}
SENT = ("listen_secret",)  # of frames of ours: the server made it
INTERIM = re.compile(
    r'\{"start": [^{}]*"completed": false(?:, "words": \[[^\]]*\])?\}'
)  # a segment of WhisperLive
INTERIM_FIELDS = ("start", "end", "text", "word", "probability")
SEGMENT_END = re.compile(r'("end": )"\d+\.\d{3}"(, "text")')  # how much sound the recognizer had


def tones(text: str, rate: int = RATE) -> np.ndarray:
    """What the scripted recognizer reads as `text`, float32."""
    at = 2 * np.pi * np.arange(int(0.04 * rate)) / rate
    return np.concatenate(
        [0.3 * np.sin(at * (400.0 + 50.0 * ALPHABET.index(c))) for c in text]
    ).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def kind_of(frame: dict[str, Any]) -> str:
    """The type of an event; of other dialects the word that tells what it is."""
    if "type" in frame:
        return str(frame["type"])
    for field in ("status", "message"):
        if isinstance(frame.get(field), str):
            return str(frame[field])
    return next(name for name in ("segments", "llm_output", "language") if name in frame)


def without_measured(text: str, fields: Iterable[str]) -> str:
    for field in fields:
        text = re.sub(
            rf'(?<!\\)("{field}": )("(?!<)(?:[^"\\]|\\.)*"|-?\d+\.\d+|-?\d+|true|false)',
            _placeholder,
            text,
        )
    return text


def _placeholder(found: re.Match[str]) -> str:
    value = found[2]
    if value[0] == '"':
        kind = '"<seconds>"' if re.fullmatch(r'"\d+\.\d{3}"', value) else '"<string>"'
    elif value in ("true", "false"):
        kind = "<bool>"
    else:
        kind = "<float>" if "." in value else "<int>"
    return found[1] + kind


def normalised(text: str) -> tuple[str, str]:
    """(kind, the frame without what is measured)."""
    frame = json.loads(text)
    kind = kind_of(frame)
    if kind == "notice" and frame["text"].startswith(OF_LOAD):
        kind = "notice of load"
    elif frame.get("eos") is False:
        kind = "interim segment of the page"
    elif frame.get("final") is False or INTERIM.search(text):
        kind = f"interim {kind}"
    text = INTERIM.sub(_interim, text)
    if kind.endswith("segments"):
        text = SEGMENT_END.sub(r'\1"<seconds>"\2', text)
    return kind, without_measured(text, MEASURED.get(kind, ()))


def _interim(found: re.Match[str]) -> str:
    """However many words there are by now."""
    return re.sub(r"(\{[^{}]*\})(, \1)+", r"\1", without_measured(found[0], INTERIM_FIELDS))


class Transcript:
    """All that one scenario sent and got.

    `only`: kinds to keep; empty = all, of `ANY_TIME` those in `also`.
    """

    def __init__(self, only: Iterable[str] = (), also: Iterable[str] = ()) -> None:
        self._only, self._never = set(only), ANY_TIME - set(also)
        self._sent: list[str] = []
        self._got: dict[tuple[str, str], list[str]] = {}

    def sent(self, port: str, text: str) -> None:
        self._sent.append(f"{port} > {without_measured(text, SENT)}")

    def got(self, port: str, kind: str, text: str) -> None:
        if kind in self._only if self._only else kind not in self._never:
            lines = self._got.setdefault((port, kind), [])
            if text not in lines:
                lines.append(text)

    def lines(self) -> list[str]:
        got = [
            f"{port} < {kind} {text}".rstrip()
            for (port, kind), texts in sorted(self._got.items())
            for text in texts
        ]
        return sorted(self._sent, key=lambda line: line[:4]) + got


class Tape:
    """One connection. What it gets is kept by a task of its own."""

    def __init__(self, transcript: Transcript, port: str, url: str, **options: Any) -> None:
        self._transcript, self._port, self._url, self._options = transcript, port, url, options
        self.frames: list[dict[str, Any]] = []
        self.sound_bytes = 0
        self.largest = 0  # bytes of a binary frame
        self._news = asyncio.Condition()
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> Tape:
        self._socket = await connect(
            self._url, max_size=None, open_timeout=PATIENCE_S, **self._options
        )
        self._task = asyncio.create_task(self._keep(self._socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        assert self._socket
        await self._socket.close()

    async def _keep(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._note(await socket.recv())
        except ConnectionClosed:
            self._transcript.got(self._port, "close", f"{socket.close_code} {socket.close_reason}")
            async with self._news:
                self.frames.append({"type": "close"})
                self._news.notify_all()

    async def _note(self, frame: str | bytes) -> None:
        async with self._news:
            if isinstance(frame, bytes):
                self.sound_bytes, self.largest = (
                    self.sound_bytes + len(frame),
                    max(self.largest, len(frame)),
                )
            else:
                self.frames.append(json.loads(frame))
                self._transcript.got(self._port, *normalised(frame))
            self._news.notify_all()

    async def send(self, frame: str | bytes | dict[str, Any]) -> None:
        assert self._socket
        if isinstance(frame, dict):
            frame = json.dumps(frame)
        if isinstance(frame, str):
            self._transcript.sent(
                self._port, frame if len(frame) < 1000 else f"{frame[:60]}… {len(frame)} characters"
            )
        await self._socket.send(frame)

    async def sound(self, pcm: np.ndarray) -> None:
        for at in range(0, len(pcm), RATE // 10):
            await self.send(pcm[at : at + RATE // 10].tobytes())

    async def live(self, pcm: np.ndarray) -> None:
        """In real time, as a microphone does."""
        for at in range(0, len(pcm), RATE // 10):
            await self.send(pcm[at : at + RATE // 10].tobytes())
            await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(condition), PATIENCE_S)
            except (TimeoutError, asyncio.TimeoutError):
                raise AssertionError(
                    f"waited in vain at {self._url}; the last frames: {self.frames[-8:]}"
                ) from None

    async def got(self, kind: str, count: int = 1, **fields: Any) -> None:
        """Wait for `count` frames of a kind with these fields."""
        await self.until(lambda: len(self.of(kind, **fields)) >= count)

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            frame
            for frame in self.frames
            if kind_of(frame) == kind and fields.items() <= frame.items()
        ]

    async def speak(self, text: str) -> None:
        """In real time, so that interim transcripts come, with a pause behind."""
        await self.live(np.concatenate((silence(0.3), tones(text), silence(1.5))))


async def refused(transcript: Transcript, port: str, url: str, **options: Any) -> None:
    """An upgrade that is answered with HTTP."""
    try:
        async with connect(url, **options):
            raise AssertionError(f"{url} was opened")
    except InvalidStatus as answer:
        body = (answer.response.body or b"").decode()
        transcript.got(port, f"HTTP {answer.response.status_code}", body.strip())
