"""When transcripts are requested: regularly while the user speaks, at once when the sound stops."""

from __future__ import annotations

from collections.abc import Iterable

from whisperfusion.audio import VAD_WINDOW, to_samples
from whisperfusion.turns.commands import (
    Command,
    RequestTranscript,
    StartTranscribing,
    StopTranscribing,
)
from whisperfusion.turns.endpointing import TAIL

# silence after which a transcript is requested, before the endpointer is sure that it is a pause
EARLY = TAIL


class TranscriptRequests:
    """Of one call. Positions and lengths are samples; `quiet` is the silence until now."""

    def __init__(self) -> None:
        self.transcribing = False
        self._last = 0  # position of the last request, or of the start of the utterance
        self._requested = False  # in this utterance

    def follow(self, commands: Iterable[Command], position: int, quiet: int) -> None:
        """The utterance starts or stops."""
        for command in commands:
            match command:
                case StartTranscribing():
                    self.transcribing, self._requested = True, False
                    self._last = position - quiet
                case StopTranscribing():
                    self.transcribing = False

    def sound_stops(self, quiet: int) -> bool:
        """Is this the window after which a transcript is requested at once?"""
        return self.transcribing and EARLY <= quiet < EARLY + VAD_WINDOW

    def urgent(self, position: int) -> RequestTranscript:
        self._requested, self._last = True, position
        return RequestTranscript(urgent=True)

    def regular(self, position: int, quiet: int, every_s: float) -> list[Command]:
        """While the user speaks."""
        if not self.transcribing or quiet or position - self._last < to_samples(every_s):
            return []
        self._requested, self._last = True, position
        return [RequestTranscript(urgent=False)]

    def at_pause(self, stopped_at: int, position: int) -> list[Command]:
        """Speech stopped: request the transcript, unless one that reaches to there was."""
        reaches = self._requested and self._last >= stopped_at + TAIL
        return [self.urgent(position)] if self.transcribing and not reaches else []
