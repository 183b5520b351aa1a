"""How the audio of one call leaves: held until committed, paced, paused, dropped, and accounted for.

Sentences are joined into one row of samples. `_sent` counts what has left, `_run` is the playing clock: samples
since the first of it left. It stands still while the stream is held, and is set back after a gap, which the
listener hears too. Audio leaves while it is no more than `lead_s` ahead of that clock, so an interruption
silences any client within the lead, and what was heard is known.

The shell calls, after each event and at `wake_at`: `release` and sends what it gives, `spoken` and reports what it
gives, then `wake_at` for its one timer. `now` is seconds on any steady clock; inside, time is counted in samples,
so a timer that is set to `wake_at` is never early by a rounding error. On `hold` the listener is told to stop
and keep what it has, on `resume` to go on with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from fusion.messages import Spoken, Ticket

CHUNK_S = 0.1  # the longest piece that leaves at once
FILLER = -1  # the index of what is said before the reply, when it is late
GAP_S = 0.02  # of silence where the reply should go on: shorter ones are not heard


class Audio(Protocol):
    """Anything with a length in samples that can be cut: a numpy array, a list, an array of 16-bit values."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


A = TypeVar("A", bound=Audio)


@dataclass(frozen=True)
class Chunk(Generic[A]):
    """Audio of sentence `index` that may leave now and will be heard at `at` seconds."""

    ticket: Ticket
    index: int
    audio: A
    at: float


@dataclass
class _Sentence(Generic[A]):
    waiting: deque[A] = field(default_factory=deque)
    total: int = 0  # samples made so far
    begins: int | None = None  # its place in the row of samples, once the first of it has left
    ended: bool = False
    last: bool = False
    announced: bool = False


@dataclass
class Tally:
    """What has become of the audio, in samples, since the stream was opened."""

    made: int = 0
    dropped: int = 0  # of it, without ever having left
    gaps: int = 0  # times that the sound stopped because the rest was late
    gap: int = 0  # samples of silence that were heard there

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.made + other.made, self.dropped + other.dropped, self.gaps + other.gaps, self.gap + other.gap)


