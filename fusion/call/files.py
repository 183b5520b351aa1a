"""Whole recordings on 6006: audio comes as fast as it is taken, segments leave as they are found, and live callers go first.

A recording is read in stretches of about two minutes, each cut where it is quietest, so that hours need no more memory than
that. While one stretch is being read the next one is collected; then the socket is not read, and the sender waits. Stretches of
several callers are read together (`engines.transcribe_together`), by a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion.core.endpoint import RATE
from fusion.engines import ASR, ASROptions, EngineError, Segment, detect_language, transcribe_together
from fusion.messages import Ticket
from fusion.wire import asr_socket as wire
from fusion.worker import Worker

STRETCH_S, SEARCH_S, HUSH_S = 120.0, 15.0, 0.3  # read at once; the cut is looked for in so much of its end; what must be quiet there
DETECT_S = 30.0  # of sound that tell the language
TOGETHER = 4  # callers whose stretches are read at the same time


@dataclass(frozen=True)
class Stretch:
    """A job. `options.language` None: only tell the language. `found` and `done` are called in the engine thread."""

    pcm: np.ndarray
    options: ASROptions
    found: Callable[[Segment], None]
    done: Callable[[tuple[str, float] | EngineError | None], None]


class Reading:
    """The thread that reads recordings."""

    def __init__(self, asr: ASR) -> None:
        self._asr = asr
        self.worker: Worker[Stretch] = Worker("files", self._work)

    def _work(self, ticket: Ticket, job: Stretch) -> None:
        jobs = [(ticket, job), *self.worker.more(TOGETHER - 1)]
        for _, one in jobs:
            if one.options.language is None:
                self._detect(one)
        self._read([(ticket, one) for ticket, one in jobs if one.options.language is not None])

    def _detect(self, job: Stretch) -> None:
        try:
            job.done(detect_language(self._asr, job.pcm))
        except EngineError as error:
            job.done(error)

    def _read(self, jobs: Sequence[tuple[Ticket, Stretch]]) -> None:
        try:
            for at, segment in transcribe_together(self._asr, [(job.pcm, job.options) for _, job in jobs]):
                if all([self.worker.stale(ticket) for ticket, _ in jobs]):
                    break
                jobs[at][1].found(segment)
        except EngineError as error:
            for _, job in jobs:
                job.done(error)
            return
        for _, job in jobs:
            job.done(None)


class FileReader:
    """One connection. `hear` waits while the engine is behind; `finish` returns when all was told. Both raise EngineError."""

    def __init__(self, call: str, handshake: wire.Handshake, reading: Reading, send: Callable[[str], None]) -> None:
        self._call, self._uid, self._reading, self._send = call, handshake.uid, reading, send
        self._loop = asyncio.get_running_loop()
        self._decoder = wire.AudioDecoder(handshake.audio_format)
        self._detect_only = handshake.task == wire.DETECT
        self.options = ASROptions(
            handshake.language,
            "transcribe" if self._detect_only else handshake.task,
            handshake.initial_prompt,
            handshake.hotwords,
            handshake.word_timestamps,
            handshake.temperature,
        )
        self._held: list[np.ndarray] = []
        self._length = self._read_to = 0  # samples held; samples before the stretch that is being read
        self._probability = 1.0 if handshake.language else 0.0
        self._current: asyncio.Future[None] | None = None

    async def hear(self, frame: bytes) -> None:
        pcm = self._decoder.feed(frame)
        self._held.append(pcm)
        self._length += len(pcm)
        while self._length >= STRETCH_S * RATE:
            await self._next(quiet_cut(np.concatenate(self._held)[: int(STRETCH_S * RATE)]))

    async def finish(self) -> None:
        if self._length:
            await self._next(self._length)
        if self._current is not None:
            await self._current
        self._tell(
            "done",
            duration=round(self._read_to / RATE, 3),
            language=self.options.language or "",
            language_probability=round(self._probability, 3),
        )

    def hang_up(self) -> None:
        self._reading.worker.forget(self._call)
        if self._current is not None:
            self._current.cancel()

    async def _next(self, length: int) -> None:
        """Begin to read the first `length` samples of what is held, when the stretch before them has been read."""
        whole = np.concatenate(self._held)
        stretch, rest = whole[:length], whole[length:]
        self._held, self._length = [rest], len(rest)
        if self._current is not None:
            await self._current
        if self.options.language is None:
            found = await self._job(stretch[: int(DETECT_S * RATE)], lambda segment: None)
            if isinstance(found, tuple):
                language, self._probability = found
                self.options = replace(self.options, language=language)
                self._tell("language", language=language, language_probability=round(self._probability, 3))
        if self._detect_only:
            self._read_to += len(stretch)
        else:
            self._current = asyncio.ensure_future(self._read(stretch))

    async def _read(self, pcm: np.ndarray) -> None:
        start_s = self._read_to / RATE
        await self._job(pcm, lambda segment: self._found(segment, start_s))
        self._read_to += len(pcm)

    async def _job(self, pcm: np.ndarray, found: Callable[[Segment], None]) -> tuple[str, float] | None:
        ended: asyncio.Future[tuple[str, float] | EngineError | None] = self._loop.create_future()

        def done(result: tuple[str, float] | EngineError | None) -> None:
            if not ended.done():  # the connection may be gone
                ended.set_result(result)

        self._reading.worker.put(
            Ticket(self._call, 0),
            Stretch(pcm, self.options, lambda segment: _tell(self._loop, found, segment), lambda result: _tell(self._loop, done, result)),
        )
        result = await ended
        if isinstance(result, EngineError):
            raise result
        return result

    def _found(self, segment: Segment, start_s: float) -> None:
        words = [
            {
                "word": word.text,
                "start": round(start_s + word.start_s, 3),
                "end": round(start_s + word.end_s, 3),
                "probability": round(word.probability, 3),
            }
            for word in segment.words
        ]
        self._tell(
            "segment",
            start=round(start_s + segment.start_s, 3),
            end=round(start_s + segment.end_s, 3),
            text=segment.text,
            words=words,
            avg_logprob=round(segment.avg_logprob, 3),
            no_speech_prob=round(segment.no_speech_prob, 3),
        )

    def _tell(self, type: str, **fields: object) -> None:
        self._send(wire.event(self._uid, type, **fields))


def _tell(loop: asyncio.AbstractEventLoop, told: Callable[..., None], value: object) -> None:
    """From the engine thread; the loop may have ended."""
    try:
        loop.call_soon_threadsafe(told, value)
    except RuntimeError:
        pass


def quiet_cut(pcm: np.ndarray) -> int:
    """Where to end a stretch: in the middle of the quietest `HUSH_S` of its last `SEARCH_S`. Samples."""
    begin = max(0, len(pcm) - int(SEARCH_S * RATE))
    step = RATE // 100
    frames = pcm[begin : begin + (len(pcm) - begin) // step * step].reshape(-1, step)
    energy = np.mean(np.square(frames, dtype=np.float64), axis=1)
    width = round(HUSH_S * 100)
    if len(energy) <= width:
        return len(pcm)
    sums = np.convolve(energy, np.ones(width), "valid")
    return begin + (int(np.argmin(sums)) + width // 2) * step
