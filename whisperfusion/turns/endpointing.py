"""Where speech begins, where it stops, and when a turn is over.

The input is one speech probability per window of 512 samples (32 ms at 16 kHz) and the silence that
would end the present turn, as far as it is known (whisperfusion/turns/turn_detection.py). All
positions are samples from the start of the caller's audio, so the answer does not depend on how
fast the audio arrives.

    probability >= threshold for START_S    -> SpeechStarted(at the first such window, minus the
                                               prefix padding: a word's soft start lies before)
    probability well below it for stop_s    -> SpeechStopped(at the first such window)
    silence of TURN_DETECTION_S             -> TurnDetectionDue: ask the end-of-turn model, once in
                                               a pause
    silence that require() asked for        -> TurnEnded(sure=False)
    silence of max_silence_s                -> TurnEnded(sure=True)
    speech of max_turn_s                    -> cut at the next dip: SpeechStopped,
                                               TurnEnded(sure=True)
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.audio import VAD_WINDOW, to_samples
from whisperfusion.turns.options import Options

# with the default threshold; leaving speech 0.15 below it is Silero's own recommendation
START, STOP = 0.5, 0.35
START_S = 0.08  # three windows: shorter than any word, longer than a click
STOP_S = 0.16  # longer than the closure of a plosive inside a word (about 0.1 s)
# where the end-of-turn model separates best (it drifts to "ended" with more silence)
TURN_DETECTION_S = 0.2
# samples after the last sound that the recognizer needs to get the last word right
TAIL = 2 * VAD_WINDOW
FORCED_EXTRA_S = 5.0  # how long past max_turn_s a dip is waited for


@dataclass(frozen=True)
class SpeechStarted:
    at: int


@dataclass(frozen=True)
class SpeechStopped:
    at: int


@dataclass(frozen=True)
class SoundStopping:
    """There is silence since sample `at`, too short to be a pause yet."""

    at: int


@dataclass(frozen=True)
class TurnDetectionDue:
    """The pause that began at `stopped_at` is long enough for the end-of-turn model."""

    stopped_at: int


@dataclass(frozen=True)
class TurnEnded:
    """`sure`: nothing that is still to be learned of this pause can keep the turn open."""

    at: int
    sure: bool


EndpointerEvent = SpeechStarted | SpeechStopped | TurnDetectionDue | TurnEnded


class Endpointer:
    """One caller's speech, window by window. `options` are those of the call, at any time."""

    def __init__(self, options: Options, max_turn_s: float = 60.0, stop_s: float = STOP_S) -> None:
        self.options = options
        self.max_turn, self.stop = to_samples(max_turn_s), to_samples(stop_s)
        self.position = 0  # samples seen
        self.speaking = False
        self._rising = 0  # samples of speech in a row while silent
        self._falling = 0  # samples of silence in a row while speaking
        self._started = 0  # where the present turn's speech began
        self._stopped: int | None = None  # where it stopped, while the turn is still open
        self._detection_due = False
        self._needed: int | None = None  # silence that ends the present turn, by require()
        self._reported = False  # that it was long enough
        self._turn_ended_at = (
            0  # end of the last turn's speech: a pre-roll never reaches back over it
        )

    def sounding(self, probability: float) -> bool:
        """Does speech go on in a window of this probability?"""
        return probability >= self.options.vad_threshold - (START - STOP)

    def feed(self, probability: float) -> list[EndpointerEvent]:
        """Advance by one window."""
        self.position += VAD_WINDOW
        return (
            self._while_speaking(probability) if self.speaking else self._while_silent(probability)
        )

    def require(self, silence_s: float | None) -> list[EndpointerEvent]:
        """How much silence ends the turn in the present pause; each call may find that it was
        enough. None = only `max_silence_s`.
        """
        self._needed, self._reported = None if silence_s is None else to_samples(silence_s), False
        return self._enough()

    def _enough(self) -> list[EndpointerEvent]:
        if (
            self._stopped is None
            or self._needed is None
            or self._reported
            or self.position - self._stopped < self._needed
        ):
            return []
        if self._rising:
            return []  # the user may just be going on: three more windows will show
        self._reported = True
        return [TurnEnded(self.position, sure=False)]

    def end_turn(self) -> list[EndpointerEvent]:
        """The caller says that the turn is over (push to talk, end of audio)."""
        events: list[EndpointerEvent] = []
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
        """Where speech stopped, while the turn is open and the user is silent."""
        return self._stopped

    def _while_silent(self, probability: float) -> list[EndpointerEvent]:
        self._rising = self._rising + VAD_WINDOW if probability >= self.options.vad_threshold else 0
        if self._rising >= to_samples(START_S):
            began = self.position - self._rising
            if self._stopped is None:
                self._started = began
            self.speaking, self._rising, self._falling = True, 0, 0
            self._stopped, self._needed = None, None
            padding = to_samples(self.options.prefix_padding)
            return [SpeechStarted(max(self._turn_ended_at, began - padding))]
        if self._stopped is None:
            return []
        silence = self.position - self._stopped
        if silence >= to_samples(self.options.max_silence_s):
            return [self._close()]
        if silence >= to_samples(TURN_DETECTION_S) and not self._detection_due:
            self._detection_due = True
            return [TurnDetectionDue(self._stopped), *self._enough()]
        return self._enough()

    def _while_speaking(self, probability: float) -> list[EndpointerEvent]:
        self._falling = self._falling + VAD_WINDOW if not self.sounding(probability) else 0
        if self._falling >= self.stop:
            return [self._stop(self.position - self._falling)]
        length = self.position - self._started
        if length >= self.max_turn and (
            self._falling or length >= self.max_turn + to_samples(FORCED_EXTRA_S)
        ):
            return [self._stop(self._cut()), self._close()]
        return []

    def _cut(self) -> int:
        """Where a stretch of speech that is cut by force counts as stopped: no tail will follow."""
        return max(self._started, self.position - TAIL)

    def _stop(self, at: int) -> SpeechStopped:
        self.speaking, self._stopped, self._detection_due, self._rising, self._needed = (
            False,
            at,
            False,
            0,
            None,
        )
        return SpeechStopped(at)

    def _close(self) -> TurnEnded:
        self._turn_ended_at = self._stopped or 0
        self._stopped, self._needed = None, None
        return TurnEnded(self.position, sure=True)
