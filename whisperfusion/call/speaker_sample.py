"""Recordings of a voice, not of words, on 6006: whose it is (the task embed), and how good it is as
a sample of that voice (the task check).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.call.speakers import MOST_SAMPLE_S, TOO_LONG, SpeakerService
from whisperfusion.errors import Refused
from whisperfusion.speakers.diarization import CreateDetector, speech_regions
from whisperfusion.speakers.sample_quality import quality_of, speakers_in
from whisperfusion.wire import asr_events
from whisperfusion.wire import asr_socket as wire
from whisperfusion.wire.speakers import embedding_text

MOST_CHECKED_S = 90.0  # of sound


class SampleReader:
    """One connection, with the methods of a `FileReader`."""

    longest_s, too_long = MOST_SAMPLE_S, TOO_LONG

    def __init__(
        self,
        call: str,
        handshake: wire.Handshake,
        speakers: SpeakerService | None,
        send: Callable[[str], None],
    ) -> None:
        self._call, self._uid, self._speakers, self._send = call, handshake.uid, speakers, send
        self._decoder = wire.AudioDecoder(handshake.audio_format)
        self._parts: list[Samples] = []
        self._length = 0

    async def accept_audio(self, frame: bytes) -> None:
        """Raises Refused."""
        pcm = self._decoder.feed(frame)
        self._length += len(pcm)
        self._parts.append(pcm)
        if self._length > self.longest_s * MICROPHONE_RATE:
            raise Refused(self.too_long)

    async def finish(self) -> None:
        """Raises Refused."""
        pcm = np.concatenate((*self._parts, np.zeros(0, np.float32)))
        self._event(await self._found(pcm))
        self._event(asr_events.RecordingDone(round(len(pcm) / MICROPHONE_RATE, 3), "", 0.0))

    def hang_up(self) -> None:
        if self._speakers is not None:
            self._speakers.recordings.forget(self._call)

    async def _found(self, pcm: Samples) -> asr_events.AsrEvent:
        speakers = self._speakers
        assert speakers is not None, "the task embed is refused without"
        vector, seconds = await speakers.of_recording(
            self._call, lambda: speakers.embed_sample(pcm)
        )
        return asr_events.SpeakerEmbedding(embedding_text(vector.tolist()), seconds)

    def _event(self, event: asr_events.AsrEvent) -> None:
        self._send(asr_events.to_json(self._uid, event))


class QualityReader(SampleReader):
    """How many people speak is told where there is a speaker encoder."""

    longest_s = MOST_CHECKED_S
    too_long = f"the sample is longer than {MOST_CHECKED_S:.0f} s; best are 10 to 30 s"

    def __init__(
        self,
        call: str,
        handshake: wire.Handshake,
        speakers: SpeakerService | None,
        send: Callable[[str], None],
        create_detector: CreateDetector,
    ) -> None:
        super().__init__(call, handshake, speakers, send)
        self._create_detector = create_detector

    async def _found(self, pcm: Samples) -> asr_events.AsrEvent:
        if self._speakers is None:
            return await asyncio.to_thread(self._checked, pcm)
        return await self._speakers.of_recording(self._call, lambda: self._checked(pcm))

    def _checked(self, pcm: Samples) -> asr_events.SampleQuality:
        found = quality_of(pcm, speech_regions(pcm, self._create_detector()))
        speakers = None
        if self._speakers is not None:
            speakers = speakers_in(pcm, self._speakers.encoder, self._create_detector)
        measured = found.speech_s, found.level_db, found.noise_db, found.clipped
        return asr_events.SampleQuality(*measured, speakers)
