"""How a user's turn ends: with a reply, without one, or with a failure."""

from __future__ import annotations

from whisperfusion.messages import Commit
from whisperfusion.text.segmentation import words
from whisperfusion.turns import known_voices
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import (
    Command,
    SpeechIgnored,
    StopTranscribing,
    TurnAccepted,
    TurnFailed,
    UserTurnFinal,
)
from whisperfusion.turns.events import CreateReply
from whisperfusion.turns.reply import Reply
from whisperfusion.turns.states import REPLY_STATES, Condition, State
from whisperfusion.turns.user_turn import UserTurn

REPLY_WAIT_S = 30.0  # for any sign of life of the reply
THINKING_S = 0.3  # after the turn is over, when there is no sound yet
FILLER_S = 1.0  # after the end of speech: by then people ask "hello?"


def accept_turn(call: Call) -> list[Command]:
    """The turn is over; its transcript may not be complete."""
    if call.user.accepted or not call.options.replies:
        return []
    call.user.accepted = True
    return [TurnAccepted(call.replies.turn)]


def finish_turn(call: Call, now: float, too_late: bool = False) -> list[Command]:
    """The turn is over and its transcript is complete. `too_late`: no embedding of its voice is
    waited for.
    """
    text = call.user.text
    if words(text) and not call.overlaps.is_echo(text):
        match known_voices.counts(call, too_late):
            case None:
                return _await_speaker(call, now)
            case False:
                return _ignore_turn(call, now)
        return [StopTranscribing(), *final_turn(call, text, now)]
    call.move(Condition.TURN_EMPTY)
    return drop_turn(call, now)


def _await_speaker(call: Call, now: float) -> list[Command]:
    if call.state is State.USER_PAUSED:
        call.move(Condition.TURN_OVER)
    call.deadline = now + known_voices.SPEAKER_WAIT_S
    return []


def _ignore_turn(call: Call, now: float) -> list[Command]:
    """Another voice than those that are listened to: its words are shown; a reply that was
    requested comes anyway.
    """
    known_voices.told(call)
    ignored, request = SpeechIgnored(call.user.text), call.request
    call.move(Condition.OTHER_VOICE)
    commands = [*call.replies.cancel_unless_fits(""), StopTranscribing(), ignored]
    call.rest()
    return commands if request is None else [*commands, *create_reply(call, request, now)]


def drop_turn(call: Call, now: float) -> list[Command]:
    """There were no words in it, or they do not count; a reply that was requested comes anyway."""
    commands = [
        *call.replies.cancel_unless_fits(""),
        StopTranscribing(),
        UserTurnFinal(call.replies.turn, ""),
    ]
    request = call.request
    call.rest()
    return commands if request is None else [*commands, *create_reply(call, request, now)]


def final_turn(call: Call, text: str, now: float) -> list[Command]:
    """The user's turn is `text`: show it, keep it, reply to it."""
    replies, request = call.replies, call.request
    known_voices.told(call)
    commands: list[Command] = [*accept_turn(call), UserTurnFinal(replies.turn, text)]
    replies.counts.turns += 1
    if request is not None and request.own_way:  # which a preemptive reply did not know
        replies.history.add("user", text)
        return [*commands, *create_reply(call, request, now)]
    wanted = call.options.automatic_replies or request is not None
    if not call.options.replies or not wanted:
        replies.history.add("user", text)
        replies.next_turn()
        call.move(Condition.TURN_KEPT)
        call.rest()
        return commands
    call.answered = call.user
    reply, generate = replies.commit(text, now)
    return [*commands, *generate, *commit_reply(call, reply, now)]


def create_reply(call: Call, request: CreateReply, now: float) -> list[Command]:
    """To the dialogue so far, with nothing new."""
    reply, generate = call.replies.create(request, now)
    call.answered = UserTurn()
    return [*generate, *commit_reply(call, reply, now)]


def commit_reply(call: Call, reply: Reply, now: float) -> list[Command]:
    """The reply is wanted: what there is of it, and what will come."""
    call.move(Condition.REPLY_COMMITTED)
    call.apologize = call.take_up = False
    call.request, call.thinking_at = None, now + THINKING_S
    extend_deadline(call, now)
    filler = call.options.filler
    after_s = max(0.0, call.times.ended_at + FILLER_S - now) if filler else 0.0
    return [Commit(reply.ticket, filler, after_s), *reply.shown()]


def extend_deadline(call: Call, now: float) -> None:
    """There is a sign of life of the reply."""
    if call.state in REPLY_STATES:
        reply = call.replies.current
        audio_s = sum(total for _, total in reply.played.values()) if reply else 0.0
        call.deadline = now + REPLY_WAIT_S + audio_s


def abandon_reply(call: Call, soft: bool = False) -> list[Command]:
    """Cancel what is in flight; the history keeps what was heard of it.

    `soft`: nothing of it, for the user had not finished (`Replies.interrupt`).
    """
    call.thinking_at = call.deferred = call.deferred_until = None
    reply = call.replies.current
    said = reply and reply.announcement
    if reply and said and said.remember and not reply.played_text():
        call.announcements.insert(0, said)
    return call.replies.interrupt(soft)


def fail_turn(call: Call, stage: str, reason: str, apologize: bool, now: float) -> list[Command]:
    failed = TurnFailed(call.replies.turn, stage, reason)
    commands: list[Command] = [*call.replies.fail(), StopTranscribing(), failed]
    call.move(Condition.FAILED)
    call.rest()
    if apologize:
        call.move(Condition.APOLOGIZED)
        commands += call.replies.apologize(now)
        extend_deadline(call, now)
    return commands
