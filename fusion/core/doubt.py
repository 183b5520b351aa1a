"""Somebody makes a sound over our answer: do they want the turn, or is it a cough, an "mm-hmm", or our own echo?

The sound is stopped first and judged afterwards, by its words. That is right for people and wrong for an echo: a
loudspeaker without echo cancellation would stop its own answer again and again. So once our own words came back, the
next answers of the call go on while somebody is heard, until words come that are not ours: an interruption then takes
as long as a partial transcript, not as long as the detector.

An echo begins right after our own sound does, where people hardly ever do, and never twice. What begins there is heard to its end, in
silence, and need not be like our words but only sound like them: of an echo that was cut, recognizers make "but all of France is
pay". If that leaves a few words that are not like ours, the sound itself is asked: it goes on, and what was no echo does not
begin again with it.
"""

from __future__ import annotations

from enum import Enum

from fusion.core import phrases
from fusion.core.endpoint import RATE
from fusion.core.said import Said
from fusion.core.text import words
from fusion.core.turns import Reply
from fusion.core.witness import LEAST_LETTERS, LIKELY, is_backchannel, is_echo

GUARDED_REPLIES = 3  # answers without an echo, after which the detector alone stops the sound again
STOPS = 2  # of one answer, after which it goes on for whatever is no words: an echo in pieces is not known for one
_BEGUN = frozenset(words(known)[:count] for known in phrases.BACKCHANNELS for count in range(1, len(words(known))))
OVERLAP = RATE // 4  # samples that are heard again when an echo is left behind: a word may have begun in them
ECHO_LAG_S = 0.6  # from our first sound to the detection of its echo: the way there and back, and the detector
ECHO_WORDS = 7  # of what began with our sound, until which it is heard on: the first ones are the most misheard
CUT_WORDS = 3  # at most, that recognizers make of an echo whose sound was stopped at once
ECHO_LASTS_S = 1.5  # or longer, if nothing stops it; the detector adds 0.3 s
ECHO_TAIL_S = 0.6  # a loudspeaker may be this late: buffers of the system and of wireless headsets


class Verdict(Enum):
    WAIT = "more may tell"
    SKIP = "an echo so far: what comes over it is judged alone"
    RESUME = "the answer goes on"
    PUT_OFF = "the answer goes on, and unless the same comes back with it, the words count"
    YIELD = "the user has the turn"


