"""Classifies speech that overlaps a reply: an interruption (barge-in), or a false one (a cough, a
backchannel, an echo of the reply)?

Playback is paused first, at the detector's first window of sound, and goes on if that is no speech;
speech is classified once a transcript arrives. That is right for people and wrong for an echo: a
loudspeaker without echo cancellation would pause its own reply again and again. So once words of a
reply came back, the next replies of the call go on under speech (they are guarded) until a
transcript comes that is not theirs: an interruption then takes as long as an interim transcript,
not as long as the detector.

An echo begins right after the playback does, where people seldom do. What begins there is
transcribed to its end, while playback is paused, and need not have the words of the reply but only
sound like them: of an echo that was cut, recognizers make "but all of France is pay". If that
leaves a few other words, they are deferred and the playback decides: it is resumed, and an echo
begins again with it.

Who had not finished says such words, too, perhaps twice, and none of them may be lost. An echo is
made of what was played: it has not more letters than fit into that, does not go on when playback is
paused, and comes with each reply. Whatever cannot be an echo by that is an interruption at once.
What can be one is deferred again, and dropped only when words of the reply come back.
"""

from __future__ import annotations

from enum import Enum

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.text import phrases
from whisperfusion.text.backchannel import is_backchannel
from whisperfusion.text.commands import has_command
from whisperfusion.text.echo import LIKELY, MIN_LETTERS, is_echo
from whisperfusion.text.segmentation import words
from whisperfusion.turns import echo_limits
from whisperfusion.turns.reply import Reply
from whisperfusion.turns.user_turn import UserTurn

GUARDED_REPLIES = 3  # replies without an echo, after which the detector alone pauses playback again
# of one reply, after which it goes on under anything but words: an echo in pieces is not recognized
# as one
MAX_PAUSES = 2
_BEGUN = frozenset(
    words(known)[:count] for known in phrases.BACKCHANNELS for count in range(1, len(words(known)))
)
# first sounds of one reply that were no speech after all, after which the next one is waited for
MAX_BLIPS = 2
# transcripts in a row without the reply's words, until they are taken for the user's while an echo
# goes on: one of them may be misheard
OTHERS = 2
STOPPING = phrases.COMMANDS - {"hey"}  # which recognizers hear for "'kay"
# with the pre-roll (0.3 s): too short for a cough and a word, which a transcript may have missed
ONE_SOUND_S = 1.0
# samples that are transcribed again when an echo is left behind: a word may have begun in them
OVERLAP_SAMPLES = MICROPHONE_RATE // 4
# from the first sound of playback to the detection of its echo: the way there and back, and the
# detector
ECHO_LAG_S = 0.6
# of what began with the playback, up to which more are waited for: the first ones are misheard most
ECHO_WORDS = 7
CUT_WORDS = 3  # at most, that recognizers make of an echo whose playback was paused at once
ECHO_AHEAD_S = 0.8  # of the reply's text beyond what is known to be played
QUIET_REPLIES = 1  # without anything where its echo would begin: the call has none
ECHO_LASTS_S = 1.5  # or longer, if nothing pauses it; the detector adds 0.3 s
ECHO_TAIL_S = 0.6  # a loudspeaker may be this late: buffers of the system and of wireless headsets


class Overlap(Enum):
    UNDECIDED = "a longer transcript is needed"
    ECHO = "an echo so far: what comes over it is classified alone"
    FALSE_INTERRUPTION = "the reply goes on"
    DEFERRED = "the reply goes on; unless the same comes back with it, the words are a turn"
    INTERRUPTION = "the user has the turn"


