"""The user speaks: what the detector, the recognizer and the turn model find in the turn."""

from __future__ import annotations

from whisperfusion.audio import to_samples
from whisperfusion.turns import barge_in, known_voices, preemptive, turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command, StartTranscribing
from whisperfusion.turns.events import InterimTranscript, SpeakerIdentified
from whisperfusion.turns.reply import TurnTimes
from whisperfusion.turns.states import (
    PAUSES,
    REPLY_STATES,
    SPEAKING_OVER,
    USER_STATES,
    Condition,
    State,
)
from whisperfusion.turns.user_turn import UserTurn

# samples at the end of the sound without a word of their own: less than most words last
COVERED = to_samples(0.3)


def started(call: Call, before: State, at: int, now: float) -> list[Command]:
    """Speech starts at sample `at`."""
    if before is State.IDLE:
        call.overlaps.speech_in_silence(now)
        call.user = UserTurn(at)
        return [StartTranscribing(at), *opened(call)]
    if before in REPLY_STATES:
        return barge_in.started(call, at, now)
    if before in PAUSES:
        call.deadline = None
    call.user.go_on(at)
    return []


def opened(call: Call) -> list[Command]:
    """The model can read the dialogue so far before the user has said anything."""
    return [call.replies.prefill()] if call.options.replies else []


def sound_stopping(call: Call, before: State, at: int, now: float) -> list[Command]:
    """Speech may have stopped at sample `at`, and its last words have been requested: perhaps those
    that are known are all.
    """
    early = before is State.USER_SPEAKING and call.options.early_replies
    if not early or at - call.user.known_to > COVERED:
        return []
    return preemptive.preempt(call, now)


def stopped(call: Call, before: State, at: int, now: float) -> list[Command]:
    """Speech stopped at sample `at`."""
    call.user.stop(at)
    call.times = TurnTimes(call.speech_ended_at, now, now)
    if before is State.USER_SPEAKING:
        call.deadline = now + barge_in.TRANSCRIPT_WAIT_S
        # the recognizer may be faster than the endpointer
        return preemptive.preempt(call, now) if call.user.complete else []
    if before in SPEAKING_OVER:
        call.deadline = now + barge_in.OVERLAP_WAIT_S
        # else its transcript is on its way
        return barge_in.resolve(call, now) if call.user.complete else []
    return []


def turn_ended(call: Call, before: State, sure: bool, now: float) -> list[Command]:
    """The endpointer has found enough silence, or the client has committed the turn."""
    if before in SPEAKING_OVER:
        call.user.over = sure or call.user.over
    if before not in PAUSES:
        return []
    if call.user.complete:
        return turn_end.finish_turn(call, now)
    if sure and call.state is State.USER_PAUSED:
        call.move(Condition.TURN_OVER)
    return turn_end.accept_turn(call)


def identified(call: Call, before: State, event: SpeakerIdentified, now: float) -> list[Command]:
    """Whose voice the user's speech has, in a call that listens to known speakers only."""
    if not (call.options.known_speakers_only and known_voices.noted(call, event)):
        return []
    if before in SPEAKING_OVER:
        return barge_in.resolve(call, now)
    if before not in USER_STATES:
        return []
    if before is State.AWAITING_TRANSCRIPT and call.user.complete:
        return turn_end.finish_turn(call, now)
    return call.replies.cancel_preemptive() if call.user.known_speaker is False else []


def transcript(call: Call, before: State, event: InterimTranscript, now: float) -> list[Command]:
    """For the audio from StartTranscribing up to `event.upto`."""
    previous, text, reply = call.user.text, event.text, call.replies.current
    over = before in SPEAKING_OVER
    if over:
        call.overlaps.transcribed(text, event.noise)
    # else there is nothing that a noise could spoil
    if over and event.noise and reply and reply.played:
        text = ""
    if not (over or before in USER_STATES) or not call.user.update(
        text, event.upto, event.end_of_turn
    ):
        return []
    if over:
        return barge_in.resolve(call, now)
    if call.user.complete:
        return preemptive.transcript_complete(call, now)
    return [
        *call.replies.cancel_unless_fits(call.user.text),
        *preemptive.preempt_while_speaking(call, previous, now),
    ]
