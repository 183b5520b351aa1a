"""What the speaking process keeps: who listens on 8888, what each call is being told, the jobs of its engine, and their counts."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion.core.playout import Playout, Tally
from fusion.messages import Commit, Joined, Metrics, Sentence, Spoken, Ticket
from fusion.sockets import Outgoing, address_of
from fusion.wire import FrameError, WireError
from fusion.wire import tts_socket as wire
from fusion.wire.pcm import SPOKEN_RATE, encode

FILLERS = 32  # sounds that are kept
SAY_LIMIT = 64 * 1024 * 1024  # bytes that may wait for a client that asked for a text: it comes as fast as it is made


@dataclass
class Listener:
    """A connection on 8888."""

    id: str
    out: Outgoing
    name: wire.Name
    address: str
    texts: deque[SayJob] = field(default_factory=deque)  # asked for; the first is being said
    said: int = 0  # samples made of the first

    def audio(self, pcm: np.ndarray) -> None:
        self.out.send(encode(pcm, self.name.audio_format))

    def event(self, text: str) -> None:
        if self.name.events:
            self.out.send(text)


@dataclass
class Speech:
    """What one call is being told."""

    joined: Joined
    playout: Playout[np.ndarray]
    listener: Listener | None = None
    committed: Ticket | None = None
    guess: SpeakJob | None = None  # the first clause of a guess; whether it was made is not known here
    waiting: list[Sentence] = field(default_factory=list)  # of a guess, beyond its first clause
    started: Ticket | None = None
    sent: Ticket | None = None  # all of whose sound has left
    timer: asyncio.TimerHandle | None = None
    filler_timer: asyncio.TimerHandle | None = None
    overdue: Commit | None = None  # its filler is due, and is being made

    def stale(self, ticket: Ticket) -> bool:
        newest = self.playout.ticket
        return newest is not None and ticket < newest

    def event(self, text: str) -> None:
        if self.listener is not None:
            self.listener.event(text)

    def pump(self, loop: asyncio.AbstractEventLoop, tell: Callable[[Spoken], object]) -> None:
        """Let out what may leave now, tell what was played, and come back when there is more."""
        now = loop.time()
        chunks = self.playout.release(now)
        if chunks and self.started != chunks[0].ticket:
            self.started = chunks[0].ticket
            self.event(wire.start(self.started.turn))
        if self.listener is not None:
            parts = [chunk.audio for chunk in chunks]
            for part in [np.concatenate(parts)] if parts and self.joined.whole_replies else parts:
                self.listener.audio(part)
        ticket = self.playout.ticket
        if ticket is not None and not self.joined.paced and self.playout.all_sent and self.sent != ticket:
            self.sent = ticket
            self.event(wire.sent(ticket.turn))
        for spoken in self.playout.spoken(now):
            tell(spoken)
            if spoken.last:
                self.event(wire.end(spoken.ticket.turn))
                self.started = None
        if self.timer:
            self.timer.cancel()
        wake_at = self.playout.wake_at(now)
        self.timer = loop.call_at(wake_at, self.pump, loop, tell) if wake_at is not None else None

    def stop_timers(self) -> None:
        for timer in (self.timer, self.filler_timer):
            if timer is not None:
                timer.cancel()
        self.overdue = None


@dataclass(frozen=True)
class SpeakJob:
    sentence: Sentence
    voice: str
    speed: float
    silent: bool  # nobody listens: the text alone is the answer
    once: threading.Lock = field(default_factory=threading.Lock, compare=False)  # taken when it is made: it may be queued twice


@dataclass(frozen=True)
class FillerJob:
    """A short text for the time until a late reply comes."""

    text: str
    voice: str
    speed: float


@dataclass(frozen=True)
class SayJob:
    """A text that a client of 8888 asked for: said sentence by sentence, so that callers need not wait for its end."""

    listener: Listener
    id: str | int | None
    parts: tuple[str, ...]
    voice: str
    speed: float


class Counts:
    """What became of the audio that was made, in samples."""

    def __init__(self) -> None:
        self.gone = Tally()  # of the calls that are over
        self.lost = 0  # made for replies that were stale by then
        self.said = 0  # made of texts that clients asked for

    def metrics(self, calls: Iterable[Speech]) -> Metrics:
        tally = sum((speech.playout.tally for speech in calls), self.gone)
        return Metrics("tts", (
            ("tts_audio_seconds_total", (tally.made + self.lost + self.said) / SPOKEN_RATE),
            ("tts_audio_wasted_seconds_total", (tally.dropped + self.lost) / SPOKEN_RATE),
            ("tts_gaps_total", tally.gaps),
            ("tts_gap_seconds_total", tally.gap / SPOKEN_RATE),
        ))


class Fillers:
    """Sounds that bridge the wait for a reply, made ahead, for the engine is busy when one is needed."""

    def __init__(self, make: Callable[[FillerJob], object]) -> None:
        self._make = make
        self._sounds: OrderedDict[FillerJob, np.ndarray | None] = OrderedDict()  # None: asked for

    def get(self, job: FillerJob) -> np.ndarray | None:
        """float32 [samples] at 24 kHz; None = it is being made."""
        if job not in self._sounds:
            self.keep(job, None)
            self._make(job)
        return self._sounds[job]

    def keep(self, job: FillerJob, pcm: np.ndarray | None) -> None:
        self._sounds[job] = pcm
        if len(self._sounds) > FILLERS:
            self._sounds.popitem(last=False)


class Door:
    """What a connection on 8888 goes through."""

    def __init__(self, service: Any) -> None:
        self._service = service

    async def serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        out = Outgoing(connection, SAY_LIMIT)
        listener = Listener(f"say-{uuid.uuid4().hex[:8]}", out, wire.Name(), address_of(connection))
        try:
            listener.name = wire.parse_address(connection.request.path)
            self._service.listen(listener)
            async for frame in connection:
                if isinstance(frame, str):
                    self._frame(listener, frame)
        except ConnectionClosed:
            pass
        except WireError as problem:
            out.send(wire.error(None, "refused", problem.message))
            out.close(1008, "see the message before")
        finally:
            self._service.leave(listener)
        if not out.closed:
            out.close()
        await out.finished()

    def _frame(self, listener: Listener, frame: str) -> None:
        try:
            request = wire.parse_frame(frame)
            if isinstance(request, wire.Name):
                listener.name = request
                self._service.listen(listener)
            elif isinstance(request, wire.Say):
                self._service.say(listener, request)
        except FrameError as problem:
            listener.out.send(wire.error(problem.id, problem.code, problem.message))


def pair(calls: Collection[Speech], listeners: Iterable[Listener]) -> None:
    """Give each call its listener: by name; the nameless by address, in the order they came."""
    taken = {id(speech.listener) for speech in calls if speech.listener is not None}
    for speech in calls:
        if speech.listener is not None:
            continue
        for listener in listeners:
            named = listener.name.uid == speech.joined.uid
            nameless = not listener.name.uid and speech.joined.whole_replies and listener.address == speech.joined.address
            if id(listener) not in taken and (named or nameless):
                speech.listener = listener
                taken.add(id(listener))
                break


def resampled(pcm: np.ndarray, rate: int) -> np.ndarray:
    """float32 [samples] at `rate`, a whole piece of speech, as [samples] at 24 kHz."""
    if rate == SPOKEN_RATE or not len(pcm):
        return pcm
    from av import AudioFrame, AudioResampler

    frame = AudioFrame.from_ndarray(np.ascontiguousarray(pcm[np.newaxis], np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = AudioResampler(format="fltp", layout="mono", rate=SPOKEN_RATE)
    return np.concatenate([part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))])
