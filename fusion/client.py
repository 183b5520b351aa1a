"""A caller of a running server, in Python: what `main.py talk`, the bench and the tests are made of.

`Call` opens both sockets and keeps a log of all that arrives, with the time of its arrival. A recording is
sent like a microphone would send it: a frame leaves when its last sample has been spoken, and silence follows until
the reply is over. So the moment at which any sample was spoken is known exactly, and delays are
measured against that.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np

from fusion.wire.pcm import HEARD_RATE, SPOKEN_RATE, decode

FRAME = 640  # samples; 40 ms, what browsers and sound cards use
AUDIBLE = 0.01  # of full scale: below it a loudspeaker is silent to the ear
SETTLED_S = 0.5  # silence after a recording, before the server can be taken to have heard all of it
CONNECT_S = 10.0


class CallError(Exception):
    """The call gave no answer; the text says what did not come, or what the server said."""


@dataclass(frozen=True)
class Observed:
    """Something that arrived at `at` (seconds, `time.monotonic`). `kind` is its type; sound is "sound"."""

    at: float
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One recording and its answer. Times are seconds on `time.monotonic`; None = never came, or nothing was spoken."""

    caption: str  # what the server understood
    reply: str
    audio: np.ndarray  # float32 [samples] at 24 kHz
    began: float  # the first sample was spoken
    end_of_speech: float  # the last sound of the recording was spoken
    first_caption: float | None
    first_reply: float | None
    first_sound: float | None  # the first audible sample leaves a loudspeaker that plays frames as they come
    caption_lags: tuple[float, ...]  # each caption's arrival after the last sample that it covers
    latency: Mapping[str, Any]  # the server's own account of the last turn, in ms
    log: tuple[Observed, ...]


