"""Preemptive generation: a reply is begun before the turn is over.

It costs the machine a prompt and some tokens, and gains its caller a few tenths of a second. It is
begun in each pause, and while the user still speaks as soon as the transcript sounds complete: then
the reply may be ready when the turn is decided.
"""

from __future__ import annotations

from dataclasses import replace

from whisperfusion.text.segmentation import words
from whisperfusion.turns import turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command
from whisperfusion.turns.states import State


def transcript_complete(call: Call, now: float) -> list[Command]:
    """All words up to the pause are known."""
    call.times = replace(call.times, transcript_at=now)
    if call.state is State.AWAITING_TRANSCRIPT:
        return turn_end.finish_turn(call, now)
    return preempt(call, now)


def preempt(call: Call, now: float) -> list[Command]:
    """In a pause: begin the reply, in case that the turn is over."""
    user, language = call.user, call.options.language
    if call.replies.fits(user.text):
        return []
    commands = call.replies.cancel_unless_fits(user.text)
    if not (_may_preempt(call) and user.preemptive.in_pause(user.text, user.speech_s(), language)):
        return commands
    return [*commands, call.replies.preempt(user.text, now)]


def preempt_while_speaking(call: Call, previous: str, now: float) -> list[Command]:
    """Begin the reply, or at least let the model read what was said so far.

    Not once the sound has stopped: the reply to the last words would wait for that.
    """
    user, options = call.user, call.options
    if call.replies.current or not (
        options.early_replies and words(user.text) and _may_preempt(call)
    ):
        return []
    if user.preemptive.while_speaking(user.text, previous, user.speech_s(), options.language):
        return [call.replies.preempt(user.text, now)]
    return preempt(call, now) if call.quiet else [call.replies.prefill(user.text)]


def _may_preempt(call: Call) -> bool:
    options = call.options
    return (
        options.replies
        and options.automatic_replies
        and options.automatic_turns
        and not (options.known_speakers_only and call.user.known_speaker is False)
        and not call.overlaps.is_echo(call.user.text)
    )
