"""Whole recordings on 6006: audio comes as fast as it is taken, segments leave as they are found,
and live callers go first.

A recording is read in stretches of about two minutes, each cut where it is quietest, so that hours
need no more memory than that. While one stretch is being read the next one is collected; then the
socket is not read, and the sender waits. Stretches of several callers are read together
(`engines.transcribe_batch`), by a thread of its own. An utterance of a call at another server
(`live` in the handshake) is read as those of calls here are, and waits for no recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.call.speakers import FileSpeakers
from whisperfusion.engines import (
    ASR,
    ASROptions,
    EngineError,
    Segment,
    decode_batch,
    detect_language,
    transcribe_batch,
)
from whisperfusion.engines.whisper.utterance import moved
from whisperfusion.errors import lost_for_good
from whisperfusion.messages import Ticket
from whisperfusion.runtime.worker import Worker
from whisperfusion.wire import asr_events
from whisperfusion.wire import asr_socket as wire

# read at once; the cut is looked for in so much of its end; what must be quiet there
STRETCH_S, SEARCH_S, QUIET_S = 120.0, 15.0, 0.3
DETECT_S = 30.0  # of audio that the language is detected in
PROBE = np.zeros(MICROPHONE_RATE // 2, np.float32)  # what a sound engine can always read
TOGETHER = 4  # callers whose stretches are read at the same time

log = logging.getLogger("asr")


@dataclass(frozen=True)
class Stretch:
    """A job.

    `options.language` None: only detect the language. `found` and `done` are called in the engine
    thread.
    """

    pcm: Samples
    options: ASROptions
    found: Callable[[Segment], None]
    done: Callable[[tuple[str, float] | EngineError | None], None]

    def after(self, start_s: float) -> Stretch:
        """The rest of it, from `start_s` on."""
        if not start_s:
            return self
        return replace(
            self,
            pcm=self.pcm[int(start_s * MICROPHONE_RATE) :],
            found=lambda segment: self.found(moved(segment, start_s)),
        )


class Reading:
    """The thread that reads recordings, and those that read utterances of calls elsewhere: final
    ones (True) and interim ones, which wait for no other.
    """

    def __init__(self, asr: ASR, default_language: str = "en") -> None:
        self._asr, self.default_language = asr, default_language
        self.worker: Worker[Stretch] = Worker(
            "files",
            self._work,
            failed=lambda ticket, job, error: job.done(error),
            probe=self._probe,
        )
        self.utterances = {
            final: Worker[Stretch](
                "final utterances" if final else "interim utterances",
                partial(self._read_utterances, final),
                failed=lambda ticket, job, error: job.done(error),
                probe=self._probe,
            )
            for final in (True, False)
        }

    def worker_for(self, live: str) -> Worker[Stretch]:
        return self.utterances[live == "final"] if live else self.worker

    def _probe(self) -> None:
        self._asr.create_utterance(ASROptions(self.default_language)).accept_audio(PROBE)

    def _work(self, ticket: Ticket, job: Stretch) -> None:
        jobs = [(ticket, job), *self.worker.more(TOGETHER - 1)]
        for one in jobs:
            if one[1].options.language is None:
                self._detect(*one)
        recordings = [one for one in jobs if one[1].options.language is not None]
        if recordings:
            self._read(recordings)

    def _read_utterances(self, final: bool, ticket: Ticket, job: Stretch) -> None:
        worker = self.utterances[final]
        jobs = [(ticket, job), *worker.more(TOGETHER - 1)]
        asked = [(self._asr.create_utterance(one.options), one.pcm, final) for _, one in jobs]
        for one, found in zip(jobs, decode_batch(self._asr, asked), strict=True):
            if isinstance(found, Exception):
                worker.fail(*one, found)
                continue
            for segment in found.segments:
                one[1].found(segment)
            one[1].done((found.language, found.language_probability))

    def _detect(self, ticket: Ticket, job: Stretch) -> None:
        try:
            job.done(detect_language(self._asr, job.pcm))
        except Exception as error:
            if lost_for_good(error):
                self.worker.fail(ticket, job, error)
                return
            log.warning("the language of a recording could not be detected (%s)", error)
            job.done(EngineError(f"the language could not be detected ({error})"))

    def _read(self, jobs: Sequence[tuple[Ticket, Stretch]]) -> None:
        """When it fails, the recordings are read on one by one, each from where it stopped, so
        that only the guilty one fails.
        """

        def wanted(at: int) -> bool:
            return not self.worker.stale(jobs[at][0])

        ends = [0.0] * len(jobs)  # of the last segment that was found, in seconds
        try:
            for at, segment in transcribe_batch(
                self._asr, [(job.pcm, job.options) for _, job in jobs], wanted
            ):
                ends[at] = segment.end_s
                jobs[at][1].found(segment)
        except Exception as error:
            if len(jobs) == 1 or lost_for_good(error):
                for one in jobs:
                    self.worker.fail(*one, error)
                return
            for (ticket, job), end_s in zip(jobs, ends, strict=True):
                self._read([(ticket, job.after(end_s))])
            return
        for _, job in jobs:
            job.done(None)


class FileReader:
    """One connection.

    `accept_audio` waits while the engine is behind; `finish` returns when all was sent. Both raise
    EngineError.
    """

    def __init__(
        self,
        call: str,
        handshake: wire.Handshake,
        reading: Reading,
        send: Callable[[str], None],
        speakers: FileSpeakers | None = None,
    ) -> None:
        self._call, self._uid, self._send = call, handshake.uid, send
        self._loop = asyncio.get_running_loop()
        self._decoder = wire.AudioDecoder(handshake.audio_format)
        self._detect_only = handshake.task == wire.DETECT
        self._default_language = reading.default_language
        self._worker = reading.worker_for(handshake.live)
        self._live = bool(handshake.live)
        self._speakers = speakers
        self.options = ASROptions(
            handshake.language,
            "transcribe" if self._detect_only else handshake.task,
            handshake.initial_prompt,
            handshake.hotwords,
            handshake.word_timestamps,
            handshake.temperature,
        )
        self._held: list[Samples] = []
        # samples held; samples before the stretch that is being read
        self._length = self._read_to = 0
        self._probability = 1.0 if handshake.language else 0.0
        self._current: asyncio.Future[None] | None = None

    async def accept_audio(self, frame: bytes) -> None:
        pcm = self._decoder.feed(frame)
        self._held.append(pcm)
        self._length += len(pcm)
        while self._length >= STRETCH_S * MICROPHONE_RATE:
            await self._next(
                quiet_cut(np.concatenate(self._held)[: int(STRETCH_S * MICROPHONE_RATE)])
            )

    async def finish(self) -> None:
        if self._length:
            await self._next(self._length)
        if self._current is not None:
            await self._current
        if self._speakers is not None:
            turns = await self._speakers.turns()
            shown = (asr_events.SpeakerTurn(*astuple(turn)) for turn in turns)
            self._event(asr_events.Speakers(tuple(shown)))
        duration_s = round(self._read_to / MICROPHONE_RATE, 3)
        language, probability = self.options.language or "", round(self._probability, 3)
        self._event(asr_events.RecordingDone(duration_s, language, probability))

    def hang_up(self) -> None:
        self._worker.forget(self._call)
        if self._speakers is not None:
            self._speakers.hang_up()
        if self._current is not None:
            self._current.cancel()

    async def _next(self, length: int) -> None:
        """Begin to read the first `length` samples of what is held, when the stretch before them
        has been read.
        """
        whole = np.concatenate(self._held)
        stretch, rest = whole[:length], whole[length:]
        self._held, self._length = [rest], len(rest)
        if self._current is not None:
            await self._current
        if self.options.language is None and not self._live:
            found = await self._detected(stretch[: int(DETECT_S * MICROPHONE_RATE)])
            if isinstance(found, tuple):
                language, self._probability = found
                self.options = replace(self.options, language=language)
                self._event(asr_events.LanguageDetected(language, round(self._probability, 3)))
        if self._detect_only:
            self._read_to += len(stretch)
        else:
            self._current = asyncio.ensure_future(self._read(stretch))

    async def _detected(self, pcm: Samples) -> tuple[str, float] | None:
        """The default language at no probability where it fails and words are wanted."""
        try:
            return await self._job(pcm, lambda segment: None)
        except EngineError:
            if self._detect_only:
                raise
            return self._default_language, 0.0

    async def _read(self, pcm: Samples) -> None:
        start_s = self._read_to / MICROPHONE_RATE
        spoken = None
        if self._speakers is not None:  # beside the words: it takes a tenth of their time
            spoken = asyncio.ensure_future(self._speakers.add(pcm))
        try:
            found = await self._job(pcm, lambda segment: self._found(segment, start_s))
            if spoken is not None:
                await spoken
        finally:
            if spoken is not None:
                spoken.cancel()
        if found is not None and self.options.language is None:
            language, self._probability = found
            self.options = replace(self.options, language=language or None)
        self._read_to += len(pcm)

    async def _job(
        self, pcm: Samples, found: Callable[[Segment], None]
    ) -> tuple[str, float] | None:
        ended: asyncio.Future[tuple[str, float] | EngineError | None] = self._loop.create_future()

        def done(result: tuple[str, float] | EngineError | None) -> None:
            if not ended.done():  # the connection may be gone
                ended.set_result(result)

        self._worker.put(
            Ticket(self._call, 0),
            Stretch(
                pcm,
                self.options,
                lambda segment: _on_loop(self._loop, found, segment),
                lambda result: _on_loop(self._loop, done, result),
            ),
        )
        result = await ended
        if isinstance(result, EngineError):
            raise result
        return result

    def _found(self, segment: Segment, start_s: float) -> None:
        words = [
            asr_events.SegmentWord(
                word.text,
                round(start_s + word.start_s, 3),
                round(start_s + word.end_s, 3),
                round(word.probability, 3),
            )
            for word in segment.words
        ]
        found = asr_events.Segment(
            round(start_s + segment.start_s, 3),
            round(start_s + segment.end_s, 3),
            segment.text,
            tuple(words),
            round(segment.avg_logprob, 3),
            round(segment.no_speech_prob, 3),
        )
        self._event(found)

    def _event(self, event: asr_events.AsrEvent) -> None:
        self._send(asr_events.to_json(self._uid, event))


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], value: object) -> None:
    """From the engine thread; the loop may have ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, value)


def quiet_cut(pcm: Samples) -> int:
    """Where to end a stretch: in the middle of the quietest `QUIET_S` of its last `SEARCH_S`.

    Samples.
    """
    begin = max(0, len(pcm) - int(SEARCH_S * MICROPHONE_RATE))
    step = MICROPHONE_RATE // 100
    frames = pcm[begin : begin + (len(pcm) - begin) // step * step].reshape(-1, step)
    energy = np.mean(np.square(frames, dtype=np.float64), axis=1)
    width = round(QUIET_S * 100)
    if len(energy) <= width:
        return len(pcm)
    sums = np.convolve(energy, np.ones(width), "valid")
    return begin + (int(np.argmin(sums)) + width // 2) * step
