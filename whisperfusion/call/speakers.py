"""Who speaks, for the recordings and calls of this process: the encoder, and the threads that use
it.

Live turns and recordings have a thread each, so that no call waits for a recording. The thread of
the recordings is nice: it takes what calls leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import threading
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.call.detectors import check_name
from whisperfusion.engines import SpeakerEncoder, load
from whisperfusion.errors import EngineError, ModelError, Refused
from whisperfusion.messages import Ticket
from whisperfusion.models import store as models
from whisperfusion.runtime.worker import Worker
from whisperfusion.settings import Settings
from whisperfusion.speakers.clustering import unit
from whisperfusion.speakers.diarization import (
    CreateDetector,
    Diarization,
    Turn,
    cut,
    speech_regions,
)
from whisperfusion.wire.speakers import KnownSpeaker

OFF = (
    "this server does not tell speakers apart; its operator can switch it on with "
    "SPEAKER_ENGINE=resemblyzer"
)
NICER = 10
TAPS = 32  # on each side, of the filter before a lower rate
LEAST_SAMPLE_S, MOST_SAMPLE_S = 1.0, 30.0  # of speech; of sound
TOO_LONG = f"the sample is longer than {MOST_SAMPLE_S:.0f} s; best are 5 to 10 s of one person"
PROBE = np.zeros(MICROPHONE_RATE, np.float32)  # what a sound engine can always read

T = TypeVar("T")
log = logging.getLogger("asr")


@dataclass(frozen=True)
class Job:
    """`work` runs in the thread; `done` gets what it returned, or why it failed."""

    work: Callable[[], Any]
    done: Callable[[Any], None]


class SpeakerService:
    """`create_detector` makes what finds the speech in recordings."""

    def __init__(self, encoder: SpeakerEncoder, create_detector: CreateDetector) -> None:
        self.encoder, self.create_detector = encoder, create_detector
        self._size = encoder.embed([PROBE]).shape[1]
        self.recordings = self._worker("speakers of recordings")
        self.calls = self._worker("speakers")
        self._nice = False

    def _worker(self, name: str) -> Worker[Job]:
        return Worker(
            name,
            self._work,
            failed=lambda ticket, job, error: job.done(error),
            probe=lambda: self.encoder.embed([PROBE]),
        )

    def _work(self, ticket: Ticket, job: Job) -> None:
        job.done(job.work())

    async def of_recording(self, call: str, work: Callable[[], T]) -> T:
        """Runs `work` in the thread of the recordings. Raises EngineError."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()

        def done(result: Any) -> None:
            if not ended.done():  # the connection may be gone
                ended.set_result(result)

        def nicely() -> T:
            self._make_way()
            return work()

        def on_loop(result: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended
                loop.call_soon_threadsafe(done, result)

        self.recordings.put(Ticket(call, 0), Job(nicely, on_loop))
        result = await ended
        if isinstance(result, EngineError):
            raise result
        found: T = result
        return found

    def _make_way(self) -> None:
        """Once, from the thread of the recordings."""
        if not self._nice and hasattr(os, "setpriority"):
            self._nice = True
            priority = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICER)
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), priority)

    async def enroll(self, call: str, speakers: Sequence[KnownSpeaker]) -> dict[str, Samples]:
        """Their embeddings by name. Raises EngineError for a sample that is not usable, and for
        embeddings of another encoder.
        """
        found = {}
        for one in speakers:
            if one.wav:
                found[one.name] = await self.of_recording(call, partial(self._enrolled, one))
            elif len(one.embedding) != self._size:
                raise Refused(
                    f"the embedding of {one.name!r} has {len(one.embedding)} values, those of "
                    f"{self.encoder.model} have {self._size}; make it anew, with the task embed of "
                    "this server"
                )
            else:
                found[one.name] = unit(np.array(one.embedding, np.float32))
        return found

    def _enrolled(self, speaker: KnownSpeaker) -> Samples:
        try:
            return self.embed_sample(samples_of_wav(speaker.wav))[0]
        except Refused as problem:
            raise Refused(f"the known speaker {speaker.name!r}: {problem}") from None

    def embed_sample(self, pcm: Samples) -> tuple[Samples, float]:
        """The embedding of the one speaker of a recording, and its seconds of speech.

        Raises Refused for too little speech.
        """
        regions = speech_regions(pcm, self.create_detector())
        spans = [window for region in regions for window in cut(*region)]
        speech_s = sum(end - start for start, end in regions)
        if speech_s < LEAST_SAMPLE_S:
            raise Refused(
                f"the sample has {speech_s:.1f} s of speech; at least {LEAST_SAMPLE_S:.0f} s are "
                "needed, best are 5 to 10 s of one person"
            )
        clips = [
            pcm[int(start * MICROPHONE_RATE) : int(end * MICROPHONE_RATE)] for start, end in spans
        ]
        return unit(self.encoder.embed(clips).sum(axis=0)), round(speech_s, 3)


