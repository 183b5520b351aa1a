"""What the client of a call is sent of its turns: the events of the conversation, and the
transcript of what its user says.
"""

from __future__ import annotations

from functools import partial

from whisperfusion.audio import to_seconds
from whisperfusion.call.dialects import View
from whisperfusion.call.turn_speakers import TurnSpeakers
from whisperfusion.engines import Hypothesis
from whisperfusion.turns import commands as turns
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import SpeechStarted, SpeechStopped
from whisperfusion.turns.states import USER_STATES


class ClientEvents:
    """Keeps the newest transcript, `hypothesis`, until its turn is final; positions are samples of
    the call.
    """

    def __init__(
        self,
        view: View,
        conversation: Conversation,
        speakers: TurnSpeakers | None = None,
        *,
        tells_language: bool = False,
    ) -> None:
        self._view, self._conversation, self._speakers = view, conversation, speakers
        self._tells_language = tells_language
        self.hypothesis = Hypothesis("")
        self._began = 0
        self.transcribed_to = 0

    def utterance_started(self) -> None:
        self.hypothesis = Hypothesis("")

    def typed(self, text: str, at: int) -> None:
        self.hypothesis, self._began, self.transcribed_to = Hypothesis(text), at, at

    def transcribed(self, hypothesis: Hypothesis, began: int, upto: int, now: float) -> None:
        self.hypothesis, self._began, self.transcribed_to = hypothesis, began, upto
        if self._conversation.state in USER_STATES:
            self._view.interim_transcript(
                hypothesis, to_seconds(began), to_seconds(upto), self._latency_s(now)
            )

    def send(self, command: turns.Command, now: float) -> None:
        """`command`: one of CLIENT_EVENTS."""
        match command:
            case SpeechStarted(at):
                self._view.speech(True, to_seconds(at))
            case SpeechStopped(at):
                self._view.speech(False, to_seconds(at))
            case turns.UserTurnFinal() | turns.SpeechIgnored():
                turn = command.turn if isinstance(command, turns.UserTurnFinal) else None
                text = command.text
                hypothesis = self.hypothesis if text else Hypothesis("")
                start, end = to_seconds(self._began), to_seconds(self.transcribed_to)
                told = self._conversation.options.language if self._tells_language else None
                spoken = turn, hypothesis, start, end, self._latency_s(now), told or ""
                if self._speakers is not None and text:
                    self._speakers.end_turn(partial(self._view.final_transcript, *spoken))
                    return
                if self._speakers is not None:
                    self._speakers.drop()
                self._view.final_transcript(*spoken)
            case _:
                self._view.command(command)

    def _latency_s(self, now: float) -> float:
        return max(0.0, now - self._conversation.speech_ended_at)
