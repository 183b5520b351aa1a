"""What a microphone hears on the virtual clock of the tests: a person with a script, and our own
loudspeaker.

The detector's probabilities and the recognizer's words are made of the same two things: who sounds
when. A word is recognised when all of it was heard; a cut one may come out as another, a cough as
"thank you". The loudspeaker stops, goes on and falls silent as a client does, and what it plays
comes back `echo_s` later.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from whisperfusion.messages import Ticket
from whisperfusion.text.backchannel import is_backchannel
from whisperfusion.text.segmentation import words

SPOKEN = 100  # samples per second of our voice: enough to be exact to 10 ms
OUR_WORD_S = 0.3
THEIR_WORD_S = 0.25
INVENTED = "Thank you."  # what recognizers make of a cough
DIP_WINDOWS = 12  # a detector's dips inside speech are at least so far apart


@dataclass(frozen=True)
class Utterance:
    """A person makes a sound at `at` seconds: words, or a cough without any, of which the
    recognizer may invent some.
    """

    at: float
    words: tuple[str, ...] = ()
    cough_s: float = 0.0
    invents: bool = False

    @property
    def end(self) -> float:
        return self.at + (THEIR_WORD_S * len(self.words) if self.words else self.cough_s)

    @property
    def backchannel(self) -> bool:
        return is_backchannel(" ".join(self.words))


@dataclass(frozen=True)
class Stretch:
    """`count` samples of sentence `index`, from its sample `first` on, played from `at` on."""

    at: float
    ticket: Ticket
    index: int
    first: int
    count: int

    @property
    def end(self) -> float:
        return self.at + self.count / SPOKEN


class Loudspeaker:
    def __init__(self) -> None:
        self.played: list[Stretch] = []  # in order; the last may lie in the future by the lead
        self._kept: list[Stretch] = []

    def play(self, part: Stretch) -> None:
        last = self.played[-1] if self.played else part
        follows = (last.ticket, last.index, last.first + last.count) == (
            part.ticket,
            part.index,
            part.first,
        )
        if follows and abs(last.end - part.at) < 1e-6:
            self.played[-1] = replace(last, count=last.count + part.count)
        else:
            self.played.append(part)

    def pause(self, now: float) -> None:
        """Stop at once and keep the rest."""
        while self.played and self.played[-1].end > now + 1e-6:
            part = self.played.pop()
            done = max(0, round((now - part.at) * SPOKEN))
            if done:
                self.played.append(replace(part, count=done))
            self._kept.insert(0, replace(part, first=part.first + done, count=part.count - done))
            if done:
                return

    def resume(self, now: float) -> None:
        kept, self._kept = self._kept, []
        for part in kept:
            self.play(replace(part, at=now))
            now += part.count / SPOKEN

    def flush(self, now: float) -> None:
        self.pause(now)
        self._kept = []

    def sounds(self, when: float) -> bool:
        return any(part.at <= when < part.end for part in self.played[-4:])

    def silent_since(self, when: float) -> bool:
        return not self._kept and (not self.played or self.played[-1].end < when)


class Room:
    """`text_of(ticket, index)`: what a sentence of ours says. `echo_s` None: headphones."""

    def __init__(
        self,
        seed: int,
        script: list[Utterance],
        text_of: Callable[[Ticket, int], str],
        echo_s: float | None,
    ) -> None:
        self.random = random.Random(seed)
        self.script, self.echo_s, self._text_of = list(script), echo_s, text_of
        self.loudspeaker = Loudspeaker()
        self._since_dip = 0

    def probability(self, when: float) -> float:
        """The detector's, with a dip inside speech now and then, and a click in silence."""
        chance = self.random.random()
        self._since_dip += 1
        if self._person(when) or (
            self.echo_s is not None and self.loudspeaker.sounds(when - self.echo_s)
        ):
            if chance < 0.05 and self._since_dip > DIP_WINDOWS:
                self._since_dip = 0
                return 0.2
            return 0.6 + 0.4 * chance
        return 0.7 if chance < 0.01 else 0.3 * chance

    def quiet_after(self, when: float) -> bool:
        """Does nothing sound any more?"""
        late = self.echo_s or 0.0
        return all(u.end < when for u in self.script) and self.loudspeaker.silent_since(when - late)

    def recognise(self, began: float, upto: float) -> tuple[str, bool]:
        """The words between two times, and whether it may have been a noise by the recognizer."""
        found = sorted([*self._their_words(began, upto), *self._our_words(began, upto)])
        if not found:
            coughed = any(u.invents and u.at + 0.1 <= upto and u.end >= began for u in self.script)
            return (INVENTED, True) if coughed else ("", False)
        text = " ".join(word for _, word in found)
        return text + self.random.choice(("", "", ".", "?")), False

    def _person(self, when: float) -> bool:
        return any(u.at <= when < u.end for u in self.script)

    def _their_words(self, began: float, upto: float) -> list[tuple[float, str]]:
        found = []
        for u in self.script:
            for i, word in enumerate(u.words):
                at = u.at + THEIR_WORD_S * i
                if at + THEIR_WORD_S / 2 < began:
                    continue
                if at + THEIR_WORD_S <= upto + 0.01:
                    found.append((at, word))
                elif at + 0.1 <= upto and not u.backchannel and self.random.random() < 0.3:
                    found.append((at, f"{word[:2]}zz"))  # cut in the middle, it sounds like another
        return found

    def _our_words(self, began: float, upto: float) -> list[tuple[float, str]]:
        """Of our own words, those that came back whole and that no user spoke over."""
        if self.echo_s is None:
            return []
        found = []
        for part in self.loudspeaker.played:
            for i, word in enumerate(words(self._text_of(part.ticket, part.index))):
                first = round(i * OUR_WORD_S * SPOKEN)
                at = part.at + (first - part.first) / SPOKEN + self.echo_s
                whole = (
                    part.first <= first
                    and first + OUR_WORD_S * SPOKEN <= part.first + part.count + 1
                )
                if whole and began <= at + OUR_WORD_S / 2 and at + OUR_WORD_S <= upto + 0.01:
                    if not any(
                        self._person(at + share * OUR_WORD_S) for share in (0.0, 0.3, 0.6, 0.9)
                    ):
                        found.append((at, word))
        return found
