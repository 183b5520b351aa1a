"""What a caller is told, in the caller's dialect. Each view turns the same facts into frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fusion.core import turns
from fusion.core.text import StablePrefix
from fusion.engines import Hypothesis, Segment
from fusion.messages import Stage
from fusion.wire import asr_socket as wire

Send = Callable[[str], None]


class View(Protocol):
    def ready(self, stages: dict[str, Stage]) -> None: ...
    def speech(self, started: bool, at_s: float) -> None: ...
    def caption(self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None: ...
    def said(self, turn: int, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None: ...
    def tell(self, fact: turns.Command) -> None: ...
    def notice(self, text: str) -> None: ...
    def stage(self, stage: Stage) -> None: ...


class LiveView:
    """WhisperLive: the list of segments, and nothing else."""

    def __init__(self, handshake: wire.Handshake, send: Send) -> None:
        self._uid, self._send = handshake.uid, send
        self._history = wire.SegmentHistory(handshake.send_last_n_segments)
        self._detect = handshake.language is None
        self._last: tuple[wire.LiveSegment, ...] = ()

    def ready(self, stages: dict[str, Stage]) -> None:
        self._send(wire.server_ready(self._uid))

    def speech(self, started: bool, at_s: float) -> None:
        pass

    def caption(self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None:
        self._language(hypothesis)
        self._show(self._history.partial(start_s, end_s, hypothesis.text, _words(hypothesis.segments, start_s)))

    def said(self, turn: int, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None:
        self._language(hypothesis)
        parts = [s for s in hypothesis.segments if s.text.strip()] or [Segment(0.0, end_s - start_s, hypothesis.text)]
        shown: tuple[wire.LiveSegment, ...] = ()
        for part in parts if hypothesis.text else []:
            end = end_s if part is parts[-1] else start_s + part.end_s
            shown = self._history.finish(start_s + part.start_s, end, part.text, _words((part,), start_s))
        self._show(shown)

    def tell(self, fact: turns.Command) -> None:
        if isinstance(fact, turns.TurnFailed):
            self._send(wire.warning(self._uid, fact.reason))

    def notice(self, text: str) -> None:
        pass  # about replies, which this caller does not get

    def stage(self, stage: Stage) -> None:
        pass

    def _show(self, segments: tuple[wire.LiveSegment, ...]) -> None:
        if segments and segments != self._last:  # a repeated text restarts the idle clock of file clients
            self._last = segments
            self._send(wire.whisper_live_segments(self._uid, segments))

    def _language(self, hypothesis: Hypothesis) -> None:
        if self._detect and hypothesis.language and hypothesis.language_probability > 0.5:
            self._detect = False
            self._send(wire.language(self._uid, hypothesis.language, hypothesis.language_probability))


class FusionView:
    """The WhisperFusion page: one segment at a time, and whole replies."""

    def __init__(self, handshake: wire.Handshake, send: Send) -> None:
        self._uid, self._send = handshake.uid, send
        self._reply: list[str] = []
        self._latency_s = 0.0

    def ready(self, stages: dict[str, Stage]) -> None:
        self._send(wire.server_ready(self._uid))

    def speech(self, started: bool, at_s: float) -> None:
        pass

    def caption(self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None:
        if hypothesis.text:
            self._send(wire.whisper_fusion_segment(self._uid, hypothesis.text, False, round(latency_s, 3)))

    def said(self, turn: int, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None:
        self._latency_s, self._reply = latency_s, []
        if hypothesis.text:
            self._send(wire.whisper_fusion_segment(self._uid, hypothesis.text, True, round(latency_s, 3)))

    def tell(self, fact: turns.Command) -> None:
        if isinstance(fact, turns.BotSaid):
            self._reply.append(fact.text)
            if fact.last:
                self._send(wire.whisper_fusion_reply(self._uid, " ".join(filter(None, self._reply)), round(self._latency_s, 3)))
                self._reply = []
        elif isinstance(fact, turns.TurnFailed):
            self._send(wire.whisper_fusion_reply(self._uid, f"({fact.reason})", 0.0))

    def notice(self, text: str) -> None:
        pass  # its page has nowhere to show it

    def stage(self, stage: Stage) -> None:
        pass


class EventsView:
    """Our own clients: everything, as it happens (docs/wire.md)."""

    def __init__(self, handshake: wire.Handshake, send: Send, sample_rate: int) -> None:
        self._uid, self._send, self._rate = handshake.uid, send, sample_rate
        self._prefix = StablePrefix()

    def _event(self, type: str, **fields: object) -> None:
        self._send(wire.event(self._uid, type, **fields))

    def ready(self, stages: dict[str, Stage]) -> None:
        shown = {name: _stage(stage) for name, stage in stages.items()}
        self._send(wire.server_ready(self._uid, sample_rate=self._rate, stages=shown))

    def speech(self, started: bool, at_s: float) -> None:
        self._event("speech_started" if started else "speech_stopped", at=round(at_s, 3))

    def caption(self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None:
        self._caption(hypothesis, start_s, end_s, final=False)

    def said(self, turn: int, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float) -> None:
        self._caption(hypothesis, start_s, end_s, final=True)
        self._prefix = StablePrefix()
        if hypothesis.text:
            self._event("turn", turn=turn, text=hypothesis.text)

    def _caption(self, hypothesis: Hypothesis, start_s: float, end_s: float, *, final: bool) -> None:
        stable, _ = self._prefix.update(hypothesis.text, final)
        sure = len(stable) if hypothesis.text.startswith(stable) else 0
        self._event("caption", text=hypothesis.text, stable=sure, final=final, start=round(start_s, 3), end=round(end_s, 3),
                    language=hypothesis.language)

    def tell(self, fact: turns.Command) -> None:
        if isinstance(fact, turns.BotSaid):
            self._event("reply", turn=fact.turn, index=fact.index, text=fact.text, last=fact.last, **({"cut": True} if fact.cut else {}))
        elif isinstance(fact, turns.BotCalled):
            self._event("call", turn=fact.turn, id=fact.id, name=fact.name, arguments=fact.arguments)
        elif isinstance(fact, turns.Played):
            self._event("spoken", turn=fact.turn, seconds=round(fact.seconds, 3), last=fact.last)
        elif isinstance(fact, turns.Interrupted):
            self._event("interrupted", turn=fact.turn, heard=fact.heard)
        elif isinstance(fact, turns.Heard):
            self._event("heard", turn=fact.turn, heard=fact.text)
        elif isinstance(fact, turns.TurnFailed):
            self._event("error", code=f"{fact.stage}_failed", message=fact.reason, turn=fact.turn)
        elif isinstance(fact, turns.Latency):
            self._event("latency", turn=fact.turn, stopped=_ms(fact.stopped_s), words=_ms(fact.words_s), decided=_ms(fact.decided_s),
                        first_token=_ms(fact.first_token_s), first_clause=_ms(fact.first_clause_s),
                        first_sound=_ms(fact.first_sound_s), reused=fact.reused)
        elif isinstance(fact, turns.HeardYou):
            self._event("heard_you", turn=fact.turn)
        elif isinstance(fact, turns.Answering):
            self._event("answering", turn=fact.turn, id=fact.id)
        elif isinstance(fact, turns.Thinking):
            self._event("thinking", turn=fact.turn)

    def notice(self, text: str) -> None:
        self._event("notice", text=text)

    def stage(self, stage: Stage) -> None:
        self._event("stage", name=stage.name, **_stage(stage))


def view_of(handshake: wire.Handshake, send: Send, sample_rate: int) -> View:
    if handshake.dialect is wire.Dialect.EVENTS:
        return EventsView(handshake, send, sample_rate)
    return FusionView(handshake, send) if handshake.dialect is wire.Dialect.WHISPER_FUSION else LiveView(handshake, send)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _stage(stage: Stage) -> dict[str, object]:
    return {"state": stage.state, "engine": stage.engine, "model": stage.model, "voices": list(stage.voices), "note": stage.note}


def _words(segments: tuple[Segment, ...], start_s: float) -> list[wire.LiveWord]:
    return [
        wire.LiveWord(word.text, start_s + word.start_s, start_s + word.end_s, word.probability)
        for segment in segments
        for word in segment.words
    ]