class FileSpeakers:
    """Of one recording, beside its words."""

    def __init__(
        self, call: str, service: SpeakerService, known: Mapping[str, Samples], most: int
    ) -> None:
        self._call, self._service, self._most, self._known = call, service, most, known
        self._whole = Diarization(service.encoder, service.create_detector)

    async def add(self, pcm: Samples) -> None:
        await self._service.of_recording(self._call, lambda: self._whole.add(pcm))

    def hang_up(self) -> None:
        self._service.recordings.forget(self._call)

    async def turns(self) -> list[Turn]:
        return await self._service.of_recording(
            self._call, lambda: self._whole.turns(self._known, self._most)
        )


def samples_of_wav(data: bytes) -> Samples:
    """A WAV file of 16-bit samples, as float32 mono at 16 kHz. Raises Refused."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError) as error:
        raise Refused(f"the sample cannot be read as WAV ({error or 'it ends too soon'})") from None
    if width != 2 or not 8000 <= rate <= 192_000 or not channels:
        raise Refused(
            f"the sample has {8 * width} bits at {rate} Hz; allowed: WAV of 16 bits, 8 to 192 kHz"
        )
    if len(raw) > MOST_SAMPLE_S * rate * channels * width:
        raise Refused(TOO_LONG)
    frames = np.frombuffer(raw[: len(raw) // (2 * channels) * 2 * channels], "<i2")
    pcm = frames.reshape(-1, channels).mean(axis=1) / 32_768
    if rate > MICROPHONE_RATE and len(pcm):  # what the lower rate cannot have is taken away
        taps = np.arange(-TAPS, TAPS + 1)
        low = np.sinc(taps * MICROPHONE_RATE / rate) * np.hanning(len(taps))
        pcm = np.convolve(pcm, low / low.sum(), "same")
    count = int(len(pcm) * MICROPHONE_RATE / rate)
    times = np.arange(count) * rate / MICROPHONE_RATE
    found = np.interp(times, np.arange(len(pcm)), pcm) if count else np.zeros(0)
    return found.astype(np.float32)


def load_speakers(
    settings: Settings, create_detector: CreateDetector, notify: Callable[[str], object]
) -> SpeakerService | None:
    """None: by the settings, or because the encoder cannot be loaded, which callers are told.

    Raises EngineError for one that is not known.
    """
    name = settings.speaker_engine
    if name == "none":
        return None
    check_name("speaker", name)
    path = ""
    try:
        if name == "resemblyzer":
            wanted = models.resolve(name, "speaker", settings)
            path = str(models.fetch(wanted, settings.cache, settings.sources))
        return SpeakerService(load("speaker", name, model=path), create_detector)
    except (EngineError, ModelError, OSError) as error:
        text = f"speakers cannot be told apart ({error})"
        log.error(text)
        notify(text)
        return None
