"""A recording whose speaker is wanted, not its words: the task embed on 6006."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.call.speakers import MOST_SAMPLE_S, TOO_LONG, SpeakerService
from whisperfusion.errors import Refused
from whisperfusion.wire import asr_events
from whisperfusion.wire import asr_socket as wire
from whisperfusion.wire.speakers import embedding_text


class SampleReader:
    """One connection, with the methods of a `FileReader`."""

    def __init__(
        self,
        call: str,
        handshake: wire.Handshake,
        speakers: SpeakerService,
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
        if self._length > MOST_SAMPLE_S * MICROPHONE_RATE:
            raise Refused(TOO_LONG)

    async def finish(self) -> None:
        """Raises Refused."""
        pcm = np.concatenate((*self._parts, np.zeros(0, np.float32)))
        vector, seconds = await self._speakers.of_recording(
            self._call, lambda: self._speakers.embed_sample(pcm)
        )
        found = asr_events.SpeakerEmbedding(embedding_text(vector.tolist()), seconds)
        self._event(found)
        self._event(asr_events.RecordingDone(round(len(pcm) / MICROPHONE_RATE, 3), "", 0.0))

    def hang_up(self) -> None:
        self._speakers.recordings.forget(self._call)

    def _event(self, event: asr_events.AsrEvent) -> None:
        self._send(asr_events.to_json(self._uid, event))