class Doubt:
    """What one call knows about the sounds over its answers. `held`: the sound was stopped for the present one."""

    def __init__(self, filler: str = "") -> None:
        self._filler = filler  # it comes back as well
        self.held = False
        self._reply: Reply | None = None  # under or right after which the present speech began
        self._under = False  # under it
        self._unheard = False  # nothing of it had been heard
        self._suspect = False  # it began where echoes begin
        self._resumed_at: float | None = None  # when the sound last went on
        self._stops = 0  # how often its sound was stopped
        self._guard = 0  # answers for which the guard still holds
        self._echoed = False  # the present answer came back
        self._recognised = False  # words of ours came back in this call
        self._last: tuple[Reply | None, float] = (None, 0.0)  # the last answer and when it ended

    def begins(self, reply: Reply, now: float, interruptible: bool = True) -> bool:
        """Speech starts over `reply`: shall the sound stop?"""
        if reply is not self._reply:
            self._stops, self._suspect, self._resumed_at = 0, False, None
        since = self._resumed_at if self._resumed_at is not None else reply.sounded_at
        before, self._suspect = self._suspect, since is not None and now - since <= ECHO_LAG_S
        if before and self._suspect:  # whenever our sound begins, so does that: nobody is so quick twice
            self._guard, self._echoed = GUARDED_REPLIES, True
        self._reply, self._under, self._unheard = reply, True, not reply.played
        self.held = interruptible and (self._unheard or not (self._guard or self._stops >= STOPS))
        self._stops += self.held
        return self.held

    def resumes(self, now: float) -> None:
        """The sound goes on."""
        self._resumed_at = now

    def after_silence(self, now: float) -> None:
        """Speech starts while nobody speaks; it may still be the end of our last answer."""
        reply, ended_at = self._last
        self._reply, self._under, self._unheard = reply if now - ended_at <= ECHO_TAIL_S else None, False, False
        self._suspect = False

    def played(self, reply: Reply, now: float) -> None:
        """All of `reply` was heard."""
        self._last = reply, now
        self._guard = GUARDED_REPLIES if self._echoed else max(0, self._guard - 1)
        self._echoed = False

    def verdict(self, said: Said, too_late: bool) -> Verdict:
        """What the sound over the answer is, as far as it was heard. `too_late`: no words decided it in time."""
        if too_late and said.sounding:
            return Verdict.YIELD if self.held else Verdict.WAIT
        if not (too_late or said.known):
            if self._begun(said.text) or (self.held and self._suspect) or self._too_little(said.text):
                return Verdict.WAIT
            if not self.held and said.sounding and self._reply and is_echo(said.text, self._spoken(self._reply)):
                self._suspect = not self._harmless(said.text)  # what comes over it is judged as such
                return Verdict.SKIP  # word by word ours: what only sounds like us may be the beginning of something else
            if self._suspect and len(words(said.text)) <= ECHO_WORDS:
                return Verdict.WAIT
        if not self._harmless(said.text):
            return Verdict.PUT_OFF if self._may_be_cut(said) else Verdict.YIELD
        return Verdict.RESUME if too_late or said.known else Verdict.WAIT

    def _may_be_cut(self, said: Said) -> bool:
        """Words, not like ours, of a sound that began where echoes begin and stopped with ours; for the first time."""
        heard = words(said.text)
        first = self.held and self._suspect and self._stops == 1 and not self._unheard
        return first and said.known and len(heard) <= CUT_WORDS and heard[0] not in phrases.COMMANDS

    def _harmless(self, text: str) -> bool:
        """Do the words let the answer go on? Before it was heard they cannot be about it: the person just went on speaking."""
        if not words(text):
            return True
        if self._unheard or self._reply is None:
            return False
        return self.came_back(text) or is_backchannel(text) or (self._recognised and self._too_little(text))

    def _begun(self, text: str) -> bool:
        """May more words make a backchannel of these ("I" of "I see")?"""
        return self._reply is not None and not self._unheard and words(text) in _BEGUN

    @property
    def _letters(self) -> float | None:
        """How much the sound must be like ours where an echo is the first thing to think of."""
        if not self._under or self._unheard:
            return None
        return LIKELY if self._suspect or not self.held else None

    def _too_little(self, text: str) -> bool:
        """Under the guard: too few words to tell whether they are ours, unless they are what people say to stop it."""
        heard = words(text)
        guarded = self._under and not self.held
        return guarded and len("".join(heard)) < LEAST_LETTERS and not any(word in phrases.COMMANDS for word in heard)

    def is_echo(self, text: str) -> bool:
        """Is a whole turn nothing but the end of our answer? After it only where an echo was found: people repeat words, too."""
        if self._unheard or not (self._under or self._guard):
            return False
        return bool(self._recognised and words(text)) and self._too_little(text) or self.came_back(text)

    def _spoken(self, reply: Reply) -> str:
        return f"{self._filler} {reply.text()}"

    def comes_again(self, said: Said) -> bool:
        """Is what began with our sound for the second time an echo, so that the first was one too? Coughs and "yeah" take less time."""
        return said.speech_s() >= ECHO_LASTS_S or self.came_back(said.text)

    def came_back(self, text: str) -> bool:
        """Are the words ours?"""
        if self._reply is None or not is_echo(text, self._spoken(self._reply), self._letters):
            return False
        self._guard, self._echoed, self._recognised = GUARDED_REPLIES, True, True
        return True
