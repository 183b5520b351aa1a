"""A caller's microphone: samples in, speech probabilities out, and the utterance that the recognizer reads.

The detector runs on the event loop (0.1 ms for each 32 ms of audio). Recognition runs in an engine
thread: `Hearing` is where the two meet. The loop appends audio, a job takes all that has come; so a job
that waited in the mailbox never works on old audio, and none is lost when a newer job replaces it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from fusion.core.endpoint import RATE, WINDOW, samples
from fusion.engines import Utterance, VADStream

KEPT_S = 10.0  # the end-of-turn model reads 8 s; the pre-roll reaches back 0.4 s


class Hearing:
    """One utterance from sample `began` on, read twice: by passes on the way, and by those that may be its last.

    So nobody's last words wait for a pass that was begun before them. Each way has its own engine thread; what has come
    is shared with it in a deque, whose operations are atomic.
    """

    def __init__(self, partial: Utterance, final: Utterance, began: int) -> None:
        self.began = began
        self.asked_at = 0.0  # when final words were last asked for: a partial pass that was asked for before is of no use
        self._ways = {True: _Way(final, began), False: _Way(partial, began)}

    def hear(self, windows: Iterable[np.ndarray]) -> None:
        for window in windows:
            for way in self._ways.values():
                way.pending.append(window)

    def take(self, final: bool) -> tuple[Utterance, np.ndarray, int] | None:
        """In the engine thread of `final`: who hears, what has come, and up to where that is. None when nothing has."""
        way = self._ways[final]
        parts = [way.pending.popleft() for _ in range(len(way.pending))]
        if not parts:
            return None
        way.taken_to += sum(map(len, parts))
        return way.utterance, np.concatenate(parts), way.taken_to


class _Way:
    def __init__(self, utterance: Utterance, began: int) -> None:
        self.utterance = utterance
        self.pending: deque[np.ndarray] = deque()
        self.taken_to = began  # written by the engine thread only


class Ear:
    """Windows, detector and the last seconds of audio of one caller. `detector` None: everything counts as speech."""

    def __init__(self, detector: VADStream | None) -> None:
        self._detector = detector
        self._rest = np.zeros(0, np.float32)
        self._kept: deque[np.ndarray] = deque(maxlen=samples(KEPT_S) // WINDOW)
        self.hearing: Hearing | None = None
        self.position = 0  # samples heard

    def windows(self, pcm: np.ndarray) -> list[np.ndarray]:
        """Cut samples into windows; what is left over waits for more."""
        joined = np.concatenate((self._rest, pcm))
        whole = len(joined) - len(joined) % WINDOW
        self._rest = joined[whole:]
        return [joined[i : i + WINDOW] for i in range(0, whole, WINDOW)]

    def last_window(self) -> list[np.ndarray]:
        """The left-over samples, filled up with silence."""
        return self.windows(np.zeros(WINDOW - len(self._rest), np.float32)) if len(self._rest) else []

    def feed(self, window: np.ndarray) -> float:
        """The probability that `window` is speech."""
        self.position += WINDOW
        self._kept.append(window)
        if self.hearing is not None:
            self.hearing.hear([window])
        return 1.0 if self._detector is None else self._detector.probability(window)

    def start_hearing(self, partial: Utterance, final: Utterance, at: int) -> None:
        count = -(-(self.position - at) // WINDOW)
        windows = list(self._kept)[-count:] if count > 0 else []
        self.hearing = Hearing(partial, final, self.position - len(windows) * WINDOW)
        self.hearing.hear(windows)

    def stop_hearing(self) -> None:
        self.hearing = None

    def turn_audio(self) -> np.ndarray:
        """The last seconds, for the end-of-turn model: [samples] at 16 kHz, this turn only, the pause included."""
        audio: list[Any] = list(self._kept)
        if self.hearing is not None:
            audio = audio[-max(1, (self.position - self.hearing.began) // WINDOW) :]
        return np.concatenate(audio)


def seconds(at: int) -> float:
    return at / RATE
