"""Decides for one call what is synthesized, which audio leaves when, and what is reported.

A reply comes as sentences with one ticket. Only its first sentence is synthesized before the
`Commit` (a preemptive one costs little if the reply is not wanted); the others wait for it, and no
audio leaves before. From then on a `Playout` paces the audio. If none of the reply has sounded when
the filler is due, the filler goes first. `Pause`, `Resume` and a newer ticket (`Cancel`) stop the
audio, go on with it, and flush it; what was played is reported to the recognizing process. An event
of an older ticket than the newest changes nothing. An opening that was heard in a reply that was
broken off right after it is not spoken again (whisperfusion/output/openings.py).

One method changes it: `receive(event, now)` gives the actions that follow, in order, and `wake_at`
is when to come back with `Wake`. `now` is seconds on any steady clock. Nothing is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from whisperfusion.messages import (
    CallEnded,
    Cancel,
    Commit,
    Failed,
    Pause,
    Resume,
    Sentence,
    SpeechOmitted,
    Ticket,
)
from whisperfusion.output.chunks import A, Tally
from whisperfusion.output.events import (
    Action,
    AudioMade,
    Event,
    FillerMade,
    ListenerChanged,
    NotifyClient,
    Playback,
    Prioritize,
    SendAudio,
    SentenceMade,
    SentenceRestarted,
    SynthesisFailed,
    Synthesize,
    SynthesizeFiller,
    Wake,
)
from whisperfusion.output.openings import Openings
from whisperfusion.output.playout import FILLER, Playout
from whisperfusion.text.reply_pieces import spoken_text

# how far ahead of real time a client may be: the longest that playback goes on after a Pause
LEAD_S = 0.2
# the same for a client that takes replies as they are made: more would fill memory
UNPACED_S = 60.0


@dataclass
class _Filler(Generic[A]):
    """The filler of a committed reply that has not sounded yet."""

    commit: Commit
    at: float  # when it is due, in seconds
    due: bool = False  # that was so, and its audio was not there yet
    audio: A | None = None


class ReplyPlayer(Generic[A]):
    """One call, from its start to its end; its audio has `rate` samples a second.

    `whole_replies`: the client takes each reply in one frame, and can neither pause nor resume.
    `paced` False: it takes audio as it is made, and is notified when all of it has left.
    """

    def __init__(self, rate: int, *, whole_replies: bool = False, paced: bool = True) -> None:
        self._whole, self._paced = whole_replies, paced
        lead_s = LEAD_S if paced else UNPACED_S
        self._playout: Playout[A] = Playout(rate, None if whole_replies else lead_s)
        self._playout_wake_at: float | None = None
        self._listening = self._ended = False
        self._committed: Ticket | None = None
        # a first sentence that was asked for before the commit
        self._preemptive: Sentence | None = None
        self._waiting: list[Sentence] = []  # the sentences behind it, until the commit
        self._filler: _Filler[A] | None = None
        self._openings = Openings()
        self._started: Ticket | None = None  # the reply that the client plays
        self._sent: Ticket | None = None  # the newest of which the client knows that all has left
        self._omitted: Ticket | None = None  # the newest of which a SpeechOmitted was reported

    # --- events and time -------------------------------------------------------------------------

    def receive(self, event: Event[A], now: float) -> list[Action[A]]:
        """The actions that follow from `event`, in order; after `CallEnded` there are none."""
        if self._ended or self._stale(event):
            return []
        actions = self._actions(event, now)
        return actions if self._ended else actions + self._released(now)

    @property
    def wake_at(self) -> float | None:
        """When `Wake` is due, in seconds; None: not before the next event."""
        filler_at = self._filler.at if self._filler and not self._filler.due else None
        return min(
            (at for at in (filler_at, self._playout_wake_at) if at is not None), default=None
        )

    @property
    def ticket(self) -> Ticket | None:
        """The newest reply that was committed, or has audio; None before the first."""
        return self._playout.ticket

    @property
    def tally(self) -> Tally:
        """What has become of the audio."""
        return self._playout.tally

    def _stale(self, event: Event[A]) -> bool:
        """Is it about a reply that a newer one has replaced?

        `Playout` itself knows of all other events.
        """
        newest = self._playout.ticket
        return (
            isinstance(event, (Sentence, Commit, SpeechOmitted))
            and newest is not None
            and event.ticket < newest
        )

    def _actions(self, event: Event[A], now: float) -> list[Action[A]]:
        match event:
            case Sentence():
                return self._sentence(event)
            case Commit():
                return self._commit(event, now)
            case AudioMade():
                self._playout.put(event.ticket, event.index, event.audio)
            case SentenceMade():
                self._playout.end(event.ticket, event.index, event.last)
            case SentenceRestarted():
                self._playout.restart(event.ticket, event.index)
            case Pause() | Resume() if not self._whole:
                return self._pause_or_resume(event, now)
            case Cancel():
                return self._cancel(event, now)
            case SynthesisFailed():
                return [Failed(event.ticket, "tts", event.reason)]
            case SpeechOmitted() if self._omitted != event.ticket:
                self._omitted = event.ticket
                return [event]
            case FillerMade():
                self._filler_made(event)
            case Wake():
                self._filler_due(now)
            case ListenerChanged():
                self._listening = event.present
            case CallEnded():
                self._end()
        return []

    # --- sentences and their commit --------------------------------------------------------------

    def _sentence(self, sentence: Sentence) -> list[Action[A]]:
        self._forget_before(sentence.ticket)
        if sentence.afresh:
            self._void_before(sentence)
        if sentence.index == 0 and self._openings.heard_again(sentence):
            self._playout.end(sentence.ticket, 0, False)
            return []
        if not self._is_first(sentence) and self._committed != sentence.ticket:
            self._waiting.append(sentence)
            return []
        return [self._synthesize(sentence)]

    def _is_first(self, sentence: Sentence) -> bool:
        """Is it the first of its reply that is spoken?"""
        return sentence.index == (1 if self._openings.left_out == sentence.ticket else 0)

    def _forget_before(self, ticket: Ticket) -> None:
        self._waiting = [one for one in self._waiting if not one.ticket < ticket]

    def _void_before(self, sentence: Sentence) -> None:
        """The sentences before this one were a thought: the rest of them is not played."""
        self._playout.skip(sentence.ticket, sentence.index)
        self._waiting = [one for one in self._waiting if one.ticket > sentence.ticket]
        if self._preemptive and self._preemptive.ticket == sentence.ticket:
            self._preemptive = None

    def _synthesize(self, sentence: Sentence) -> Synthesize:
        """The client waits for the first sentence of a committed reply: it is urgent."""
        text = spoken_text(sentence.text) if sentence.spoken is None else sentence.spoken
        if not self._listening:
            text = ""  # the text on the page alone is the reply
        first, committed = self._is_first(sentence), self._committed == sentence.ticket
        if first and not committed:
            self._preemptive = sentence
        return Synthesize(
            sentence.ticket,
            sentence.index,
            text,
            sentence.last,
            urgent=first and committed,
            language=sentence.language,
        )

    def _commit(self, commit: Commit, now: float) -> list[Action[A]]:
        actions: list[Action[A]] = []
        self._committed = commit.ticket
        self._playout.commit(commit.ticket)
        if self._preemptive and self._preemptive.ticket == commit.ticket:
            actions.append(Prioritize(commit.ticket, self._preemptive.index))
            self._preemptive = None
        waiting = [one for one in self._waiting if one.ticket == commit.ticket]
        self._waiting = [one for one in self._waiting if one.ticket > commit.ticket]
        actions += [self._synthesize(one) for one in waiting]
        self._filler = None
        if commit.filler and self._listening and not self._whole:
            self._filler = _Filler(commit, now + commit.filler_in_s)
            actions.append(SynthesizeFiller(commit.filler, commit.language))
        return actions

    # --- the filler ------------------------------------------------------------------------------

    def _filler_due(self, now: float) -> None:
        filler = self._filler
        if filler is not None and not filler.due and now >= filler.at:
            filler.due = True
            self._fill(filler)

    def _filler_made(self, made: FillerMade[A]) -> None:
        filler = self._filler
        if filler is not None and filler.commit.filler == made.text:
            filler.audio = made.audio
            if filler.due:
                self._fill(filler)

    def _fill(self, filler: _Filler[A]) -> None:
        """The reply is late: the filler goes first, now or when it has been made."""
        if not self._playout.awaited(filler.commit.ticket):
            self._filler = None
        elif filler.audio is not None:
            self._filler = None
            if len(filler.audio):
                self._playout.put(filler.commit.ticket, FILLER, filler.audio)
                self._playout.end(filler.commit.ticket, FILLER, False)

    # --- pause, resume, flush --------------------------------------------------------------------

    def _pause_or_resume(self, event: Pause | Resume, now: float) -> list[Action[A]]:
        if isinstance(event, Pause):
            self._playout.pause(event.ticket, now)
            return [NotifyClient(Playback.PAUSED, event.ticket.turn)]
        self._playout.resume(event.ticket, now)
        return [NotifyClient(Playback.RESUMED, event.ticket.turn)]

    def _cancel(self, event: Cancel, now: float) -> list[Action[A]]:
        actions: list[Action[A]] = []
        self._forget_before(event.ticket)
        if self._started is not None and self._started < event.ticket:
            actions.append(NotifyClient(Playback.FLUSHED, self._started.turn))
            self._started = None
        self._playout.cancel(event.ticket, now)
        return actions

    def _end(self) -> None:
        self._playout.close()
        self._ended = True
        self._waiting, self._filler, self._playout_wake_at = [], None, None

    # --- what leaves -----------------------------------------------------------------------------

    def _released(self, now: float) -> list[Action[A]]:
        """The audio that may leave, and what has been played."""
        actions: list[Action[A]] = []
        chunks = self._playout.release(now)
        if chunks and self._started != chunks[0].ticket:
            self._started = chunks[0].ticket
            actions.append(NotifyClient(Playback.STARTED, self._started.turn))
        if self._whole and chunks:
            actions.append(SendAudio(tuple(chunks)))
        else:
            actions += [SendAudio((chunk,)) for chunk in chunks]
        ticket = self._playout.ticket
        if ticket is not None and not self._paced and self._playout.all_sent:
            if self._sent != ticket:
                self._sent = ticket
                actions.append(NotifyClient(Playback.SENT, ticket.turn))
        for progress in self._playout.progress(now):
            self._openings.played(progress)
            if progress.index == 0 and progress.ticket == self._openings.left_out:
                continue  # it was not heard now
            actions.append(progress)
            if progress.last:
                actions.append(NotifyClient(Playback.ENDED, progress.ticket.turn))
                self._started = None
        if self._filler and not self._playout.silent(self._filler.commit.ticket):
            self._filler = None
        self._playout_wake_at = self._playout.wake_at(now)
        return actions
