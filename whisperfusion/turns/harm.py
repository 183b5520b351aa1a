"""The harm of replies that begin too early: how long the assistant sounds over a user who goes on.

What counts is sound over speech that had begun when the reply did, or began in its first moments
(`FIRST_S`): whoever speaks so soon does not answer what was heard. Speech over a reply later on is
an interruption or a backchannel, and no harm. Times are seconds on one clock.

`harm_of` compares spans of sound and of speech, wherever they come from. `HarmMeter` finds both in
a call's events and commands, so in a recorded call, too: sound as reported and paused, speech as
detected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whisperfusion.messages import Cancel, Pause, PlaybackProgress, Resume, Ticket
from whisperfusion.turns.commands import Command
from whisperfusion.turns.endpointing import START_S, STOP_S, SpeechStarted, SpeechStopped
from whisperfusion.turns.events import Event

FIRST_S = 1.0  # of a reply: as long as it takes to hear something and to answer it

Span = tuple[float, float]  # from, to


@dataclass(frozen=True)
class Harm:
    """`over_s` of sound over speech, by `starts` replies, in `call_s` of conversation."""

    over_s: float = 0.0
    starts: int = 0
    call_s: float = 0.0

    def __add__(self, other: Harm) -> Harm:
        return Harm(
            self.over_s + other.over_s, self.starts + other.starts, self.call_s + other.call_s
        )

    @property
    def ms_per_hour(self) -> float:
        return self.over_s * 1000 * 3600 / self.call_s if self.call_s else 0.0


def common_s(some: Iterable[Span], others: Sequence[Span]) -> float:
    """How long spans of both kinds last together; those of one kind do not overlap."""
    return sum(
        max(0.0, min(end, other_end) - max(begin, other_begin))
        for begin, end in some
        for other_begin, other_end in others
    )


def harm_of(replies: Iterable[Sequence[Span]], speech: Sequence[Span], call_s: float) -> Harm:
    """`replies`: the spans in which each of them sounded, in order; `speech`: the user's."""
    found = []
    for sound in replies:
        first = sound[0][0] if sound else 0.0
        going_on = [span for span in speech if span[0] <= first + FIRST_S]
        found.append(common_s(sound, going_on))
    return Harm(sum(found), sum(one > 0 for one in found), call_s)


class HarmMeter:
    """Of one call: `receive` each of its events with the commands that followed, in order."""

    def __init__(self) -> None:
        self._first_at: float | None = None
        self._now = 0.0
        self._replies: list[list[Span]] = []
        self._speech: list[Span] = []
        self._ticket: Ticket | None = None  # the reply that sounds, or did last
        self._over_to: Ticket | None = None  # replies before this one are cancelled
        self._paused: Ticket | None = None
        self._sounding: float | None = None  # since when
        self._speaking: float | None = None

    def receive(self, now: float, event: Event, commands: Iterable[Command]) -> None:
        self._first_at = now if self._first_at is None else self._first_at
        self._now = now
        if isinstance(event, PlaybackProgress):
            self._progress(event)
        for command in commands:
            self._command(command)

    @property
    def harm(self) -> Harm:
        """So far."""
        speech = [*self._speech, *self._open(self._speaking)]
        last = self._open(self._sounding)
        replies = [*self._replies[:-1], [*self._replies[-1], *last]] if last else self._replies
        return harm_of(replies, speech, self._now - (self._first_at or 0.0))

    def _open(self, since: float | None) -> list[Span]:
        return [] if since is None else [(since, self._now)]

    def _progress(self, progress: PlaybackProgress) -> None:
        ticket = progress.ticket
        if self._over_to is not None and ticket < self._over_to:
            return
        if progress.last:
            self._silent()
        elif ticket != self._ticket and progress.total_s:
            self._ticket = ticket
            self._replies.append([])
            self._sounding = None if self._paused == ticket else self._now

    def _silent(self) -> None:
        if self._sounding is not None:
            self._replies[-1].append((self._sounding, self._now))
            self._sounding = None

    def _command(self, command: Command) -> None:
        match command:
            case Pause(ticket):
                self._paused = ticket
                self._silent()
            case Resume(ticket):
                self._paused = None
                self._sounding = self._now if ticket == self._ticket else None
            case Cancel(ticket):
                self._over_to = ticket
                self._silent()
            case SpeechStarted():
                self._speaking = self._now - START_S
            case SpeechStopped() if self._speaking is not None:
                self._speech.append((self._speaking, max(self._speaking, self._now - STOP_S)))
                self._speaking = None
