"""What the server says on its own: a greeting, a timer that is due, an apology for a lost reply.

An announcement is a reply that needs no model. It waits until the call is idle, and a user who
speaks over it stops it as any reply; one that was stopped before anything of it could be heard is
said again when the call is idle. An apology for a lost reply goes before all others, and the reply
to the same turn follows it, once: what kills a process twice may be the turn.
"""

from __future__ import annotations

from whisperfusion.text.scripts import has_words
from whisperfusion.turns import turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command
from whisperfusion.turns.events import Announcement, CreateReply
from whisperfusion.turns.reply import TurnTimes
from whisperfusion.turns.states import Condition, State

INTERRUPTED = Announcement("Sorry, I was interrupted.", remember=False)


def wait(call: Call, announcement: Announcement) -> list[Command]:
    """It is said when its turn has come; captions alone have no voice."""
    if call.options.replies and has_words(announcement.text):
        call.announcements.append(announcement)
    return []


def reply_lost(call: Call) -> list[Command]:
    """Where replies are asked for, the client knows better."""
    if call.options.replies and call.options.automatic_replies:
        last = call.replies.history.messages[-1:]
        call.apologize = True
        call.take_up = any(message.role in ("user", "result") for message in last)
    return []


def due(call: Call, now: float) -> list[Command]:
    """The next one, if nothing else goes on."""
    if call.state is not State.IDLE or call.over:
        return []
    if call.apologize:
        call.apologize = False
        return _say(call, INTERRUPTED, now)
    if call.take_up:
        call.times = TurnTimes(now, now, now)
        commands = turn_end.create_reply(call, CreateReply(), now)
        assert call.replies.current is not None
        call.replies.current.taken_up = True
        return commands
    return _say(call, call.announcements.pop(0), now) if call.announcements else []


def _say(call: Call, announcement: Announcement, now: float) -> list[Command]:
    call.move(Condition.ANNOUNCED)
    commands = call.replies.announce(announcement, now)
    turn_end.extend_deadline(call, now)
    return commands