class OverlapClassifier:
    """Of one call. `paused`: playback was paused for the present overlap."""

    def __init__(self, filler: str | None = None, language: str | None = "en") -> None:
        self._filler = filler  # it comes back as well
        self.language = language  # of the user's speech
        self.paused = False
        self._reply: Reply | None = None  # under or right after which the present speech began
        self._under = False  # under it
        self._unheard = False  # nothing of it had been heard
        self._suspect = False  # it began where echoes begin
        self._twice = False  # so did the one before, in this reply
        self._deferred = False  # whose words are deferred
        self._backchannel = 0  # words of its last transcript that was a backchannel
        self._others = 0  # its transcripts in a row that were not the reply's words
        self._resumed_at: float | None = None  # when playback last went on
        self._sounding_s = 0.0  # for how long it was played until the present speech was detected
        self._pauses = 0  # how often its playback was paused
        self._sound: Reply | None = None  # whose playback is paused for a first sound
        self._blips = 0  # how often that was no speech after all, in this reply
        self._guard = 0  # replies that are still guarded
        self._echoed = False  # the present reply came back
        self._began_with: Reply | None = None  # speech began where an echo of it would begin
        self._quiet_starts = 0  # replies in a row of which that is not true
        self._echo_found = False  # words of a reply came back in this call
        self._last: tuple[Reply | None, float] = (None, 0.0)  # the last reply and when it ended

    def sound(self, reply: Reply, now: float) -> bool:
        """The detector's first window of what may become speech over `reply`, which can be
        interrupted: should playback be paused?

        Not where an echo is likely, nor while nothing of it was heard.
        """
        if self.sounds(reply):
            return False
        self._check(reply)
        guarded = self._guard or self._pauses >= MAX_PAUSES or self._blips >= MAX_BLIPS
        echo = self._quiet_starts < GUARDED_REPLIES and self._may_be_echo(reply, now)
        if guarded or echo or not reply.played:
            return False
        self._sound = reply
        return True

    def sounds(self, reply: Reply | None) -> bool:
        """Is the playback of `reply` paused for a first sound?"""
        return reply is not None and self._sound is reply

    def sound_ended(self, reply: Reply) -> bool:
        """It was no speech; was playback paused for it?"""
        paused, self._sound = self.sounds(reply), None
        self._blips += paused
        return paused

    def start(
        self, reply: Reply, now: float, interruptible: bool = True, deferred: bool = False
    ) -> bool:
        """Speech starts over `reply`: should playback be paused? `deferred`: words are."""
        self._check(reply)
        before, self._suspect = self._suspect, self._may_be_echo(reply, now)
        self._twice, self._deferred = before and self._suspect, deferred
        self._backchannel = self._others = 0
        # whenever playback begins, so does that; but who has said something may go on
        if self._twice and not (deferred and self._pauses < MAX_PAUSES):
            self._guard, self._echoed = GUARDED_REPLIES, True
        if self._suspect:
            self._began_with = reply
        self._under, self._unheard = True, not reply.played
        self.paused = interruptible and (
            self._unheard or not (self._guard or self._pauses >= MAX_PAUSES)
        )
        self._pauses += self.paused
        self._sound = None
        return self.paused

    def _check(self, reply: Reply) -> None:
        if reply is not self._reply:
            self._reply, self._pauses, self._blips = reply, 0, 0
            self._suspect, self._resumed_at = False, None

    def _may_be_echo(self, reply: Reply, now: float) -> bool:
        """Is this where echoes begin?"""
        since = self._resumed_at if self._resumed_at is not None else reply.first_sound_at
        self._sounding_s = 0.0 if since is None else now - since
        return since is not None and self._sounding_s <= ECHO_LAG_S

    def resumed(self, now: float) -> None:
        """Playback goes on."""
        self._resumed_at = now

    def speech_in_silence(self, now: float) -> None:
        """Speech starts while nothing is played; it may still be the end of the last reply."""
        reply, ended_at = self._last
        self._reply, self._under, self._unheard = (
            reply if now - ended_at <= ECHO_TAIL_S else None,
            False,
            False,
        )
        self._suspect = False

    def reply_played(self, reply: Reply, now: float) -> None:
        """All of `reply` was heard."""
        self._last = reply, now
        self._guard = GUARDED_REPLIES if self._echoed else max(0, self._guard - 1)
        if self._echoed:
            self._quiet_starts = 0
        elif self._began_quietly(reply, now):
            self._quiet_starts += 1
        self._echoed = False

    def _began_quietly(self, reply: Reply, now: float) -> bool:
        """Was `reply` heard for long enough to come back, and nothing began with it?"""
        sounded = reply.first_sound_at is not None and now - reply.first_sound_at > ECHO_LAG_S
        audible = any(total for _, total in reply.played.values())
        return sounded and audible and reply is not self._began_with

    def transcribed(self, text: str, noise: bool) -> None:
        """A transcript of the overlap came; thought a `noise`, its words count for nothing else."""
        if is_backchannel(text, self.language):
            self._backchannel = len(words(text))
        if noise and self._suspect:  # an echo that was cut is doubtful as well
            self.is_reply(text)

    def classify(self, user: UserTurn, too_late: bool) -> Overlap:
        """By the transcript so far. `too_late`: it did not decide in time."""
        if too_late and user.speaking:
            return Overlap.INTERRUPTION if self.paused else Overlap.UNDECIDED
        if not (too_late or user.complete):
            if (
                self._may_become_backchannel(user.text)
                or self._may_be_cut_echo(user)
                or self._too_little(user.text)
            ):
                return Overlap.UNDECIDED
            if (
                not self.paused
                and user.speaking
                and self._reply
                and is_echo(user.text, self._all_text(self._reply), language=self.language)
            ):
                # what comes over it is classified as such
                self._suspect, self._others = not self._lets_go_on(user.text), 0
                # word for word: what only sounds like it may be the beginning of something else
                return Overlap.ECHO
            if self._suspect and not self.paused and len(words(user.text)) <= ECHO_WORDS:
                return Overlap.UNDECIDED
        if not self._goes_on_under(user) and not self._misheard(user):
            if not too_late and self._may_be_misheard_echo(user):
                return Overlap.UNDECIDED
            return Overlap.DEFERRED if self._may_be_cut(user) else Overlap.INTERRUPTION
        if self._may_be_known_later(user) and not self.is_reply(user.text):
            return Overlap.DEFERRED
        return Overlap.FALSE_INTERRUPTION if too_late or user.complete else Overlap.UNDECIDED

    def _misheard(self, user: UserTurn) -> bool:
        """Was the same sound a backchannel in an earlier transcript ("okay", then "hey"), or did
        it come with the playback twice, in a call that has an echo?
        """
        found = words(user.text)
        if self._unheard or not user.complete or any(word in STOPPING for word in found):
            return False
        echo = self._echo_found and self._twice and not self.paused and len(found) <= CUT_WORDS
        same = len(found) <= self._backchannel and user.speech_s() <= ONE_SOUND_S
        return same or echo

    def _may_be_misheard_echo(self, user: UserTurn) -> bool:
        """In a guarded reply of a call that has an echo: may the next transcript of what is still
        being said be the reply's words after all?
        """
        self._others += 1
        guarded = self._under and not self.paused and self._echo_found
        command = has_command(words(user.text), self.language)
        return guarded and user.speaking and not command and self._others < OTHERS

    def _may_be_cut(self, user: UserTurn) -> bool:
        """Are these few words, other than the reply's, that may yet be its echo?"""
        found = words(user.text)
        short = (
            user.complete and len(found) <= CUT_WORDS and not has_command(found[:1], self.language)
        )
        begins = self._pauses == 1 or self._deferred
        fits = echo_limits.fits(user.text, self._sounding_s)
        return begins and short and fits and self._may_be_cut_echo(user)

    def _may_be_cut_echo(self, user: UserTurn) -> bool:
        """Did the speech begin and stop with the playback, in a call that may have an echo?"""
        if not (self.paused and self._suspect) or self._unheard:
            return False
        quiet = self._quiet_starts >= QUIET_REPLIES
        return not quiet and echo_limits.lasts(user.speech_s(), self._sounding_s)

    def _may_be_known_later(self, user: UserTurn) -> bool:
        """Words are deferred, and what began with the playback again has none: may more of it show
        whether it is an echo?
        """
        short = not self.paused and user.complete and user.speech_s() < ECHO_LASTS_S
        return self._deferred and (self._may_be_cut_echo(user) or (self._twice and short))

    def _goes_on_under(self, user: UserTurn) -> bool:
        """Does the reply go on under this speech? Its own words count only if they can have been
        played.
        """
        begins = self.paused and self._suspect and not self._unheard
        fits = echo_limits.fits(user.text, self._sounding_s)
        if begins and not (fits and echo_limits.lasts(user.speech_s(), self._sounding_s)):
            return is_backchannel(user.text, self.language) or not words(user.text)
        return self._lets_go_on(user.text)

    def _lets_go_on(self, text: str) -> bool:
        """Does the reply go on under this text?

        Before it was heard no text can be about it: the user just went on speaking.
        """
        if not words(text):
            return True
        if self._unheard or self._reply is None:
            return False
        return (
            self.is_reply(text)
            or is_backchannel(text, self.language)
            or (self._echo_found and self._too_little(text))
        )

    def _may_become_backchannel(self, text: str) -> bool:
        """May more words make a backchannel of these ("I" of "I see")?"""
        return self._reply is not None and not self._unheard and words(text) in _BEGUN

    @property
    def _letters(self) -> float | None:
        """Share of letters that must agree with the reply where an echo is likely."""
        if not self._under or self._unheard:
            return None
        return LIKELY if self._suspect or not self.paused else None

    def _too_little(self, text: str) -> bool:
        """In a guarded reply: too few words to tell whether they are its echo, unless they are what
        people say to stop it.
        """
        found = words(text)
        guarded = self._under and not self.paused
        return (
            guarded and len("".join(found)) < MIN_LETTERS and not has_command(found, self.language)
        )

    def is_echo(self, text: str) -> bool:
        """Is a whole turn nothing but the end of the reply?

        After it only where an echo was found: people repeat words, too.
        """
        if self._unheard or not (self._under or self._guard):
            return False
        return (
            bool(self._echo_found and words(text)) and self._too_little(text) or self.is_reply(text)
        )

    def _all_text(self, reply: Reply) -> str:
        """What may come back: not much more than was played, where it was paused or ended for
        this speech.
        """
        cut = self._under and self.paused
        text = reply.sounded_text(ECHO_AHEAD_S) if cut else reply.text()
        return f"{self._filler or ''} {text}"

    def repeated(self, user: UserTurn) -> bool:
        """Is what began with the playback for the second time an echo, so that the first was one
        too?

        Coughs and "yeah" take less time.
        """
        return user.speech_s() >= ECHO_LASTS_S or self.is_reply(user.text)

    def is_reply(self, text: str) -> bool:
        """Is the text the reply's own? Then replies are guarded from here on."""
        if self._reply is None or not is_echo(
            text, self._all_text(self._reply), self._letters, self.language
        ):
            return False
        self._guard, self._echoed, self._echo_found = GUARDED_REPLIES, True, True
        return True
