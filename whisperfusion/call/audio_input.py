"""A caller's audio input: samples in, speech probabilities out, and the utterance that is being
transcribed.

The detector runs on the event loop (0.1 ms for each 32 ms of audio), recognition in engine threads;
a `Transcription` is where they meet. The loop appends audio, a job collects all that has come: one
that waited in the mailbox never works on old audio, and none is lost when a newer job replaces it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from whisperfusion.audio import VAD_WINDOW, Samples, to_samples
from whisperfusion.engines import Utterance, VADStream

KEPT_S = 10.0  # the end-of-turn model reads 8 s; the pre-roll reaches back 0.4 s


class Transcription:
    """One utterance from sample `began` on, decoded twice: by interim passes, and by those that may
    be its last.

    So a final transcript never waits for an interim pass that was begun before. Each has its own
    engine thread; audio is shared with it in a deque, whose operations are atomic.
    """

    def __init__(self, interim: Utterance, final: Utterance, began: int) -> None:
        self.began = began
        # when a final transcript was last requested: an interim one that was requested before is
        # of no use
        self.requested_at = 0.0
        self._passes = {True: _Pass(final, began), False: _Pass(interim, began)}

    def accept_audio(self, windows: Iterable[Samples]) -> None:
        for window in windows:
            for one in self._passes.values():
                one.pending.append(window)

    def collect(self, final: bool) -> tuple[Utterance, Samples, int] | None:
        """In the engine thread of `final`: the utterance, the audio that has come, and the position
        up to which that is; None when none has.
        """
        one = self._passes[final]
        parts = [one.pending.popleft() for _ in range(len(one.pending))]
        if not parts:
            return None
        one.collected_to += sum(map(len, parts))
        return one.utterance, np.concatenate(parts), one.collected_to


class _Pass:
    def __init__(self, utterance: Utterance, began: int) -> None:
        self.utterance = utterance
        self.pending: deque[Samples] = deque()
        self.collected_to = began  # written by the engine thread only


class AudioInput:
    """Windows, detector and the last seconds of audio of one caller.

    `detector` None: everything counts as speech.
    """

    def __init__(self, detector: VADStream | None) -> None:
        self._detector = detector
        self._rest: Samples = np.zeros(0, np.float32)
        self._kept: deque[Samples] = deque(maxlen=to_samples(KEPT_S) // VAD_WINDOW)
        self.transcription: Transcription | None = None
        self.position = 0  # samples received

    def windows(self, pcm: Samples) -> list[Samples]:
        """Cut samples into windows; what is left over waits for more."""
        joined = np.concatenate((self._rest, pcm)) if len(self._rest) else pcm
        whole = len(joined) - len(joined) % VAD_WINDOW
        self._rest = joined[whole:]
        return list(joined[:whole].reshape(-1, VAD_WINDOW))

    def last_window(self) -> list[Samples]:
        """The left-over samples, filled up with silence."""
        return (
            self.windows(np.zeros(VAD_WINDOW - len(self._rest), np.float32))
            if len(self._rest)
            else []
        )

    def feed(self, window: Samples) -> float:
        """The probability that `window` is speech."""
        self.position += VAD_WINDOW
        self._kept.append(window)
        if self.transcription is not None:
            self.transcription.accept_audio([window])
        return 1.0 if self._detector is None else self._detector.probability(window)

    def start_transcription(self, interim: Utterance, final: Utterance, at: int) -> None:
        count = -(-(self.position - at) // VAD_WINDOW)
        windows = list(self._kept)[-count:] if count > 0 else []
        self.transcription = Transcription(
            interim, final, self.position - len(windows) * VAD_WINDOW
        )
        self.transcription.accept_audio(windows)

    def stop_transcription(self) -> None:
        self.transcription = None

    def clear(self) -> None:
        """The call is over: none of its audio is kept."""
        self._kept.clear()
        self._rest = np.zeros(0, np.float32)
        self.transcription = None

    def turn_audio(self) -> Samples:
        """The last seconds, for the end-of-turn model: [samples] at 16 kHz, this turn only, the
        pause included.
        """
        audio: list[Any] = list(self._kept)
        if self.transcription is not None:
            audio = audio[-max(1, (self.position - self.transcription.began) // VAD_WINDOW) :]
        return np.concatenate(audio)
