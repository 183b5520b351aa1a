"""The dialects of clients on 6006: each view writes the same events in frames of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from whisperfusion.call.memory import Offer
from whisperfusion.engines import Hypothesis, Segment
from whisperfusion.messages import Stage
from whisperfusion.text.segmentation import StablePrefix
from whisperfusion.tools.client_servers import ListedTool
from whisperfusion.turns import commands as turns
from whisperfusion.turns.wait_estimate import WaitEstimate
from whisperfusion.wire import asr_events
from whisperfusion.wire import asr_socket as wire
from whisperfusion.wire.asr_events import to_json

Send = Callable[[str], None]


class View(Protocol):
    """What a call sends to its client. Times are seconds from the start of its audio; `language` is
    that of a turn, in a call whose turns may be in several.
    """

    def ready(
        self, stages: dict[str, Stage], listen_secret: str, memory: Offer | None = None
    ) -> None: ...
    def speech(self, started: bool, at_s: float) -> None: ...
    def interim_transcript(
        self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float
    ) -> None: ...
    def final_transcript(
        self,
        turn: int | None,
        hypothesis: Hypothesis,
        start_s: float,
        end_s: float,
        latency_s: float,
        language: str = "",
        speaker: str = "",
    ) -> None:
        """`turn` None: another voice than those that the call listens to, and so not a turn.
        `speaker` "" = not asked for, or not known.
        """

    def command(self, command: turns.Command) -> None: ...
    def notice(self, text: str) -> None: ...
    def waiting(self, turn: int, wait: WaitEstimate) -> None: ...
    def tools_listed(self, server: str, tools: tuple[ListedTool, ...], error: str) -> None: ...
    def stage(self, stage: Stage) -> None: ...
    def ended(self, reason: str, turn: int | None) -> None: ...


class WhisperLiveView:
    """WhisperLive: the list of segments, and nothing else."""

    def __init__(self, handshake: wire.Handshake, send: Send) -> None:
        self._uid, self._send = handshake.uid, send
        self._history = wire.SegmentHistory(handshake.send_last_n_segments)
        self._detect = handshake.language is None
        self._last: tuple[wire.LiveSegment, ...] = ()

    def ready(
        self, stages: dict[str, Stage], listen_secret: str, memory: Offer | None = None
    ) -> None:
        self._send(to_json(self._uid, asr_events.Ready()))

    def speech(self, started: bool, at_s: float) -> None:
        pass

    def interim_transcript(
        self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float
    ) -> None:
        self._report_language(hypothesis)
        self._show(
            self._history.partial(
                start_s, end_s, hypothesis.text, _words(hypothesis.segments, start_s)
            )
        )

    def final_transcript(
        self,
        turn: int | None,
        hypothesis: Hypothesis,
        start_s: float,
        end_s: float,
        latency_s: float,
        language: str = "",
        speaker: str = "",
    ) -> None:
        self._report_language(hypothesis)
        parts = [s for s in hypothesis.segments if s.text.strip()] or [
            Segment(0.0, end_s - start_s, hypothesis.text)
        ]
        shown: tuple[wire.LiveSegment, ...] = ()
        for part in parts if hypothesis.text else []:
            end = end_s if part is parts[-1] else start_s + part.end_s
            begin, words = start_s + part.start_s, _words((part,), start_s)
            shown = self._history.finish(begin, end, part.text, words, speaker)
        self._show(shown)

    def command(self, command: turns.Command) -> None:
        if isinstance(command, turns.TurnFailed):
            self._send(to_json(self._uid, asr_events.Warned(command.reason)))

    def notice(self, text: str) -> None:
        pass  # about replies, which this caller does not get

    def waiting(self, turn: int, wait: WaitEstimate) -> None:
        pass

    def tools_listed(self, server: str, tools: tuple[ListedTool, ...], error: str) -> None:
        pass

    def stage(self, stage: Stage) -> None:
        pass

    def ended(self, reason: str, turn: int | None) -> None:
        pass

    def _show(self, segments: tuple[wire.LiveSegment, ...]) -> None:
        # a repeated text restarts the idle clock of file clients
        if segments and segments != self._last:
            self._last = segments
            self._send(wire.whisper_live_segments(self._uid, segments))

    def _report_language(self, hypothesis: Hypothesis) -> None:
        if self._detect and hypothesis.language and hypothesis.language_probability > 0.5:
            self._detect = False
            self._send(
                wire.language(self._uid, hypothesis.language, hypothesis.language_probability)
            )


class WhisperFusionView:
    """The WhisperFusion page: one segment at a time, and whole replies."""

    def __init__(self, handshake: wire.Handshake, send: Send) -> None:
        self._uid, self._send = handshake.uid, send
        self._reply: list[str] = []
        self._latency_s = 0.0

    def ready(
        self, stages: dict[str, Stage], listen_secret: str, memory: Offer | None = None
    ) -> None:
        self._send(to_json(self._uid, asr_events.Ready(listen_secret=listen_secret)))

    def speech(self, started: bool, at_s: float) -> None:
        pass

    def interim_transcript(
        self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float
    ) -> None:
        if hypothesis.text:
            self._send(
                wire.whisper_fusion_segment(self._uid, hypothesis.text, False, round(latency_s, 3))
            )

    def final_transcript(
        self,
        turn: int | None,
        hypothesis: Hypothesis,
        start_s: float,
        end_s: float,
        latency_s: float,
        language: str = "",
        speaker: str = "",
    ) -> None:
        self._latency_s, self._reply = latency_s, []
        if hypothesis.text:
            self._send(
                wire.whisper_fusion_segment(self._uid, hypothesis.text, True, round(latency_s, 3))
            )

    def command(self, command: turns.Command) -> None:
        if isinstance(command, turns.ReplyText):
            self._reply = [*([] if command.afresh else self._reply), command.text]
            if command.last:
                self._send(
                    wire.whisper_fusion_reply(
                        self._uid, " ".join(filter(None, self._reply)), round(self._latency_s, 3)
                    )
                )
                self._reply = []
        elif isinstance(command, turns.TurnFailed):
            self._send(wire.whisper_fusion_reply(self._uid, f"({command.reason})", 0.0))

    def notice(self, text: str) -> None:
        pass  # its page has nowhere to show it

    def waiting(self, turn: int, wait: WaitEstimate) -> None:
        pass

    def tools_listed(self, server: str, tools: tuple[ListedTool, ...], error: str) -> None:
        pass

    def stage(self, stage: Stage) -> None:
        pass

    def ended(self, reason: str, turn: int | None) -> None:
        pass


class EventsView:
    """Our own clients: everything, as it happens (docs/wire.md)."""

    def __init__(self, handshake: wire.Handshake, send: Send, sample_rate: int) -> None:
        self._uid, self._send, self._rate = handshake.uid, send, sample_rate
        self._prefix = StablePrefix()

    def _event(self, event: asr_events.AsrEvent) -> None:
        self._send(to_json(self._uid, event))

    def ready(
        self, stages: dict[str, Stage], listen_secret: str, memory: Offer | None = None
    ) -> None:
        shown = {
            name: asr_events.StageState(
                stage.state, stage.engine, stage.model, stage.voices, stage.note
            )
            for name, stage in stages.items()
        }
        ready = asr_events.Ready(sample_rate=self._rate, stages=shown, listen_secret=listen_secret)
        self._event(replace(ready, **memory._asdict()) if memory else ready)

    def speech(self, started: bool, at_s: float) -> None:
        at = round(at_s, 3)
        self._event(asr_events.SpeechStarted(at) if started else asr_events.SpeechStopped(at))

    def interim_transcript(
        self, hypothesis: Hypothesis, start_s: float, end_s: float, latency_s: float
    ) -> None:
        self._transcript(hypothesis, start_s, end_s, final=False)

    def final_transcript(
        self,
        turn: int | None,
        hypothesis: Hypothesis,
        start_s: float,
        end_s: float,
        latency_s: float,
        language: str = "",
        speaker: str = "",
    ) -> None:
        ignored = turn is None
        self._transcript(hypothesis, start_s, end_s, final=True, speaker=speaker, ignored=ignored)
        self._prefix = StablePrefix()
        if hypothesis.text and turn is not None:
            self._event(asr_events.UserTurn(turn, hypothesis.text, language))

    def _transcript(
        self,
        hypothesis: Hypothesis,
        start_s: float,
        end_s: float,
        *,
        final: bool,
        speaker: str = "",
        ignored: bool = False,
    ) -> None:
        text = hypothesis.text
        stable, _ = self._prefix.update(text, final)
        sure = len(stable) if text.startswith(stable) else 0
        start, end = round(start_s, 3), round(end_s, 3)
        times = start, end, hypothesis.language
        self._event(asr_events.Transcript(text, sure, final, *times, speaker, ignored))

    def command(self, command: turns.Command) -> None:
        event = _event_of(command)
        if event is not None:
            self._event(event)

    def notice(self, text: str) -> None:
        self._event(asr_events.Notice(text))

    def waiting(self, turn: int, wait: WaitEstimate) -> None:
        self._event(asr_events.Waiting(turn, round(wait.seconds, 1), wait.reason))

    def tools_listed(self, server: str, tools: tuple[ListedTool, ...], error: str) -> None:
        shown = tuple(
            asr_events.ListedTool(
                one.name, one.own_name, one.description, one.parameters, one.read_only
            )
            for one in tools
        )
        self._event(asr_events.ToolsListed(server, shown, error or None))

    def stage(self, stage: Stage) -> None:
        shown = stage.state, stage.engine, stage.model, stage.voices, stage.note
        self._event(asr_events.StageChanged(stage.name, *shown))

    def ended(self, reason: str, turn: int | None) -> None:
        self._event(asr_events.CallEnded(reason, turn))


def _event_of(command: turns.Command) -> asr_events.AsrEvent | None:
    """What a client with `events` is sent of a command of the conversation; None = nothing."""
    match command:
        case turns.ReplyText(turn, index, text, last):
            how = command.cut, command.afresh, command.announced
            return asr_events.ReplyText(turn, index, text, last, *how)
        case turns.ReplyToolCall(turn, id, name, arguments):
            return asr_events.ToolCall(turn, id, name, arguments)
        case turns.ReplyToolUsed(turn, id, name, arguments, output, error, approval):
            return asr_events.ToolUsed(turn, id, name, arguments, output, error, approval)
        case turns.ReplyPlayed(turn, seconds, last):
            return asr_events.ReplyPlayed(turn, round(seconds, 3), last)
        case turns.ReplyInterrupted():
            return asr_events.ReplyInterrupted(command.turn, command.played_text)
        case turns.PlayedText(turn, text):
            return asr_events.PlayedText(turn, text)
        case turns.TurnFailed(turn, stage, reason):
            return asr_events.Failed(f"{stage}_failed", reason, turn)
        case turns.TurnAccepted(turn):
            return asr_events.TurnAccepted(turn)
        case turns.ReplyStarted(turn, id):
            return asr_events.ReplyStarted(turn, id)
        case turns.Thinking(turn):
            return asr_events.Thinking(turn)
        case turns.Latency():
            return _latency(command)
    return None


def _latency(took: turns.Latency) -> asr_events.Latency:
    return asr_events.Latency(
        took.turn,
        stopped=_ms(took.stopped_s),
        words=_ms(took.words_s),
        decided=_ms(took.decided_s),
        first_token=_ms(took.first_token_s),
        first_clause=_ms(took.first_clause_s),
        first_sound=_ms(took.first_sound_s),
        reused=took.reused,
        model=took.model,
    )


def view_of(handshake: wire.Handshake, send: Send, sample_rate: int) -> View:
    if handshake.dialect is wire.Dialect.EVENTS:
        return EventsView(handshake, send, sample_rate)
    return (
        WhisperFusionView(handshake, send)
        if handshake.dialect is wire.Dialect.WHISPER_FUSION
        else WhisperLiveView(handshake, send)
    )


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _words(segments: tuple[Segment, ...], start_s: float) -> list[wire.LiveWord]:
    return [
        wire.LiveWord(word.text, start_s + word.start_s, start_s + word.end_s, word.probability)
        for segment in segments
        for word in segment.words
    ]
