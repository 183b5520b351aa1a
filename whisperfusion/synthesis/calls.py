"""What the speaking process keeps of each call, and what it has counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.messages import CallStarted, Metrics
from whisperfusion.output.chunks import Tally
from whisperfusion.output.events import ListenerChanged, NotifyClient, Playback
from whisperfusion.output.reply_player import ReplyPlayer
from whisperfusion.synthesis.listeners import Listener
from whisperfusion.synthesis.pairing import Proof
from whisperfusion.wire import tts_events


@dataclass
class Call:
    """A call, the client that listens to it, and the player of its replies.

    Audio is float32 [samples] at 24 kHz.
    """

    started: CallStarted
    listener: Listener | None = None
    # the best that a listener of this call has shown: less is not enough any more
    proven: Proof = Proof.NONE
    player: ReplyPlayer[Samples] = field(init=False)
    # languages that no voice speaks, which the caller knows
    unvoiced: set[str] = field(default_factory=set)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.player = self._new_player()

    def _new_player(self) -> ReplyPlayer[Samples]:
        started = self.started
        return ReplyPlayer(SPEECH_RATE, whole_replies=started.whole_replies, paced=started.paced)

    def break_off(self, now: float) -> None:
        """The reply at hand is lost; the next one is not."""
        self.stop()
        self.player = self._new_player()
        self.player.receive(ListenerChanged(self.listener is not None), now)

    def send(self, parts: list[Samples]) -> None:
        """One frame of audio to the client, if any listens."""
        if self.listener is not None:
            self.listener.audio(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def notify(self, notice: NotifyClient) -> None:
        if self.listener is not None:
            self.listener.event(_event(notice))

    def wake(self, loop: asyncio.AbstractEventLoop, again: Callable[[], object]) -> None:
        """Call `again` when the player wants to be woken."""
        self.stop()
        at = self.player.wake_at
        self._timer = loop.call_at(at, again) if at is not None else None

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _event(notice: NotifyClient) -> tts_events.TtsEvent:
    match notice.playback:
        case Playback.STARTED:
            return tts_events.AudioStarted(notice.turn)
        case Playback.PAUSED:
            return tts_events.Paused()
        case Playback.RESUMED:
            return tts_events.Resumed()
        case Playback.FLUSHED:
            return tts_events.Flushed(notice.turn)
        case Playback.SENT:
            return tts_events.AudioSent(notice.turn)
        case Playback.ENDED:
            return tts_events.AudioEnded(notice.turn)


class Counts:
    """What became of the audio that was made, in samples."""

    def __init__(self) -> None:
        self.ended = Tally()  # of the calls that are over
        self.lost = 0  # made for replies that were stale by then

    def metrics(self, calls: Iterable[Call], texts: int) -> Metrics:
        """`texts`: samples that were made of texts of clients."""
        tally = sum((call.player.tally for call in calls), self.ended)
        return Metrics(
            "tts",
            (
                ("tts_audio_seconds_total", (tally.made + self.lost + texts) / SPEECH_RATE),
                ("tts_audio_wasted_seconds_total", (tally.dropped + self.lost) / SPEECH_RATE),
                ("tts_underruns_total", tally.underruns),
                ("tts_underrun_seconds_total", tally.underrun / SPEECH_RATE),
            ),
        )