class Playout(Generic[A]):
    """One reply stream of one call. `lead_s` None: the listener takes a reply as a whole, in one `release`."""

    def __init__(self, rate: int = 24_000, lead_s: float | None = 0.2) -> None:
        self._rate = rate
        self._lead = None if lead_s is None else round(lead_s * rate)
        self._chunk = max(1, round(CHUNK_S * rate) if self._lead is None else min(round(CHUNK_S * rate), self._lead))
        self._ticket: Ticket | None = None
        self._tick = 0  # the newest `now`, in samples
        self._facts: list[Spoken] = []
        self._sentences: dict[int, _Sentence[A]] = {}
        self.tally = Tally()
        self._empty()

    def _empty(self) -> None:
        self.tally.dropped += sum(len(audio) for sentence in self._sentences.values() for audio in sentence.waiting)
        self._sentences = {}
        self._sending = self._playing = 0  # indices of the sentences that leave and that are heard
        self._sent = self._run = 0
        self._zero = 0  # the tick at which sample 0 was played, or would have been without holds and gaps
        self._committed = self._held = False

    # --- what comes in ------------------------------------------------------------------------------------
    # A newer ticket empties the stream, an older one is ignored.

    def put(self, ticket: Ticket, index: int, chunk: A) -> None:
        """More audio of sentence `index`; sentences leave in the order of their indices, from 0. Ignored after its `end`.

        The filler comes before sentence 0, if nothing of the reply has left; otherwise it is ignored.
        """
        self.tally.made += len(chunk)
        current = self._current(ticket) and (index != FILLER or self._open_for_filler())
        sentence = self._sentences.setdefault(index, _Sentence()) if current and len(chunk) else _Sentence(ended=True)
        if sentence.ended:
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

    def commit(self, ticket: Ticket) -> None:
        """The audio of `ticket` may leave, that which is still to come too."""
        if self._current(ticket):
            self._committed = True

    def hold(self, ticket: Ticket, now: float) -> None:
        """Stop the sound; `spoken` then tells how far it came."""
        if self._current(ticket) and not self._held:
            self._advance(now)
            self._collect()
            self._held = True
            self._tell_position()

    def resume(self, ticket: Ticket, now: float) -> None:
        """Go on where the sound stopped."""
        if self._current(ticket) and self._held:
            self._advance(now)
            self._held = False
            self._zero = self._tick - self._run

    def cancel(self, ticket: Ticket, now: float) -> None:
        """Drop everything older than `ticket`; `spoken` tells how far it came."""
        self._advance(now)
        self._current(ticket)

    def close(self) -> None:
        """The call is over: what has not left never will."""
        self._empty()

    # --- what goes out ------------------------------------------------------------------------------------

    def release(self, now: float) -> list[Chunk[A]]:
        """The audio that may leave now, in order: nothing before the commit, and at most the lead ahead."""
        self._advance(now)
        released: list[Chunk[A]] = []
        while (due := self._next_due()) is not None and due <= self._tick:
            released.append(self._send())
        return released

    def spoken(self, now: float) -> list[Spoken]:
        """Facts since last asked, about the reply's sentences: begun, finished, cut short.

        `total_s` is what has been made of the sentence: 0 only if it has no audio. `last` comes once, when all of the reply was played.
        """
        self._advance(now)
        self._collect()
        facts, self._facts = self._facts, []
        return facts

    def wake_at(self, now: float) -> float | None:
        """When `release` or `spoken` will have something (not before `now`); None = not before the next event."""
        self._advance(now)
        if self._facts:
            return now
        due = [tick for tick in (self._next_due(), self._next_fact()) if tick is not None]
        return max(now, min(due) / self._rate) if due else None

    def awaited(self, ticket: Ticket) -> bool:
        """Is the listener waiting for the first sound of `ticket`?"""
        return ticket == self._ticket and self._committed and not self._held and self._sent == 0 and self._playing == 0

    @property
    def all_sent(self) -> bool:
        """Has the last sound of the reply left?"""
        return self._committed and self._complete() and not any(sentence.waiting for sentence in self._sentences.values())

    @property
    def ticket(self) -> Ticket | None:
        """Whose audio this is; None before the first."""
        return self._ticket

    # --- the clock ----------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        self._tick = max(self._tick, round(now * self._rate))
        if self._sent and not self._held:
            self._run = self._tick - self._zero

    def _heard(self) -> int:
        return min(self._sent, self._run)

    # --- sending ------------------------------------------------------------------------------------------

    def _complete(self) -> bool:
        """Has every sentence of the reply been made?"""
        lasts = [index for index, sentence in self._sentences.items() if sentence.last]
        past = lasts[0] + 1 if lasts else 0
        return bool(lasts) and all(i in self._sentences and self._sentences[i].ended for i in range(self._playing, past))

    def _next_due(self) -> int | None:
        """The tick at which the next chunk may leave."""
        size = self._next_size()
        if size is None or not self._committed or self._held:
            return None
        if self._lead is None:
            return self._tick if self._complete() else None
        if self._run >= self._sent:
            return self._tick
        return max(self._tick, self._zero + self._sent + size - self._lead)

    def _next_size(self) -> int | None:
        """Samples of the next chunk; None if there is no audio. Steps over sentences that are done."""
        while (sentence := self._sentences.get(self._sending)) is not None:
            if sentence.waiting:
                return len(sentence.waiting[0]) if self._lead is None else min(self._chunk, len(sentence.waiting[0]))
            if not sentence.ended:
                return None
            self._sending += 1
        return None

    def _send(self) -> Chunk[A]:
        size = self._next_size()
        assert size is not None and self._ticket is not None
        sentence = self._sentences[self._sending]
        if self._run >= self._sent:  # the first sound, or the first after a gap, is heard now
            if self._sending > 0 or sentence.begins is not None:  # what follows a filler was expected to be late
                self._count_gap(self._run - self._sent)
            self._zero, self._run = self._tick - self._sent, self._sent
        audio = sentence.waiting.popleft()
        if size < len(audio):
            sentence.waiting.appendleft(audio[size:])
        if sentence.begins is None:
            sentence.begins = self._sent
        chunk = Chunk(self._ticket, self._sending, audio[:size] if size < len(audio) else audio, (self._zero + self._sent) / self._rate)
        self._sent += size
        return chunk

    def _count_gap(self, length: int) -> None:
        if self._sent and length >= GAP_S * self._rate:
            self.tally.gaps += 1
            self.tally.gap += length

    # --- telling ------------------------------------------------------------------------------------------

    def _steps(self) -> Iterator[tuple[int, bool]]:
        """The facts to come that are certain: (position at which each becomes true, does it end a sentence)."""
        sentence = self._sentences.get(self._playing)
        if sentence is None or self._held or not self._committed:
            return
        if sentence.begins is not None and not sentence.announced:
            yield sentence.begins, False
        if sentence.ended and not sentence.waiting:
            yield (0 if sentence.begins is None else sentence.begins + sentence.total), True

    def _next_fact(self) -> int | None:
        step = next(self._steps(), None)
        if step is None:
            return None
        return self._tick if step[0] <= self._heard() else max(self._tick, self._zero + step[0])

    def _collect(self) -> None:
        """Note every fact that has become true."""
        while (step := next(self._steps(), None)) is not None and step[0] <= self._heard():
            sentence = self._sentences[self._playing]
            if not step[1]:
                sentence.announced = True
                self._tell(0)
                continue
            self._tell(sentence.total, sentence.last)
            del self._sentences[self._playing]
            self._playing += 1
            self._sending = max(self._sending, self._playing)

    def _tell_position(self) -> None:
        sentence = self._sentences.get(self._playing)
        if sentence is not None and sentence.announced and sentence.begins is not None:
            self._tell(self._heard() - sentence.begins)

    def _tell(self, heard: int, last: bool = False) -> None:
        assert self._ticket is not None
        sentence = self._sentences[self._playing]
        self._facts.append(Spoken(self._ticket, self._playing, heard / self._rate, sentence.total / self._rate, last))

    def _current(self, ticket: Ticket) -> bool:
        """Is `ticket` the newest? A newer one than before empties the stream, and what was heard of it is told."""
        if self._ticket is None or ticket > self._ticket:
            if self._ticket is not None:
                self._collect()
                self._tell_position()
            self._empty()
            self._ticket = ticket
        return ticket == self._ticket
