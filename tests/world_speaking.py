"""The speaking process of the virtual world: the real `ReplyPlayer`, an engine that needs a random
time for each sentence, and a client with a loudspeaker.
"""

from __future__ import annotations

from collections import defaultdict

from room import OUR_WORD_S, SPOKEN, Stretch

from whisperfusion.messages import Cancel, Commit, PlaybackProgress, Ticket
from whisperfusion.output.chunks import Chunk
from whisperfusion.output.events import (
    AudioMade,
    FillerMade,
    ListenerChanged,
    NotifyClient,
    Playback,
    SendAudio,
    SentenceMade,
    Synthesize,
    SynthesizeFiller,
    Wake,
)
from whisperfusion.output.reply_player import ReplyPlayer
from whisperfusion.text.segmentation import words


class Speaking:
    """From its start until `kill`; what leaves too early or too late is a violation."""

    def __init__(self, world) -> None:
        self._world = world
        self._player: ReplyPlayer[list[int]] = ReplyPlayer(SPOKEN)
        self._alive, self._timer = True, 0
        self._committed: Ticket | None = None
        self._cancelled_to: Ticket | None = None
        self._left: dict[tuple[Ticket, int], int] = defaultdict(int)  # samples of a sentence
        self._play(ListenerChanged(True))

    def kill(self) -> None:
        self._alive = False
        self._world.room.loudspeaker.flush(self._world.now)

    def receive(self, message) -> None:
        """A message of another process."""
        if self._stale(message.ticket):
            return
        if isinstance(message, Commit):
            self._committed = message.ticket
        elif isinstance(message, Cancel):
            self._cancelled_to = message.ticket
        self._play(message)

    def _stale(self, ticket: Ticket) -> bool:
        return self._cancelled_to is not None and ticket < self._cancelled_to

    def _play(self, event) -> None:
        if not self._alive:
            return
        world = self._world
        for action in self._player.receive(event, world.now):
            match action:
                case Synthesize():
                    world.at(world.now + world.random.uniform(0.02, 0.2), self._made, action)
                case SynthesizeFiller(text):
                    world.at(world.now, self._play, FillerMade(text, audio_of(text)))
                case SendAudio((chunk,)):
                    self._leave(chunk)
                case NotifyClient(playback):
                    self._notify(playback)
                case PlaybackProgress():
                    world.send("tts", "asr", world.deliver, action)
        self._timer += 1
        if self._player.wake_at is not None:
            world.at(self._player.wake_at, self._wake, self._timer)

    def _wake(self, timer: int) -> None:
        if timer == self._timer:
            self._play(Wake())

    def _made(self, job: Synthesize) -> None:
        if not self._stale(job.ticket):
            self._play(AudioMade(job.ticket, job.index, audio_of(job.text)))
            self._play(SentenceMade(job.ticket, job.index, job.last))

    def _notify(self, playback: Playback) -> None:
        """What a client does on the events of port 8888."""
        loudspeaker, now = self._world.room.loudspeaker, self._world.now
        if playback is Playback.PAUSED:
            loudspeaker.pause(now)
        elif playback is Playback.RESUMED:
            loudspeaker.resume(now)
        elif playback is Playback.FLUSHED:
            loudspeaker.flush(now)

    def _leave(self, chunk: Chunk) -> None:
        if chunk.ticket != self._committed or self._stale(chunk.ticket):
            self._world.violations.append(
                f"{self._world.now}: {chunk.ticket} left; committed is {self._committed}, "
                f"cancelled is what is older than {self._cancelled_to}"
            )
        first = self._left[chunk.ticket, chunk.index]
        self._left[chunk.ticket, chunk.index] += len(chunk.audio)
        self._world.leaves(Stretch(chunk.at, chunk.ticket, chunk.index, first, len(chunk.audio)))


def audio_of(text: str) -> list[int]:
    """Our voice reads it: silence of the right length."""
    return [0] * round(len(words(text)) * OUR_WORD_S * SPOKEN)
