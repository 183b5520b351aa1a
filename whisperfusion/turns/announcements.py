"""What the server says on its own: a greeting, a timer that is due, an apology for a lost reply.

An announcement is a reply that needs no model. It waits until the call is idle, and a user who
speaks over it stops it as any reply; one that was stopped before anything of it could be heard is
said again when the call is idle, and so is one that the death of a process cut off. An apology for
a lost reply goes before all others, and the reply to the same turn follows it, once: what kills a
process twice may be the turn.
"""

from __future__ import annotations

from dataclasses import replace

from whisperfusion.text.languages import ENGLISH, words_of
from whisperfusion.text.scripts import has_words
from whisperfusion.turns import turn_end
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command
from whisperfusion.turns.events import Announcement, CreateReply
from whisperfusion.turns.reply import TurnTimes
from whisperfusion.turns.states import Condition, State

INTERRUPTED = Announcement(ENGLISH.interrupted, remember=False)
MOST_TOLD = 3  # times that one is begun: it may be what kills the process that says it


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


def unsaid(call: Call) -> tuple[Announcement, ...]:
    """Those that are to be said (again) if all processes die now: of the one that is being said,
    it is not known how much the user understood before its end.
    """
    reply = call.replies.current
    said = [reply.announcement] if reply is not None and reply.announcement is not None else []
    return tuple(one for one in (*said, *call.announcements) if may_be_said_again(one))


def may_be_said_again(announcement: Announcement) -> bool:
    return announcement.remember and announcement.told < MOST_TOLD


def due(call: Call, now: float) -> list[Command]:
    """The next one, if nothing else goes on."""
    if call.state is not State.IDLE or call.over:
        return []
    if call.apologize:
        call.apologize = False
        said = words_of(call.options.language).interrupted or INTERRUPTED.text
        return _say(call, replace(INTERRUPTED, text=said), now)
    if call.take_up:
        call.times = TurnTimes(now, now, now)
        commands = turn_end.create_reply(call, CreateReply(), now)
        assert call.replies.current is not None
        call.replies.current.taken_up = True
        return commands
    return _say(call, call.announcements.pop(0), now) if call.announcements else []


def _say(call: Call, announcement: Announcement, now: float) -> list[Command]:
    call.move(Condition.ANNOUNCED)
    announcement = replace(announcement, told=announcement.told + 1)
    commands = call.replies.announce(announcement, now)
    turn_end.extend_deadline(call, now)
    return commands