class Call:
    """One call, an asynchronous context manager.

    `options` go into the handshake (docs/wire.md); `watch` is called with everything observed.
    """

    def __init__(self, asr_url: str, tts_url: str, *, secret: str = "", options: Mapping[str, Any] | None = None,
                 watch: Callable[[Observed], None] | None = None) -> None:
        self.uid = f"talk-{uuid.uuid4().hex[:12]}"
        self.log: list[Observed] = []
        self.closed = ""  # why the server closed
        self._urls, self._options, self._watch = (asr_url, tts_url), dict(options or {}), watch
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._microphone = Microphone(self.send)
        self._playing_until = 0.0

    async def __aenter__(self) -> Call:
        asr_url, tts_url = self._urls
        self._tts = await _connect(f"{tts_url}?uid={quote(self.uid)}&events=1", self._headers)
        try:
            self._asr = await _connect(asr_url, self._headers)
        except BaseException:
            await self._tts.close()
            raise
        self._tasks = [asyncio.create_task(self._read_words()), asyncio.create_task(self._read_sound())]
        try:
            await self._asr.send(json.dumps({**self._options, "uid": self.uid, "events": True}))
            await self.until(lambda: bool(self.seen("ready")), CONNECT_S, "the server's greeting")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._microphone.stop()
        for socket in (self._asr, self._tts):
            await socket.close()
        await asyncio.gather(*self._tasks)

    # --- speaking -----------------------------------------------------------------------------------------

    async def send(self, frame: bytes | str) -> None:
        """One frame to 6006."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._asr.send(frame)
        except ConnectionClosed:
            self._end("the server closed the connection")

    def speak(self, pcm: np.ndarray) -> float:
        """Start to say `pcm` (float32 [samples] at 16 kHz) and go on with silence; returns when its first sample is spoken."""
        return self._microphone.speak(pcm)

    async def say(self, text: str) -> None:
        await self.send(json.dumps({"type": "say", "text": text}))

    async def turn(self, pcm: np.ndarray, *, fast: bool = False, timeout_s: float = 60.0) -> Result:
        """Say `pcm` and wait until the answer is over. `fast` sends it at once and hangs up: the last turn of a call."""
        first = len(self.log)
        if fast:
            began = spoken = time.monotonic()
            for start in range(0, len(pcm), HEARD_RATE):
                await self.send(pcm[start : start + HEARD_RATE].astype("<f4").tobytes())
            await self.send("END_OF_AUDIO")
        else:
            began = self.speak(pcm)
            spoken = began + len(pcm) / HEARD_RATE + SETTLED_S
        await self._answered(first, spoken, timeout_s, fast=fast)
        if fast:
            return result_of(self.log[first:], began, time.monotonic(), None)
        return result_of(self.log[first:], began, began + speech_span(pcm)[1] / HEARD_RATE, self._microphone.began)

    async def typed(self, text: str, *, timeout_s: float = 60.0) -> Result:
        """Type a line and wait until the answer is over."""
        first, began = len(self.log), time.monotonic()
        await self.say(text)
        await self._answered(first, began, timeout_s, fast=False)
        return result_of(self.log[first:], began, began, None)

    # --- hearing ------------------------------------------------------------------------------------------

    def seen(self, kind: str, since: int = 0) -> list[Observed]:
        return [event for event in self.log[since:] if event.kind == kind]

    async def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for `condition`, which is asked again whenever something arrives. Raises `CallError` naming `what`."""
        async def come() -> None:
            while not condition():
                if self.closed:
                    raise CallError(f"{self.closed} before {what} came")
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(come(), timeout_s)
        except asyncio.TimeoutError:
            raise CallError(f"{what} did not come within {timeout_s:.0f} s") from None

    async def _answered(self, first: int, spoken: float, timeout_s: float, *, fast: bool) -> None:
        """Until the reply to the last turn is over and nobody speaks."""
        def over() -> bool:
            log = self.log[first:]
            turns = [event.fields["turn"] for event in log if event.kind == "turn"]
            ended = [event.fields.get("turn") for event in log if event.kind == "end"]
            failed = [event for event in log if event.kind == "error" and event.fields.get("turn") in turns[-1:]]
            if failed:
                raise CallError(f"the server could not answer: {failed[-1].fields.get('message')}")
            if fast and self.closed and not turns:
                raise CallError(self.closed)
            return bool(turns) and turns[-1] in ended and (bool(self.closed) if fast else time.monotonic() >= spoken and not _open(log))

        deadline = asyncio.get_running_loop().call_later(max(0.0, spoken - time.monotonic()), self._changed.set)
        try:
            await self.until(over, max(0.0, spoken - time.monotonic()) + timeout_s, "the answer")
        except CallError as error:
            raise CallError(f"{error}; {_missing(self.log[first:])}") from None
        finally:
            deadline.cancel()

    def _observe(self, kind: str, fields: Mapping[str, Any]) -> None:
        event = Observed(time.monotonic(), kind, fields)
        self.log.append(event)
        if self._watch:
            self._watch(event)
        self._changed.set()

    def _end(self, why: str) -> None:
        self.closed = self.closed or why
        self._changed.set()

    async def _read_words(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async for frame in self._asr:
                message = json.loads(frame)
                if message.get("message") == "SERVER_READY":
                    self._observe("ready", message)
                elif "type" in message:
                    self._observe(message["type"], message)
                elif message.get("status") == "WAIT":
                    self._end("the server is full and closed the connection")
                else:
                    self._end(f"the server said {message.get('message')!r} and closed the connection")
        except ConnectionClosed:
            pass
        self._end("the server closed the connection")

    async def _read_sound(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async for frame in self._tts:
                if isinstance(frame, bytes):
                    self._sound(decode(frame, "float32"))
                    continue
                message = json.loads(frame)
                if message["type"] in ("hold", "clear"):
                    self._playing_until = 0.0  # a player stops here
                if message["type"] == "error":
                    self._end(f"the server said {message.get('message')!r}")
                self._observe(message["type"], message)
        except ConnectionClosed:
            self._end("the server closed the sound connection")

    def _sound(self, pcm: np.ndarray) -> None:
        """`plays_at`: when a player that plays frames as they come reaches this one."""
        plays_at = max(time.monotonic(), self._playing_until)
        self._playing_until = plays_at + len(pcm) / SPOKEN_RATE
        self._observe("sound", {"pcm": pcm, "plays_at": plays_at})


class Microphone:
    """Sends what is to be said, else silence, in real time."""

    def __init__(self, send: Callable[[bytes], Any]) -> None:
        self._send = send
        self._waiting = np.zeros(0, np.float32)
        self._task: asyncio.Task[None] | None = None
        self._sent = 0  # samples
        self.began = 0.0

    def speak(self, pcm: np.ndarray) -> float:
        if self._task is None:
            self.began = time.monotonic()
            self._task = asyncio.create_task(self._run())
        begins = self.began + (self._sent + len(self._waiting)) / HEARD_RATE
        self._waiting = np.concatenate((self._waiting, pcm.astype(np.float32)))
        return begins

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            due = self.began + (self._sent + FRAME) / HEARD_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            frame, self._waiting = self._waiting[:FRAME], self._waiting[FRAME:]
            self._sent += FRAME
            await self._send(np.pad(frame, (0, FRAME - len(frame))).astype("<f4").tobytes())


async def converse(pcm: np.ndarray, asr_url: str, tts_url: str, *, fast: bool = False, timeout_s: float = 60.0, **call: Any) -> Result:
    """A whole call of one recording (float32 [samples] at 16 kHz); `call` are the keywords of `Call`. Raises `CallError`."""
    async with Call(asr_url, tts_url, **call) as open_call:
        return await open_call.turn(pcm, fast=fast, timeout_s=timeout_s)


def speech_span(pcm: np.ndarray, rate: int = HEARD_RATE) -> tuple[int, int]:
    """First and one-past-last sample of sound: 20 ms frames less than 35 dB below the loudest. (0, 0) for silence."""
    frame = rate // 50
    energy = np.array([np.mean(np.square(pcm[start : start + frame], dtype=np.float64)) for start in range(0, len(pcm), frame)])
    loud = np.flatnonzero(energy > max(1e-8, energy.max(initial=0.0) * 10**-3.5))
    return (int(loud[0]) * frame, min(len(pcm), (int(loud[-1]) + 1) * frame)) if loud.size else (0, 0)


def _open(log: list[Observed]) -> bool:
    """Whether somebody is still speaking, or was and it is not yet settled what that was."""
    speaking = False
    for event in log:
        if event.kind == "speech_started":
            speaking = True
        elif event.kind == "resume" or event.kind == "caption" and event.fields.get("final"):
            speaking = False
    return speaking


def _missing(log: list[Observed]) -> str:
    kinds = {event.kind for event in log}
    steps = {"speech_started": "speech was not heard", "caption": "no caption came", "turn": "the turn did not end",
             "reply": "no reply text came", "sound": "no sound came", "end": "the sound did not end"}
    return next((what for kind, what in steps.items() if kind not in kinds), "all parts came, but not of the last turn")


def result_of(log: list[Observed], began: float = 0.0, end_of_speech: float = 0.0, origin: float | None = None) -> Result:
    """`origin`: when the first sample of the call was spoken; None = not in real time, so no caption has a lag."""
    def first(kind: str) -> float | None:
        return next((event.at for event in log if event.kind == kind), None)

    sounds = [event for event in log if event.kind == "sound"]
    latency = [event.fields for event in log if event.kind == "latency"]
    return Result(
        caption=" ".join(event.fields["text"] for event in log if event.kind == "turn"),
        reply=" ".join(event.fields["text"] for event in log if event.kind == "reply" and event.fields["text"]),
        audio=np.concatenate([event.fields["pcm"] for event in sounds] or [np.zeros(0, np.float32)]),
        began=began,
        end_of_speech=end_of_speech,
        first_caption=first("caption"),
        first_reply=first("reply"),
        first_sound=first_audible(sounds),
        caption_lags=() if origin is None else tuple(
            event.at - origin - event.fields["end"] for event in log if event.kind == "caption" and event.fields["text"]
        ),
        latency=latency[-1] if latency else {},
        log=tuple(log),
    )


def first_audible(sounds: list[Observed]) -> float | None:
    """When the first audible sample of "sound" observations is played."""
    for event in sounds:
        loud = np.flatnonzero(np.abs(event.fields["pcm"]) > AUDIBLE)
        if loud.size:
            return float(event.fields["plays_at"] + loud[0] / SPOKEN_RATE)
    return None


async def _connect(url: str, headers: Mapping[str, str]) -> Any:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

    place = url.partition("?")[0]
    try:
        return await connect(url, additional_headers=headers, max_size=None, proxy=None, open_timeout=CONNECT_S, close_timeout=2)
    except InvalidStatus as refused:
        status = refused.response.status_code
        why = "the key is missing or wrong; give it with --shared-secret" if status == 401 else f"HTTP {status}"
        raise CallError(f"the server at {place} refused the call: {why}") from None
    except InvalidURI:
        raise CallError(f"{place!r} is no address of a server; use ws://HOST or wss://HOST") from None
    except (OSError, WebSocketException, asyncio.TimeoutError) as error:
        raise CallError(f"no server answers at {place} ({error}); start one with: python main.py") from None
