"""What a call needs from the process that it lives in, and what comes to it from the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, get_args

from whisperfusion.audio import Samples
from whisperfusion.call.audio_input import Transcription
from whisperfusion.call.speakers import SpeakerService
from whisperfusion.engines import ASROptions, Utterance, VADStream
from whisperfusion.messages import (
    CancelTimer,
    EndCall,
    Failed,
    PlaybackProgress,
    Sentence,
    SetTimer,
    Stage,
    Summarized,
    Ticket,
    ToolCalled,
    ToolFinished,
    ToolStarted,
    TurnLost,
)
from whisperfusion.settings import Settings
from whisperfusion.turns import commands as turns
from whisperfusion.turns.wait_estimate import WaitEstimate
from whisperfusion.written_language import WrittenLanguage

if TYPE_CHECKING:
    from whisperfusion.call.caller import Caller

# of other processes, about one call
Message = (
    Sentence
    | ToolCalled
    | ToolStarted
    | ToolFinished
    | SetTimer
    | CancelTimer
    | EndCall
    | Summarized
    | PlaybackProgress
    | Failed
)
MESSAGES = get_args(Message)

log = logging.getLogger("asr")


class Service(Protocol):
    """What a caller needs from the process it lives in."""

    settings: Settings
    languages: tuple[str, ...] | None  # that the recognizer knows; None = any
    written: WrittenLanguage
    stages: dict[str, Stage]
    sample_rate: int
    counts: turns.TurnCounts
    scored: bool  # there is an end-of-turn model
    speakers: SpeakerService | None  # None: they are not told apart

    def post(self, message: object) -> None: ...
    def create_utterance(self, options: ASROptions) -> Utterance: ...
    def create_utterances(self, options: ASROptions) -> tuple[Utterance, Utterance]: ...
    def create_detector(self) -> VADStream: ...
    def request_transcript(
        self, caller: Caller, transcription: Transcription, final: bool, live: bool
    ) -> None: ...
    def request_end_of_turn(self, caller: Caller, audio: Samples, stopped_at: int) -> None: ...
    def replied(self, latency: turns.Latency) -> None: ...
    def turn_lost(self, message: TurnLost) -> None: ...
    def estimate_wait(self) -> WaitEstimate | None: ...


def report(call: str, command: turns.Command, service: Service) -> None:
    """To the process, which counts what its callers wait for and lose; to the log, if it may
    have words.
    """
    match command:
        case turns.Latency():
            service.replied(command)
        case turns.TurnFailed(turn, stage, reason):
            service.turn_lost(TurnLost(Ticket(call, turn), stage, reason))
        case turns.UserTurnFinal(turn, text) if service.settings.log_words:
            log.info("%s, turn %d, user: %s", call, turn, text)
        case turns.ReplyText(turn, _, text) if service.settings.log_words and text:
            log.info("%s, turn %d, reply: %s", call, turn, text)
