"""Where a caller's audio comes from: a microphone, or a file that is sent as fast as it is taken.

They are told apart only by how much comes when. Live microphones go before files, and a
microphone that sends nothing is silent.
"""

from __future__ import annotations

from collections import deque

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW

FAST_S = 2.0  # a source this far ahead of real time is not a microphone
RECENT_S = 1.0  # in which that must be seen
GAP_S = 0.5  # a microphone that sends nothing for so long is taken to be silent


class AudioSource:
    """Two clocks: `now` may stand still while this process is paused, `wall` never does, for a
    sender goes on meanwhile.
    """

    def __init__(self) -> None:
        self._samples, self._began, self._last_at = 0, 0.0, 0.0
        self._recent: deque[tuple[float, int]] = deque()  # when frames came, and their samples
        self._burst = 0  # samples in them, when the last one came

    def received(self, samples: int, now: float, wall: float) -> None:
        """A frame."""
        self._began = self._began or wall
        self._last_at = now
        self._samples += samples
        self._recent.append((now, samples))
        self._burst += samples
        while self._recent[0][0] < now - RECENT_S:
            self._burst -= self._recent.popleft()[1]

    def ahead(self, wall: float) -> bool:
        """Is this a file rather than a microphone?

        It has sent more than the time that went by, and still does: a client that sends again what
        a lost connection did not deliver is ahead for good, but a microphone from then on.
        """
        return (
            self._burst / MICROPHONE_RATE >= FAST_S
            and self._samples / MICROPHONE_RATE - (wall - self._began) >= FAST_S
        )

    @property
    def silent_at(self) -> float:
        """When a microphone counts as silent, if nothing comes until then."""
        return self._last_at + GAP_S

    def missing(self, now: float) -> int:
        """Samples of silence that take the place of those that did not come: whole windows."""
        if now < self.silent_at:
            return 0
        self._last_at = now
        return int(GAP_S * MICROPHONE_RATE) // VAD_WINDOW * VAD_WINDOW
