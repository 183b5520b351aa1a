"""Where speech begins, where it stops, and when a turn is over.

The input is one speech probability per window of 512 samples (32 ms at 16 kHz) and the silence that would end the
present turn, as far as it is known (fusion/core/patience.py). All positions are samples from the start of the caller's audio, so the
answer does not depend on how fast the audio arrives.

    probability >= START for START_S            -> SpeechStarted(at the first such window, minus the pre-roll)
    probability <  STOP  for stop_s             -> SpeechStopped(at the first such window)
    silence of SCORE_S                          -> ScoreDue: the end-of-turn model is asked, once a pause
    silence of what judge() said is needed      -> TurnEnded(sure=False)
    silence of patience_s                       -> TurnEnded(sure=True)
    speech of max_turn_s                        -> cut at the next dip: SpeechStopped, TurnEnded(sure=True)
"""

from __future__ import annotations

from dataclasses import dataclass

RATE = 16_000
WINDOW = 512

START, STOP = 0.5, 0.35  # Silero's own recommendation: leave speech 0.15 below the threshold that enters it
START_S = 0.08  # three windows: shorter than any word, longer than a click
PRE_ROLL_S = 0.3  # the soft start of a word lies before the detector is sure
STOP_S = 0.16  # longer than the closure of a plosive inside a word (about 0.1 s)
SCORE_S = 0.2  # where the end-of-turn model separates best (it drifts to "ended" with more silence)
TAIL = 2 * WINDOW  # samples after the last sound that the recognizer needs to get the last word right
FORCED_EXTRA_S = 5.0  # how long past max_turn_s a dip is waited for


@dataclass(frozen=True)
class SpeechStarted:
    at: int


@dataclass(frozen=True)
class SpeechStopped:
    at: int


@dataclass(frozen=True)
class ScoreDue:
    """The pause that began at `stopped_at` is long enough for the end-of-turn model."""

    stopped_at: int


@dataclass(frozen=True)
class TurnEnded:
    """`sure`: nothing that is still to be learned of this pause can keep the turn open."""

    at: int
    sure: bool


Event = SpeechStarted | SpeechStopped | ScoreDue | TurnEnded


def samples(seconds: float) -> int:
    return round(seconds * RATE)


class Endpoint:
    """One caller's speech, window by window. `patience_s` is the silence that always ends a turn."""

    def __init__(self, patience_s: float, max_turn_s: float = 60.0, stop_s: float = STOP_S) -> None:
        self.patience, self.max_turn, self.stop = samples(patience_s), samples(max_turn_s), samples(stop_s)
        self.position = 0  # samples seen
        self.speaking = False
        self._rising = 0  # samples of speech in a row while silent
        self._falling = 0  # samples of silence in a row while speaking
        self._started = 0  # where the present turn's speech began
        self._stopped: int | None = None  # where it stopped, while the turn is still open
        self._scored = False
        self._needed: int | None = None  # silence that ends the present turn, by judge()
        self._told = False  # that it was long enough
        self._heard_to = 0  # end of the last turn's speech: a pre-roll never reaches back over it

    def feed(self, probability: float) -> list[Event]:
        """Advance by one window."""
        self.position += WINDOW
        return self._while_speaking(probability) if self.speaking else self._while_silent(probability)

    def judge(self, silence_s: float | None) -> list[Event]:
        """How much silence ends the turn in the present pause; each call may find that it was enough. None = only `patience_s`."""
        self._needed, self._told = None if silence_s is None else samples(silence_s), False
        return self._enough()

    def _enough(self) -> list[Event]:
        if self._stopped is None or self._needed is None or self._told or self.position - self._stopped < self._needed:
            return []
        if self._rising:
            return []  # somebody may just be going on: three more windows will tell
        self._told = True
        return [TurnEnded(self.position, sure=False)]

    def end_turn(self) -> list[Event]:
        """The caller says that the turn is over (push to talk, end of audio)."""
        events: list[Event] = []
        if self.speaking:
            events.append(self._stop(self._cut()))
        if self._stopped is not None:
            events.append(self._close())
        return events

    def close_turn(self) -> None:
        """The conversation ended the turn itself: the present pause no longer belongs to one."""
        if not self.speaking and self._stopped is not None:
            self._close()

    @property
    def stopped_at(self) -> int | None:
        """Where speech stopped, while the turn is open and nobody speaks."""
        return self._stopped

    def _while_silent(self, probability: float) -> list[Event]:
        self._rising = self._rising + WINDOW if probability >= START else 0
        if self._rising >= samples(START_S):
            began = self.position - self._rising
            if self._stopped is None:
                self._started = began
            self.speaking, self._rising, self._falling = True, 0, 0
            self._stopped, self._needed = None, None
            return [SpeechStarted(max(self._heard_to, began - samples(PRE_ROLL_S)))]
        if self._stopped is None:
            return []
        silence = self.position - self._stopped
        if silence >= self.patience:
            return [self._close()]
        if silence >= samples(SCORE_S) and not self._scored:
            self._scored = True
            return [ScoreDue(self._stopped), *self._enough()]
        return self._enough()

    def _while_speaking(self, probability: float) -> list[Event]:
        self._falling = self._falling + WINDOW if probability < STOP else 0
        if self._falling >= self.stop:
            return [self._stop(self.position - self._falling)]
        length = self.position - self._started
        if length >= self.max_turn and (self._falling or length >= self.max_turn + samples(FORCED_EXTRA_S)):
            return [self._stop(self._cut()), self._close()]
        return []

    def _cut(self) -> int:
        """Where a stretch of speech that is cut by force counts as stopped: no tail will follow."""
        return max(self._started, self.position - TAIL)

    def _stop(self, at: int) -> SpeechStopped:
        self.speaking, self._stopped, self._scored, self._rising, self._needed = False, at, False, 0, None
        return SpeechStopped(at)

    def _close(self) -> TurnEnded:
        self._heard_to = self._stopped or 0
        self._stopped, self._needed = None, None
        return TurnEnded(self.position, sure=True)
