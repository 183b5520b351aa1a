"""What the client asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence

from whisperfusion.messages import ChatMessage
from whisperfusion.turns import barge_in, turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command, ReplyInterrupted, ReplyStarted, StopTranscribing
from whisperfusion.turns.events import CreateReply
from whisperfusion.turns.history import ChatHistory
from whisperfusion.turns.reply import TurnTimes
from whisperfusion.turns.states import SPEAKING_OVER, USER_STATES, State
from whisperfusion.turns.user_turn import UserTurn


def typed(call: Call, text: str, now: float) -> list[Command]:
    """A whole turn as text."""
    commands = [*turn_end.abandon_reply(call), StopTranscribing()]
    call.user, call.times = UserTurn(), TurnTimes(now, now, now)
    return [*commands, *turn_end.final_turn(call, text, now)]


def interrupt(call: Call) -> list[Command]:
    """Stop whatever is going on."""
    unsaid = len(call.announcements)
    call.apologize = call.take_up = False
    commands = [*turn_end.abandon_reply(call), StopTranscribing()]
    del call.announcements[: len(call.announcements) - unsaid]  # stopped on purpose
    if call.request is not None:  # a reply that never began
        commands.append(ReplyInterrupted(call.replies.turn, ""))
        call.replies.next_turn()
    call.rest()
    return commands


def create_reply(call: Call, before: State, request: CreateReply, now: float) -> list[Command]:
    """Reply to the dialogue so far; to a turn that is over, when its transcript is complete.

    Nothing happens while the user speaks: the turn comes first.
    """
    if before is State.AWAITING_TRANSCRIPT:
        call.request = request
        return [ReplyStarted(call.replies.turn, request.id)]
    if before in USER_STATES | SPEAKING_OVER:
        return []
    stopped, call.times = turn_end.abandon_reply(call), TurnTimes(now, now, now)
    started = ReplyStarted(call.replies.turn, request.id)
    return [*stopped, started, *turn_end.create_reply(call, request, now)]


def clear_input(call: Call, before: State, now: float) -> list[Command]:
    """Drop what is being said; a reply goes on."""
    if before in SPEAKING_OVER:
        return barge_in.resume(call, now)
    if before not in USER_STATES:
        return []
    call.user.text = ""
    return turn_end.drop_turn(call, now)


def replace_history(call: Call, messages: Sequence[ChatMessage]) -> list[Command]:
    """A preemptive reply that knew otherwise is cancelled."""
    if call.summarizing is not None:  # one of the new history has another ticket
        call.summarizing, call.replies.revision = None, call.replies.revision + 1
    call.replies.history, call.take_up = ChatHistory(messages), False
    return call.replies.cancel_preemptive()


def tool_result(call: Call, id: str, output: str) -> list[Command]:
    call.replies.history.add("result", json.dumps({"id": id, "output": output}))
    return call.replies.cancel_preemptive()


def playback_position(call: Call, turn: int, seconds: float) -> list[Command]:
    return call.replies.played_by_client(turn, seconds) if seconds >= 0 else []
