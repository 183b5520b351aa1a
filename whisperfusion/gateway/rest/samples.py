"""An uploaded recording of a voice: decoded, checked, and as the WAV file that is stored."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE
from whisperfusion.custom_voices.checks import LEAST_SPEECH_S, LONGEST_S, TOO_LONG, problems
from whisperfusion.gateway.decoding.pool import DecoderPool
from whisperfusion.gateway.media import wav_header
from whisperfusion.gateway.transcribing import quality, read
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.wire.asr_events import SampleQuality
from whisperfusion.wire.openai_rest import ApiError


@dataclass(frozen=True)
class Sample:
    """`wav`: s16 mono at 24 kHz."""

    wav: bytes
    quality: SampleQuality


class Samples:
    """Reads and checks; raises ApiError, which says all that is wrong with a recording."""

    def __init__(self, upstream: Upstream, decoders: DecoderPool) -> None:
        self._upstream, self._decoders = upstream, decoders

    async def read(
        self,
        request: Request,
        file: BinaryIO,
        field: str,
        least_speech_s: float = LEAST_SPEECH_S,
    ) -> Sample:
        """The recording in the form's `field`."""
        address = request.client.host if request.client else ""
        try:
            pcm = await self._decoded(file, address)
            pieces = self._decoders.pieces(file, address, rate=MICROPHONE_RATE)
            checked = await quality(read(request, self._upstream, pieces, {"task": "check"}))
        except ApiError as problem:
            problem.param = field if problem.param == "file" else problem.param
            raise
        if wrong := list(problems(checked, least_speech_s)):
            raise _unusable(field, "; ".join(wrong))
        return Sample(wav_header(SPEECH_RATE, len(pcm)) + pcm, checked)

    async def _decoded(self, file: BinaryIO, address: str) -> bytes:
        """No more of it is decoded than would be stored."""
        most, pcm = 2 * int(LONGEST_S * SPEECH_RATE), b""
        pieces = self._decoders.pieces(file, address, length_s=LONGEST_S + 1, rate=SPEECH_RATE)
        async with aclosing(pieces):
            async for piece in pieces:
                pcm += piece
        if len(pcm) > most:
            raise _unusable(field="", why=TOO_LONG)
        return pcm


def _unusable(field: str, why: str) -> ApiError:
    message = f"this recording cannot be used: {why}"
    return ApiError(400, message, param=field or "file", code="unusable_sample")
