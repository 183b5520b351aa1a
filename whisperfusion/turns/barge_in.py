"""Speech over a reply: pause it, classify the overlap, then resume or hand the turn over."""

from __future__ import annotations

from collections.abc import Iterable

from whisperfusion.messages import Pause, Resume
from whisperfusion.text.answers import is_answer
from whisperfusion.text.commands import has_stop
from whisperfusion.text.segmentation import words
from whisperfusion.turns import known_voices, preemptive, turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import (
    Command,
    HangUp,
    SpeechIgnored,
    StartTranscribing,
    StopTranscribing,
    UserTurnFinal,
)
from whisperfusion.turns.overlap import ECHO_LAG_S, OVERLAP_SAMPLES, Overlap
from whisperfusion.turns.reply import Reply
from whisperfusion.turns.states import SPEAKING_OVER, Condition
from whisperfusion.turns.user_turn import UserTurn

TRANSCRIPT_WAIT_S = 20.0  # for the recognizer, after the end of a turn
OVERLAP_WAIT_S = 2.5  # no cough lasts longer, and no recognizer that keeps up takes longer
# of the reply, heard by a user who takes the turn back: whoever speaks so soon had not finished. To
# answer what is heard takes three or four words and 0.2 s; 0.1 s more is the detector's.
CUT_OFF_S = 1.25
# Whisper's own bounds for "no speech" and for a transcript with little evidence
NO_SPEECH_PROBABILITY, AVERAGE_LOGPROB = 0.6, -1.0
# of the probability of no speech less the average log-probability: of 117 interruptions by people
# no transcript of the whole has more, of laughs, far voices and breaths half have
DOUBT = 1.3


def probably_noise(segments: Iterable[tuple[float, float]]) -> bool:
    """Does the recognizer doubt that it heard speech? Of each segment: (probability of no speech,
    average log-probability of its tokens).

    Over a reply, what it makes of a cough should not count as words.
    """
    found = list(segments)
    return bool(found) and all(
        silent > NO_SPEECH_PROBABILITY or average < AVERAGE_LOGPROB or silent - average > DOUBT
        for silent, average in found
    )


def first_sound(call: Call, sounding: bool, now: float) -> list[Command]:
    """The detector's newest window over a reply, while it does not find speech yet."""
    reply = call.replies.current
    assert reply is not None
    if sounding and known_voices.may_pause(call, reply):
        return [Pause(reply.ticket)] if call.overlaps.sound(reply, now) else []
    return [Resume(reply.ticket)] if call.overlaps.sound_ended(reply) else []


def started(call: Call, at: int, now: float) -> list[Command]:
    """Speech starts at sample `at`, over a reply."""
    reply = call.replies.current
    assert reply is not None
    already = call.overlaps.sounds(reply)
    call.user = UserTurn(at)
    call.deadline, call.thinking_at, call.deferred_until = now + OVERLAP_WAIT_S, None, None
    deferred = call.deferred is not None
    may_pause = known_voices.may_pause(call, reply)
    paused = call.overlaps.start(reply, now, may_pause, deferred)
    if paused == already:
        return [StartTranscribing(at)]
    return [StartTranscribing(at), Pause(reply.ticket) if paused else Resume(reply.ticket)]


def resolve(call: Call, now: float, too_late: bool = False) -> list[Command]:
    """Is the overlap an interruption? `too_late`: no more is waited for."""
    user, found = call.user, call.overlaps.classify(call.user, too_late)
    takes_turn = found in (Overlap.INTERRUPTION, Overlap.DEFERRED)
    if not call.options.interruptible and (takes_turn or not user.complete):
        found = Overlap.UNDECIDED
    if found in (Overlap.INTERRUPTION, Overlap.DEFERRED):
        known = known_voices.counts(call, too_late and not user.speaking)
        if not known:
            return _of_other_voice(call, known, now, too_late)
    match found:
        case Overlap.INTERRUPTION:
            return _interrupt(call, now)
        case Overlap.FALSE_INTERRUPTION:
            if call.deferred is None and _answers_its_end(call) and known_voices.counts(call, True):
                return _defer(call, now)
            if call.deferred and not call.overlaps.repeated(user):
                return [StopTranscribing(), *pop_deferred(call, now)]
            call.deferred = None
            call.move(Condition.FALSE_INTERRUPTION)
            return resume(call, now)
        case Overlap.DEFERRED:
            return _defer(call, now)
        case Overlap.ECHO:
            call.user, call.deferred = user.from_here(OVERLAP_SAMPLES), None
            call.move(Condition.ECHO)
            return [StartTranscribing(call.user.began)]
    if too_late:
        call.deadline = now + OVERLAP_WAIT_S
    return []


