"""The spans of a call and its turns, read off the events and commands of its conversation.

Nothing is measured for them: a step began when the conversation asked for it and ended with the
event that answered, and `Latency` has the rest. The spans of a turn are made when it is over, after
its last sound. Those of the language model and of the voice are made in their processes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from whisperfusion.messages import Generate, ToolFinished, ToolStarted, Trace
from whisperfusion.runtime import tracing
from whisperfusion.runtime.tracing import Span, Tracer, Value
from whisperfusion.turns import commands as turns
from whisperfusion.turns import events
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import SpeechStarted, SpeechStopped

Receive = Callable[[events.Event, float], list[turns.Command]]
MOST_STEPS = 40  # that are kept of a turn, newest last
ROOT = "0" * 16  # the id of no span

log = logging.getLogger("asr")


@dataclass(frozen=True)
class Step:
    name: str
    began: float
    ended: float
    attributes: dict[str, Value] = field(default_factory=dict)
    events: tuple[tuple[str, float], ...] = ()


@dataclass
class Turn:
    opened_at: float
    steps: list[Step]
    speech_ended_at: float = 0.0
    accepted_at: float | None = None
    typed: bool = False
    latency: turns.Latency | None = None
    last_at: float = 0.0
    outcome: str = "superseded"
    error: str = ""


class TurnSpans:
    """`parent` in `trace` is the traceparent of the call's own span; `client` that of the client's
    span around it, "" = none.
    """

    def __init__(
        self, conversation: Conversation, trace: Trace, client: str, tracer: Tracer, now: float
    ) -> None:
        self._conversation, self._tracer = conversation, tracer
        self._parent, self._client, self._opened_at = trace.parent, client, now
        # again at each event: the clock of the loop stands still while the process is suspended
        self._zero = tracing.zero_of(now)
        self._began = self._zero + int(now * 1e9)  # in nanoseconds of Unix time
        self._steps: deque[Step] = deque(maxlen=MOST_STEPS)  # of no turn yet
        self._turns: dict[int, Turn] = {}
        self._begun: dict[str, float] = {}  # step -> when the newest of it was asked for
        self._tools: dict[str, tuple[int, str, float]] = {}  # id -> turn, name, when it started
        self._typed = False
        self._now = now

    def watched(self, receive: Receive) -> Receive:
        def received(event: events.Event, now: float) -> list[turns.Command]:
            commands = receive(event, now)
            if commands or not isinstance(event, events.SpeechProbability):
                try:
                    self._watch(event, commands, now)
                except Exception:  # a trace must not end a call
                    log.exception("the spans of %s are not complete", self._conversation.call)
            return commands

        return received

    def end(self) -> None:
        """The client is gone."""
        try:
            self._end()
        except Exception:
            log.exception("the spans of %s are not complete", self._conversation.call)

    def _end(self) -> None:
        for turn in tuple(self._turns):
            self._finish(turn, self._turns[turn].last_at or self._now)
        call: dict[str, Value] = {"whisperfusion.call": self._conversation.call}
        root = f"{self._parent[:36]}{self._client[36:52] or ROOT}{self._parent[-3:]}"
        id, now = self._parent[36:52], self._now
        began = (self._began - self._zero) / 1e9
        self._tracer.add(Span("call", root, began, now, call, id, kind="server"), self._zero)

    def _watch(self, event: events.Event, commands: list[turns.Command], now: float) -> None:
        self._now, self._zero = now, tracing.zero_of(now)
        match event:
            case events.InterimTranscript():
                self._step("transcription", now)
            case events.EndOfTurnProbability(p, _, by_states):
                probability = p if by_states is None else by_states
                self._step("turn_detection", now, {"whisperfusion.probability": probability})
            case events.TextTyped():
                self._typed = True
            case ToolStarted(ticket, id, name):
                self._tools[id] = ticket.turn, name, now
            case ToolFinished(_, id, _, failed) if id in self._tools:
                self._tool(id, failed, now)
        for command in commands:
            self._command(command, now)

    def _command(self, command: turns.Command, now: float) -> None:
        match command:
            case SpeechStarted():
                self._begun["vad"] = now
            case SpeechStopped():
                self._step("vad", max(now, self._conversation.speech_ended_at))
            case turns.RequestTranscript(urgent=True):
                self._begun["transcription"] = now
            case turns.RequestTurnDetection():
                self._begun["turn_detection"] = now
            case Generate(ticket):
                self._turn(ticket.turn, now)
            case turns.TurnAccepted(turn):
                self._accepted(self._turn(turn, now), now)
            case turns.Latency(turn):
                self._turn(turn, now).latency = command
            case turns.ReplyText(turn, last=last) if turn in self._turns:
                self._turns[turn].last_at = now
                if last:
                    self._turns[turn].outcome = "answered"
            case turns.ReplyPlayed(turn, last=True) if turn in self._turns:
                self._turns[turn].outcome = "played"
                self._finish(turn, now)
            case turns.ReplyInterrupted(turn) if turn in self._turns:
                self._turns[turn].outcome = "interrupted"
                self._finish(turn, now)
            case turns.TurnFailed(turn, stage) if turn in self._turns:
                self._turns[turn].outcome, self._turns[turn].error = "failed", f"{stage}_failed"
                self._finish(turn, now)

    def _step(self, name: str, ended: float, attributes: dict[str, Value] | None = None) -> None:
        """An answer came; only the newest request is known."""
        began = self._begun.pop(name, None)
        if began is not None:
            self._steps.append(Step(name, began, ended, attributes or {}))

    def _turn(self, number: int, now: float) -> Turn:
        """A new one ends those before it, of which nothing more comes."""
        if number not in self._turns:
            for older in [one for one in self._turns if one < number]:
                self._finish(older, self._turns[older].last_at or now)
            self._turns[number] = Turn(now, [], typed=self._typed)
        return self._turns[number]

    def _accepted(self, turn: Turn, now: float) -> None:
        turn.typed, turn.accepted_at = self._typed, now
        # a file that comes faster than real time has positions before the call
        turn.speech_ended_at = min(now, max(self._opened_at, self._conversation.speech_ended_at))
        if not turn.typed:
            turn.steps.append(Step("endpointing", turn.speech_ended_at, now))
        self._typed = False

    def _finish(self, number: int, now: float) -> None:
        turn = self._turns.pop(number)
        # an answer may come after the turn was accepted
        of_it = [s for s in self._steps if turn.accepted_at and s.began <= turn.accepted_at]
        for step in of_it:
            self._steps.remove(step)
            turn.steps.append(step)
        attributes: dict[str, Value] = {
            "whisperfusion.call": self._conversation.call,
            "whisperfusion.turn": number,
            "whisperfusion.outcome": turn.outcome,
            "whisperfusion.typed": turn.typed,
        }
        found: tuple[tuple[str, float], ...] = ()
        if turn.latency is not None:
            sounded_at = turn.speech_ended_at + turn.latency.first_sound_s
            turn.steps.append(Step("first_sound", turn.speech_ended_at, sounded_at))
            turn.steps.append(Step("playback", sounded_at, now))
            found = (("first_sound", sounded_at),)
            attributes |= _latencies(turn.latency)
        began = min([turn.opened_at, *(step.began for step in turn.steps)])
        # the two clocks are read one after the other: the first turn may seem older than the call
        self._began = min(self._began, self._zero + int(began * 1e9))
        parent = tracing.turn_of(self._parent, number)
        id = parent[36:52]
        span = Span("turn", self._parent, began, now, attributes, id, found, turn.error)
        self._tracer.add(span, self._zero)
        for step in turn.steps:
            inner = Span(step.name, parent, step.began, step.ended, step.attributes)
            self._tracer.add(inner, self._zero)

    def _tool(self, id: str, failed: bool, now: float) -> None:
        turn, name, began = self._tools.pop(id)
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": id,
            "gen_ai.tool.type": "function",
        }
        parent = tracing.turn_of(self._parent, turn)
        error = "tool_failed" if failed else ""
        span = Span(f"execute_tool {name}", parent, began, now, attributes, error=error)
        self._tracer.add(span, self._zero)


def _latencies(latency: turns.Latency) -> dict[str, Value]:
    """Seconds from the end of the user's speech."""
    steps = ("stopped", "words", "decided", "first_token", "first_clause", "first_sound")
    found: dict[str, Value] = {
        f"whisperfusion.latency.{step}_s": round(getattr(latency, f"{step}_s"), 4) for step in steps
    }
    return {**found, "whisperfusion.preemptive": latency.reused}
