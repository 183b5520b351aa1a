"""A recording to its transcript, for every route that takes whole files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from whisperfusion.client.recordings import RecordingEvent
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.runtime.rate_limits import Cost, quota_of
from whisperfusion.wire.asr_events import (
    RecordingDone,
    SampleQuality,
    Segment,
    SpeakerEmbedding,
    Speakers,
    SpeakerTurn,
)
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.transcripts import Cue, SpokenWord

RECORDINGS = Cost("recordings", most=16, each=8)  # as many as the recognizer reads at once


@dataclass(frozen=True)
class Transcript:
    cues: list[Cue]
    language: str
    probability: float
    duration_s: float
    turns: tuple[SpeakerTurn, ...] = ()  # where speakers were asked for


async def read(
    request: Request,
    upstream: Upstream,
    pieces: AsyncGenerator[bytes, None],
    options: Mapping[str, Any],
) -> AsyncGenerator[RecordingEvent, None]:
    """The events of a recording, which takes one of the places of this client.

    Raises ApiError and TooMany.
    """
    address = request.client.host if request.client else ""
    with quota_of(request.scope).hold(RECORDINGS):
        async with aclosing(upstream.transcribe(pieces, options, address)) as events:
            async for event in events:
                yield event


async def collected(events: AsyncGenerator[RecordingEvent, None]) -> Transcript:
    """Raises what `events` raise."""
    cues: list[Cue] = []
    turns: tuple[SpeakerTurn, ...] = ()
    async with aclosing(events):
        async for event in events:
            match event:
                case Segment():
                    cues.append(cue(event))
                case Speakers():
                    turns = event.turns
                case RecordingDone(duration_s, language, probability):
                    return Transcript(cues, language, probability, duration_s, turns)
    raise ApiError(500, "the recognizer ended without a word", code="server_error")


async def embedded(events: AsyncGenerator[RecordingEvent, None]) -> str:
    """The embedding of the speaker of a recording (task embed). Raises what `events` raise."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, SpeakerEmbedding):
                return event.embedding
    raise ApiError(500, "the sample was read without a result", code="server_error")


async def quality(events: AsyncGenerator[RecordingEvent, None]) -> SampleQuality:
    """How good a recording is as a sample (task check). Raises what `events` raise."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, SampleQuality):
                return event
    raise ApiError(500, "the sample was read without a result", code="server_error")


def cue(segment: Segment) -> Cue:
    words = (
        SpokenWord(word.word, word.start, word.end, word.probability) for word in segment.words
    )
    return Cue(
        segment.start,
        segment.end,
        segment.text,
        tuple(words),
        segment.avg_logprob,
        segment.no_speech_prob,
    )
