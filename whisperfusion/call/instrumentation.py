"""Instruments the conversation of a call: its `receive` with a recorder around it, and the spans of
a trace. Without either it is the conversation's own method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whisperfusion.call.recorder import recorder_of
from whisperfusion.call.turn_spans import Receive, TurnSpans
from whisperfusion.messages import Trace
from whisperfusion.runtime import tracing
from whisperfusion.turns.conversation import Conversation


def nothing() -> None:
    return


@dataclass(frozen=True)
class Instrumented:
    """`trace` goes with the call to the other processes; `end` is called at the end of the call."""

    receive: Receive
    end: Callable[[], object]
    trace: Trace


def instrument(conversation: Conversation, trace: Trace, folder: str, now: float) -> Instrumented:
    """`trace`: as the client sent it; `folder`: for recordings, "" = none are made."""
    receive: Receive = conversation.receive
    end: Callable[[], object] = nothing
    recorder = recorder_of(conversation, folder, now) if folder else None
    if recorder is not None:
        receive, end = recorder.receive, recorder.end
    tracer = tracing.current()
    if tracer is None or not tracing.sampled(trace.parent):
        return Instrumented(receive, end, trace)
    own = tracing.of_call(conversation.call, trace)
    spans = TurnSpans(conversation, own, trace.parent, tracer, now)
    recorded = end

    def both() -> None:
        recorded()
        spans.end()

    return Instrumented(spans.watched(receive), both, own)
