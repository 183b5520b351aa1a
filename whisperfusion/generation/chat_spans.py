"""A span for each answer of a language model, by the GenAI conventions of OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

from whisperfusion.engines import Answering, Interrupted, ToolCall
from whisperfusion.messages import Generate
from whisperfusion.runtime import tracing
from whisperfusion.runtime.tracing import Span, Tracer, Value

CHARACTERS = 4  # of a token, as the engines do not tell how many the prompt had

Pieces = Generator[str | ToolCall, None, None]


@dataclass
class _Chat:
    """One link of the chain at work. `model` is "" until it is loaded."""

    link: str
    model: str
    began: float = field(default_factory=time.monotonic)
    first: float = 0.0
    count: int = 0
    skipped: tuple[str, ...] = ()


def watched(job: Generate, longest: int, link: Any, pieces: Pieces) -> Pieces:
    """`pieces`, and a span when they end: with the answer, an error, or because the reply is no
    longer wanted. Without a tracer, or in a trace that is not recorded, `pieces` alone.

    `longest`: tokens that the answer may have; `link` of the chain is asked first.
    """
    tracer = tracing.current()
    if tracer is None or not job.trace.parent or not tracing.sampled(job.trace.parent):
        return pieces
    return _watched(tracer, job, longest, _of(link), pieces)


def _watched(tracer: Tracer, job: Generate, longest: int, chat: _Chat, pieces: Pieces) -> Pieces:
    finish, error = "cancelled", ""
    try:
        for piece in pieces:
            if isinstance(piece, Answering):
                chat = _answering(chat, piece)
            elif isinstance(piece, Interrupted):
                _add(tracer, job, longest, chat, "error", "interrupted")
                chat = replace(chat, began=time.monotonic(), first=0.0, count=0)
            elif piece:
                chat.count += 1
                chat.first = chat.first or time.monotonic()
            yield piece
        finish = "stop"
    except GeneratorExit:
        raise
    except Exception as problem:
        finish, error = "error", type(problem).__name__
        raise
    finally:
        pieces.close()
        _add(tracer, job, longest, chat, finish, error)


def _answering(chat: _Chat, piece: Answering) -> _Chat:
    """It comes before the first piece; the time before it is a part of the answer's."""
    skipped = tuple(f"{name}: {reason}" for name, reason in piece.skipped)
    return replace(_of(piece.link), began=chat.began, skipped=skipped)


def _of(link: Any) -> _Chat:
    return _Chat(link.name, link.engine.model if link.engine is not None else "")


def _add(tracer: Tracer, job: Generate, longest: int, chat: _Chat, finish: str, error: str) -> None:
    ticket, now = job.ticket, time.monotonic()
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": chat.link.partition("/")[0],
        "gen_ai.request.model": chat.model,
        "gen_ai.request.max_tokens": longest,
        "gen_ai.conversation.id": ticket.call,
        "gen_ai.response.finish_reasons": (finish,),
        "gen_ai.usage.input_tokens": sum(len(one.text) for one in job.history) // CHARACTERS,
        "gen_ai.usage.output_tokens": chat.count,
        "whisperfusion.turn": ticket.turn,
        "whisperfusion.revision": ticket.revision,
    }
    if chat.skipped:
        attributes["whisperfusion.skipped_links"] = chat.skipped
    found = (("gen_ai.first_token", chat.first),) if chat.first else ()
    if chat.first:
        attributes["whisperfusion.time_to_first_token_s"] = round(chat.first - chat.began, 4)
    parent = tracing.turn_of(job.trace.parent, ticket.turn)
    name = f"chat {chat.model}".strip()
    span = Span(name, parent, chat.began, now, attributes, "", found, error, "client")
    tracer.add(span, tracing.zero_of(now))
