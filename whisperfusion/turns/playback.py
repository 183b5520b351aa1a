"""The reply: messages of the other processes about it, and what happens without them."""

from __future__ import annotations

from whisperfusion.messages import (
    EndCall,
    Failed,
    PlaybackProgress,
    Sentence,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.turns import announcements, barge_in, turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command, ReplyPlayed, ReplyText, Thinking
from whisperfusion.turns.states import PAUSES, REPLY_STATES, SPEAKING_OVER, USER_STATES, State


def sentence(call: Call, message: Sentence, now: float) -> list[Command]:
    reply = call.replies.current
    if reply is None or message.ticket != reply.ticket or reply.complete:
        return []
    thinks = not message.text and not message.last
    if not thinks:
        reply.add(message, now)
    if not reply.committed:
        return []
    turn_end.extend_deadline(call, now)
    if thinks:
        return []
    turn, index, text = reply.ticket.turn, message.index, message.text
    shown = ReplyText(turn, index, text, message.last, message.cut, message.afresh)
    return [shown, *_ended(call, now)]


def tool_called(call: Call, message: ToolCalled, now: float) -> list[Command]:
    reply = call.replies.current
    if reply is None or message.ticket != reply.ticket or reply.complete:
        return []
    reply.tool_calls.append(message)
    turn_end.extend_deadline(call, now)
    return list(reply.shown_tool_calls()[-1:]) if reply.committed else []


def tool_used(call: Call, message: ToolStarted | ToolFinished, now: float) -> list[Command]:
    reply = call.replies.current
    if reply is None or message.ticket != reply.ticket:
        return []
    shown = reply.tool_uses.add(message)
    turn_end.extend_deadline(call, now)
    return [*shown] if reply.committed else []


def end_call(call: Call, message: EndCall) -> list[Command]:
    """After its reply; whoever interrupts that wants to go on."""
    reply = call.replies.current
    if reply is not None and message.ticket == reply.ticket:
        reply.ends_call = True
    return []


def progress(call: Call, message: PlaybackProgress, now: float) -> list[Command]:
    reply = call.replies.current
    if reply is None or message.ticket != reply.ticket or not reply.committed:
        return []
    call.thinking_at = None
    reply.played[message.index] = (message.played_s, message.total_s)
    seconds = sum(played for played, _ in reply.played.values())
    commands: list[Command] = [ReplyPlayed(reply.ticket.turn, seconds, message.last)]
    if reply.first_sound_at is None and not reply.apology and message.index >= 0:
        reply.first_sound_at = now
        if not reply.needs_no_model:
            commands.append(call.times.latency(reply, now))
    turn_end.extend_deadline(call, now)
    reply.played_out = message.last
    return [*commands, *_ended(call, now)]


def _ended(call: Call, now: float) -> list[Command]:
    reply = call.replies.current
    ended = reply is not None and reply.played_out and reply.complete
    return barge_in.reply_played(call, now) if ended else []


def failed(call: Call, message: Failed, now: float) -> list[Command]:
    """A stage gave up on this turn."""
    reply, stage = call.replies.current, message.stage
    if stage == "asr":
        if call.state not in USER_STATES | SPEAKING_OVER:
            return []
        return turn_end.fail_turn(call, "asr", message.reason, call.options.replies, now)
    if reply is None or message.ticket != reply.ticket:
        return []
    if not reply.committed:  # the turn itself goes on and will ask again
        call.replies.forget_preemptive()
        return []
    apologize = stage == "llm" and not reply.needs_no_model
    return turn_end.fail_turn(call, stage, message.reason, apologize, now)


def stage_down(call: Call, stage: str, now: float) -> list[Command]:
    """The process of `stage` died; whatever it was doing for this call is lost."""
    reply = call.replies.current
    if stage == "llm":
        call.summarizing = None  # it is asked for again
    if reply is None or stage not in ("llm", "tts") or (stage == "llm" and reply.complete):
        return []
    reason, said = f"The {stage} process stopped and is being restarted.", reply.announcement
    commands = failed(call, Failed(reply.ticket, stage, reason), now)
    if said is not None and announcements.may_be_said_again(said):
        call.announcements.insert(0, said)
    return commands


def wake(call: Call, now: float) -> list[Command]:
    """Every wait ends."""
    if call.thinking_at is not None and now >= call.thinking_at:
        call.thinking_at = None
        return [Thinking(call.replies.turn)] if call.state in REPLY_STATES else []
    if call.deferred_until is not None and now >= call.deferred_until:
        return barge_in.pop_deferred(call, now)
    if call.deadline is None or now < call.deadline:
        return []
    call.deadline = None
    if call.state in SPEAKING_OVER:
        return barge_in.resolve(call, now, too_late=True)
    if call.state in REPLY_STATES:
        reply = call.replies.current
        stage = "tts" if reply and reply.complete else "llm"
        reason = f"No answer came within {turn_end.REPLY_WAIT_S:.0f} seconds."
        return turn_end.fail_turn(call, stage, reason, stage == "llm", now)
    if call.state in PAUSES:
        return _pause_too_long(call, now)
    return []


def _pause_too_long(call: Call, now: float) -> list[Command]:
    if not call.user.complete:
        reason = f"No words came within {barge_in.TRANSCRIPT_WAIT_S:.0f} seconds."
        return turn_end.fail_turn(call, "asr", reason, False, now)
    # without automatic turns the client decides when
    ends = call.options.automatic_turns or call.state is State.AWAITING_TRANSCRIPT
    return turn_end.finish_turn(call, now, too_late=True) if ends else []