def _of_other_voice(call: Call, known: bool | None, now: float, too_late: bool) -> list[Command]:
    """The overlap would take the turn, and its voice is not that of a known speaker, or (None) that
    is not known yet.
    """
    user, reply = call.user, call.replies.current
    assert reply is not None
    if known is None or user.speaking:  # while it goes on, a known speaker may join in
        if too_late:
            call.deadline = now + OVERLAP_WAIT_S
        if not (call.overlaps.paused and user.known_speaker is False):
            return []
        call.overlaps.paused = False  # the reply begins meanwhile
        call.overlaps.resumed(now)
        return [Resume(reply.ticket)]
    known_voices.told(call)
    ignored = SpeechIgnored(user.text)
    call.move(Condition.OTHER_VOICE)
    if call.deferred is not None:
        call.deferred_until = now + ECHO_LAG_S
    stopped, *resumed = resume(call, now)
    return [stopped, ignored, *resumed]


def _answers_its_end(call: Call) -> bool:
    """Is this no sign of listening, but the answer to the question that the reply ends with, and
    is that all but played?
    """
    reply, options = call.replies.current, call.options
    assert reply is not None
    # what is played of it now is heard while the transcript comes
    ends = reply.complete and reply.left_s() <= ECHO_LAG_S and options.interruptible
    return ends and is_answer(call.user.text, reply.text(), options.language)


def _defer(call: Call, now: float) -> list[Command]:
    """The reply goes on; then the words are a turn, unless they turn out to be an echo."""
    call.deferred = call.user if call.deferred is None else call.user.after(call.deferred)
    call.deferred_until = now + ECHO_LAG_S
    call.move(Condition.DEFERRED)
    return resume(call, now)


def resume(call: Call, now: float) -> list[Command]:
    """The reply goes on."""
    reply = call.replies.current
    assert reply is not None
    turn_end.extend_deadline(call, now)
    if not call.overlaps.paused:
        return [StopTranscribing()]
    call.replies.counts.false_interruptions += 1
    call.overlaps.resumed(now)
    return [StopTranscribing(), Resume(reply.ticket)]


def pop_deferred(call: Call, now: float) -> list[Command]:
    """The deferred words were not an echo: they are a turn."""
    assert call.deferred is not None
    call.user = call.deferred
    reply = call.replies.current
    assert reply is not None
    call.replies.counts.interruptions += 1
    # they came with the first sound; more was heard while an echo was waited for, at most twice
    soft = _had_not_finished(call.user, reply, call.options.language, CUT_OFF_S + 2 * ECHO_LAG_S)
    commands = turn_end.abandon_reply(call, soft)
    return [*commands, *turn_end.final_turn(call, call.user.text, now)]


def reply_played(call: Call, now: float) -> list[Command]:
    """To its end: the next turn may begin, or has begun under its last word."""
    reply, call.thinking_at = call.replies.finish(), None
    if reply and not reply.apology:
        call.overlaps.reply_played(reply, now)
    deferred, call.deferred, call.deferred_until = call.deferred, None, None
    if call.state in SPEAKING_OVER:
        echo = call.overlaps.is_reply(call.user.text)
        return [*_deferred_turn(call, None if echo else deferred), *_hand_over(call, now)]
    call.move(Condition.REPLY_PLAYED)
    if deferred:
        call.user = deferred
        return turn_end.final_turn(call, deferred.text, now)
    call.rest()
    if reply and reply.ends_call:
        call.over = True
        return [HangUp(reply.ticket.turn)]
    return []


def _interrupt(call: Call, now: float) -> list[Command]:
    """The user has the turn: the same utterance goes on."""
    reply, counts, deferred = call.replies.current, call.replies.counts, call.deferred
    assert reply is not None
    soft = _had_not_finished(call.user, reply, call.options.language)
    if reply.played:
        counts.interruptions += 1
    else:
        counts.merged_turns += 1
    commands = [*turn_end.abandon_reply(call, soft), *_deferred_turn(call, deferred)]
    call.user = call.user.as_new_turn(call.answered.pauses + 1 if soft else 0)
    return [*commands, *_hand_over(call, now)]


def _had_not_finished(
    user: UserTurn, reply: Reply, language: str | None, cut_off_s: float = CUT_OFF_S
) -> bool:
    """Is what the user says over the beginning of `reply` the rest of what was said before it?"""
    stops = has_stop(words(user.text), language)
    heard_s = reply.played_s()
    return heard_s < cut_off_s and not (stops and heard_s > 0)


def _deferred_turn(call: Call, deferred: UserTurn | None) -> list[Command]:
    """Deferred words become a turn of their own, before what the user says now; for the model both
    are one message.
    """
    if deferred is None:
        return []
    turn = call.replies.turn
    call.replies.history.add("user", deferred.text)
    call.replies.history.reopen()
    call.replies.next_turn()
    return [UserTurnFinal(turn, deferred.text)]


def _hand_over(call: Call, now: float) -> list[Command]:
    """The overlap is the user's turn."""
    if call.user.speaking:
        call.move(Condition.USER_HAS_TURN)
        call.deadline = None
        return []
    call.move(Condition.TURN_OVER if call.user.over else Condition.USER_PAUSED)
    call.deadline = now + TRANSCRIPT_WAIT_S
    return preemptive.transcript_complete(call, now) if call.user.complete else []
