"""How far ahead of its playback a Realtime client is sent the audio of a response.

A client of this protocol plays all that it was sent: it is told of an interruption only when the
words are known, and never of a pause. So what was sent ahead is what is still heard after the call
has paused, and it should be little. What it must be is long enough for the line: audio that comes
late is a gap. The line is known by the microphone's frames, which should come as regularly as they
were recorded; their jitter is estimated as RTP does it (RFC 3550, 6.4.1), and the lead is
`LEAD_S` on a line without any and `MOST_S` on one that is slow or unknown. Audio that this process
was late with makes the lead of the rest of the session longer too.

Nothing here waits: `now` is seconds on any steady clock, `due` is when `next_piece` has something.
"""

from __future__ import annotations

from whisperfusion.audio import SPEECH_RATE

BYTES_PER_S = 2 * SPEECH_RATE  # s16
LEAD_S, MOST_S = 0.06, 0.2  # the call itself is at most so far ahead
PIECES = 2  # in a lead: between a half and all of it is ahead
PER_JITTER = 4.0  # seconds of lead for a second of jitter: few frames are later than that
UNKNOWN_S = (MOST_S - LEAD_S) / PER_JITTER  # jitter of a line of which nothing was received
SMOOTHING = 16  # RFC 3550
PAUSE_S = 0.5  # a microphone that sent nothing for so long was off
LATE = 1.5  # how much longer the lead gets by audio that was late
LATE_S = 0.01  # of silence, from which on it was


class Line:
    """How regularly audio comes from a client."""

    def __init__(self) -> None:
        self.jitter_s = UNKNOWN_S
        self._last: tuple[float, float] | None = None  # when a frame came, and its length

    def received(self, seconds: float, now: float) -> None:
        """A frame of the microphone."""
        last, self._last = self._last, (now, seconds)
        if last is None or now - last[0] > PAUSE_S:
            return
        # a frame leaves when its last sample was recorded
        difference = abs(now - last[0] - seconds)
        self.jitter_s += (difference - self.jitter_s) / SMOOTHING


class Pacing:
    """Audio of one session's responses on its way, s16 at 24 kHz."""

    def __init__(self) -> None:
        self.line = Line()
        self._waiting = bytearray()
        self._played_at = 0.0  # when the client has played all that it was sent
        self._paused = self._flowing = False
        self._least_s = LEAD_S

    @property
    def lead_s(self) -> float:
        return min(MOST_S, max(self._least_s, LEAD_S + PER_JITTER * self.line.jitter_s))

    def ahead_s(self, now: float) -> float:
        """What the client has been sent and not played yet."""
        return max(0.0, self._played_at - now)

    def put(self, pcm: bytes) -> None:
        self._waiting += pcm

    def pause(self) -> None:
        self._paused, self._flowing = True, False

    def resume(self) -> None:
        self._paused = False

    def clear(self) -> bytes:
        """What has not left never will, or at once."""
        rest, self._waiting = bytes(self._waiting), bytearray()
        self._paused = self._flowing = False
        return rest

    def due(self, now: float) -> float | None:
        """When the next piece may leave (not before `now`); None: not before there is more."""
        if self._paused or not self._waiting:
            return None
        length = min(self._piece, len(self._waiting)) / BYTES_PER_S
        return max(now, self._played_at + length - self.lead_s)

    @property
    def _piece(self) -> int:
        """Bytes that leave at once."""
        return round(self.lead_s / PIECES * SPEECH_RATE) * 2

    def next_piece(self, now: float) -> bytes:
        """b"": none may leave now."""
        due = self.due(now)
        if due is None or due > now:
            return b""
        if self._flowing and now - self._played_at > LATE_S:
            self._least_s = min(MOST_S, self.lead_s * LATE)
        piece = bytes(self._waiting[: self._piece])
        del self._waiting[: len(piece)]
        # else the client runs dry because there is nothing: that is not the line's fault
        self._flowing = bool(self._waiting)
        self._played_at = max(now, self._played_at) + len(piece) / BYTES_PER_S
        return piece
