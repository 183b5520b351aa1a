"""A span for each sentence that the voice makes into audio."""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.messages import CallStarted, Ticket
from whisperfusion.output.events import (
    Action,
    AudioMade,
    Event,
    SentenceMade,
    SynthesisFailed,
    Synthesize,
)
from whisperfusion.runtime import tracing
from whisperfusion.runtime.tracing import Span, Tracer, Value

MOST = 64  # sentences of a call that are followed; those of a dropped reply are never made


@dataclass
class Sentence:
    asked_at: float
    characters: int
    first_at: float = 0.0
    samples: int = 0


class SynthesisSpans:
    """Of the calls of a process: sees what their players take and give."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._sentences: dict[str, dict[tuple[Ticket, int], Sentence]] = {}  # by call

    def event(self, started: CallStarted, event: Event[Samples], now: float) -> None:
        match event:
            case AudioMade(ticket, index, audio):
                sentence = self._sentences.get(started.call, {}).get((ticket, index))
                if sentence is not None:
                    sentence.first_at = sentence.first_at or now
                    sentence.samples += len(audio)
            case SentenceMade(ticket, index):
                self._made(started, ticket, index, now)
            case SynthesisFailed(ticket):
                for failed, index in tuple(self._sentences.get(started.call, {})):
                    if failed == ticket:
                        self._made(started, ticket, index, now, "tts_failed")

    def action(self, started: CallStarted, action: Action[Samples], now: float) -> None:
        if isinstance(action, Synthesize) and action.text and started.trace.parent:
            sentences = self._sentences.setdefault(started.call, {})
            if len(sentences) >= MOST:
                sentences.pop(next(iter(sentences)))
            sentences[action.ticket, action.index] = Sentence(now, len(action.text))

    def forget(self, call: str) -> None:
        self._sentences.pop(call, None)

    def _made(
        self, started: CallStarted, ticket: Ticket, index: int, now: float, error: str = ""
    ) -> None:
        sentence = self._sentences.get(started.call, {}).pop((ticket, index), None)
        if sentence is None:
            return
        attributes: dict[str, Value] = {
            "whisperfusion.turn": ticket.turn,
            "whisperfusion.revision": ticket.revision,
            "whisperfusion.sentence": index,
            "whisperfusion.characters": sentence.characters,
            "whisperfusion.audio_s": round(sentence.samples / SPEECH_RATE, 3),
        }
        first = (("first_audio", sentence.first_at),) if sentence.first_at else ()
        parent = tracing.turn_of(started.trace.parent, ticket.turn)
        span = Span("synthesis", parent, sentence.asked_at, now, attributes, "", first, error)
        self._tracer.add(span, tracing.zero_of(now))
