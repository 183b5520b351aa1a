"""A caller's microphone: samples in, endpoint events out, and the utterance that the recognizer reads.

The detector runs on the event loop (0.1 ms for each 32 ms of audio). Recognition runs in an engine
thread: `Hearing` is where the two meet. The loop appends audio, a job takes all that has come; so a job
that waited in the mailbox never works on old audio, and none is lost when a newer job replaces it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from fusion.core.endpoint import RATE, WINDOW, Endpoint, Event, samples
from fusion.engines import Hypothesis, Utterance, VADStream

KEPT_S = 10.0  # the end-of-turn model reads 8 s; the pre-roll reaches back 0.4 s
STEP = samples(8.0)  # a recognizer gets at most this much at once
PARTIAL_S = 0.4  # new audio between two partial transcriptions
EARLY_S = 0.096  # silence after which the words are asked for, before the endpoint is sure


class Hearing:
    """One utterance from sample `began` on. `pending` is shared with an engine thread; deque operations are atomic."""

    def __init__(self, utterance: Utterance, began: int) -> None:
        self._utterance = utterance
        self.began = began
        self.pending: deque[np.ndarray] = deque()
        self.taken_to = began  # written by the engine thread only
        self.language_told = False

    def transcribe(self) -> tuple[Hypothesis, int] | None:
        """In an engine thread: hear all that has come. None when nothing has."""
        parts = [self.pending.popleft() for _ in range(len(self.pending))]
        if not parts:
            return None
        audio = np.concatenate(parts)
        self.taken_to += len(audio)
        hypothesis = Hypothesis("")
        for start in range(0, len(audio), STEP):
            hypothesis = self._utterance.hear(audio[start : start + STEP])
        return hypothesis, self.taken_to


class Ear:
    """Windows, detector, endpoint and the last seconds of audio of one caller."""

    def __init__(self, detector: VADStream | None, endpoint: Endpoint) -> None:
        self._detector, self.endpoint = detector, endpoint
        self._rest = np.zeros(0, np.float32)
        self._kept: deque[np.ndarray] = deque(maxlen=samples(KEPT_S) // WINDOW)
        self.hearing: Hearing | None = None
        self.asked_at = 0  # position of the last request for words
        self._quiet = 0  # samples of silence in a row

    @property
    def position(self) -> int:
        return self.endpoint.position

    def windows(self, pcm: np.ndarray) -> list[np.ndarray]:
        """Cut samples into windows; what is left over waits for more."""
        joined = np.concatenate((self._rest, pcm))
        whole = len(joined) - len(joined) % WINDOW
        self._rest = joined[whole:]
        return [joined[i : i + WINDOW] for i in range(0, whole, WINDOW)]

    def last_window(self) -> list[np.ndarray]:
        """The left-over samples, filled up with silence."""
        return self.windows(np.zeros(WINDOW - len(self._rest), np.float32)) if len(self._rest) else []

    def feed(self, window: np.ndarray) -> list[Event]:
        probability = 1.0 if self._detector is None else self._detector.probability(window)
        self._kept.append(window)
        if self.hearing is not None:
            self.hearing.pending.append(window)
        self._quiet = 0 if probability >= 0.35 else self._quiet + WINDOW
        return self.endpoint.feed(probability)

    def start_hearing(self, utterance: Utterance, at: int) -> None:
        count = -(-(self.position - at) // WINDOW)
        windows = list(self._kept)[-count:] if count > 0 else []
        self.hearing = Hearing(utterance, self.position - len(windows) * WINDOW)
        self.hearing.pending.extend(windows)
        self.asked_at = self.position

    def stop_hearing(self) -> None:
        self.hearing = None
        self.endpoint.close_turn()

    def wants_words(self) -> tuple[bool, bool]:
        """(ask now, urgently): regularly while somebody speaks, at once when the sound stops."""
        if self.hearing is None:
            return False, False
        new = self.position - self.asked_at
        stopping = self.endpoint.speaking and samples(EARLY_S) <= self._quiet < samples(EARLY_S) + WINDOW
        regular = self.endpoint.speaking and not self._quiet and new >= samples(PARTIAL_S)
        if stopping or regular:
            self.asked_at = self.position
        return stopping or regular, stopping

    def turn_audio(self) -> np.ndarray:
        """The last seconds, for the end-of-turn model: [samples] at 16 kHz, this turn only, the pause included."""
        audio: list[Any] = list(self._kept)
        if self.hearing is not None:
            audio = audio[-max(1, (self.position - self.hearing.began) // WINDOW) :]
        return np.concatenate(audio)


def seconds(at: int) -> float:
    return at / RATE
