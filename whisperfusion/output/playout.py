"""How the audio of one call leaves: kept until committed, paced, paused, dropped, and accounted
for.

Sentences are joined into one row of samples. `_sent` counts what has left, `_run` is the playing
clock: samples since the first of it left. It stands still while the stream is paused, and is set
back after an underrun, in which the client is silent too. Audio leaves while it is no more than
`lead_s` ahead of that clock, so an interruption silences any client within the lead, and what was
played is known.

The caller asks, after each change and at `wake_at`: `release` and sends what it gives, `progress`
and reports what it gives, then `wake_at` for its one timer. `now` is seconds on any steady clock;
inside, time is counted in samples, so a timer that is set to `wake_at` is never early by a rounding
error. On `pause` the client stops and keeps what it has, on `resume` it goes on with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.messages import PlaybackProgress, Ticket
from whisperfusion.output.chunks import A, Chunk, Tally

CHUNK_S = 0.1  # the longest piece that leaves at once
FILLER = -1  # the index of what is played before the reply, when that is late
UNDERRUN_S = 0.02  # of silence where the reply should go on; shorter ones go unnoticed


@dataclass
class _Sentence(Generic[A]):
    waiting: deque[A] = field(default_factory=deque)
    total: int = 0  # samples made so far
    begins: int | None = None  # its place in the row of samples, once the first of it has left
    ended: bool = False
    full: bool = False  # no more audio of it is taken, though its end is still to come
    last: bool = False
    announced: bool = False


class Playout(Generic[A]):
    """One reply stream of one call.

    `lead_s` None: the listener takes a reply as a whole, in one `release`.
    """

    def __init__(self, rate: int = SPEECH_RATE, lead_s: float | None = 0.2) -> None:
        self._rate = rate
        self._lead = None if lead_s is None else round(lead_s * rate)
        self._chunk = max(
            1,
            round(CHUNK_S * rate) if self._lead is None else min(round(CHUNK_S * rate), self._lead),
        )
        self._ticket: Ticket | None = None
        self._tick = 0  # the newest `now`, in samples
        self._facts: list[PlaybackProgress] = []
        self._sentences: dict[int, _Sentence[A]] = {}
        self.tally = Tally()
        self._empty()

    def _empty(self) -> None:
        self.tally.dropped += sum(
            len(audio) for sentence in self._sentences.values() for audio in sentence.waiting
        )
        self._sentences = {}
        self._sending = self._playing = 0  # indices of the sentences that leave and that are played
        self._sent = self._run = 0
        # the tick at which sample 0 was played, or would have been without pauses and underruns
        self._zero = 0
        self._committed = self._paused = False

    # --- what comes in ---------------------------------------------------------------------------
    # A newer ticket empties the stream, an older one is ignored.

    def put(self, ticket: Ticket, index: int, chunk: A) -> None:
        """More audio of sentence `index`; sentences leave in the order of their indices, from 0.

        Ignored after its `end`.

        The filler comes before sentence 0, if nothing of the reply has left; otherwise it is
        ignored.
        """
        self.tally.made += len(chunk)
        current = self._current(ticket) and (index != FILLER or self._open_for_filler())
        sentence = (
            self._sentences.setdefault(index, _Sentence())
            if current and len(chunk)
            else _Sentence(ended=True)
        )
        if sentence.ended or sentence.full:
            self.tally.dropped += len(chunk)
        else:
            sentence.waiting.append(chunk)
            sentence.total += len(chunk)

    def _open_for_filler(self) -> bool:
        if self._sent == 0 and self._playing == 0:
            self._sending = self._playing = FILLER
        return self._playing == FILLER

    def end(self, ticket: Ticket, index: int, last: bool) -> None:
        """Sentence `index` is complete (without any audio, maybe); `last`: so is the reply."""
        if self._current(ticket):
            sentence = self._sentences.setdefault(index, _Sentence())
            sentence.ended, sentence.last = True, last

    def restart(self, ticket: Ticket, index: int) -> None:
        """Sentence `index` is made again from its beginning, if nothing of it has left. Else what
        was made is all of it: nothing is said twice.
        """
        sentence = self._sentences.get(index)
        if not self._current(ticket) or sentence is None or sentence.ended:
            return
        if sentence.begins is not None:
            sentence.full = True
            return
        self.tally.dropped += sum(len(audio) for audio in sentence.waiting)
        sentence.waiting.clear()
        sentence.total = 0

    def skip(self, ticket: Ticket, index: int) -> None:
        """The sentences before `index` are void: what has not left of them never will."""
        if not self._current(ticket):
            return
        for at in range(max(0, self._sending), index):
            sentence = self._sentences.setdefault(at, _Sentence())
            lost = sum(len(audio) for audio in sentence.waiting)
            sentence.waiting.clear()
            sentence.total -= lost
            sentence.ended = True
            self.tally.dropped += lost

    def commit(self, ticket: Ticket) -> None:
        """The audio of `ticket` may leave, that which is still to come too."""
        if self._current(ticket):
            self._committed = True

    def pause(self, ticket: Ticket, now: float) -> None:
        """Stop playback; `progress` then reports how far it came."""
        if self._current(ticket) and not self._paused:
            self._advance(now)
            self._collect()
            self._paused = True
            self._report_position()

    def resume(self, ticket: Ticket, now: float) -> None:
        """Go on where playback stopped."""
        if self._current(ticket) and self._paused:
            self._advance(now)
            self._paused = False
            self._zero = self._tick - self._run

    def cancel(self, ticket: Ticket, now: float) -> None:
        """Drop everything older than `ticket`; `progress` reports how far it came."""
        self._advance(now)
        self._current(ticket)

    def close(self) -> None:
        """The call is over: what has not left never will."""
        self._empty()

    # --- what goes out ---------------------------------------------------------------------------

    def release(self, now: float) -> list[Chunk[A]]:
        """The audio that may leave now, in order: nothing before the commit, and at most the
        lead ahead.
        """
        self._advance(now)
        released: list[Chunk[A]] = []
        while (due := self._next_due()) is not None and due <= self._tick:
            released.append(self._send())
        return released

    def progress(self, now: float) -> list[PlaybackProgress]:
        """Facts since last asked, about the reply's sentences: begun, finished, cut short.

        `total_s` is what has been made of the sentence: 0 only if it has no audio. `last` comes
        once, when all of the reply was played.
        """
        self._advance(now)
        self._collect()
        facts, self._facts = self._facts, []
        return facts

    def wake_at(self, now: float) -> float | None:
        """When `release` or `progress` will have something (not before `now`); None = not before
        the next event.
        """
        self._advance(now)
        if self._facts:
            return now
        due = [tick for tick in (self._next_due(), self._next_fact()) if tick is not None]
        return max(now, min(due) / self._rate) if due else None

    def silent(self, ticket: Ticket) -> bool:
        """Is `ticket` committed, and nothing of it has left or ended yet?"""
        return ticket == self._ticket and self._committed and self._sent == 0 and self._playing == 0

    def awaited(self, ticket: Ticket) -> bool:
        """Does the listener wait for the first audio of `ticket`?"""
        return self.silent(ticket) and not self._paused

    @property
    def all_sent(self) -> bool:
        """Has the last audio of the reply left?"""
        return (
            self._committed
            and self._complete()
            and not any(sentence.waiting for sentence in self._sentences.values())
        )

    @property
    def ticket(self) -> Ticket | None:
        """Whose audio this is; None before the first."""
        return self._ticket

    # --- the clock -------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        self._tick = max(self._tick, round(now * self._rate))
        if self._sent and not self._paused:
            self._run = self._tick - self._zero

    def _played(self) -> int:
        return min(self._sent, self._run)

    # --- sending ---------------------------------------------------------------------------------

    def _complete(self) -> bool:
        """Has every sentence of the reply been made?"""
        lasts = [index for index, sentence in self._sentences.items() if sentence.last]
        past = lasts[0] + 1 if lasts else 0
        return bool(lasts) and all(
            i in self._sentences and self._sentences[i].ended for i in range(self._playing, past)
        )

    def _next_due(self) -> int | None:
        """The tick at which the next chunk may leave."""
        size = self._next_size()
        if size is None or not self._committed or self._paused:
            return None
        if self._lead is None:
            return self._tick if self._complete() else None
        if self._run >= self._sent:
            return self._tick
        return max(self._tick, self._zero + self._sent + size - self._lead)

    def _next_size(self) -> int | None:
        """Samples of the next chunk; None if there is no audio.

        Steps over sentences that are done.
        """
        while (sentence := self._sentences.get(self._sending)) is not None:
            if sentence.waiting:
                return (
                    len(sentence.waiting[0])
                    if self._lead is None
                    else min(self._chunk, len(sentence.waiting[0]))
                )
            if not sentence.ended:
                return None
            self._sending += 1
        return None

    def _send(self) -> Chunk[A]:
        size = self._next_size()
        assert size is not None and self._ticket is not None
        sentence = self._sentences[self._sending]
        if self._run >= self._sent:  # the first audio (also after an underrun) is played now
            # what follows a filler was expected to be late
            if self._sending > 0 or sentence.begins is not None:
                self._count_underrun(self._run - self._sent)
            self._zero, self._run = self._tick - self._sent, self._sent
        audio = sentence.waiting.popleft()
        if size < len(audio):
            sentence.waiting.appendleft(audio[size:])
        if sentence.begins is None:
            sentence.begins = self._sent
        chunk = Chunk(
            self._ticket,
            self._sending,
            audio[:size] if size < len(audio) else audio,
            (self._zero + self._sent) / self._rate,
            self._sent,
        )
        self._sent += size
        return chunk

    def _count_underrun(self, length: int) -> None:
        if self._sent and length >= UNDERRUN_S * self._rate:
            self.tally.underruns += 1
            self.tally.underrun += length

    # --- reporting -------------------------------------------------------------------------------

    def _steps(self) -> Iterator[tuple[int, bool]]:
        """The facts to come that are certain: (position at which each becomes true, does it end
        a sentence).
        """
        sentence = self._sentences.get(self._playing)
        if sentence is None or self._paused or not self._committed:
            return
        if sentence.begins is not None and sentence.total and not sentence.announced:
            yield sentence.begins, False
        if sentence.ended and not sentence.waiting:
            yield (0 if sentence.begins is None else sentence.begins + sentence.total), True

    def _next_fact(self) -> int | None:
        step = next(self._steps(), None)
        if step is None:
            return None
        return self._tick if step[0] <= self._played() else max(self._tick, self._zero + step[0])

    def _collect(self) -> None:
        """Note every fact that has become true."""
        while (step := next(self._steps(), None)) is not None and step[0] <= self._played():
            sentence = self._sentences[self._playing]
            if not step[1]:
                sentence.announced = True
                self._report(0)
                continue
            self._report(sentence.total, sentence.last)
            del self._sentences[self._playing]
            self._playing += 1
            self._sending = max(self._sending, self._playing)

    def _report_position(self) -> None:
        sentence = self._sentences.get(self._playing)
        if sentence is None or sentence.begins is None or not sentence.announced:
            return
        if sentence.total:  # else it is just made again
            self._report(max(0, self._played() - sentence.begins))

    def _report(self, played: int, last: bool = False) -> None:
        assert self._ticket is not None
        sentence = self._sentences[self._playing]
        self._facts.append(
            PlaybackProgress(
                self._ticket, self._playing, played / self._rate, sentence.total / self._rate, last
            )
        )

    def _current(self, ticket: Ticket) -> bool:
        """Is `ticket` the newest?

        A newer one than before empties the stream, and how far it was played is reported.
        """
        if self._ticket is None or ticket > self._ticket:
            if self._ticket is not None:
                self._collect()
                self._report_position()
            self._empty()
            self._ticket = ticket
        return ticket == self._ticket
