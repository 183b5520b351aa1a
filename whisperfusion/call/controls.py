"""Controls of a client of 6006, as events of its conversation."""

from __future__ import annotations

from typing import TypeAlias

from whisperfusion.turns import events
from whisperfusion.turns.approvals import waiting_at
from whisperfusion.turns.conversation import Conversation
from whisperfusion.wire import asr_socket as wire

NOTHING = (
    "no call {!r} waits for approval: it was decided, or its reply goes on; wait for the end of "
    "the reply"
)
# those that change nothing outside of the conversation
ConversationControl: TypeAlias = (
    wire.Interrupt
    | wire.HeardUpTo
    | wire.Respond
    | wire.Clear
    | wire.History
    | wire.Result
    | wire.Approve
)


def event_of(control: ConversationControl, conversation: Conversation) -> events.Event:
    """Raises FrameError when `conversation` is not in a state for it."""
    match control:
        case wire.Interrupt():
            return events.InterruptReply()
        case wire.HeardUpTo(turn, seconds):
            return events.PlaybackPosition(turn, seconds)
        case wire.Respond():
            return create_reply(control, conversation)
        case wire.Clear():
            return events.ClearInput()
        case wire.History(lines):
            return events.HistoryReplaced(tuple(lines))
        case wire.Result(id, output):
            return events.ToolResult(id, output)
        case wire.Approve(id, approve):
            if approve:
                _check_reply(id, conversation)
            if waiting_at(conversation.history, id) is None:
                raise wire.FrameError("nothing_to_approve", NOTHING.format(id), id)
            return events.ApprovalGiven(id, approve)


def create_reply(control: wire.Respond, conversation: Conversation) -> events.CreateReply:
    """Raises FrameError, as `event_of`."""
    _check_reply(control.id, conversation)
    return events.CreateReply(control.id, control.instructions, control.tools, control.max_tokens)


def _check_reply(id: str, conversation: Conversation) -> None:
    """Raises FrameError when nothing can be replied to now."""
    if conversation.user_turn_open:
        raise wire.FrameError(
            "still_speaking",
            "the user is speaking; commit or clear that first, then ask for an answer",
            id,
        )
    if not conversation.options.replies:
        raise wire.FrameError(
            "no_replies",
            'this call has "reply": false in its handshake, so nothing can be answered',
            id,
        )
